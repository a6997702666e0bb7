// Package proxy is a TCP proxy for tests: it delays, counts and damages what a client
// and a server say to each other.
//
// The delay is that of a long line: bytes that are on their way do not hold up the
// ones behind them. At most 8 MiB are on their way in each direction of a connection;
// beyond that the sender waits, as on a real line. Only the opening of a connection
// costs no delay.
package proxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy forwards connections to one target.
type Proxy struct {
	target   string
	listener net.Listener
	delay    atomic.Int64 // time.Duration, one way
	closed   chan struct{}
	running  sync.WaitGroup

	conns, open, turns, up, down atomic.Int64

	mu    sync.Mutex
	fault *fault // never nil
	live  map[*connection]struct{}
}

// Stats are counts since the start or the last ResetStats.
type Stats struct {
	Conns int64 // connections accepted
	Open  int64 // connections that their client has not closed yet; ResetStats leaves it
	// TurnArounds counts how often a client spoke for the first time or after
	// it had been sent something: what a question costs on a long line. Give
	// the proxy a delay where the count must be exact: without one the answer
	// to the first question of a batch may be sent before the last is read.
	TurnArounds int64
	Up, Down    int64 // bytes read from clients, bytes sent to clients
}

// New starts a proxy for a test and closes it at the test's end.
func New(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := Start(target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// Start starts a proxy for the target host:port on a free port of the loopback address.
// The caller closes it.
func Start(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		target:   target,
		listener: listener,
		closed:   make(chan struct{}),
		fault:    &fault{over: make(chan struct{})},
		live:     map[*connection]struct{}{},
	}
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns the host:port to connect to instead of the target's.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Port returns the port of Addr.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// SetDelay sets the one-way delay for what is read from now on.
func (p *Proxy) SetDelay(oneWay time.Duration) { p.delay.Store(int64(oneWay)) }

// Stats returns the counts.
func (p *Proxy) Stats() Stats {
	return Stats{
		Conns:       p.conns.Load(),
		Open:        p.open.Load(),
		TurnArounds: p.turns.Load(),
		Up:          p.up.Load(),
		Down:        p.down.Load(),
	}
}

// ResetStats zeroes the counts.
func (p *Proxy) ResetStats() {
	for _, count := range []*atomic.Int64{&p.conns, &p.turns, &p.up, &p.down} {
		count.Store(0)
	}
}

// Cut closes all open connections, once.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.live {
		c.close()
	}
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	p.mu.Unlock()
	_ = p.listener.Close() // it has no unsaved state to lose
	p.Cut()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // out of descriptors, say: a busy loop would not help
			continue
		}
		p.conns.Add(1)
		if p.current().kind == refusing {
			_ = client.Close()
			continue
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// serve forwards one connection until both sides have finished.
func (p *Proxy) serve(client net.Conn) {
	c := &connection{proxy: p, client: client, ended: make(chan struct{})}
	if !p.admit(c) {
		return
	}
	defer p.dismiss(c)
	p.open.Add(1)
	defer c.leave()
	server, err := net.DialTimeout("tcp", p.target, 10*time.Second)
	if err != nil {
		return
	}
	c.run(server)
}

// admit registers a connection so that Cut and Close find it; a closed proxy takes no more.
func (p *Proxy) admit(c *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		c.close()
		return false
	default:
		p.live[c] = struct{}{}
		return true
	}
}

func (p *Proxy) dismiss(c *connection) {
	c.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, c)
}
