// Package pgreplay is PostgreSQL at as many addresses as one likes, for measurements of what asks it: one real server
// answers each question once, and these bytes are given to all who ask the same from then on. What is measured is then
// the one who asks, where a real server of that many sessions would take the whole machine.
//
// So nothing that it tells changes with time, and nobody's question changes what another one hears. A client's session is
// what its startup message and its statements that set something make of it; a question is all messages up to a Sync, or
// a simple Query. It is known again by its bytes, with the names of prepared statements replaced by what was prepared, and
// without the milliseconds of timeouts. What cannot be replayed is refused, and Server.Close tells it: transactions
// of several questions, Flush, COPY, function calls, and logins with a password.
package pgreplay

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Limits on clients.
const (
	maxMessage    = 1 << 20          // bytes
	writePatience = 10 * time.Second // until a client takes its answers
)

// Codes in the place of a protocol version, by which a client asks for something else than a session.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104
)

// Server replays one real server.
type Server struct {
	record *record

	mu      sync.Mutex
	clients map[net.Conn]struct{}
	closed  bool
	problem error
	running sync.WaitGroup
}

// New gives a server that asks the real one at an address, host:port, what it does not know yet. The real one must trust
// the users whose answers are recorded: an answer to a password would hold a nonce and fit nobody else.
func New(address string) *Server {
	return &Server{record: newRecord(address), clients: map[net.Conn]struct{}{}}
}

// Serve answers whoever connects, until the listener is closed. There may be many listeners.
func (s *Server) Serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			_ = conn.Close()
			return
		}
		s.clients[conn] = struct{}{}
		s.running.Go(func() { s.serve(conn) })
		s.mu.Unlock()
	}
}

// Asked counts the questions that went to the real server.
func (s *Server) Asked() int { return int(s.record.asked.Load()) }

// Close ends all sessions, those with the real server as well. The error is the first that kept a client from an answer.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for conn := range s.clients {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
	s.record.close()
	return s.problem
}

func (s *Server) serve(conn net.Conn) {
	c := &client{record: s.record, conn: conn, statements: map[string]*statement{}}
	c.in = bufio.NewReader(flushing{c})
	err := c.begin()
	if err == nil {
		err = c.converse()
	}
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, conn)
	if unanswered := (refusal{}); s.problem == nil && !s.closed && errors.As(err, &unanswered) { // else the client has left
		s.problem = err
	}
}

// client is one session.
type client struct {
	record     *record
	conn       net.Conn
	in         *bufio.Reader
	out        net.Buffers // answers that wait until everything is read that is there
	session    *session
	statements map[string]*statement // by name
	question   question
	header     [5]byte
}

// flushing sends what waits before it waits itself.
type flushing struct{ *client }

func (f flushing) Read(b []byte) (int, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.conn.Read(b)
}

func (c *client) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	waiting := c.out // a copy, which WriteTo uses up
	_, err := waiting.WriteTo(c.conn)
	clear(c.out)
	c.out = c.out[:0]
	return err
}

// begin takes the startup message, without TLS.
func (c *client) begin() error {
	for {
		if _, err := io.ReadFull(c.in, c.header[:4]); err != nil {
			return err
		}
		size := binary.BigEndian.Uint32(c.header[:4])
		if size < 8 || size > maxMessage {
			return c.refuse(fmt.Errorf("a startup message of %d bytes", size))
		}
		message := make([]byte, size)
		copy(message, c.header[:4])
		if _, err := io.ReadFull(c.in, message[4:]); err != nil {
			return err
		}
		switch binary.BigEndian.Uint32(message[4:]) {
		case cancelRequest:
			return io.EOF // there is no question that goes on
		case sslRequest, gssRequest:
			c.out = append(c.out, []byte("N"))
			continue
		}
		var err error
		if c.session, err = c.record.begin(message); err != nil {
			return c.refuse(err)
		}
		c.out = append(c.out, c.session.hello)
		return nil
	}
}

// converse answers questions until the client leaves.
func (c *client) converse() error {
	for {
		m, err := c.read()
		switch {
		case err != nil:
			return err
		case m.kind == terminate:
			return nil
		}
		if err = c.question.add(m, c.record, c.statements); err != nil {
			return c.refuse(err)
		}
		if m.kind != synchrony && m.kind != query {
			continue
		}
		known, err := c.record.answer(c.session, &c.question)
		if err != nil {
			return c.refuse(err)
		}
		c.out, c.session = append(c.out, known.bytes), known.after
		c.question.reset()
	}
}

// read reads one message, whose bytes are good until the question is forgotten.
func (c *client) read() (message, error) {
	if _, err := io.ReadFull(c.in, c.header[:]); err != nil {
		return message{}, err
	}
	size := binary.BigEndian.Uint32(c.header[1:])
	if size < 4 || size > maxMessage {
		return message{}, c.refuse(fmt.Errorf("a message of %d bytes", size))
	}
	body := c.question.room(int(size) - 4)
	_, err := io.ReadFull(c.in, body)
	return message{kind: c.header[0], body: body}, err
}

// refusal is an error for which a client has no answer.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// refuse tells the client what cannot be replayed.
func (c *client) refuse(err error) error {
	told, encodeErr := (&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "0A000", Message: err.Error()}).Encode(nil)
	c.out = append(c.out, told)
	return errors.Join(refusal{err}, encodeErr, c.flush())
}
