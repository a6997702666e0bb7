package collect

import (
	"context"
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
	Series     int // of all of them
	At         time.Time
	Took       time.Duration
	Usage      Usage

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
	page.Add(r.batches...)
}

// compose makes the result of a run, as far as it has got where it has not ended.
func (t *Target) compose(r *run, ended bool) *Result {
	result, parts := r.snapshot(ended)
	return t.complete(r, result, parts)
}

// partial is the result for a caller whose wait is over before the run's end.
func (t *Target) partial(ctx context.Context, r *run) *Result {
	result, parts := r.snapshot(false)
	if timeUp(ctx) {
		t.mu.Lock()
		t.totals.miss(r, parts)
		t.mu.Unlock()
	}
	return t.complete(r, result, parts)
}

// without is the result for a caller for whom nothing could be asked.
func (t *Target) without(ctx context.Context, full bool, err error) *Result {
	r := newRun(t, full)
	r.lose(err)
	return t.partial(ctx, r)
}

// complete adds what the slow collectors have and what the exporter says of itself.
func (t *Target) complete(r *run, result *Result, parts []*part) *Result {
	result.At = time.Now()
	result.Took = result.At.Sub(r.started)
	if r.full {
		parts = append(parts, t.slow.snapshot(t.spec.Collectors, result.At)...)
	}
	result.Collectors = make([]CollectorState, len(parts))
	for i, p := range parts {
		result.Collectors[i] = p.describe(result.At)
		result.Series += result.Collectors[i].Series
		if p.batch != nil {
			result.batches = append(append(result.batches, p.batch), p.members.batches...)
		}
	}
	var members memberParts
	if spec := t.spec.Members; spec != nil && r.full {
		var states []memberState
		members, states = t.members.snapshot(result.At, r.started, spec.Connections)
		result.batches = append(result.batches, members.batches...)
		result.batches = append(result.batches, t.self.members(t, states))
	}
	t.mu.Lock()
	totals := t.totals.clone()
	t.mu.Unlock()
	result.batches = append(result.batches, t.self.batch(t, result, parts, members, totals))
	return result
}

func (p *part) describe(now time.Time) CollectorState {
	s := CollectorState{Name: p.collector.Name, Missing: p.missing, Took: p.took}
	if p.state == broken {
		s.Fault, s.Err = p.kind, p.err
	}
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
