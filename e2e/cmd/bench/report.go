package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// establishedFamilies are those that the peer has.
func establishedFamilies() (map[string]bool, error) {
	const list = "exporters/postgres/testdata/peer_families.tsv"
	text, err := os.ReadFile(list)
	if err != nil { // we are in the module's folder
		text, err = os.ReadFile(filepath.Join("..", list))
	}
	families := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, "\t")
		families[name] = true
	}
	return families, err
}

// row is one figure of every subject.
type row struct {
	name   string
	format string
	value  func(*subject) float64
}

func rows() []row {
	scrapes := float64(phases[0].scrapes)
	far := float64(phases[len(phases)-1].scrapes)
	all := []row{
		{"turn-arounds per scrape", "%.0f", func(s *subject) float64 { return float64(s.far.TurnArounds) / far }},
		{"new connections per scrape", "%.0f", func(s *subject) float64 { return float64(s.far.Conns) / far }},
		{"kB sent to the server", "%.1f", func(s *subject) float64 { return float64(s.far.Up) / far / 1e3 }},
		{"kB received from it", "%.1f", func(s *subject) float64 { return float64(s.far.Down) / far / 1e3 }},
		{"statements", "%.0f", func(s *subject) float64 { return s.statements / scrapes }},
	}
	for _, p := range phases {
		all = append(all, row{fmt.Sprintf("ms for a scrape, server %d ms away", p.delay.Milliseconds()), "%.0f", func(s *subject) float64 { return s.median(p.delay) }})
	}
	return append(all, []row{
		{"ms of exporter CPU per scrape", "%.1f", func(s *subject) float64 { return milliseconds(s.cpu) / scrapes }},
		{"µs of exporter CPU per series", "%.2f", (*subject).perSeries},
		{"ms of server CPU per scrape", "%.1f", func(s *subject) float64 { return milliseconds(s.serverCPU) / scrapes }},
		{"ms of that running statements", "%.1f", func(s *subject) float64 { return s.execution / scrapes }},
		{"MB resident", "%.1f", func(s *subject) float64 { return float64(s.rss) / 1e6 }},
		{"MB resident at most", "%.1f", func(s *subject) float64 { return float64(s.peak) / 1e6 }},
		{"series", "%.0f", func(s *subject) float64 { return float64(s.series) }},
		{"kB of page", "%.0f", func(s *subject) float64 { return float64(s.pageBytes) / 1e3 }},
		{"kB of page, compressed", "%.0f", func(s *subject) float64 { return float64(s.zippedBytes) / 1e3 }},
	}...)
}

func (s *subject) median(delay time.Duration) float64 {
	times := slices.Sorted(slices.Values(s.wall[delay]))
	return milliseconds(times[len(times)/2])
}

func (s *subject) perSeries() float64 {
	return milliseconds(s.cpu) * 1e3 / float64(phases[0].scrapes*s.series)
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// report prints the table, and which aims are met.
func report(out io.Writer, db *servers.Postgres, subjects []*subject) {
	fmt.Fprintf(out, "PostgreSQL %s, 200 tables of 3 indexes, %d processors; medians and means of %d scrapes, %d and %d from afar.\n\n|",
		db.Version(), runtime.NumCPU(), phases[0].scrapes, phases[1].scrapes, phases[2].scrapes)
	for _, s := range subjects {
		fmt.Fprintf(out, " | %s", s.name)
	}
	fmt.Fprintf(out, " |\n| --- |%s\n", strings.Repeat(" ---: |", len(subjects)))
	for _, r := range rows() {
		fmt.Fprintf(out, "| %s", r.name)
		for _, s := range subjects {
			fmt.Fprintf(out, " | "+r.format, r.value(s))
		}
		fmt.Fprintln(out, " |")
	}
	fmt.Fprintln(out)
	for _, a := range aims(subjects[0], subjects[2], subjects[3], subjects[4]) {
		verdict := "met"
		if a.measured > a.limit {
			verdict = "MISSED"
		}
		fmt.Fprintf(out, "- %s: at most %.4g, measured %.4g: %s\n", a.what, a.limit, a.measured, verdict)
	}
}

// aim is something to stay below.
type aim struct {
	what            string
	limit, measured float64
}

func aims(ours, shared, peer, all *subject) []aim {
	far := phases[len(phases)-1]
	return []aim{
		{"turn-arounds of a scrape, all collectors", 1, float64(all.far.TurnArounds) / float64(far.scrapes)},
		{"new connections of a scrape, all collectors", 0, float64(all.far.Conns) / float64(far.scrapes)},
		{"time of a scrape from afar, all collectors, as a part of the peer's", 1.0 / 15, all.median(far.delay) / peer.median(far.delay)},
		{"exporter CPU per series, as a part of the peer's", 0.5, shared.perSeries() / peer.perSeries()},
		{"server CPU for the same families, as a part of the peer's", 1, float64(shared.serverCPU) / float64(peer.serverCPU)},
		{"MB resident, default collectors", 25, float64(ours.rss) / 1e6},
		{"MB resident more than the peer, same families", 10, float64(shared.rss-peer.rss) / 1e6},
	}
}
