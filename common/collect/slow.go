package collect

import (
	"context"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// slowLimit bounds a background run of the slow collectors, from connecting to the last answer.
const slowLimit = time.Minute

// background keeps the last answers of the slow collectors of a target and asks again, on a connection that lives
// only as long, when a scrape finds one due.
type background struct {
	mu      sync.Mutex
	parts   map[*Collector]*part // nil before the first run has ended
	ended   chan struct{}        // closed when the present run ends; nil when none runs
	cancel  context.CancelFunc
	stopped bool
}

// start begins a run for the collectors that are due, unless one is under way; where the server is down for those apart
// from it. It gives what is closed at the end of
// the very first one, for which the scrape that began it waits; later scrapes wait for nothing.
func (b *background) start(t *Target, down bool) (first <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended != nil || b.stopped {
		return nil
	}
	r := &run{target: t}
	for _, collector := range t.spec.Collectors {
		if collector.Class == Slow && b.due(collector) && (collector.Apart || !down) {
			r.parts = append(r.parts, &part{collector: collector})
		}
	}
	if len(r.parts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), slowLimit)
	b.ended, b.cancel = make(chan struct{}), cancel
	go b.execute(ctx, t, r)
	if b.parts == nil {
		first = b.ended
	}
	return first
}

// due tells whether a collector has no answer or an old one. After a failure it is asked again within a minute.
func (b *background) due(c *Collector) bool {
	p := b.parts[c]
	if p == nil {
		return true
	}
	every, asked := c.Every, p.at
	if p.state == broken {
		every = min(every, time.Minute)
	}
	if p.failedAt.After(asked) {
		asked = p.failedAt
	}
	return time.Since(asked) >= every
}

func (b *background) execute(ctx context.Context, t *Target, r *run) {
	defer b.finish(t, r)
	if !r.askApart(ctx) {
		return
	}
	if err := guard(func() error { return r.converse(ctx, t.spec.Driver) }); err != nil {
		r.lose(err)
		return
	}
	r.askMembers(ctx)
}

// askApart runs the collectors that need no connection, and tells whether there are others.
func (r *run) askApart(ctx context.Context) (others bool) {
	for _, p := range r.parts {
		if !p.collector.Apart {
			others = true
			continue
		}
		r.dialogue(ctx, nil, p)
	}
	return others
}

// askMembers asks each member of the target in turn what was asked of the target itself. One that cannot be asked
// adds nothing; that it cannot is said by those who ask it within the scrape.
func (r *run) askMembers(ctx context.Context) {
	for _, name := range r.target.members.listed() {
		if ctx.Err() != nil {
			return
		}
		one := &run{target: r.target, member: name, parts: r.partsForMember()}
		if len(one.parts) == 0 {
			continue
		}
		if err := guard(func() error { return one.converse(ctx, r.target.spec.Members.Driver(name)) }); err != nil {
			one.lose(err)
		}
		r.addMember(one)
	}
}

// partsForMember gives what a member is asked: what the target itself has answered, and has room for.
func (r *run) partsForMember() []*part {
	var parts []*part
	for _, p := range r.parts {
		switch {
		case !p.collector.PerMember || p.state != finished:
		case p.members.room(p):
			parts = append(parts, &part{collector: p.collector})
		default:
			p.members.limited++ // nobody knows how many samples it has, but there are some
		}
	}
	return parts
}

// addMember puts what a member answered beside the target's own answer.
func (r *run) addMember(one *run) {
	for _, p := range r.parts {
		for _, more := range one.parts {
			if more.collector == p.collector && more.batch != nil {
				p.members.batches = append(p.members.batches, more.batch)
				p.members.series += more.batch.Len()
				p.members.limited += more.batch.Limited
			}
		}
	}
}

// slowMembers is what members answered to a slow collector.
type slowMembers struct {
	batches []*metric.Batch
	series  int
	limited int // samples left out, and members that were not asked
}

// room tells whether more may be asked: all members together may bring memberShare times what the collector may.
func (m slowMembers) room(p *part) bool { return m.series < memberShare*p.collector.limit() }

// converse asks on a connection that lives only as long.
func (r *run) converse(ctx context.Context, driver Driver) error {
	t := r.target
	t.link.opened.Add(1)
	conn, err := driver.Connect(ctx)
	if err != nil {
		return fault.Wrap(t.spec.Driver.Classify(err), "connecting", err)
	}
	defer conn.Close()
	var p plan
	r.labelled(conn.Identity())
	for _, part := range r.parts {
		if !part.collector.Apart {
			r.planPart(&p, part, conn.Identity())
		}
	}
	if _, err = r.carryOut(ctx, conn, &p); err != nil {
		return fault.Wrap(t.spec.Driver.Classify(err), "asking", err)
	}
	return nil
}

// finish counts and logs what failed, and keeps the answers.
func (b *background) finish(t *Target, r *run) {
	if !b.isStopped() {
		t.mu.Lock()
		changed := t.totals.settle(r, r.parts, false)
		t.mu.Unlock()
		t.noteCollectors(changed)
	}
	compact(r.parts)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keep(r.parts)
	b.cancel()
	close(b.ended)
	b.ended, b.cancel = nil, nil
}

func (b *background) isStopped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stopped
}

// compact makes answers small that are kept from one scrape to the next. Nobody else has seen them yet.
func compact(parts []*part) {
	for _, p := range parts {
		if p.batch != nil {
			p.batch.Compact()
		}
		for _, batch := range p.members.batches {
			batch.Compact()
		}
	}
}

// keep takes the place of earlier answers. A failure keeps the answer before it.
func (b *background) keep(parts []*part) {
	if b.parts == nil {
		b.parts = map[*Collector]*part{}
	}
	for _, now := range parts {
		if before := b.parts[now.collector]; now.state == broken && before != nil && before.batch != nil {
			kept := *before
			kept.state, kept.err, kept.kind, kept.failedAt = broken, now.err, now.kind, now.at
			now = &kept
		}
		b.parts[now.collector] = now
	}
}

// snapshot gives the state of every slow collector: pending before its first answer. The answer of one that fails is
// given until it is twice as old as it should become.
func (b *background) snapshot(c Catalogue, now time.Time) []*part {
	b.mu.Lock()
	defer b.mu.Unlock()
	var parts []*part
	for _, collector := range c {
		if collector.Class != Slow {
			continue
		}
		copied := part{collector: collector}
		if p := b.parts[collector]; p != nil {
			copied = *p
		}
		if copied.state == broken && now.Sub(copied.at) >= 2*collector.Every {
			copied.batch = nil
		}
		parts = append(parts, &copied)
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
