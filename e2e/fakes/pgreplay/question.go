package pgreplay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Types of messages of clients.
const (
	parse     = 'P'
	bind      = 'B'
	describe  = 'D'
	execute   = 'E'
	closing   = 'C'
	query     = 'Q'
	synchrony = 'S'
	terminate = 'X'
)

// message is one of a client's: its type, and what follows its length.
type message struct {
	kind byte
	body []byte
}

// around splits a message at the name of the prepared statement that it speaks of, without the name's end. Found is false
// where it speaks of none.
func (m message) around() (before, name, after []byte, found bool) {
	rest := m.body
	switch m.kind {
	case bind:
		portal := bytes.IndexByte(rest, 0) + 1
		before, rest = rest[:portal], rest[portal:]
	case describe, closing:
		if len(rest) == 0 || rest[0] != 'S' { // a portal
			return nil, nil, nil, false
		}
		before, rest = rest[:1], rest[1:]
	case parse:
	default:
		return nil, nil, nil, false
	}
	name, after, found = bytes.Cut(rest, []byte{0})
	return before, name, after, found
}

// append writes a message.
func (m message) append(to []byte) []byte {
	to = append(to, m.kind)
	to = binary.BigEndian.AppendUint32(to, uint32(len(m.body)+4))
	return append(to, m.body...)
}

// question is the messages of a client up to a Sync, or a simple Query.
type question struct {
	messages []message
	speaks   []*statement // by message; nil where it speaks of none
	settings bool         // one of these sets something
	key      []byte       // what the question is known by: its session's number, and its messages without the names
	bytes    []byte       // the bodies
}

// room makes room for a body.
func (q *question) room(size int) []byte {
	if cap(q.bytes)-len(q.bytes) < size {
		q.bytes = make([]byte, 0, max(size, 2*cap(q.bytes), 256)) // earlier bodies keep what they have
	}
	q.bytes = q.bytes[:len(q.bytes)+size]
	return q.bytes[len(q.bytes)-size:]
}

// reset begins another question in the same memory.
func (q *question) reset() {
	q.messages, q.speaks, q.settings, q.key, q.bytes = q.messages[:0], q.speaks[:0], false, q.key[:0], q.bytes[:0]
}

// add takes a message, and notes in statements what it prepares or closes.
func (q *question) add(m message, r *record, statements map[string]*statement) error {
	if len(q.key) == 0 {
		q.key = append(q.key, 0, 0, 0, 0) // of the session
	}
	before, name, after, named := m.around()
	var s *statement
	switch {
	case m.kind == query:
		s = r.statement(m.body)
		before, after = nil, nil
	case m.kind == parse && named:
		if s = r.statement(after); slices.Contains(q.speaks, s) {
			return errors.New("a statement that one question prepares twice is not replayed") // it would have one name for both
		}
		statements[string(name)] = s
		before, after = nil, nil
	case named:
		s = statements[string(name)]
		if m.kind == closing {
			delete(statements, string(name))
		} else if s == nil {
			return fmt.Errorf("a message %c speaks of a statement %q that was not prepared", m.kind, name)
		}
	case !slices.Contains([]byte{bind, describe, closing, execute, synchrony}, m.kind):
		return fmt.Errorf("messages %c are not replayed", m.kind)
	}
	if s == nil {
		before, after = m.body, nil
	} else {
		q.settings = q.settings || s.settings
	}
	q.messages, q.speaks = append(q.messages, m), append(q.speaks, s)
	q.key = append(q.key, m.kind)
	q.key = binary.BigEndian.AppendUint32(q.key, s.number())
	q.key = binary.BigEndian.AppendUint32(q.key, uint32(len(before)+len(after)))
	q.key = append(append(q.key, before...), after...)
	return nil
}

// of gives the key of the question in a session.
func (q *question) of(session uint32) []byte {
	binary.BigEndian.PutUint32(q.key, session)
	return q.key
}

// dialogue is what the real server is told, and which of its answers, each up to a ReadyForQuery, is the question's.
type dialogue struct {
	bytes          []byte
	which, answers int
}

// dialogue brings the statements that the question speaks of, under names of our own, and takes them away afterwards.
func (q *question) dialogue() dialogue {
	var d dialogue
	var own, parsed []*statement
	var asked []byte
	for i, m := range q.messages {
		s := q.speaks[i]
		if s == nil || m.kind == query {
			asked = m.append(asked)
			continue
		}
		switch {
		case m.kind == parse:
			parsed = append(parsed, s)
		case !slices.Contains(parsed, s) && !slices.Contains(own, s):
			own = append(own, s)
			d.bytes = s.parse().append(d.bytes)
		}
		asked = m.renamed(s.name()).append(asked)
	}
	if len(own) > 0 {
		d.bytes, d.which = message{kind: synchrony}.append(d.bytes), 1
	}
	d.bytes, d.answers = append(d.bytes, asked...), d.which+1
	if all := append(own, parsed...); len(all) > 0 {
		for _, s := range all {
			d.bytes = message{closing, append([]byte("S"), s.name()...)}.append(d.bytes)
		}
		d.bytes, d.answers = message{kind: synchrony}.append(d.bytes), d.answers+1
	}
	return d
}

// renamed puts another name, with its end, in the place of the statement's.
func (m message) renamed(name []byte) message {
	before, _, after, _ := m.around()
	return message{m.kind, slices.Concat(before, name, after)}
}
