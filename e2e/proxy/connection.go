package proxy

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A direction of a connection holds at most chunks × chunkSize bytes.
const (
	chunkSize = 16 << 10
	chunks    = 512
)

var errCut = errors.New("the connection was cut")

// connection is a client and its connection to the target.
type connection struct {
	proxy  *Proxy
	client net.Conn
	ended  chan struct{} // closed by close
	heard  atomic.Bool   // the client was sent something since it spoke last
	left   sync.Once     // the client was counted out

	mu     sync.Mutex
	server net.Conn // nil until dialled
}

// chunk is what one read brought, nothing at the end, and when it arrives at the other side.
type chunk struct {
	bytes []byte
	due   time.Time
}

// run forwards both directions and returns when both have ended.
func (c *connection) run(server net.Conn) {
	if !c.attach(server) {
		return
	}
	c.heard.Store(true) // so that the client's first word counts
	up, down := make(chan chunk, chunks), make(chan chunk, chunks)
	var work sync.WaitGroup
	work.Go(func() { c.read(c.client, up) })
	work.Go(func() { c.forward(server, up) })
	work.Go(func() { c.read(server, down) })
	work.Go(func() { c.forward(c.client, down) })
	work.Wait()
}

// attach remembers the server's side, unless the connection was closed during the dial.
func (c *connection) attach(server net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.ended:
		_ = server.Close()
		return false
	default:
		c.server = server
		return true
	}
}

// close ends both sides; it may be called more than once.
func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.ended:
		return
	default:
	}
	close(c.ended)
	_ = c.client.Close()
	if c.server != nil {
		_ = c.server.Close()
	}
}

// leave counts the client out, once.
func (c *connection) leave() { c.left.Do(func() { c.proxy.open.Add(-1) }) }

// forward sends what comes over the line to one side. The end of one direction leaves
// the other open, as TCP does; a failure ends both.
func (c *connection) forward(to net.Conn, line <-chan chunk) {
	for {
		fault := c.proxy.current()
		if fault.kind == flooding && to == c.client {
			if c.flood(fault) != nil {
				c.close()
				return
			}
			continue
		}
		select {
		case <-c.ended:
			return
		case <-fault.over:
		case next := <-line:
			if c.deliver(to, next) != nil {
				c.close()
				return
			}
			if next.bytes == nil {
				return
			}
		}
	}
}

// read puts what a side says on the line until it says no more.
func (c *connection) read(from net.Conn, line chan<- chunk) {
	buffer := make([]byte, chunkSize)
	for {
		n, err := from.Read(buffer)
		if from == c.client {
			c.hearClient(n, err)
		}
		due := time.Now().Add(time.Duration(c.proxy.delay.Load()))
		if n > 0 && !c.put(line, chunk{bytes.Clone(buffer[:n]), due}) {
			return
		}
		if err != nil {
			c.put(line, chunk{nil, due})
			return
		}
	}
}

// put reports whether there was room on the line before the connection ended.
func (c *connection) put(line chan<- chunk, next chunk) bool {
	select {
	case line <- next:
		return true
	case <-c.ended:
		return false
	}
}

// hearClient counts what the client said.
func (c *connection) hearClient(n int, err error) {
	if err != nil {
		defer c.leave()
	}
	if n == 0 {
		return
	}
	c.proxy.up.Add(int64(n))
	if c.heard.Swap(false) {
		c.proxy.turns.Add(1)
	}
}

// deliver sends a chunk when it is due and nothing stalls.
func (c *connection) deliver(to net.Conn, next chunk) error {
	if err := c.sleepUntil(next.due); err != nil {
		return err
	}
	if err := c.outliveStall(); err != nil {
		return err
	}
	if next.bytes == nil {
		_ = to.(*net.TCPConn).CloseWrite() // fails when that side has gone, which its own direction sees
		return nil
	}
	if to == c.client {
		return c.sendDown(next.bytes)
	}
	_, err := to.Write(next.bytes)
	return err
}

// outliveStall waits until the proxy forwards again.
func (c *connection) outliveStall() error {
	for fault := c.proxy.current(); fault.kind == stalling; fault = c.proxy.current() {
		if err := c.outlive(fault); err != nil {
			return err
		}
	}
	return nil
}

// sendDown sends to the client as much as the present fault lets pass, and the rest
// when the next one does.
func (c *connection) sendDown(b []byte) error {
	for {
		fault := c.proxy.current()
		n := fault.pass(b)
		if err := c.write(b[:n]); err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
		if err := c.hold(fault); err != nil {
			return err
		}
	}
}

// hold does to a client whose bytes may not pass what the fault does, until it is over.
func (c *connection) hold(fault *fault) error {
	switch fault.kind {
	case cutting:
		return errCut
	case flooding:
		return c.flood(fault)
	}
	return c.outlive(fault)
}

// flood sends the fault's bytes until it is over.
func (c *connection) flood(fault *fault) error {
	for {
		select {
		case <-fault.over:
			return nil
		default:
			if err := c.write(fault.flood); err != nil {
				return err
			}
		}
	}
}

// write sends to the client. What the client says from here on may be an answer to it.
func (c *connection) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	c.heard.Store(true)
	n, err := c.client.Write(b)
	c.proxy.down.Add(int64(n))
	return err
}

// outlive waits until the fault is over.
func (c *connection) outlive(fault *fault) error {
	select {
	case <-fault.over:
		return nil
	case <-c.ended:
		return net.ErrClosed
	}
}

func (c *connection) sleepUntil(due time.Time) error {
	wait := time.Until(due)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.ended:
		return net.ErrClosed
	}
}
