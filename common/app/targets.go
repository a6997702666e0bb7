package app

import (
	"container/list"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// probedIdle is how long a target that /probe was asked for keeps its connection.
const probedIdle = 10 * time.Minute

// targets are those that the configuration names, and those that /probe was asked for.
type targets struct {
	self *collect.Self
	log  *slog.Logger
	most int // that /probe was asked for

	mu     sync.Mutex
	static []*kept
	probed map[string]*list.Element // of order
	order  *list.List               // of *kept: the one that was not asked for the longest comes first
}

// kept is a target with what it was made from.
type kept struct {
	*collect.Target
	key  string
	used time.Time
}

func newTargets(self *collect.Self, log *slog.Logger, most int) *targets {
	return &targets{self: self, log: log, most: most, probed: map[string]*list.Element{}, order: list.New()}
}

// apply makes a configuration the present one. Targets that it leaves as they were keep their connections and counts.
func (t *targets) apply(setup *Setup) {
	t.mu.Lock()
	before := t.static
	t.static = nil
	for _, wanted := range setup.Targets {
		at := slices.IndexFunc(before, func(k *kept) bool { return k.key == wanted.Key })
		if at >= 0 {
			t.static = append(t.static, before[at])
			before = slices.Delete(slices.Clone(before), at, at+1)
			continue
		}
		t.static = append(t.static, t.make(wanted.Spec, wanted.Key))
	}
	for t.order.Len() > 0 { // what allows a probe may have changed
		before = append(before, t.forget(t.order.Front()))
	}
	t.mu.Unlock()
	closeAll(before)
}

func (t *targets) make(spec collect.Spec, key string) *kept {
	return &kept{Target: collect.NewTarget(spec, t.self, t.log), key: key, used: time.Now()}
}

func closeAll(old []*kept) {
	for _, k := range old {
		k.Close()
	}
}

// serve begins what the targets of the configuration do in the background.
func (t *targets) serve() {
	for _, k := range t.all() {
		k.Serve()
	}
}

// all gives the targets that the configuration names.
func (t *targets) all() []*kept {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.static)
}

// probe gives the target that /probe was asked for, with the connection that an earlier probe left.
func (t *targets) probe(wanted Probed) (*kept, error) {
	k, idle := t.use(wanted.Key, nil)
	if k == nil {
		spec, err := wanted.Describe() // which may read files: no other target waits for it
		if err != nil {
			return nil, err
		}
		k, idle = t.use(wanted.Key, &spec)
	}
	closeAll(idle)
	return k, nil
}

// use takes note that the probed target of a key is asked for, and makes it where there is none and a description is
// given. It gives those that are to be closed, too.
func (t *targets) use(key string, spec *collect.Spec) (k *kept, idle []*kept) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.probed[key]
	switch {
	case at == nil && spec == nil:
		return nil, nil
	case at == nil:
		at = t.order.PushBack(t.make(*spec, key))
		t.probed[key] = at
	}
	k = at.Value.(*kept)
	k.used = time.Now()
	t.order.MoveToBack(at)
	return k, t.evict()
}

// evict takes out the probed targets that were not asked for in a while, and the longest idle ones above the bound.
func (t *targets) evict() []*kept {
	var idle []*kept
	for first := t.order.Front(); first != nil; first = t.order.Front() {
		if len(t.probed) <= t.most && time.Since(first.Value.(*kept).used) <= probedIdle {
			break
		}
		idle = append(idle, t.forget(first))
	}
	return idle
}

// forget takes a probed target out.
func (t *targets) forget(at *list.Element) *kept {
	k := t.order.Remove(at).(*kept)
	delete(t.probed, k.key)
	return k
}

// close ends every connection.
func (t *targets) close() { t.apply(&Setup{}) }

// scrape asks all targets of the configuration at once and puts what they say on a page.
func (t *targets) scrape(ctx context.Context) *metric.Page {
	page := &metric.Page{}
	for _, result := range each(t.all(), func(k *kept) *collect.Result { return k.Scrape(ctx) }) {
		result.AddTo(page)
	}
	return page
}

// check looks at the health of all targets at once.
func (t *targets) check(ctx context.Context) []health.Report {
	return each(t.all(), func(k *kept) health.Report {
		result := k.Check(ctx)
		report := k.Health() // what this look found holds, also where a run of longer patience is still waiting
		report.Status, report.Fault, report.Check = result.Health.Status(), result.Health.Fault(), result.Health
		return report
	})
}

// each calls a function for every element at once and gives the results in order.
func each[T, R any](all []T, call func(T) R) []R {
	results := make([]R, len(all))
	var wg sync.WaitGroup
	for i, one := range all {
		wg.Go(func() { results[i] = call(one) })
	}
	wg.Wait()
	return results
}
