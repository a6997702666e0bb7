package dialogue

import (
	"errors"
	"io"
	"slices"
)

// say sends a command when the next answer is waited for.
func (d *Dialogue) say(command string) bool { return d.sayShown(command, command) }

// sayShown is say for a command that shows otherwise in the transcript. What the server has said unasked before it is
// never taken for the answer.
func (d *Dialogue) sayShown(command, shown string) bool {
	if d.in.Buffered() > 0 {
		return d.unasked()
	}
	d.note('C', shown)
	return d.put([]byte(command + "\r\n"))
}

// put sends bytes as they are.
func (d *Dialogue) put(b []byte) bool {
	if _, err := d.conn.Write(b); err != nil {
		return d.lost(err)
	}
	return true
}

// unasked ends the dialogue where a server speaks out of turn: a 421 is allowed to it, nothing else.
func (d *Dialogue) unasked() bool {
	r, ok := d.answer()
	if !ok {
		return false
	}
	d.speaking = false
	if r.code == 421 {
		return d.fail(Unavailable, r, errors.New(r.String()))
	}
	return d.fail(BadReply, r, errors.New("the server spoke unasked: "+r.String()))
}

// answer reads the next reply.
func (d *Dialogue) answer() (reply, bool) {
	d.speaking = false
	r, err := d.hear()
	if err != nil {
		return r, d.lost(err)
	}
	d.speaking = r.code != 421
	return r, true
}

// hear reads a reply and takes note of it.
func (d *Dialogue) hear() (reply, error) {
	r, err := readReply(d.in)
	d.report.BareLF = d.report.BareLF || r.bareLF
	d.noteReply(r, err == nil)
	return r, err
}

// codes gives the codes that are wanted in a phase.
func (d *Dialogue) codes(phase Phase, usual ...int) []int {
	if own := d.plan.Codes[phase]; len(own) > 0 {
		return own
	}
	return usual
}

// expect reads the reply that ends a phase.
func (d *Dialogue) expect(phase Phase, usual ...int) (reply, bool) {
	r, ok := d.answer()
	return r, ok && d.judge(phase, r, usual...)
}

// judge ends a phase by its reply. With no usual codes, any of 2xx is wanted.
func (d *Dialogue) judge(phase Phase, r reply, usual ...int) bool {
	wanted := d.codes(phase, usual...)
	if slices.Contains(wanted, r.code) || len(wanted) == 0 && r.code/100 == 2 {
		d.leave(true, r)
		return true
	}
	return d.fail(judgeReply(phase, r), r, errors.New(r.String()))
}

// turn is a command and what becomes of the answer to it.
type turn struct {
	phase   Phase
	command string
	content []byte           // what goes with the command
	accept  func(reply) bool // ends the phase, and tells whether the next turn is due
}

// converse takes turns: all commands at once where the server takes them so, else one after another. It tells whether
// all were accepted.
func (d *Dialogue) converse(together bool, turns ...turn) bool {
	together = together && d.report.Hello.Offers("PIPELINING")
	for i, t := range turns {
		d.enter(t.phase)
		switch {
		case together && i == 0 && !d.sayAll(turns), !together && !d.sayAll(turns[i:i+1]):
			return false
		}
		r, ok := d.answer()
		if !ok {
			return false
		}
		if !t.accept(r) {
			if together {
				d.drain(len(turns) - i - 1)
			}
			return false
		}
	}
	return true
}

func (d *Dialogue) sayAll(turns []turn) bool {
	for _, t := range turns {
		if !d.say(t.command) {
			return false
		}
		if t.content != nil && !d.put(t.content) {
			return false
		}
	}
	return true
}

// drain reads the answers to what was said together with a command that was refused. A server that would take a
// message all the same, for nobody, is given an empty one, as RFC 2920 asks.
func (d *Dialogue) drain(answers int) {
	for ; answers > 0 && d.speaking; answers-- {
		r, err := d.hear()
		d.speaking = err == nil && r.code != 421
		if r.code == 354 {
			d.note('C', ".")
			_, err = io.WriteString(d.conn, ".\r\n")
			d.speaking = err == nil
			answers++
		}
	}
}
