package collect

import (
	"context"
	"log/slog"
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
	Collectors Catalogue // the enabled ones
}

// Target is one backend, scraped by any number of callers at once through one kept connection.
type Target struct {
	spec    Spec
	self    *Self
	log     *slog.Logger
	service *health.Service
	link    link // touched by the present run only
	slow    background

	mu      sync.Mutex
	current *run
	last    *Result
	totals  totals
	closed  bool
}

// NewTarget returns a target that connects when it is first asked.
func NewTarget(spec Spec, self *Self, log *slog.Logger) *Target {
	return &Target{
		spec: spec, self: self, log: log.With("target", spec.Name),
		service: health.NewService(spec.Service, spec.Database, spec.DriverType),
		link:    link{driver: spec.Driver},
		totals:  totals{failures: map[failure]uint64{}, slow: map[*Collector]*part{}, kinds: map[string]fault.Kind{}},
	}
}

// Name gives the name of the target as people write it.
func (t *Target) Name() string { return t.spec.Name }

// Health gives the state that the last run found, without asking.
func (t *Target) Health() health.Report { return t.service.Report() }

// Last gives the newest whole result, or nil before the first.
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
	for {
		r, shared := t.join(full)
		if shared != nil {
			return shared
		}
		if r == nil {
			return t.refused(full)
		}
		if r.joined(full) {
			return t.await(ctx, r)
		}
		select { // a run that was told to stop, or that asks too little, is in the way
		case <-r.done:
		case <-ctx.Done():
			return t.refused(full)
		}
	}
}

// join gives a result that may be shared, the run to wait for, or neither on a closed target. A run that can be
// shared has one more waiter afterwards.
func (t *Target) join(full bool) (*run, *Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last != nil && (t.last.full || !full) && time.Since(t.last.At) < shareFor {
		return nil, t.last
	}
	if t.closed {
		return nil, nil
	}
	if t.current == nil {
		t.current = newRun(t, full)
		ctx, cancel := context.WithCancel(context.Background())
		t.current.cancel = cancel
		go t.execute(ctx, t.current)
	}
	if r := t.current; r.joined(full) {
		r.waiters++
	}
	return t.current, nil
}

// joined tells whether a run answers what a caller asks. It is called with or without the target's lock: what it
// reads changes only under the lock, from joinable to not, and a run that nobody waits for is about to end.
func (r *run) joined(full bool) bool { return (r.full || !full) && !r.abandoned.Load() }

// await waits for a run and, on the very first scrape, for the slow collectors. Whoever leaves last ends the run.
func (t *Target) await(ctx context.Context, r *run) *Result {
	defer t.leave(r)
	select {
	case <-r.done:
	case <-ctx.Done():
		return t.compose(r)
	}
	if r.full {
		t.slow.awaitFirst(ctx)
	}
	result := t.compose(r)
	t.mu.Lock()
	t.last = result
	t.mu.Unlock()
	return result
}

func (t *Target) leave(r *run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.waiters--; r.waiters == 0 {
		r.abandoned.Store(true)
		r.cancel()
	}
}

// finish is the end of a run: its result can be shared from now on.
func (t *Target) finish(r *run) {
	check := r.check()
	t.service.Record(check, time.Now())
	t.noteTarget(check.Fault(), r.cause())
	if r.full && check.Status() != health.Down {
		t.slow.start(t)
	}
	t.mu.Lock()
	if t.current == r {
		t.current = nil
	}
	t.mu.Unlock()
	close(r.done)
}

// refused is the answer to a caller whose time ended while another run was in the way.
func (t *Target) refused(full bool) *Result {
	r := newRun(t, full)
	r.lose(fault.New(fault.Busy, "an earlier run has not ended"))
	return t.compose(r)
}

// Close ends the connections. A run in flight is told to stop.
func (t *Target) Close() {
	t.slow.stop()
	t.mu.Lock()
	t.closed = true
	r := t.current
	t.mu.Unlock()
	if r != nil {
		r.cancel()
		<-r.done
	}
	t.link.drop()
}
