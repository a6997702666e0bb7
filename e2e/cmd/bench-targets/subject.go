package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// Phases beside that of the load.
const (
	few       = 100              // targets that are scraped before all are, or stall
	more      = 400              // that stall beside them
	rest      = 10 * time.Second // until what is idle is looked at
	every     = 5 * time.Second  // is looked at what is used, under load
	warm      = 2 * time.Minute  // until what is used must not grow
	timeout   = 10 * time.Second // as Prometheus' default
	atOnce    = 2 * time.Second  // all silent targets are asked within
	lookAfter = 4 * time.Second  // the memory of silent ones is looked at after
)

// subject is an exporter and what was measured of it.
type subject struct {
	bench.Asked
	plan     plan
	field    *bench.Field
	duration time.Duration

	empty, fewIdle, fewStalled bench.Usage // with no targets, with few idle ones; what more use that stall
	begin, early, end, idle    bench.Usage // of the load: its begin, when it is warm, its end, and some time after it
	load                       *bench.Outcome
}

// measure goes through the phases.
func (s *subject) measure(ctx context.Context, dir string) (err error) {
	e, err := s.Begin(ctx, s.plan.bin, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Stop()) }()
	for _, phase := range []func(context.Context, *servers.Exporter) error{s.withNone, s.withFew, s.withAll} {
		if err := phase(ctx, e); err != nil {
			return err
		}
	}
	fresh, err := s.Begin(ctx, s.plan.bin, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fresh.Stop()) }()
	return s.withStalled(ctx, fresh)
}

func (s *subject) withNone(ctx context.Context, e *servers.Exporter) (err error) {
	s.empty, err = settled(ctx, e)
	return err
}

func (s *subject) withFew(ctx context.Context, e *servers.Exporter) error {
	var live []string
	for n, address := range s.field.Addresses {
		if s.field.Live(n) && len(live) < few {
			live = append(live, e.URL+s.URL(address))
		}
	}
	load := bench.Load{URLs: live, Live: func(int) bool { return true }, Up: s.Up, Interval: s.plan.interval, Wait: timeout}
	_, err := load.Run(ctx, s.plan.interval) // what is wrong is seen when all are scraped
	if err == nil {
		s.fewIdle, err = settled(ctx, e)
	}
	return err
}

// withAll loads the exporter and looks at what it uses meanwhile. The first scrapes of all, which connect, are spread over
// a longer time and do not count: one server cannot admit a thousand clients within seconds.
func (s *subject) withAll(ctx context.Context, e *servers.Exporter) error {
	load := bench.Load{Live: s.field.Live, Up: s.Up, Interval: s.plan.interval, Wait: timeout}
	for _, address := range s.field.Addresses {
		load.URLs = append(load.URLs, e.URL+s.URL(address))
	}
	begin := load
	begin.Interval = s.plan.first
	if _, err := begin.Run(ctx, s.plan.first); err != nil {
		return err
	}
	var err error
	if s.begin, err = bench.Used(ctx, e); err != nil {
		return err
	}
	began, done := time.Now(), make(chan error, 1)
	go func() {
		var err error
		s.load, err = load.Run(ctx, s.duration)
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if err == nil {
				s.idle, err = settled(ctx, e)
			}
			return err
		case <-time.After(every):
		}
		used, err := bench.Used(ctx, e)
		if err != nil {
			return err
		}
		s.note(used, time.Since(began))
	}
}

// note keeps the largest of what is used while the load is warm: in the first and in the last quarter of that time.
func (s *subject) note(used bench.Usage, since time.Duration) {
	begin := min(warm, s.duration/3)
	quarter := (s.duration - begin) / 4
	switch {
	case since < begin:
	case since < begin+quarter:
		s.early = most(s.early, used)
	case since >= s.duration-quarter:
		s.end = most(s.end, used)
	}
	fmt.Fprintf(os.Stderr, "%s %4.0f s: %.1f MB, %.1f MB live, %d descriptors, %.0f goroutines\n",
		s.Name, since.Seconds(), float64(used.RSS)/1e6, used.Live/1e6, used.FDs, used.Goroutines)
}

func most(x, y bench.Usage) bench.Usage {
	return bench.Usage{
		RSS: max(x.RSS, y.RSS), Peak: max(x.Peak, y.Peak), CPU: max(x.CPU, y.CPU), FDs: max(x.FDs, y.FDs),
		Goroutines: max(x.Goroutines, y.Goroutines), Live: max(x.Live, y.Live),
	}
}

// withStalled asks an exporter that has seen nothing yet for targets that never answer, all at once, and looks while it
// waits for them: first for few and then for more, whose difference is what one of them costs.
func (s *subject) withStalled(ctx context.Context, e *servers.Exporter) error {
	first, err := s.waiting(ctx, e, few)
	if err != nil {
		return err
	}
	if _, err := settled(ctx, e); err != nil {
		return err
	}
	s.fewStalled, err = s.waiting(ctx, e, few+more)
	s.fewStalled.RSS -= first.RSS
	s.fewStalled.Live -= first.Live
	s.fewStalled.Goroutines -= first.Goroutines
	return err
}

// waiting looks at what is used while so many targets are waited for.
func (s *subject) waiting(ctx context.Context, e *servers.Exporter, count int) (used bench.Usage, err error) {
	silent, err := bench.NewSilent(count)
	if err != nil {
		return used, err
	}
	load := bench.Load{Live: func(int) bool { return false }, Up: s.Up, Interval: atOnce, Wait: timeout}
	for _, address := range silent.Addresses {
		load.URLs = append(load.URLs, e.URL+s.URL(address))
	}
	done := make(chan error, 1)
	go func() {
		outcome, err := load.Run(ctx, atOnce)
		done <- errors.Join(err, outcome.Problem)
	}()
	time.Sleep(lookAfter)
	used, err = bench.Used(ctx, e)
	return used, errors.Join(err, <-done, silent.Close())
}

// settled looks at what is used after some rest.
func settled(ctx context.Context, e *servers.Exporter) (bench.Usage, error) {
	select {
	case <-time.After(rest):
	case <-ctx.Done():
	}
	return bench.Used(ctx, e)
}
