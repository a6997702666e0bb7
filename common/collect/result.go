package collect

import (
	"cmp"
	"slices"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Result is what a caller gets from a scrape: what was finished when its time was up.
type Result struct {
	Up         bool
	Fault      fault.Kind // why it is not up
	Err        error      // the same for a log or a terminal, never for a label
	Identity   Identity
	Health     health.Check
	Collectors []CollectorState
	At         time.Time
	Took       time.Duration
	Usage      Usage

	full    bool
	batches []*metric.Batch
}

// CollectorState is how one collector fared.
type CollectorState struct {
	Name    string
	Fault   fault.Kind
	Missing string // what the server lacks for it, where it was not asked
	Err     error
	Series  int
	Took    time.Duration
	Age     time.Duration // of the answer, in the slow class
}

// AddTo puts the samples of the result on a page.
func (r *Result) AddTo(page *metric.Page) {
	for _, batch := range r.batches {
		page.Add(batch)
	}
}

// compose makes the result of a run as far as it has got, and counts what failed.
func (t *Target) compose(r *run) *Result {
	result := &Result{At: time.Now(), full: r.full}
	result.Took = result.At.Sub(r.started)
	parts := r.snapshot(result)
	if r.full {
		parts = append(parts, t.slow.snapshot(t.spec.Collectors)...)
	}
	t.mu.Lock()
	t.totals.add(r, parts, t.log, result.Up)
	totals := t.totals.clone()
	t.mu.Unlock()
	for _, p := range parts {
		result.Collectors = append(result.Collectors, p.describe(result.At))
		if p.batch != nil {
			result.batches = append(result.batches, p.batch)
		}
	}
	result.batches = append(result.batches, t.self.batch(t, result, parts, totals))
	return result
}

// snapshot copies the state of a run. What is still open when a caller's time is up has timed out for that caller.
func (r *run) snapshot(result *Result) []*part {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := fault.Of(r.lost)
	select {
	case <-r.done:
	default:
		if open == fault.None {
			open = fault.Timeout
		}
	}
	result.Health, result.Identity, result.Usage = r.checkLocked(open), r.identity, r.usage
	result.Up, result.Fault = result.Health.Status() != health.Down, result.Health.Fault()
	result.Err = cmp.Or(r.lost, r.step)
	parts := make([]*part, len(r.parts))
	for i, p := range r.parts {
		parts[i] = p
		if p.state == pending {
			late := *p
			late.state, late.kind = broken, fault.Timeout
			late.err = fault.New(fault.Timeout, "no answer in time")
			parts[i] = &late
		}
	}
	return parts
}

func (p *part) describe(now time.Time) CollectorState {
	s := CollectorState{Name: p.collector.Name, Fault: p.kind, Missing: p.missing, Err: p.err, Took: p.took}
	if p.batch != nil {
		s.Series = p.batch.Len()
		if p.collector.Class == Slow {
			s.Age = now.Sub(p.at)
		}
	}
	return s
}

// Find gives the state of a collector by name.
func (r *Result) Find(name string) (CollectorState, bool) {
	at := slices.IndexFunc(r.Collectors, func(c CollectorState) bool { return c.Name == name })
	if at < 0 {
		return CollectorState{}, false
	}
	return r.Collectors[at], true
}
