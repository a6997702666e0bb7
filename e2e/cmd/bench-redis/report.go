package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// row is one figure of every subject.
type row struct {
	name   string
	format string
	value  func(*subject) float64
	far    bool // it is of the scrapes over a long line
}

func rows() []row {
	far := float64(phases[len(phases)-1].scrapes)
	all := []row{
		{"turn-arounds per scrape", "%.0f", func(s *subject) float64 { return float64(s.far.TurnArounds) / far }, true},
		{"new connections per scrape", "%.0f", func(s *subject) float64 { return float64(s.far.Conns) / far }, true},
		{"kB sent to the server", "%.1f", func(s *subject) float64 { return float64(s.far.Up) / far / 1e3 }, true},
		{"kB received from it", "%.1f", func(s *subject) float64 { return float64(s.far.Down) / far / 1e3 }, true},
	}
	for _, p := range phases {
		all = append(all, row{fmt.Sprintf("ms for a scrape, server %d ms away", p.delay.Milliseconds()), "%.1f", func(s *subject) float64 { return s.median(p.delay) }, p.delay > 0})
	}
	return append(all, []row{
		{"ms of exporter CPU per scrape", "%.1f", (*subject).cpuMS, false},
		{"MB resident", "%.1f", func(s *subject) float64 { return float64(s.rss) / 1e6 }, false},
		{"MB resident at most", "%.1f", func(s *subject) float64 { return float64(s.peak) / 1e6 }, false},
		{"series", "%.0f", func(s *subject) float64 { return float64(s.series) }, false},
		{"kB of page", "%.0f", func(s *subject) float64 { return float64(s.pageBytes) / 1e3 }, false},
	}...)
}

func (s *subject) median(delay time.Duration) float64 {
	times := slices.Sorted(slices.Values(s.wall[delay]))
	if len(times) == 0 {
		return 0
	}
	return milliseconds(times[len(times)/2])
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

func report(out io.Writer, subjects []*subject) {
	fmt.Fprintf(out, "Redis 7 with a replica, 100,000 keys, %d processors; medians and means of %d scrapes, %d and %d from afar.\n\n|",
		runtime.NumCPU(), phases[0].scrapes, phases[1].scrapes, phases[2].scrapes)
	for _, s := range subjects {
		fmt.Fprintf(out, " | %s", s.name)
	}
	fmt.Fprintf(out, " |\n| --- |%s\n", strings.Repeat(" ---: |", len(subjects)))
	for _, r := range rows() {
		fmt.Fprintf(out, "| %s", r.name)
		for _, s := range subjects {
			if r.far && s.nearOnly {
				fmt.Fprint(out, " | ")
			} else {
				fmt.Fprintf(out, " | "+r.format, r.value(s))
			}
		}
		fmt.Fprintln(out, " |")
	}
	fmt.Fprintln(out)
}

func reportCrowds(out io.Writer, crowds []*crowd) {
	fmt.Fprint(out, "| | ms | ms of CPU | MB at most | series | peer: ms | ms of CPU | MB at most | series |\n| --- |", strings.Repeat(" ---: |", 8), "\n")
	for _, c := range crowds {
		fmt.Fprintf(out, "| %s | %.0f | %.0f | %.0f | %d | %.0f | %.0f | %.0f | %d |\n", c.name,
			c.oursMS, c.ours.cpuMS(), float64(c.ours.peak)/1e6, c.ours.series, c.peersMS, c.theirs.cpuMS(), float64(c.theirs.peak)/1e6, c.theirs.series)
	}
	fmt.Fprintln(out)
}

// aim is something to stay below.
type aim struct {
	what            string
	limit, measured float64
}

// aims are of ours and the peer's, by turns, in the order of the cases.
func aims(s []*subject) []aim {
	far := phases[len(phases)-1]
	turns := func(s *subject) float64 { return float64(s.far.TurnArounds) / float64(far.scrapes) }
	return []aim{
		{"turn-arounds of a scrape, default", 1, turns(s[0])},
		{"turn-arounds of a scrape, all but keys", 1, turns(s[2])},
		{"turn-arounds of a scrape, all but scans", 1, turns(s[4])},
		{"turn-arounds of a scrape, 1,000 keys", 2, turns(s[6])},
		{"new connections of a scrape", 0, float64(s[0].far.Conns + s[2].far.Conns + s[4].far.Conns + s[6].far.Conns)},
		{"time of a scrape from afar, default, as a part of the peer's", 1.0 / 6, s[0].median(far.delay) / s[1].median(far.delay)},
		{"time of a scrape from afar, all but scans, as a part of the peer's", 1.0 / 20, s[4].median(far.delay) / s[5].median(far.delay)},
		{"time of a scrape from afar with 100,000 keys scanned, as a part of that without", 1.1, s[8].median(far.delay) / s[0].median(far.delay)},
		{"exporter CPU, default, as a part of the peer's", 1.0 / 3, s[0].cpuMS() / s[1].cpuMS()},
		{"MB resident, default, more than the peer", 0, float64(s[0].rss-s[1].rss) / 1e6},
	}
}

func crowdAims(c []*crowd) []aim {
	return []aim{
		{"ms of CPU for 2,000 commands with histograms", 50, c[1].ours.cpuMS()},
		{"CPU for 2,000 commands, as a part of five times that for 400", 1.3, c[1].ours.cpuMS() / max(0.1, 5*c[0].ours.cpuMS())},
		{"MB at most with 20,000 clients", 30, float64(c[3].ours.peak) / 1e6},
	}
}

// reportAims tells which aims are met.
func reportAims(out io.Writer, all []aim) {
	for _, a := range all {
		verdict := "met"
		if a.measured > a.limit {
			verdict = "MISSED"
		}
		fmt.Fprintf(out, "- %s: at most %.4g, measured %.4g: %s\n", a.what, a.limit, a.measured, verdict)
	}
}
