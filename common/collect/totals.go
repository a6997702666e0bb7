package collect

import (
	"log/slog"
	"maps"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// totals is what a target counts over its life.
type totals struct {
	scrapes    uint64
	duplicates uint64
	repaired   uint64
	limited    uint64
	failures   map[failure]uint64
	slow       map[*Collector]*part  // the answer that was counted last
	kinds      map[string]fault.Kind // how each collector last fared, so that a change is logged and no repetition
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

// add counts what a run brought, each part once however many callers share it.
func (t *totals) add(r *run, parts []*part, log *slog.Logger, up bool) {
	if r.full && !r.counted {
		r.counted = true
		t.scrapes++
	}
	for _, p := range parts {
		if p.state == pending || t.countedBefore(r, p) {
			continue
		}
		if p.batch != nil && p.state == finished {
			t.duplicates += uint64(p.batch.Duplicates)
			t.repaired += uint64(p.batch.Repaired)
			t.limited += uint64(p.batch.Limited)
		}
		if p.state == broken {
			t.failures[failure{p.collector.Name, p.kind}]++
		}
		if up { // that the target is down is said once, not once for each collector
			t.note(p, log)
		}
	}
}

// countedBefore tells whether a part was counted for an earlier caller, and takes note that it is now.
func (t *totals) countedBefore(r *run, p *part) bool {
	if p.collector.Class == Slow {
		before := t.slow[p.collector] == p
		t.slow[p.collector] = p
		return before
	}
	before := r.countedParts[p.collector]
	r.countedParts[p.collector] = true
	return before
}

// note logs when a collector begins to fail, fails in another way, or heals.
func (t *totals) note(p *part, log *slog.Logger) {
	if before := t.kinds[p.collector.Name]; before == p.kind {
		return
	}
	t.kinds[p.collector.Name] = p.kind
	if p.kind == fault.None {
		log.Info("collector works again", "collector", p.collector.Name)
		return
	}
	log.Warn("collector fails", "collector", p.collector.Name, "reason", p.kind, "err", p.err)
}

// noteTarget logs when the target's state changes.
func (t *Target) noteTarget(kind fault.Kind, err error) {
	t.mu.Lock()
	before, known := t.totals.kinds[""]
	t.totals.kinds[""] = kind
	t.mu.Unlock()
	switch {
	case known && before == kind:
	case kind == fault.None:
		t.log.Info("target is up")
	case kind == fault.Auth || kind == fault.Config || kind == fault.Denied:
		t.log.Error("target is down", "reason", kind, "err", err)
	default:
		t.log.Warn("target is down", "reason", kind, "err", err)
	}
}
