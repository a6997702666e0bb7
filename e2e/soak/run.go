// Package soak runs all exporters on real servers for a long time, while faults of the servers and of the lines to them
// come and go, and judges every page: whether it is true, in time and complete, and whether the exporters stay as small
// as they were.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Options say how to soak.
type Options struct {
	Bin      string        // the folder of the exporters' binaries
	Duration time.Duration // a minute at least, for one storm and the calm around it
	Seed     uint64        // of the schedule
	Progress io.Writer     // is told what goes on; nil for nobody
}

// Shortest is the shortest soak that has a storm, and a calm after it.
const Shortest = warmUp + storm + calm

// run is a soak under way.
type run struct {
	options  Options
	world    *world
	schedule Schedule
	judge    *judge
	traffic  traffic
	begin    time.Time

	mu     sync.Mutex
	levels map[string][]Level
	peaks  map[string]int64
}

// Run soaks until the time is over or the context ends, and reports what was seen up to then. An error means that it
// could not be carried out; a broken rule is in the report.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if o.Duration < Shortest {
		return nil, fmt.Errorf("a soak takes %s at least", Shortest)
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	w, err := startWorld(ctx, o.Bin)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return nil, err
	}
	r := newRun(o, w)
	err = r.soak(ctx)
	r.final()
	return r.report(), err
}

func newRun(o Options, w *world) *run {
	kinds := map[string][]Fault{}
	for _, s := range w.subjects {
		for _, l := range s.lines {
			kinds[l.name] = l.faults()
		}
	}
	begin := time.Now()
	return &run{
		options: o, world: w, schedule: NewSchedule(o.Seed, o.Duration, kinds), traffic: traffic{by: map[string]Traffic{}},
		judge: newJudge(begin, func(v Violation) { _, _ = fmt.Fprintln(o.Progress, "soak: BROKEN:", v) }), begin: begin, levels: map[string][]Level{}, peaks: map[string]int64{},
	}
}

// soak runs everything until the end.
func (r *run) soak(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.options.Duration)
	defer cancel()
	_, _ = fmt.Fprintf(r.options.Progress, "soak: seed %d, %s, %d faults\n", r.options.Seed, r.options.Duration, len(r.schedule.Events))
	var work sync.WaitGroup
	failed := make(chan error, 16)
	for _, s := range r.world.subjects {
		for _, l := range s.lines {
			l.past.healthy = r.begin
			work.Go(func() { l.tell(ctx) })
			work.Go(func() { l.quiet.listen(ctx, l.down) })
			work.Go(func() {
				if err := l.act(ctx, r.begin, r.schedule.Events); err != nil {
					failed <- err
					cancel()
				}
			})
		}
		held := &holdings{}
		work.Go(func() { r.watch(ctx, s, held) })
		for _, c := range clients {
			work.Go(func() {
				c.scrape(ctx, s, r.options.Seed, &r.traffic, func(at scrape) {
					held.note(at)
					r.judge.scrape(s, at)
				})
			})
		}
	}
	work.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// final judges what can be judged at the end alone.
func (r *run) final() {
	for _, s := range r.world.subjects {
		for _, rule := range []string{ruleLeak, ruleMemory} {
			r.judge.look(rule, true, nil)
		}
		for _, finding := range judgeLevels(r.levels[s.name]) {
			r.complain(ruleOf(finding), s, finding)
		}
		events := 0
		for _, l := range s.lines {
			events += len(l.past.snapshot())
		}
		most := int64(logBytes + events*logBytesEvent)
		log, written := s.process.Output(), s.process.Written()
		r.judge.look(ruleLog, written <= most, r.violation(s, fmt.Sprintf("%d bytes of log for %d faults, at most %d are wanted", written, events, most)))
		for _, secret := range s.secrets {
			r.judge.look(ruleSecret, !strings.Contains(log, secret), r.violation(s, "a secret is in the log"))
		}
	}
}

func (r *run) violation(s *subject, detail string) func() Violation {
	return func() Violation {
		v := Violation{At: time.Since(r.begin), Target: s.name, Detail: detail}
		for _, l := range s.lines {
			v.Fault = strings.TrimPrefix(v.Fault+"; "+l.past.at(time.Now()), "; ")
		}
		return v
	}
}

func (r *run) complain(rule string, s *subject, detail string) {
	r.judge.look(rule, false, r.violation(s, detail))
}

func (r *run) report() *Report {
	report := &Report{
		Seed: r.options.Seed, Planned: r.options.Duration, Ran: time.Since(r.begin), Traffic: r.traffic.by, Faults: map[string]int{},
		Checks: r.judge.checks, Broken: r.judge.broken, Excused: r.judge.excused, Levels: r.levels, PeakRSS: r.peaks, LogBytes: map[string]int64{},
		Violations: r.judge.violations, Schedule: r.schedule,
	}
	for _, s := range r.world.subjects {
		report.LogBytes[s.name] = s.process.Written()
		for _, l := range s.lines {
			for _, i := range l.past.snapshot() {
				report.Faults[l.name+" "+string(i.Kind)]++
			}
		}
	}
	return report
}
