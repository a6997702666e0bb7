package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
)

// rows are the figures of every subject.
func rows() []bench.Row[*subject] {
	farAway := func(s *subject) bool { return s.nearOnly }
	far := float64(phases[len(phases)-1].scrapes)
	all := []bench.Row[*subject]{
		{Name: "turn-arounds per scrape", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.far.TurnArounds) / far }, Skip: farAway},
		{Name: "new connections per scrape", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.far.Conns) / far }, Skip: farAway},
		{Name: "kB sent to the server", Format: "%.1f", Value: func(s *subject) float64 { return float64(s.far.Up) / far / 1e3 }, Skip: farAway},
		{Name: "kB received from it", Format: "%.1f", Value: func(s *subject) float64 { return float64(s.far.Down) / far / 1e3 }, Skip: farAway},
	}
	for _, p := range phases {
		skip := farAway
		if p.delay == 0 {
			skip = nil
		}
		all = append(all, bench.Row[*subject]{Name: fmt.Sprintf("ms for a scrape, server %d ms away", p.delay.Milliseconds()), Format: "%.1f", Value: func(s *subject) float64 { return s.median(p.delay) }, Skip: skip})
	}
	return append(all, []bench.Row[*subject]{
		{Name: "ms of exporter CPU per scrape", Format: "%.1f", Value: (*subject).cpuMS},
		{Name: "MB resident", Format: "%.1f", Value: func(s *subject) float64 { return float64(s.rss) / 1e6 }},
		{Name: "MB resident at most", Format: "%.1f", Value: func(s *subject) float64 { return float64(s.peak) / 1e6 }},
		{Name: "series", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.series) }},
		{Name: "kB of page", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.pageBytes) / 1e3 }},
	}...)
}

func (s *subject) median(delay time.Duration) float64 { return bench.Median(s.wall[delay]) }

func report(out io.Writer, subjects []*subject) {
	fmt.Fprintf(out, "Redis 7 with a replica, 100,000 keys, %d processors; medians and means of %d scrapes, %d and %d from afar.\n\n",
		runtime.NumCPU(), phases[0].scrapes, phases[1].scrapes, phases[2].scrapes)
	bench.Table(out, subjects, func(s *subject) string { return s.name }, rows())
}

func reportCrowds(out io.Writer, crowds []*crowd) {
	fmt.Fprint(out, "| | ms | ms of CPU | MB at most | series | peer: ms | ms of CPU | MB at most | series |\n| --- |", strings.Repeat(" ---: |", 8), "\n")
	for _, c := range crowds {
		fmt.Fprintf(out, "| %s | %.0f | %.0f | %.0f | %d | %.0f | %.0f | %.0f | %d |\n", c.name,
			c.oursMS, c.ours.cpuMS(), float64(c.ours.peak)/1e6, c.ours.series, c.peersMS, c.theirs.cpuMS(), float64(c.theirs.peak)/1e6, c.theirs.series)
	}
	fmt.Fprintln(out)
}

// aims are of ours and the peer's, by turns, in the order of the cases.
func aims(s []*subject) []bench.Aim {
	far := phases[len(phases)-1]
	turns := func(s *subject) float64 { return float64(s.far.TurnArounds) / float64(far.scrapes) }
	return []bench.Aim{
		{What: "turn-arounds of a scrape, default", Limit: 1, Measured: turns(s[0])},
		{What: "turn-arounds of a scrape, all but keys", Limit: 1, Measured: turns(s[2])},
		{What: "turn-arounds of a scrape, all but scans", Limit: 1, Measured: turns(s[4])},
		{What: "turn-arounds of a scrape, 1,000 keys", Limit: 2, Measured: turns(s[6])},
		{What: "new connections of a scrape", Limit: 0, Measured: float64(s[0].far.Conns + s[2].far.Conns + s[4].far.Conns + s[6].far.Conns)},
		{What: "time of a scrape from afar, default, as a part of the peer's", Limit: 1.0 / 6, Measured: s[0].median(far.delay) / s[1].median(far.delay)},
		{What: "time of a scrape from afar, all but scans, as a part of the peer's", Limit: 1.0 / 20, Measured: s[4].median(far.delay) / s[5].median(far.delay)},
		{What: "time of a scrape from afar with 100,000 keys scanned, as a part of that without", Limit: 1.1, Measured: s[8].median(far.delay) / s[0].median(far.delay)},
		{What: "exporter CPU, default, as a part of the peer's", Limit: 1.0 / 3, Measured: s[0].cpuMS() / s[1].cpuMS()},
		{What: "MB resident, default, more than the peer", Limit: 0, Measured: float64(s[0].rss-s[1].rss) / 1e6},
	}
}

func crowdAims(c []*crowd) []bench.Aim {
	return []bench.Aim{
		{What: "ms of CPU for 2,000 commands with histograms", Limit: 50, Measured: c[1].ours.cpuMS()},
		{What: "CPU for 2,000 commands, as a part of five times that for 400", Limit: 1.3, Measured: c[1].ours.cpuMS() / max(0.1, 5*c[0].ours.cpuMS())},
		{What: "MB at most with 20,000 clients", Limit: 30, Measured: float64(c[3].ours.peak) / 1e6},
	}
}
