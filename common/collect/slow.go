package collect

import (
	"context"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// slowLimit bounds a background run of the slow collectors, from connecting to the last answer.
const slowLimit = time.Minute

// background keeps the last answers of the slow collectors of a target and asks again, on a connection that lives
// only as long, when a scrape finds one due.
type background struct {
	mu      sync.Mutex
	parts   map[*Collector]*part
	ended   chan struct{} // closed when the present run ends; nil when none runs
	cancel  context.CancelFunc
	stopped bool
}

// start begins a run for the collectors that are due, unless one is under way.
func (b *background) start(t *Target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended != nil || b.stopped {
		return
	}
	r := &run{target: t, full: true}
	for _, collector := range t.spec.Collectors {
		if collector.Class == Slow && b.due(collector) {
			r.parts = append(r.parts, &part{collector: collector})
		}
	}
	if len(r.parts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), slowLimit)
	b.ended, b.cancel = make(chan struct{}), cancel
	go b.execute(ctx, t, r)
}

// due tells whether a collector has no answer or an old one. After a failure it is asked again within a minute.
func (b *background) due(c *Collector) bool {
	p := b.parts[c]
	if p == nil {
		return true
	}
	every := c.Every
	if p.kind != fault.None {
		every = min(every, time.Minute)
	}
	return time.Since(p.lookedAt()) >= every
}

// lookedAt is when the collector was last asked, with whatever outcome.
func (p *part) lookedAt() time.Time {
	if p.failedAt.After(p.at) {
		return p.failedAt
	}
	return p.at
}

func (b *background) execute(ctx context.Context, t *Target, r *run) {
	defer b.finish(r)
	defer func() {
		if p := recover(); p != nil {
			r.lose(caught(p))
		}
	}()
	conn, err := t.spec.Driver.Connect(ctx)
	if err != nil {
		r.lose(fault.Wrap(t.spec.Driver.Classify(err), "connecting", err))
		return
	}
	defer conn.Close()
	var p plan
	for _, part := range r.parts {
		r.planPart(&p, part, conn.Identity())
	}
	if err = r.carryOut(ctx, conn, &p); err != nil {
		r.lose(fault.Wrap(t.spec.Driver.Classify(err), "asking", err))
	}
}

// finish keeps the answers. A failure keeps the answer before it until that is twice as old as it should be.
func (b *background) finish(r *run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parts == nil {
		b.parts = map[*Collector]*part{}
	}
	for _, now := range r.parts {
		before := b.parts[now.collector]
		if now.state == broken && before != nil && before.batch != nil && time.Since(before.at) < 2*now.collector.Every {
			kept := *before
			kept.state, kept.err, kept.kind, kept.failedAt = broken, now.err, now.kind, now.at
			now = &kept
		}
		b.parts[now.collector] = now
	}
	b.cancel()
	close(b.ended)
	b.ended, b.cancel = nil, nil
}

// awaitFirst waits for a run under way while some slow collector has never been answered, so that the first page is
// whole where time allows.
func (b *background) awaitFirst(ctx context.Context) {
	b.mu.Lock()
	ended := b.ended
	if len(b.parts) > 0 {
		ended = nil
	}
	b.mu.Unlock()
	if ended == nil {
		return
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// snapshot gives the state of every slow collector: pending before its first answer.
func (b *background) snapshot(c Catalogue) []*part {
	b.mu.Lock()
	defer b.mu.Unlock()
	var parts []*part
	for _, collector := range c {
		if collector.Class != Slow {
			continue
		}
		if p := b.parts[collector]; p != nil {
			parts = append(parts, p)
		} else {
			parts = append(parts, &part{collector: collector})
		}
	}
	return parts
}

func (b *background) stop() {
	b.mu.Lock()
	b.stopped = true
	ended := b.ended
	if b.cancel != nil {
		b.cancel()
	}
	b.mu.Unlock()
	if ended != nil {
		<-ended
	}
}
