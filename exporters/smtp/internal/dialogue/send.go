package dialogue

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// relay asks the server to take mail for a foreign domain, which it must refuse, and forgets the question at once.
func (d *Dialogue) relay() bool {
	from := ""
	if d.plan.Message != nil {
		from = d.plan.Message.From
	}
	return d.converse(true,
		turn{phase: Mail, command: "MAIL FROM:<" + from + ">", accept: func(r reply) bool { return d.judge(Mail, r) }},
		turn{phase: Rcpt, command: "RCPT TO:<" + d.plan.Relay + ">", accept: func(r reply) bool {
			d.report.Relay = r.code
			switch {
			case r.code/100 == 2:
				return d.fail(RelayOpen, r, errors.New("the server takes mail for a foreign domain: "+r.String()))
			case r.code == 421:
				return d.fail(Unavailable, r, errors.New(r.String()))
			}
			d.leave(true, r)
			return true
		}},
		turn{phase: Rcpt, command: "RSET", accept: func(r reply) bool {
			if r.code/100 != 2 {
				return d.fail(judgeReply(Rcpt, r), r, errors.New(r.String()))
			}
			return true
		}},
	)
}

// send hands the message to the server, as far as the plan says.
func (d *Dialogue) send() bool {
	content := canonical(d.plan.Message.Content)
	mail, ok := d.mail(content)
	if !ok {
		return false
	}
	accepted := func(phase Phase) func(reply) bool {
		return func(r reply) bool { return d.judge(phase, r) && r.code/100 == 2 }
	}
	turns := []turn{{phase: Mail, command: mail, accept: accepted(Mail)}}
	if d.plan.goesTo(Rcpt) {
		turns = append(turns, turn{phase: Rcpt, command: "RCPT TO:<" + d.plan.Message.To + ">", accept: accepted(Rcpt)})
	}
	chunked := d.report.Hello.Offers("CHUNKING")
	if d.plan.goesTo(Data) {
		turns = append(turns, d.body(content, chunked))
	}
	// Where a refusal is wanted, nothing may travel with the command that, against our will, is accepted.
	together := len(d.plan.Codes[Mail]) == 0 && len(d.plan.Codes[Rcpt]) == 0
	if !d.converse(together, turns...) || !d.plan.goesTo(Data) {
		d.report.Unsure = chunked && d.unanswered()
		return d.report.OK()
	}
	return chunked || d.data(content)
}

// mail gives the command that begins a message, with the extensions that it needs.
func (d *Dialogue) mail(content []byte) (command string, ok bool) {
	hello, message := d.report.Hello, d.plan.Message
	command = "MAIL FROM:<" + message.From + ">"
	if hello.Offers("SIZE") {
		command += " SIZE=" + strconv.Itoa(len(content))
	}
	if hello.Offers("8BITMIME") && !isASCII(string(content)) {
		command += " BODY=8BITMIME"
	}
	if !isASCII(message.From + message.To) {
		if !hello.Offers("SMTPUTF8") {
			d.enter(Mail)
			return "", d.miss("SMTPUTF8")
		}
		command += " SMTPUTF8"
	}
	return command, true
}

// body is the turn of the message itself, or of the command before it.
func (d *Dialogue) body(content []byte, chunked bool) turn {
	if chunked {
		return turn{phase: Data, command: fmt.Sprintf("BDAT %d LAST", len(content)), content: content, accept: d.taken}
	}
	return turn{phase: Data, command: "DATA", accept: func(r reply) bool {
		if r.code == 354 {
			d.leave(true, r)
			return true
		}
		d.taken(r)
		return false
	}}
}

// data sends the message after the server has asked for it.
func (d *Dialogue) data(content []byte) bool {
	d.enter(Data)
	if !d.put(stuffed(content)) || !d.put([]byte(".\r\n")) {
		return false
	}
	d.note('C', fmt.Sprintf("(message of %d bytes)", len(content)))
	r, ok := d.answer()
	if !ok {
		d.report.Unsure = d.unanswered()
		return false
	}
	return d.taken(r)
}

// taken ends the phase by the answer to the message.
func (d *Dialogue) taken(r reply) bool {
	ok := d.judge(Data, r)
	d.report.Sent = ok && r.code/100 == 2
	return ok
}

// unanswered tells whether the dialogue ended in waiting for the answer to the message.
func (d *Dialogue) unanswered() bool {
	f := d.report.Failure
	return f != nil && f.Phase == Data && f.Code == 0
}

// canonical makes every line of a message end with CRLF, the last one too.
func canonical(content []byte) []byte {
	out := make([]byte, 0, len(content)+len(content)/32+2)
	for line := range bytes.Lines(content) {
		line = bytes.TrimRight(line, "\r\n")
		for i, part := range bytes.Split(line, []byte{'\r'}) {
			if i > 0 {
				out = append(out, "\r\n"...)
			}
			out = append(out, part...)
		}
		out = append(out, "\r\n"...)
	}
	return out
}

// stuffed doubles the dot at the begin of a line, so that no line of a message ends it.
func stuffed(content []byte) []byte {
	out := bytes.ReplaceAll(content, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(out, []byte(".")) {
		out = append([]byte("."), out...)
	}
	return out
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e })
}
