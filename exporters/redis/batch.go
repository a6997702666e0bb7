package main

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// inDatabase is a question that is put to another database than the connection's own.
func inDatabase(number int, question collect.Question) collect.Question {
	question.Prelude = []string{ask("SELECT", strconv.Itoa(number)).Text}
	return question
}

// Do asks all questions in one pipeline. A question that several collectors have is asked once, and one for which the
// server lacks the command is not asked again on this connection. At its end the connection's own database is selected.
func (c *conn) Do(ctx context.Context, questions []collect.Question, read func(int, collect.Answer, error)) error {
	if err := c.strayed(); err != nil {
		return err
	}
	b := &batch{conn: c, questions: questions, read: read, outcomes: make([]outcome, len(questions)), nonce: rand.Text()}
	commands, err := b.plan()
	if err != nil {
		return err
	}
	if len(b.sent) > 0 {
		err = c.talk(ctx, commands, func() error { return b.receive(ctx) })
	}
	if err != nil {
		return err
	}
	if err := b.askElsewhere(ctx); err != nil {
		return err
	}
	b.deliver()
	return b.astray
}

// batch is one pipeline with who waits for what of it.
type batch struct {
	conn      *conn
	questions []collect.Question
	read      func(int, collect.Answer, error)
	outcomes  []outcome // by question
	sent      []command
	next      int // question to be read
	nonce     string
	elsewhere []moved // questions that another node of the cluster has to answer
	astray    error   // why the connection's own database could not be selected again
	refusal   error   // of the last change of the database
	away      bool    // another database than the connection's own is selected
}

// command is a question that is sent, or a change of the database.
type command struct {
	question int    // -1 for a change of the database
	home     bool   // it goes back to the connection's own
	name     string // as in conn.lacking
	nonce    bool   // its answer must be the batch's nonce
}

// outcome is what is known of a question's answer.
type outcome struct {
	known  bool
	same   int // 1 + the question whose answer it shares
	shared int // questions that wait for this one's answer
	tree   *tree
	err    error
}

// plan puts the questions into a pipeline.
func (b *batch) plan() (commands []byte, err error) {
	send := func(cmd command, args []string) {
		b.sent = append(b.sent, cmd)
		commands = appendCommand(commands, b.conn.wire(args)...)
	}
	first, selected := map[string]int{}, ""
	for i, question := range b.questions {
		prelude := strings.Join(question.Prelude, "")
		if at, asked := first[prelude+question.Text]; asked && question.Text != ask(asking).Text {
			b.outcomes[i] = outcome{same: at + 1}
			b.outcomes[at].shared++
			continue
		}
		first[prelude+question.Text] = i
		args, err := arguments(question)
		if err != nil {
			return nil, err
		}
		if err := b.conn.lacks(args); err != nil {
			b.outcomes[i] = outcome{known: true, err: err}
			continue
		}
		if node := b.conn.nodes.home(question); node != "" {
			b.elsewhere = append(b.elsewhere, moved{question: i, node: node})
			continue
		}
		if prelude != selected {
			change, err := b.conn.change(prelude)
			if err != nil {
				return nil, err
			}
			send(command{question: -1, home: prelude == ""}, change)
			selected = prelude
		}
		cmd := command{question: i, name: commandName(args)}
		if cmd.nonce = len(args) == 1 && args[0] == ping && !has(b.conn.id, sentinel); cmd.nonce {
			args = append(args, b.nonce)
		}
		send(cmd, args)
	}
	if selected != "" {
		change, err := b.conn.change("")
		send(command{question: -1, home: true}, change)
		return commands, err
	}
	return commands, nil
}

// change is the command of a prelude, or the one that goes back to the connection's own database.
func (c *conn) change(prelude string) ([]string, error) {
	if prelude == "" {
		return []string{"SELECT", strconv.Itoa(c.database)}, nil
	}
	return arguments(collect.Question{Text: prelude})
}

// wire gives a command as the server knows it.
func (c *conn) wire(args []string) []string {
	if name, renamed := c.driver.renamed[strings.ToUpper(args[0])]; renamed {
		return append([]string{name}, args[1:]...)
	}
	return args
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

// receive reads the replies to all that was sent.
func (b *batch) receive(ctx context.Context) error {
	for _, cmd := range b.sent {
		raw, ended, err := b.conn.line.begin()
		if err != nil {
			return err
		}
		if b.conn.line.long() && b.alone(cmd) {
			err = b.pass(cmd, b.conn.line.read(ctx, raw))
		} else {
			var parsed value
			if parsed, err = b.conn.line.finish(raw, ended); err == nil {
				err = b.take(cmd, parsed)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// alone tells whether an answer is the list of clients, which may be long, and one collector waits for it, whose turn it
// is: then it can read the list as it arrives.
func (b *batch) alone(cmd command) bool {
	b.deliver()
	return cmd.name == clientLines && b.next == cmd.question && b.outcomes[cmd.question].shared == 0 && b.refusal == nil
}

// pass hands out an answer that is still arriving, and reads what of it is left over.
func (b *batch) pass(cmd command, text *longText) error {
	b.next++
	b.read(cmd.question, &reply{tree: &tree{}, long: text}, nil)
	for range text.lines() {
	}
	return text.err
}

// take takes note of a reply.
func (b *batch) take(cmd command, parsed value) error {
	refused := parsed.Err()
	if cmd.question < 0 {
		b.changed(cmd, refused)
		return nil
	}
	switch to := &b.outcomes[cmd.question]; {
	case b.refusal != nil: // it was put to another database than meant
		to.known, to.err = true, b.refusal
	case refused != nil:
		b.refused(cmd, refused)
	case cmd.nonce && parsed.Text() != b.nonce:
		return fault.New(fault.Malformed, "an answer to another question")
	default:
		to.known, to.tree = true, &tree{value: parsed}
	}
	b.deliver()
	return nil
}

// changed takes note of whether the database was changed. A change that was refused leaves the one before, which is the
// connection's own where none was made.
func (b *batch) changed(cmd command, refused error) {
	switch {
	case refused == nil:
		b.away, b.refusal = !cmd.home, nil
	case cmd.home && !b.away:
		b.refusal = nil
	default:
		b.refusal = refused
	}
	b.astray = nil
	if cmd.home {
		b.astray = b.refusal
	}
}

// refused takes note of what the server says instead of an answer.
func (b *batch) refused(cmd command, err error) {
	to := &b.outcomes[cmd.question]
	if next, sent := b.conn.nodes.moved(cmd.question, b.questions[cmd.question], err); sent {
		b.elsewhere = append(b.elsewhere, next)
		return
	}
	to.known = true
	if cmd.nonce && answers(err) {
		to.tree = &tree{}
		return
	}
	to.err = err
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

// deliver hands out answers in order, as far as they are known.
func (b *batch) deliver() {
	for ; b.next < len(b.outcomes); b.next++ {
		from := &b.outcomes[b.next]
		if from.same > 0 {
			from = &b.outcomes[from.same-1]
		}
		if !from.known {
			return
		}
		if b.outcomes[b.next].same > 0 {
			from.shared--
		}
		if from.err != nil {
			b.read(b.next, nil, from.err)
			continue
		}
		b.conn.note(b.questions[b.next], from.tree)
		answer := &reply{tree: from.tree}
		if from.shared == 0 {
			from.tree = nil // it may be large
		}
		b.read(b.next, answer, nil)
	}
}

// note keeps the identity up to date, so that a failover is seen without a question of its own.
func (c *conn) note(question collect.Question, answer *tree) {
	if question.Text == ask(infoAll...).Text {
		c.identified(answer.Info())
	}
}
