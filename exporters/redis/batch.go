package main

import (
	"context"
	"crypto/rand"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Do asks all questions in one pipeline. A question that several collectors have is asked once, and one for which the
// server lacks the command is not asked again on this connection.
func (c *conn) Do(ctx context.Context, questions []collect.Question, read func(int, collect.Answer, error)) error {
	if c.guard != nil && (c.guard.frame.inside() || c.guard.replies != c.asked) {
		return fault.New(fault.Malformed, "the server says what nobody asked")
	}
	defer context.AfterFunc(ctx, c.abandon)() // which ends whatever is read or written
	b := &batch{conn: c, questions: questions, read: read, outcomes: make([]outcome, len(questions)), nonce: rand.Text()}
	pipe, err := b.plan(ctx)
	if err != nil {
		return err
	}
	c.meter.Allow(maxBatch)
	if len(b.sent) > 0 {
		_, err = pipe.Exec(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case b.arrived < len(b.sent), c.guard == nil:
		return fault.New(fault.Malformed, "the server's answers ended early")
	}
	if c.asked == 0 { // replies to the library's own words are among them
		c.asked = c.guard.replies
	} else {
		c.asked += len(b.sent)
	}
	b.deliver(len(questions))
	return nil
}

// batch is one pipeline with who waits for what of it.
type batch struct {
	conn      *conn
	questions []collect.Question
	read      func(int, collect.Answer, error)
	outcomes  []outcome // by question
	sent      []command
	arrived   int
	next      int // question to be read
	nonce     string
}

// command is a question that is sent.
type command struct {
	question int
	name     string // as in conn.lacking
	nonce    bool   // its answer must be the batch's nonce
}

// outcome is what is known of a question's answer.
type outcome struct {
	same   int // 1 + the question whose answer it shares
	shared int // questions that wait for this one's answer
	tree   *tree
	err    error
}

// plan puts the questions into a pipeline.
func (b *batch) plan(ctx context.Context) (goredis.Pipeliner, error) {
	pipe, into := b.conn.session.Pipeline(), &sink{take: b.take}
	first := map[string]int{}
	for i, question := range b.questions {
		if at, asked := first[question.Text]; asked {
			b.outcomes[i].same = at + 1
			b.outcomes[at].shared++
			continue
		}
		first[question.Text] = i
		args, err := arguments(question)
		if err != nil {
			return nil, err
		}
		if b.outcomes[i].err = b.conn.lacks(args); b.outcomes[i].err != nil {
			continue
		}
		cmd := command{question: i, name: commandName(args)}
		if cmd.nonce = len(args) == 1 && args[0] == ping && !has(b.conn.id, sentinel); cmd.nonce {
			args = append(args, b.nonce)
		}
		b.sent = append(b.sent, cmd)
		_ = pipe.Process(ctx, goredis.NewRawWriteToCmd(ctx, into, b.conn.wire(args)...)) // which only queues it
	}
	return pipe, nil
}

// wire gives a command as the server knows it.
func (c *conn) wire(args []string) []any {
	sent := make([]any, len(args))
	for i, arg := range args {
		sent[i] = arg
	}
	if name, renamed := c.driver.renamed[strings.ToUpper(args[0])]; renamed {
		sent[0] = name
	}
	return sent
}

// lacks tells why a command is not worth asking for.
func (c *conn) lacks(args []string) error {
	if name, renamed := c.driver.renamed[strings.ToUpper(args[0])]; renamed && name == "" {
		return fault.New(fault.Unsupported, "the configuration says that the server lacks "+args[0])
	}
	if err := c.lacking[strings.ToUpper(args[0])]; err != nil {
		return err
	}
	return c.lacking[commandName(args)]
}

// commandName is the command with its subcommand, if it has one.
func commandName(args []string) string {
	return strings.ToUpper(strings.Join(args[:min(2, len(args))], " "))
}

// take is called with each reply as it arrives.
func (b *batch) take(raw []byte) error {
	cmd := b.sent[b.arrived]
	b.arrived++
	parsed, err := parseReply(raw)
	if err != nil {
		return err
	}
	if refused := parsed.Err(); refused != nil {
		b.refused(cmd, refused)
	} else if cmd.nonce && parsed.Text() != b.nonce {
		return fault.New(fault.Malformed, "an answer to another question")
	} else {
		b.outcomes[cmd.question].tree = &tree{value: parsed}
	}
	b.deliver(cmd.question + 1)
	return nil
}

// refused takes note of what the server says instead of an answer.
func (b *batch) refused(cmd command, err error) {
	if cmd.nonce && answers(err) {
		b.outcomes[cmd.question].tree = &tree{}
		return
	}
	b.outcomes[cmd.question].err = err
	if absent, name := absence(err, cmd.name); absent && !vital(name) {
		if b.conn.lacking == nil {
			b.conn.lacking = map[string]error{}
		}
		b.conn.lacking[name] = err
	}
}

// vital tells the commands without which nothing is known of a server. They are asked for again, whatever was said: a
// server that lacks them is none, and what stands there for a while may be replaced by one on the same connection.
func vital(name string) bool { return name == ping || name == infoAll[0] }

// deliver hands out what is known of the questions before one.
func (b *batch) deliver(before int) {
	for ; b.next < before; b.next++ {
		from := &b.outcomes[b.next]
		if from.same > 0 {
			from = &b.outcomes[from.same-1]
			from.shared--
		}
		if from.err != nil {
			b.read(b.next, nil, from.err)
			continue
		}
		b.conn.note(b.questions[b.next], from.tree)
		b.read(b.next, &reply{tree: from.tree}, nil)
		if from.shared == 0 {
			from.tree = nil // it may be large
		}
	}
}

// note keeps the identity up to date, so that a failover is seen without a question of its own.
func (c *conn) note(question collect.Question, answer *tree) {
	if question.Text == ask(infoAll...).Text {
		c.identified(answer.Info())
	}
}
