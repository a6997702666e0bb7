package collect

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// plan is what one batch holds, who reads each answer, and which collectors hold a dialogue after it.
type plan struct {
	questions []Question
	owners    []owner
	dialogues []*part
	next      *plan // the batch after this one, of what its answers led to
}

// follow gives the plan of the batch after this one.
func (p *plan) follow() *plan {
	if p.next == nil {
		p.next = &plan{}
	}
	return p.next
}

// owner takes the answer to its question. The batch was sent at asked, and the answer before was read at last.
type owner func(answer Answer, err error, asked, last time.Time)

func (p *plan) add(question Question, read owner) {
	p.questions, p.owners = append(p.questions, question), append(p.owners, read)
}

// ask puts all questions into one batch and reads the answers. When these tell that a replica has become a primary since
// the batch was planned, or the other way round, some questions were put to the one and some to the other, and some not
// at all: then all is planned and asked anew, once, so that no page mixes the two.
func (r *run) ask(ctx context.Context, conn Conn) (reusable bool, err error) {
	planned := conn.Identity()
	reusable, err = r.askAs(ctx, conn, planned)
	if err == nil && reusable && conn.Identity().Replica != planned.Replica {
		r.restart()
		reusable, err = r.askAs(ctx, conn, conn.Identity())
	}
	return reusable, err
}

// askAs asks what is planned for a server of that identity.
func (r *run) askAs(ctx context.Context, conn Conn, id Identity) (reusable bool, err error) {
	r.identified(id)
	reusable, err = r.carryOut(ctx, conn, r.plan(id))
	r.identified(conn.Identity())
	return reusable, err
}

// plan takes the probes first, then the cheap collectors, then the dear ones.
func (r *run) plan(id Identity) *plan {
	var p plan
	steps := []Operation{}
	for _, probe := range r.target.spec.Driver.Probes() {
		if probe.Skip == nil || !probe.Skip(id) {
			steps = append(steps, probe.Operation)
			p.add(probe.Question, func(answer Answer, err error, asked, _ time.Time) { r.probed(probe.Operation, answer, err, asked) })
		}
	}
	r.mu.Lock()
	r.divide()
	r.steps = steps
	r.mu.Unlock()
	if spec := r.target.spec.Members; spec != nil && r.full {
		p.add(spec.Question, func(answer Answer, err error, _, _ time.Time) { r.target.members.list(answer, err, spec.Admit) })
	}
	r.labelled(id)
	for _, class := range []Class{Cheap, Dear} {
		for _, part := range r.parts {
			if part.collector.Class == class {
				r.planPart(&p, part, id)
			}
		}
	}
	return &p
}

func (r *run) planPart(p *plan, part *part, id Identity) {
	questions, talk, missing, err := part.collector.questions(id)
	switch {
	case err != nil:
		r.publish(part, nil, err, 0)
	case missing != "":
		r.unsupported(part, missing)
	case part.collector.Run != nil:
		p.dialogues = append(p.dialogues, part)
	default:
		r.planRound(p, &reader{part: part, talk: talk, batch: r.batch(part.collector)}, questions)
	}
}

// planRound puts a collector's questions into a batch.
func (r *run) planRound(p *plan, to *reader, questions []Question) {
	to.plan, to.left = p, len(questions)
	to.rounds++
	for i, question := range questions {
		p.add(question, func(answer Answer, err error, _, last time.Time) { r.read(to, i, answer, err, last) })
	}
}

// questions says what to ask of this server first, in which talk if it is one, or what the server lacks.
func (c *Collector) questions(id Identity) (questions []Question, talk Talk, missing string, err error) {
	if missing = c.Needs.missing(id); missing != "" || c.Run != nil {
		return nil, nil, missing, nil
	}
	err = guard(func() error {
		if c.Talk == nil {
			questions = c.Ask(id)
			return nil
		}
		talk = c.Talk(id)
		questions = talk.Ask()
		return nil
	})
	if err == nil && len(questions) == 0 {
		missing = "version"
	}
	return questions, talk, missing, err
}

// labelled takes the labels that the server tells.
func (r *run) labelled(id Identity) {
	if r.target.spec.Identified != nil {
		r.labels = r.target.spec.Identified(id)
	}
}

// batch makes the batch for a collector's samples. Where members are asked, the samples that do not tell by themselves
// from which one they are get a label that does.
func (r *run) batch(c *Collector) *metric.Batch {
	spec := r.target.spec
	labels := append(slices.Clip(spec.Labels), r.labels...)
	if spec.Members != nil && c.PerMember && !c.labelled(spec.Members.Label) {
		labels = append(slices.Clone(labels), metric.Label{Name: spec.Members.Label, Value: cmp.Or(r.member, spec.Database)})
	}
	return metric.NewBatch(c.limit(), labels...)
}

// carryOut asks in one batch, and in more where answers led to questions; then it holds the dialogues one after another
// on the same connection. An error means that the connection is lost; one that is not reusable has to be closed though
// all went well for the others.
func (r *run) carryOut(ctx context.Context, conn Conn, p *plan) (reusable bool, err error) {
	for batch := p; batch != nil; batch = batch.next {
		if err := r.carryOutBatch(ctx, conn, batch); err != nil {
			return false, err
		}
	}
	reusable = true
	for _, part := range p.dialogues {
		reusable = r.dialogue(ctx, conn, part) && reusable
	}
	return reusable, nil
}

// carryOutBatch asks in one batch and reads the answers.
func (r *run) carryOutBatch(ctx context.Context, conn Conn, p *plan) error {
	asked, answers := time.Now(), 0
	last := asked
	err := conn.Do(ctx, p.questions, func(i int, answer Answer, err error) {
		answers++
		r.hear()
		p.owners[i](answer, err, asked, last)
		last = time.Now()
	})
	if err == nil && answers < len(p.questions) {
		err = fault.New(fault.Internal, "the driver left questions without an answer")
	}
	return err
}

// reader takes a collector's answers into a batch. The first error is the collector's.
type reader struct {
	part   *part
	plan   *plan // of the batch that it reads
	talk   Talk  // nil where the collector asks once
	rounds int
	left   int // questions of the batch without an answer
	batch  *metric.Batch
	err    error
	took   time.Duration
}

// read takes one answer, and publishes what the collector has with the last one.
func (r *run) read(to *reader, i int, answer Answer, err error, last time.Time) {
	collector := to.part.collector
	switch {
	case to.err != nil:
		err = nil
	case to.talk != nil:
		refused := err
		err = guard(func() error { return to.talk.Read(i, answer, refused, to.batch) })
	case err == nil:
		err = guard(func() error { return collector.Read(i, answer, to.batch) })
	}
	var more []Question
	if to.left--; to.left == 0 && err == nil && to.err == nil && to.talk != nil {
		more, err = to.nextRound()
	}
	if err != nil {
		to.err = fault.Wrap(collector.kind(err, r.target.spec.Driver), collector.Name, err)
	}
	to.took += time.Since(last)
	switch {
	case to.left > 0:
	case len(more) > 0:
		r.planRound(to.plan.follow(), to, more)
	default:
		r.publish(to.part, to.batch, to.err, to.took)
	}
}

// nextRound says what the talk asks next.
func (to *reader) nextRound() (questions []Question, err error) {
	err = guard(func() error { questions = to.talk.Ask(); return nil })
	if err == nil && len(questions) > 0 && to.rounds == maxRounds {
		return nil, fault.New(fault.Limited, "the talk does not end")
	}
	return questions, err
}

// kind tells the kind of what a collector's question met. A built-in one that asks for what is not there has met a
// server that lacks it; in one of a user's own it is a mistake, which must not pass for success.
func (c *Collector) kind(err error, driver Driver) fault.Kind {
	kind, known := driver.Classify(err), (*fault.Error)(nil)
	if c.Own && !errors.As(err, &known) && (kind == fault.Unsupported || kind == fault.Internal) {
		return fault.Config
	}
	return kind
}

// dialogue runs a collector that asks for itself, and tells whether the connection is in order afterwards: not where
// the dialogue broke off in the midst of a word.
func (r *run) dialogue(ctx context.Context, conn Conn, p *part) (reusable bool) {
	start, batch := time.Now(), r.batch(p.collector)
	err := guard(func() error { return p.collector.Run(ctx, conn, batch) })
	if err != nil {
		err = fault.Wrap(r.target.spec.Driver.Classify(err), p.collector.Name, err)
	}
	r.publish(p, batch, err, time.Since(start))
	switch fault.Of(err) {
	case fault.Unreachable, fault.Timeout, fault.Malformed, fault.Limited, fault.Internal:
		return false
	}
	return true
}
