package collect

import (
	"maps"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// totals is what a target counts over its life.
type totals struct {
	scrapes    uint64
	took       time.Duration // by all scrapes together
	duplicates uint64
	repaired   uint64
	limited    uint64
	failures   map[failure]uint64
	kinds      map[string]fault.Kind // how each collector last fared, so that a change is logged and no repetition
	status     health.Status         // of the target, as it was last logged
	fault      fault.Kind
	known      bool
}

// failure is what failures are counted by.
type failure struct {
	collector string
	reason    fault.Kind
}

func (t *totals) clone() totals {
	c := *t
	c.failures = maps.Clone(t.failures)
	return c
}

// miss counts what a caller did not get, once for a run however many callers share it.
func (t *totals) miss(r *run, parts []*part) {
	if r.full && !r.counted {
		r.counted = true
		t.scrapes++
		t.took += time.Since(r.started)
	}
	for _, p := range parts {
		if p.state != broken || r.failed[p.collector] {
			continue
		}
		if r.failed == nil {
			r.failed = map[*Collector]bool{}
		}
		r.failed[p.collector] = true
		t.failures[failure{p.collector.Name, p.kind}]++
	}
}

// settle counts what a run brought that has ended, and gives the collectors that fare otherwise than before. Where
// everybody hung up on the run, what it did not bring is no failure.
func (t *totals) settle(r *run, parts []*part, gone bool) (changed []*part) {
	if !gone {
		t.miss(r, parts)
	}
	for _, p := range parts {
		if p.state == finished {
			t.bring(p.batch)
		}
		if t.kinds[p.collector.Name] != p.kind {
			changed = append(changed, p)
		}
	}
	return changed
}

// bring counts what was wrong with samples that are published.
func (t *totals) bring(batch *metric.Batch) {
	t.duplicates += uint64(batch.Duplicates)
	t.repaired += uint64(batch.Repaired)
	t.limited += uint64(batch.Limited)
}

// noteCollectors logs the collectors that begin to fail, fail in another way, or heal. It is not called while the
// target is down: that is said once, not once for each collector.
func (t *Target) noteCollectors(changed []*part) {
	for _, p := range changed {
		t.mu.Lock()
		t.totals.kinds[p.collector.Name] = p.kind
		t.mu.Unlock()
		switch p.kind {
		case fault.None:
			t.log.Info("collector works again", "collector", p.collector.Name)
		case fault.Unsupported:
			t.log.Info("collector is not supported by the server", "collector", p.collector.Name, "err", p.err)
		default:
			t.log.Warn("collector fails", "collector", p.collector.Name, "reason", p.kind, "err", p.err)
		}
	}
}

// noteTarget logs when the target's state changes.
func (t *Target) noteTarget(check health.Check, err error) {
	status, kind := check.Status(), check.Fault()
	t.mu.Lock()
	same := t.totals.known && t.totals.status == status && t.totals.fault == kind
	t.totals.known, t.totals.status, t.totals.fault = true, status, kind
	t.mu.Unlock()
	switch {
	case same:
	case status == health.Up:
		t.log.Info("target is up")
	case status == health.Degraded:
		t.log.Warn("target is degraded", "reason", kind, "err", err)
	case kind == fault.Auth || kind == fault.Config || kind == fault.Denied:
		t.log.Error("target is down", "reason", kind, "err", err)
	default:
		t.log.Warn("target is down", "reason", kind, "err", err)
	}
}
