package rest

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

const (
	idleFor = 5 * time.Minute // is a connection kept
	// surelyOpen is how long a server keeps a connection at least: what cannot be asked twice goes over no other.
	surelyOpen = time.Second
	maxInterim = 5 // answers before the real one, such as 103
)

// Buffers are borrowed for one question: a connection that is idle has none.
var (
	readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriter(nil) }}
)

// lines are the connections to a server, as many as there are places. Requests are written and answers read by net/http,
// by whoever asks: its Transport has two goroutines and two buffers for each connection also while it is idle, which is
// more than all else that is kept of a server.
type lines struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	tls    *tls.Config
	places chan struct{} // taken by requests under way

	mu     sync.Mutex
	closed bool
	idle   []*line // the one that was used last is the last
}

// line is a connection.
type line struct {
	net.Conn
	to   string // scheme and host
	used time.Time
}

// roundTrip sends a request and gives the answer, whose body has to be closed. Where a kept connection ends without an
// answer, the server has closed it meanwhile: what can be asked again is asked over another one.
func (l *lines) roundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	select {
	case l.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		on, err := l.take(request.URL, repeatable(request)), error(nil)
		kept := on != nil
		if !kept {
			on, err = l.connect(ctx, request.URL)
		}
		if err != nil {
			<-l.places
			return nil, err
		}
		e := &exchange{lines: l, on: on, source: source{conn: on.Conn, left: maxHeader}}
		answer, err := e.carryOut(request)
		if err == nil {
			return answer, nil
		}
		_ = on.Close() // it is of no more use
		if !kept || e.source.heard || ctx.Err() != nil || !repeatable(request) {
			<-l.places
			return nil, err
		}
		if request.GetBody != nil {
			request.Body, _ = request.GetBody() // which is in memory
		}
	}
}

// repeatable tells whether a request may reach the server twice.
func repeatable(request *http.Request) bool {
	_, says := request.Header["Idempotency-Key"]
	return says || request.Method == http.MethodGet
}

// take gives a kept connection, or nil. One over which something has come since is closed.
func (l *lines) take(to *url.URL, repeatable bool) *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.idle) - 1; i >= 0; i-- {
		on := l.idle[i]
		if age := time.Since(on.used); on.to != to.Scheme+"://"+to.Host || age > idleFor || !repeatable && age > surelyOpen {
			continue
		}
		l.idle = slices.Delete(l.idle, i, i+1)
		if quiet(on.Conn) {
			return on
		}
		_ = on.Close()
	}
	return nil
}

// connect opens a connection.
func (l *lines) connect(ctx context.Context, to *url.URL) (*line, error) {
	port := "80"
	if to.Scheme == "https" {
		port = "443"
	}
	conn, err := l.dial(ctx, "tcp", net.JoinHostPort(to.Hostname(), cmp.Or(to.Port(), port)))
	if err != nil {
		return nil, err
	}
	if to.Scheme == "https" {
		config := &tls.Config{MinVersion: tls.VersionTLS12}
		if l.tls != nil {
			config = l.tls.Clone()
		}
		config.ServerName = cmp.Or(config.ServerName, to.Hostname())
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the handshake's failure says more
			return nil, err
		}
		conn = secure
	}
	return &line{Conn: conn, to: to.Scheme + "://" + to.Host}, nil
}

// leave takes a connection back, to be kept if it can be used again, and closes those that were idle for long.
func (l *lines) leave(on *line, usable bool) {
	defer func() { <-l.places }() // not before: who gets the place is to find the connection
	on.used = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !usable || l.closed {
		_ = on.Close()
		return
	}
	old := 0
	for old < len(l.idle) && time.Since(l.idle[old].used) > idleFor {
		_ = l.idle[old].Close()
		old++
	}
	l.idle = append(slices.Delete(l.idle, 0, old), on)
}

// close ends the connections that are idle; no other is kept after that.
func (l *lines) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, on := range l.idle {
		_ = on.Close()
	}
	l.idle, l.closed = nil, true
}

// exchange is one question over a connection, and the body of its answer.
type exchange struct {
	lines  *lines
	on     *line
	source source
	in     *bufio.Reader
	body   io.Reader
	usable bool        // the connection, once all of the body was read
	unbind func() bool // the end of the request's context from closing the connection
	ended  error       // why there is no more of the body
}

// carryOut asks. What a server says before it has read the whole question counts as the answer.
func (e *exchange) carryOut(request *http.Request) (*http.Response, error) {
	e.unbind = context.AfterFunc(request.Context(), func() { _ = e.on.Close() })
	e.in = readers.Get().(*bufio.Reader)
	e.in.Reset(&e.source)
	unsent := write(e.on, request)
	answer, err := e.hear(request)
	if err != nil {
		e.unbind()
		e.giveBack()
		return nil, cmp.Or(e.source.failed, unsent, err)
	}
	e.source.left = math.MaxInt // of bodies, whoever reads them reads only so much
	e.usable = unsent == nil && !answer.Close
	e.body, answer.Body = answer.Body, e
	return answer, nil
}

func write(to io.Writer, request *http.Request) error {
	out := writers.Get().(*bufio.Writer)
	defer writers.Put(out)
	out.Reset(to)
	err := request.Write(out)
	if err == nil {
		err = out.Flush()
	}
	out.Reset(nil)
	return err
}

// hear reads an answer up to its body. Where it is none, its words are not in the error.
func (e *exchange) hear(request *http.Request) (*http.Response, error) {
	for range maxInterim {
		answer, err := http.ReadResponse(e.in, request)
		if err != nil {
			break
		}
		if answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			return answer, nil
		}
	}
	return nil, fault.New(fault.Malformed, "the answer is no HTTP")
}

// Read reads the body. At its end the connection is free for others.
func (e *exchange) Read(into []byte) (int, error) {
	if e.ended != nil {
		return 0, e.ended
	}
	n, err := e.body.Read(into)
	if err != nil {
		e.end(err)
	}
	return n, err
}

// Close leaves what was not read, and with it the connection.
func (e *exchange) Close() error {
	if e.ended == nil {
		e.end(net.ErrClosed)
	}
	return nil
}

func (e *exchange) end(why error) {
	e.ended = why
	open := e.unbind()
	usable := open && e.usable && errors.Is(why, io.EOF) && e.in.Buffered() == 0 // what nobody asked for is nobody's answer
	e.giveBack()
	e.lines.leave(e.on, usable)
}

func (e *exchange) giveBack() {
	e.in.Reset(nil)
	readers.Put(e.in)
}

// source reads so much from a connection and no more, and takes note of how that fares.
type source struct {
	conn   net.Conn
	left   int
	heard  bool
	failed error
}

func (s *source) Read(into []byte) (int, error) {
	if s.left <= 0 {
		s.failed = fault.New(fault.Limited, "the header of the answer is too large")
		return 0, s.failed
	}
	n, err := s.conn.Read(into)
	s.left -= n
	s.heard = s.heard || n > 0
	s.failed = err
	return n, err
}
