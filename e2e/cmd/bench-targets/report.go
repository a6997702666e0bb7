package main

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
)

// cores are those that the aims speak of.
const cores = 2

// scrapes is how many were measured under load.
func (s *subject) scrapes() int { return len(s.load.Took) + len(s.load.Dead) }

// cpu is the processor time of a scrape in seconds. What looking at the exporter costs is in it.
func (s *subject) cpu() float64 { return (s.idle.CPU - s.begin.CPU).Seconds() / float64(s.scrapes()) }

// fits is how many targets a process can scrape in time on the cores, by its processor time.
func (s *subject) fits() float64 { return cores * s.plan.interval.Seconds() / s.cpu() }

func rows() []bench.Row[*subject] {
	mb := func(bytes int64) float64 { return float64(bytes) / 1e6 }
	return []bench.Row[*subject]{
		{Name: "scrapes", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.scrapes()) }},
		{Name: "wrong answers", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.load.Wrong) }},
		{Name: "ms for a live target, median", Format: "%.1f", Value: func(s *subject) float64 { return bench.Median(s.load.Took) }},
		{Name: "ms for a live target, p99", Format: "%.1f", Value: func(s *subject) float64 { return bench.Quantile(s.load.Took, 0.99) }},
		{Name: "ms of CPU for a scrape", Format: "%.2f", Value: func(s *subject) float64 { return s.cpu() * 1e3 }},
		{Name: fmt.Sprintf("targets that %d cores are enough for", cores), Format: "%.0f", Value: (*subject).fits},
		{Name: "MB resident, no targets", Format: "%.1f", Value: func(s *subject) float64 { return mb(s.empty.RSS) }},
		{Name: fmt.Sprintf("MB resident, %d idle", few), Format: "%.1f", Value: func(s *subject) float64 { return mb(s.fewIdle.RSS) }},
		{Name: "MB resident under load, early", Format: "%.1f", Value: func(s *subject) float64 { return mb(s.early.RSS) }},
		{Name: "MB resident under load, at the end", Format: "%.1f", Value: func(s *subject) float64 { return mb(s.end.RSS) }},
		{Name: "MB resident, all idle", Format: "%.1f", Value: func(s *subject) float64 { return mb(s.idle.RSS) }},
		{Name: "kB resident for a target under load", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.end.RSS-s.empty.RSS) / 1e3 / float64(s.plan.targets) }},
		{Name: "kB resident for an idle target", Format: "%.0f", Value: idle},
		{Name: "kB of heap and stacks for an idle target", Format: "%.0f", Value: func(s *subject) float64 { return (s.idle.Live - s.empty.Live) / 1e3 / float64(s.plan.targets) }},
		{Name: "kB resident for a stalled target", Format: "%.0f", Value: stalled},
		{Name: "goroutines for a stalled target", Format: "%.1f", Value: func(s *subject) float64 { return s.fewStalled.Goroutines / more }},
		{Name: "descriptors under load, early", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.early.FDs) }},
		{Name: "descriptors under load, at the end", Format: "%.0f", Value: func(s *subject) float64 { return float64(s.end.FDs) }},
		{Name: "goroutines under load, early", Format: "%.0f", Value: func(s *subject) float64 { return s.early.Goroutines }},
		{Name: "goroutines under load, at the end", Format: "%.0f", Value: func(s *subject) float64 { return s.end.Goroutines }},
	}
}

// idle is the memory of a target that is not scraped just now.
func idle(s *subject) float64 { return float64(s.idle.RSS-s.empty.RSS) / 1e3 / float64(s.plan.targets) }

// stalled is the memory of a target that is waited for.
func stalled(s *subject) float64 { return float64(s.fewStalled.RSS) / 1e3 / more }

// wanted is how many targets a process must be enough for, by kind; where nothing is said there is no aim.
func wanted(kind string) float64 { return map[string]float64{"postgres": 5000, "redis": 10000}[kind] }

// growth is how much more is used at the end than early, as a part of what was used or, where that is less than one for
// each target, of the targets: what an exporter uses for the few scrapes that are under way just then comes and goes.
func (s *subject) growth(early, end float64) float64 {
	return (end - early) / max(early, float64(s.plan.targets))
}

func (p plan) report(out io.Writer, kind, note string, subjects []*subject) {
	ours := subjects[0]
	fmt.Fprintf(out, "\n## %s\n\n%d targets every %s for %s (%s of a peer's), a tenth of them closed or silent; %d processors. %s\n\n",
		kind, p.targets, p.interval, p.duration, p.peer.Round(time.Second), runtime.NumCPU(), note)
	bench.Table(out, subjects, func(s *subject) string { return s.Name }, rows())
	aims := []bench.Aim{
		{What: "wrong answers", Measured: float64(ours.load.Wrong)},
		{What: "kB for an idle target", Limit: 40, Measured: idle(ours)},
		{What: "kB for a stalled target", Limit: 64, Measured: stalled(ours)},
		{What: "growth of the memory", Limit: 0.1, Measured: ours.growth(float64(ours.early.RSS), float64(ours.end.RSS))},
		{What: "growth of the descriptors", Limit: 0.02, Measured: ours.growth(float64(ours.early.FDs), float64(ours.end.FDs))},
		{What: "growth of the goroutines", Limit: 0.05, Measured: ours.growth(ours.early.Goroutines, ours.end.Goroutines)},
	}
	if least := wanted(kind); least > 0 {
		aims = append(aims, bench.Aim{What: "ms of CPU for a scrape", Limit: cores * p.interval.Seconds() / least * 1e3, Measured: ours.cpu() * 1e3})
	}
	bench.ReportAims(out, aims)
	for _, s := range subjects {
		if s.load.Problem != nil {
			fmt.Fprintf(out, "\nThe first wrong answer of %s: %v\n", s.Name, s.load.Problem)
		}
	}
}
