package soak

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// holdings is what the newest page says that the exporter holds.
type holdings struct {
	mu               sync.Mutex
	goroutines, heap float64
}

var (
	goroutines = regexp.MustCompile(`(?m)^go_goroutines (\S+)$`)
	nextGC     = regexp.MustCompile(`(?m)^go_memstats_next_gc_bytes (\S+)$`)
)

func (h *holdings) note(at scrape) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range []struct {
		pattern *regexp.Regexp
		into    *float64
	}{{goroutines, &h.goroutines}, {nextGC, &h.heap}} {
		if found := one.pattern.FindSubmatch(at.body); found != nil {
			if value, err := strconv.ParseFloat(string(found[1]), 64); err == nil {
				*one.into = value
			}
		}
	}
}

// watch looks at the process twice a second, and takes its level at the end of each calm.
func (r *run) watch(ctx context.Context, s *subject, held *holdings) {
	calms := r.schedule.Calm
	var level Level
	for sleep(ctx, 500*time.Millisecond) {
		select {
		case <-s.process.Done():
			r.complain(ruleLives, s, "the exporter has ended:\n"+last(s.process.Output(), 3000))
			return
		default:
		}
		now := r.measure(s, held)
		now.At = time.Since(r.begin)
		switch {
		case len(calms) == 0:
		case now.At > calms[0].To:
			if level.At > 0 {
				r.take(s, level)
			}
			level, calms = Level{}, calms[1:]
		case now.At > calms[0].To-levelWindow:
			if level.At == 0 {
				level = now
			}
			level = level.least(now)
		}
	}
	if level.At > 0 {
		r.take(s, level)
	}
}

// measure asks what the process holds.
func (r *run) measure(s *subject, held *holdings) Level {
	var now Level
	now.RSS, _ = s.process.RSS() // fails where it has ended, which is seen
	now.Files, _ = s.process.FDs()
	for _, l := range s.lines {
		now.Connections += int(l.proxy.Stats().Open)
	}
	held.mu.Lock()
	now.Goroutines, now.Heap = int(held.goroutines), int64(held.heap/2)
	held.mu.Unlock()
	r.mu.Lock()
	r.peaks[s.name] = max(r.peaks[s.name], now.RSS)
	r.mu.Unlock()
	r.judge.look(ruleMemory, now.RSS <= mostRSS, r.violation(s, fmt.Sprintf("%d bytes of resident memory", now.RSS)))
	return now
}

// take keeps a level, and tells of it.
func (r *run) take(s *subject, level Level) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.levels[s.name] = append(r.levels[s.name], level)
	r.judge.mu.Lock()
	broken := total(r.judge.broken)
	r.judge.mu.Unlock()
	_, _ = fmt.Fprintf(r.options.Progress, "soak: %5s %-9s %3d goroutines, %3d files, %2d connections, heap %5.1f MiB, RSS %5.1f MiB; %d times a rule was broken\n",
		level.At.Round(time.Second), s.name, level.Goroutines, level.Files, level.Connections,
		float64(level.Heap)/(1<<20), float64(level.RSS)/(1<<20), broken)
}

func last(text string, most int) string { return text[max(0, len(text)-most):] }
