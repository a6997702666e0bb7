package collect

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// run is one pass over a target: the questions of the health check and, when full, of all collectors.
type run struct {
	target    *Target
	full      bool
	started   time.Time
	done      chan struct{}
	cancel    context.CancelFunc
	waiters   int // under the target's lock
	abandoned atomic.Bool

	mu       sync.Mutex
	identity Identity
	health   health.Check
	parts    []*part // one for each enabled collector, in the catalogue's order
	lost     error   // why the rest of the questions got no answer
	step     error   // why a step of the health check failed, the first if several did
	answered bool
	usage    Usage

	// Under the target's lock: what has been added to its totals.
	counted      bool
	countedParts map[*Collector]bool
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
}

type state uint8

const (
	pending state = iota
	finished
	broken
	unsupported
)

func newRun(t *Target, full bool) *run {
	r := &run{target: t, full: full, started: time.Now(), done: make(chan struct{}), countedParts: map[*Collector]bool{}}
	if full {
		for _, collector := range t.spec.Collectors {
			if collector.Class != Slow {
				r.parts = append(r.parts, &part{collector: collector})
			}
		}
	}
	return r
}

// execute is the goroutine of a run. A panic of a driver ends the run, never the process.
func (t *Target) execute(ctx context.Context, r *run) {
	defer t.finish(r)
	defer r.cancel()
	defer func() {
		if p := recover(); p != nil {
			t.link.drop()
			r.lose(caught(p))
		}
	}()
	before := t.link.usage()
	r.lose(t.converse(ctx, r))
	after := t.link.usage()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.usage = Usage{after.TurnArounds - before.TurnArounds, after.Received - before.Received, after.Sent - before.Sent}
}

// caught turns a panic into an error that says where it was.
func caught(p any) error {
	return &fault.Error{Kind: fault.Internal, Op: "panic", Err: fmt.Errorf("%v\n%s", p, debug.Stack())}
}

// converse connects if needed and asks. A kept connection that breaks before its first answer was closed by the
// server while idle: it is replaced once, so that a restart of the server costs no scrape.
func (t *Target) converse(ctx context.Context, r *run) error {
	for {
		conn, fresh, err := t.link.open(ctx)
		r.connected(fresh, t.link.took, err)
		if err != nil {
			return err
		}
		if err = r.ask(ctx, conn); err == nil {
			return nil
		}
		t.link.drop()
		err = fault.Wrap(t.spec.Driver.Classify(err), "asking", err)
		if fresh || r.hasAnswer() || ctx.Err() != nil {
			return err
		}
	}
}

// ask puts all questions into one batch and reads the answers; collectors that hold a dialogue run beside it.
func (r *run) ask(ctx context.Context, conn Conn) error {
	err := r.carryOut(ctx, conn, r.plan(conn.Identity()))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.identity = conn.Identity()
	return err
}

func (r *run) carryOut(ctx context.Context, conn Conn, p *plan) error {
	var dialogues sync.WaitGroup
	defer dialogues.Wait()
	for _, part := range p.dialogues {
		dialogues.Go(func() { r.dialogue(ctx, conn, part) })
	}
	asked := time.Now()
	last := asked
	return conn.Do(ctx, p.questions, func(i int, answer Answer, err error) {
		p.owners[i](answer, err, asked, last)
		last = time.Now()
	})
}

// plan is what one batch holds, and who reads each answer.
type plan struct {
	questions []Question
	owners    []func(answer Answer, err error, asked, last time.Time)
	dialogues []*part
}

// plan takes the probes first, then the cheap collectors, then the dear ones.
func (r *run) plan(id Identity) *plan {
	var p plan
	for _, probe := range r.target.spec.Driver.Probes() {
		if probe.Skip == nil || !probe.Skip(id) {
			p.questions = append(p.questions, probe.Question)
			p.owners = append(p.owners, func(answer Answer, err error, asked, _ time.Time) { r.probed(probe.Operation, answer, err, asked) })
		}
	}
	for _, class := range []Class{Cheap, Dear} {
		for _, part := range r.parts {
			if part.collector.Class == class && part.state == pending {
				r.planPart(&p, part, id)
			}
		}
	}
	return &p
}

func (r *run) planPart(p *plan, part *part, id Identity) {
	questions, missing, err := part.collector.questions(id)
	switch {
	case err != nil:
		r.publish(part, nil, err, 0)
	case missing != "":
		r.unsupported(part, missing)
	case part.collector.Run != nil:
		p.dialogues = append(p.dialogues, part)
	default:
		reader := &reader{collector: part.collector, count: len(questions), batch: r.target.batch(part.collector)}
		for i, question := range questions {
			p.questions = append(p.questions, question)
			p.owners = append(p.owners, func(answer Answer, err error, _, last time.Time) {
				if reader.read(i, answer, err, r.target.spec.Driver) {
					r.publish(part, reader.batch, reader.err, reader.took+time.Since(last))
				}
				reader.took += time.Since(last)
			})
		}
	}
}

// questions says what to ask of this server, or what it lacks.
func (c *Collector) questions(id Identity) (questions []Question, missing string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = caught(p)
		}
	}()
	if missing = c.Needs.missing(id); missing != "" || c.Run != nil {
		return nil, missing, nil
	}
	if questions = c.Ask(id); len(questions) == 0 {
		missing = "version"
	}
	return questions, missing, nil
}

// reader takes a collector's answers into a batch. The first error is the collector's.
type reader struct {
	collector *Collector
	count     int
	seen      int
	batch     *metric.Batch
	err       error
	took      time.Duration
}

// read takes one answer and tells whether it was the last.
func (r *reader) read(i int, answer Answer, err error, driver Driver) bool {
	r.seen++
	if err == nil && r.err == nil {
		err = r.safely(i, answer)
	}
	if err != nil && r.err == nil {
		r.err = fault.Wrap(driver.Classify(err), r.collector.Name, err)
	}
	return r.seen == r.count
}

func (r *reader) safely(i int, answer Answer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = caught(p)
		}
	}()
	return r.collector.Read(i, answer, r.batch)
}

// dialogue runs a collector that asks for itself.
func (r *run) dialogue(ctx context.Context, conn Conn, p *part) {
	start, batch := time.Now(), r.target.batch(p.collector)
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = caught(p)
			}
		}()
		return p.collector.Run(ctx, conn, batch)
	}()
	if err != nil {
		err = fault.Wrap(r.target.spec.Driver.Classify(err), p.collector.Name, err)
	}
	r.publish(p, batch, err, time.Since(start))
}

func (t *Target) batch(c *Collector) *metric.Batch {
	return metric.NewBatch(c.limit(), t.spec.Labels...)
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
	if err != nil {
		p.state, p.err, p.kind = broken, err, fault.Of(err)
		if p.kind == fault.Unsupported {
			p.state, p.missing = unsupported, "server"
		}
		return
	}
	p.state, p.batch, r.answered = finished, batch, true
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
	r.health.Connect = health.Outcome{Asked: true, Kept: !fresh, Latency: took, Fault: fault.Of(err)}
}

// probed takes note of a step of the health check. Its time is that from sending the batch to the step's answer.
func (r *run) probed(operation Operation, answer Answer, err error, asked time.Time) {
	if err == nil {
		for answer.Next() { // only that it can be read counts
		}
		err = answer.Err()
	}
	outcome := health.Outcome{Asked: true, Latency: max(time.Since(asked), 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		err = fault.Wrap(r.target.spec.Driver.Classify(err), string(operation), err)
		outcome.Fault = fault.Of(err)
		r.step = cmp.Or(r.step, err)
	}
	r.answered = true
	switch operation {
	case Ping:
		r.health.Ping = outcome
	case Read:
		r.health.Read = outcome
	case Write:
		r.health.Write = outcome
	}
}

// lose marks what got no answer, if err is one.
func (r *run) lose(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
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
	return cmp.Or(r.lost, r.step)
}

func (r *run) hasAnswer() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answered
}

// check gives the health check as far as it got. Steps that a lost connection left open have failed like it.
func (r *run) check() health.Check {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checkLocked(fault.Of(r.lost))
}

func (r *run) checkLocked(open fault.Kind) health.Check {
	check := r.health
	if open == fault.None {
		return check
	}
	for _, step := range []*health.Outcome{&check.Connect, &check.Ping, &check.Read} {
		if !step.Asked {
			*step = health.Outcome{Asked: true, Fault: open}
			break // what comes after it was not tried
		}
		if step.Fault != fault.None {
			break
		}
	}
	return check
}
