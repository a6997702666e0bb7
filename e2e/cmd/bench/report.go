package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
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

// rows are the figures of every subject.
func rows() []bench.Row[*subject] {
	scrapes := float64(phases[0].scrapes)
	far := float64(phases[len(phases)-1].scrapes)
	all := []bench.Row[*subject]{
		{Name: "turn-arounds per scrape", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.far.TurnArounds) / far }},
		{Name: "new connections per scrape", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.far.Conns) / far }},
		{Name: "kB sent to the server", Format: "%.1f", Value: func(s *subject) float64 { return float64(s.far.Up) / far / 1e3 }},
		{Name: "kB received from it", Format: "%.1f", Value: func(s *subject) float64 { return float64(s.far.Down) / far / 1e3 }},
		{Name: "statements", Format: "%.0f", Value: func(s *subject) float64 { return s.statements / scrapes }},
	}
	for _, p := range phases {
		all = append(all, bench.Row[*subject]{Name: fmt.Sprintf("ms for a scrape, server %d ms away", p.delay.Milliseconds()), Format: "%.0f", Value: func(s *subject) float64 { return s.median(p.delay) }})
	}
	return append(all, []bench.Row[*subject]{
		{Name: "ms of exporter CPU per scrape", Format: "%.1f", Value: func(s *subject) float64 { return bench.Milliseconds(s.cpu) / scrapes }},
		{Name: "µs of exporter CPU per series", Format: "%.2f", Value: (*subject).perSeries},
		{Name: "ms of server CPU per scrape", Format: "%.1f", Value: func(s *subject) float64 { return bench.Milliseconds(s.serverCPU) / scrapes }},
		{Name: "ms of that running statements", Format: "%.1f", Value: func(s *subject) float64 { return s.execution / scrapes }},
		{Name: "MB resident", Format: "%.1f", Value: func(s *subject) float64 { return float64(s.rss) / 1e6 }},
		{Name: "MB resident at most", Format: "%.1f", Value: func(s *subject) float64 { return float64(s.peak) / 1e6 }},
		{Name: "series", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.series) }},
		{Name: "kB of page", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.pageBytes) / 1e3 }},
		{Name: "kB of page, compressed", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.zippedBytes) / 1e3 }},
	}...)
}

func (s *subject) median(delay time.Duration) float64 { return bench.Median(s.wall[delay]) }

func (s *subject) perSeries() float64 {
	return bench.Milliseconds(s.cpu) * 1e3 / float64(phases[0].scrapes*s.series)
}

// report prints the table, and which aims are met.
func report(out io.Writer, db *servers.Postgres, subjects []*subject) {
	fmt.Fprintf(out, "PostgreSQL %s, 200 tables of 3 indexes, %d processors; medians and means of %d scrapes, %d and %d from afar.\n\n",
		db.Version(), runtime.NumCPU(), phases[0].scrapes, phases[1].scrapes, phases[2].scrapes)
	bench.Table(out, subjects, func(s *subject) string { return s.name }, rows())
	bench.ReportAims(out, aims(subjects[0], subjects[2], subjects[3], subjects[4]))
}

func aims(ours, shared, peer, all *subject) []bench.Aim {
	far := phases[len(phases)-1]
	return []bench.Aim{
		{What: "turn-arounds of a scrape, all collectors", Limit: 1, Measured: float64(all.far.TurnArounds) / float64(far.scrapes)},
		{What: "new connections of a scrape, all collectors", Limit: 0, Measured: float64(all.far.Conns) / float64(far.scrapes)},
		{What: "time of a scrape from afar, all collectors, as a part of the peer's", Limit: 1.0 / 15, Measured: all.median(far.delay) / peer.median(far.delay)},
		{What: "exporter CPU per series, as a part of the peer's", Limit: 0.5, Measured: shared.perSeries() / peer.perSeries()},
		{What: "server CPU for the same families, as a part of the peer's", Limit: 1, Measured: float64(shared.serverCPU) / float64(peer.serverCPU)},
		{What: "MB resident, default collectors", Limit: 25, Measured: float64(ours.rss) / 1e6},
		{What: "MB resident more than the peer, same families", Limit: 10, Measured: float64(shared.rss-peer.rss) / 1e6},
	}
}
