package collect

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// run is one pass over a target: the questions of the health check and, when full, of all collectors.
type run struct {
	target  *Target
	member  string // the one that is asked, "" for the target itself
	full    bool
	started time.Time
	cancel  context.CancelFunc

	// Written by the run alone before it closes done.
	done     chan struct{}
	ended    time.Time
	first    []<-chan struct{} // each closed when something in the background has answered for the first time
	complete sync.Once         // when all have

	labels []metric.Label // that the server tells; written and read while planning and asking alone

	// Under the target's lock.
	result    *Result // of a run that has ended
	waiters   int
	abandoned bool                // nobody waits any more; it was told to stop
	overdue   bool                // some caller waited in vain until his time was up
	longest   time.Duration       // that a caller may wait
	counted   bool                // as a scrape
	failed    map[*Collector]bool // counted as failures

	mu       sync.Mutex // holds all below
	identity Identity
	health   health.Check
	steps    []Operation // of the health check, as far as they were asked
	failure  error       // of the first step that failed by itself
	parts    []*part     // one for each enabled collector, in the catalogue's order, once they were divided
	lost     error       // why the rest of the questions got no answer
	answered bool
	usage    Usage
}

// part is one collector's share of a run.
type part struct {
	collector *Collector
	state     state
	missing   string // what the server lacks, when unsupported
	err       error
	kind      fault.Kind
	batch     *metric.Batch
	took      time.Duration
	at        time.Time // when it was finished
	failedAt  time.Time // slow class: when asking again failed, while the batch of an earlier run is kept
	members   slowMembers
}

type state uint8

const (
	pending state = iota
	finished
	broken
	unsupported
)

func newRun(t *Target, full bool) *run {
	return &run{target: t, full: full, started: time.Now(), done: make(chan struct{})}
}

// divide makes the parts of a full run, under its lock: when something is to be asked or to be said of them, since a run
// that waits for a server which is silent has no use for them all that time.
func (r *run) divide() {
	if !r.full || r.parts != nil {
		return
	}
	all := make([]part, len(r.target.spec.Collectors))
	r.parts = make([]*part, 0, len(all))
	for i, collector := range r.target.spec.Collectors {
		if collector.Class != Slow {
			all[i].collector = collector
			r.parts = append(r.parts, &all[i])
		}
	}
}

// waitFor takes note of what the first scrape waits for, if it is something.
func (r *run) waitFor(first <-chan struct{}) {
	if first != nil {
		r.first = append(r.first, first)
	}
}

// guard calls a driver or a collector and turns a panic into an error that says where it was.
func guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &fault.Error{Kind: fault.Internal, Op: "panic", Err: fmt.Errorf("%v\n%s", p, debug.Stack())}
		}
	}()
	return call()
}

// publish hands a collector's samples over, whole or not at all.
func (r *run) publish(p *part, batch *metric.Batch, err error, took time.Duration) {
	if err == nil {
		if f := batch.Undeclared(p.collector.declares); f != nil {
			err = fault.New(fault.Internal, "the collector does not declare "+f.Name)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.took, p.at = took, time.Now()
	if err == nil {
		p.state, p.batch = finished, batch
		return
	}
	p.state, p.err, p.kind = broken, err, fault.Of(err)
	if p.kind == fault.Unsupported {
		p.state, p.missing = unsupported, "server"
	}
}

func (r *run) unsupported(p *part, missing string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.state, p.missing, p.at = unsupported, missing, time.Now()
}

// connected takes note of the connect step of the health check.
func (r *run) connected(fresh bool, took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.health.Connect = health.Outcome{Asked: true, Fault: fault.Of(err)}
	if err == nil {
		r.health.Connect.Kept, r.health.Connect.Latency = !fresh, took
	}
}

// identified takes note of what the connection knows of the server.
func (r *run) identified(id Identity) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.identity = id
}

// probed takes note of a step of the health check. Its time is that from sending the batch to the step's answer.
func (r *run) probed(operation Operation, answer Answer, err error, asked time.Time) {
	if err == nil {
		err = Drain(answer) // only that it can be read counts
	}
	outcome := health.Outcome{Asked: true, Latency: max(time.Since(asked), 1)}
	if err != nil {
		err = fault.Wrap(r.target.spec.Driver.Classify(err), string(operation), err)
		outcome.Fault = fault.Of(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if step := step(&r.health, operation); step != nil {
		*step = outcome
	}
	r.failure = cmp.Or(r.failure, err)
}

func step(check *health.Check, operation Operation) *health.Outcome {
	switch operation {
	case Connection:
		return &check.Connect
	case Ping:
		return &check.Ping
	case Read:
		return &check.Read
	case Write:
		return &check.Write
	}
	return nil
}

// hear takes note that the server has answered something.
func (r *run) hear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = true
}

func (r *run) heard() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answered
}

// restart forgets what was planned and answered: for a connection that broke before its first answer, or for a server
// that changed its role.
func (r *run) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.health, r.failure = health.Check{Connect: r.health.Connect}, nil
	for _, p := range r.parts {
		*p = part{collector: p.collector}
	}
}

// lose marks what got no answer.
func (r *run) lose(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.divide()
	r.lost = err
	for _, p := range r.parts {
		if p.state == pending {
			p.state, p.err, p.kind, p.at = broken, err, fault.Of(err), time.Now()
		}
	}
}

// cause gives the error behind a target that is not up.
func (r *run) cause() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return cmp.Or(r.lost, r.failure)
}

// check gives the health check of a run that has ended.
func (r *run) check() health.Check {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checkLocked(r.lost)
}

// checkLocked gives the health check as far as it got. The first step left open has failed in the way that whatever
// ended the run did; those after it were not tried.
func (r *run) checkLocked(open error) health.Check {
	check := r.health
	if open == nil {
		return check
	}
	left := health.Outcome{Asked: true, Fault: fault.Of(open)}
	if !check.Connect.Asked {
		check.Connect = left
	}
	if !check.Connect.OK() {
		return check
	}
	steps := r.steps
	if steps == nil {
		steps = []Operation{Ping}
	}
	for _, operation := range steps {
		if step := step(&check, operation); step != nil && !step.Asked {
			*step = left
			break
		}
	}
	return check
}

// snapshot copies the state of a run. What is still open when a caller's time is up has timed out for that caller.
func (r *run) snapshot(ended bool) (*Result, []*part) {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := r.lost
	if open == nil && !ended {
		open = fault.New(fault.Timeout, "no answer in time")
	}
	check := r.checkLocked(open)
	result := &Result{
		Up: check.Status() != health.Down, Fault: check.Fault(), Err: cmp.Or(r.lost, r.failure),
		Identity: r.identity, Health: check, Usage: r.usage,
	}
	if result.Err == nil && result.Fault != fault.None {
		result.Err = open
	}
	r.divide()
	copies, parts := make([]part, len(r.parts)), make([]*part, len(r.parts))
	for i, p := range r.parts {
		copies[i], parts[i] = *p, &copies[i]
		if p.state == pending {
			parts[i].state, parts[i].err, parts[i].kind = broken, open, fault.Of(open)
		}
	}
	return result, parts
}
