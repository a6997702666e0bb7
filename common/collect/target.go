package collect

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// shareFor is how long a result is good for whoever asks next: two Prometheis that scrape the same exporter at nearly
// the same moment cost the backend one scrape.
const shareFor = 500 * time.Millisecond

// Spec is what a target is made of.
type Spec struct {
	Name       string // as people write it, such as host:port/database; never holds a secret
	Service    string // its name in the health check
	Database   string // the db_name of its health metrics
	DriverType int    // health.PostgreSQL and so on, 0 for none
	Labels     []metric.Label
	Driver     Driver
	Collectors Catalogue                     // the enabled ones
	Members    *Members                      // nil where only the target itself is asked
	Identified func(Identity) []metric.Label // labels of what is collected that only the server tells; nil for none
}

// Target is one backend, scraped by any number of callers at once through one kept connection.
type Target struct {
	spec    Spec
	self    *Self
	log     *slog.Logger
	service *health.Service
	link    link // touched by the present run only
	slow    background
	members members
	closing sync.Once
	work    work

	mu      sync.Mutex
	current *run
	scraped *run    // the last full one that somebody waited for, while its result is shared
	checked *run    // the last other one
	last    *Result // as Last gives it
	totals  totals
	closed  bool
}

// NewTarget returns a target that connects when it is first asked.
func NewTarget(spec Spec, self *Self, log *slog.Logger) *Target {
	return &Target{
		spec: spec, self: self, log: log.With("target", spec.Name),
		service: health.NewService(spec.Service, spec.Database, spec.DriverType),
		link:    link{driver: spec.Driver},
		totals:  totals{failures: map[failure]uint64{}, kinds: map[string]fault.Kind{}},
	}
}

// Name gives the name of the target as people write it.
func (t *Target) Name() string { return t.spec.Name }

// Health gives the state that the last run found, without asking.
func (t *Target) Health() health.Report { return t.service.Report() }

// Last gives the newest whole result, nil before the first. It is without samples, which are kept only while they are
// shared, and of the collectors it has those alone that failed or that the server cannot have.
func (t *Target) Last() *Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// Scrape asks everything that is due. At the context's deadline it gives what is finished, with the rest marked as
// timed out; it never takes longer than the context.
func (t *Target) Scrape(ctx context.Context) *Result { return t.get(ctx, true) }

// Check asks the questions of the health check alone, or shares a scrape that runs or has just run.
func (t *Target) Check(ctx context.Context) *Result { return t.get(ctx, false) }

func (t *Target) get(ctx context.Context, full bool) *Result {
	for ctx.Err() == nil {
		r, joined := t.join(ctx, full)
		switch {
		case r == nil:
			return t.without(ctx, full, fault.New(fault.Busy, "the target is closed"))
		case joined:
			return t.await(ctx, r)
		}
		select { // a run that was told to stop, or that asks too little, is in the way
		case <-r.done:
		case <-ctx.Done():
			return t.without(ctx, full, fault.New(fault.Busy, "an earlier run has not ended"))
		}
	}
	return t.without(ctx, full, fault.Wrap(fault.Timeout, "waiting for the target", ctx.Err()))
}

// join gives the run whose result the caller may have, one that has to end before another can begin, or nothing on a
// closed target.
func (t *Target) join(caller context.Context, full bool) (r *run, joined bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, last := range []*run{t.scraped, t.checked} {
		if last != nil && (last.full || !full) && time.Since(last.ended) < shareFor {
			last.waiters++
			return last, true
		}
	}
	if t.closed {
		return nil, false
	}
	if t.current == nil {
		ctx, cancel := context.WithCancel(withPatience(context.Background(), caller))
		t.current = newRun(t, full)
		t.current.cancel = cancel
		go t.execute(ctx, t.current)
	}
	r = t.current
	if joined = !r.abandoned && (r.full || !full) && r.open(caller); joined {
		r.waiters++
	}
	return r, joined
}

// open tells whether a run can be joined: for as long as the longest that one of its callers may wait, counted from the
// run's beginning. Without that limit callers who overlap would keep a run alive whose server has long fallen silent, and
// each would be told that the server had answered.
func (r *run) open(caller context.Context) bool {
	if r.waiters > 0 && time.Since(r.started) > r.longest {
		return false
	}
	if deadline, limited := caller.Deadline(); limited {
		r.longest = max(r.longest, time.Until(deadline))
	} else {
		r.longest = math.MaxInt64
	}
	return true
}

// await waits for a run and, on the very first scrape, for the slow collectors.
func (t *Target) await(ctx context.Context, r *run) *Result {
	defer t.leave(ctx, r)
	select {
	case <-r.done:
	case <-ctx.Done():
		return t.partial(ctx, r)
	}
	for _, first := range r.first {
		select {
		case <-first:
		case <-ctx.Done():
		}
	}
	switch {
	case len(r.first) > 0 && ctx.Err() != nil: // some of it may be there
		return t.compose(r, true)
	case len(r.first) > 0:
		t.completed(r)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return r.result
}

// completed adds the first answers from the background to the result of the first scrape.
func (t *Target) completed(r *run) {
	r.complete.Do(func() {
		result := t.compose(r, true)
		t.mu.Lock()
		defer t.mu.Unlock()
		r.result = result
		t.note(result)
	})
}

// note keeps what a whole result tells and people want to know afterwards. Where the target is down, all collectors
// failed for the one reason that the result has itself.
func (t *Target) note(result *Result) {
	kept := *result
	kept.batches, kept.Collectors = nil, nil
	for _, c := range result.Collectors {
		if result.Up && (c.Err != nil || c.Missing != "") {
			kept.Collectors = append(kept.Collectors, c)
		}
	}
	kept.Collectors = slices.Clip(kept.Collectors)
	t.last = &kept
}

// leave is the end of a caller's wait. Whoever leaves last ends the run.
func (t *Target) leave(ctx context.Context, r *run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.overdue = r.overdue || timeUp(ctx)
	if r.waiters--; r.waiters == 0 {
		r.abandoned = true
		r.cancel()
	}
}

// timeUp tells a caller who waited until his deadline, which says something about the target, from one who hung up.
func timeUp(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

// execute is the goroutine of a run. A panic of a driver ends the run, never the process.
func (t *Target) execute(ctx context.Context, r *run) {
	defer t.finish(r)
	defer r.cancel()
	err := guard(func() error { return t.converse(ctx, r) })
	if err != nil {
		r.lose(err)
		_ = t.hangUp() // why the run has failed is known already
	}
}

// converse connects if needed and asks, and counts what that costs.
func (t *Target) converse(ctx context.Context, r *run) error {
	before := t.link.usage()
	err := t.attempt(ctx, &t.link, r)
	var more Usage
	if err == nil && r.full && t.spec.Members != nil {
		var first <-chan struct{}
		more, first = t.askMembers(ctx)
		r.waitFor(first)
	}
	after := t.link.usage()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.usage = after.minus(before).plus(more)
	return err
}

// attempt asks on the kept connection. One that breaks before its first answer was closed by the server while idle:
// it is replaced once, so that a restart of the server costs no scrape.
func (t *Target) attempt(ctx context.Context, line *link, r *run) error {
	for {
		conn, fresh, err := line.open(ctx)
		r.connected(fresh, line.took, err)
		if err != nil {
			return err
		}
		reusable, err := r.ask(ctx, conn)
		if _, once := conn.(Once); once && err == nil {
			reusable = false
		}
		if err == nil && reusable {
			return nil
		}
		if err != nil {
			err = fault.Wrap(t.spec.Driver.Classify(err), "asking", err)
		}
		line.drop()
		if err == nil || r.heard() || ctx.Err() != nil {
			return err
		}
		if fresh {
			line.failed(err)
			return err
		}
		r.restart()
	}
}

// hangUp closes the connection whatever the driver does about it.
func (t *Target) hangUp() error {
	return guard(func() error { t.link.drop(); return nil })
}

// finish is the end of a run: its result can be shared from now on. It is made only where somebody waits for it.
func (t *Target) finish(r *run) {
	r.ended = time.Now()
	result, parts := r.snapshot(true)
	t.mu.Lock()
	left := r.waiters == 0
	gone := r.abandoned && !r.overdue // nobody waited, and nothing failed but for that
	changed := t.totals.settle(r, parts, gone)
	t.mu.Unlock()
	if check := r.check(); !gone {
		t.service.Record(check, r.ended)
		t.noteTarget(check, r.cause())
		down := check.Status() == health.Down
		if r.full && !down {
			t.noteCollectors(changed)
		}
		if r.full {
			r.waitFor(t.slow.start(t, down))
		}
	}
	if !left {
		result = t.complete(r, result, parts)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r.result = result
	if !r.abandoned && r.full {
		t.scraped = r
		t.note(result)
	} else if !r.abandoned {
		t.checked = r
	}
	t.current = nil
	close(r.done)
	time.AfterFunc(shareFor, func() { t.forget(r) })
}

// forget drops a run whose result is no longer shared: between two scrapes, a target holds no samples.
func (t *Target) forget(r *run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.scraped == r {
		t.scraped = nil
	}
	if t.checked == r {
		t.checked = nil
	}
}

// Close ends the connections. A run in flight is told to stop.
func (t *Target) Close() {
	t.closing.Do(func() {
		t.work.stop()
		t.slow.stop()
		t.mu.Lock()
		t.closed = true
		r := t.current
		if r != nil {
			r.abandoned = true
			r.cancel()
		}
		t.mu.Unlock()
		if r != nil {
			<-r.done
		}
		t.members.stop()
		if err := t.hangUp(); err != nil {
			t.log.Warn("closing the connection failed", "err", err)
		}
	})
}
