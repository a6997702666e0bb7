package pgreplay

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Limits on the real server.
const (
	patience  = 30 * time.Second // for the answer to a question
	maxAnswer = 64 << 20         // bytes
)

// Types of messages of the server.
const (
	authentication = 'R'
	failure        = 'E'
	ready          = 'Z'
)

// connection is a connection to the real server.
type connection struct {
	conn net.Conn
	in   *bufio.Reader
}

// connect begins a session, and gives what the server says until it is ready.
func connect(address string, startup []byte) (*connection, []byte, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, nil, err
	}
	r := &connection{conn, bufio.NewReader(conn)}
	hello, err := r.ask(dialogue{bytes: startup, answers: 1})
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return r, hello, nil
}

// ask gives the answer to a question. What is said before it must succeed.
func (r *connection) ask(d dialogue) (answer []byte, err error) {
	if err = r.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err = r.conn.Write(d.bytes); err != nil {
		return nil, err
	}
	for i := range d.answers {
		one, failed, err := r.hear()
		if err == nil && failed && i < d.which {
			err = fmt.Errorf("a statement cannot be prepared: %q", one)
		}
		if err != nil {
			return nil, err
		}
		if i == d.which {
			answer = one
		}
	}
	return answer, nil
}

// hear reads until the server is ready, and tells whether there was an error.
func (r *connection) hear() (answer []byte, failed bool, err error) {
	for {
		begin := len(answer)
		answer = append(answer, 0, 0, 0, 0, 0)
		if _, err = io.ReadFull(r.in, answer[begin:]); err != nil {
			return nil, false, fmt.Errorf("the real server has closed the session: %w; it has said %q", err, answer[:begin])
		}
		kind, size := answer[begin], int(binary.BigEndian.Uint32(answer[begin+1:]))
		if size < 4 || begin+size > maxAnswer {
			return nil, false, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
		}
		answer = append(answer, make([]byte, size-4)...)
		body := answer[begin+5:]
		if _, err = io.ReadFull(r.in, body); err != nil {
			return nil, false, err
		}
		switch {
		case kind == authentication && !bytes.Equal(body, make([]byte, 4)):
			return nil, false, errors.New("the real server asks for a password")
		case kind == failure:
			failed = true
		case kind == ready:
			return answer, failed, nil
		}
	}
}

// close ends the session, and waits until the server has forgotten it.
func (r *connection) close() {
	if err := r.conn.SetDeadline(time.Now().Add(patience)); err == nil {
		if _, err = r.conn.Write(message{kind: terminate}.append(nil)); err == nil {
			_, _ = io.Copy(io.Discard, r.in)
		}
	}
	_ = r.conn.Close()
}
