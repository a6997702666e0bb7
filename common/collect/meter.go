package collect

import (
	"net"
	"sync/atomic"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Meter counts what connections cost, below TLS and every client library, and stops a peer that floods.
type Meter struct {
	turnArounds, received, sent atomic.Int64
	heard                       atomic.Bool // the peer spoke last
	allowance                   atomic.Int64
}

// Usage gives the counts so far.
func (m *Meter) Usage() Usage { return Usage{m.turnArounds.Load(), m.received.Load(), m.sent.Load()} }

// Allow sets how many more bytes the peer may send. Reading beyond is an error of kind limited.
func (m *Meter) Allow(bytes int64) { m.allowance.Store(m.received.Load() + bytes) }

// Wrap counts a connection. Its first word is a turn-around: we wait for the answer to it.
func (m *Meter) Wrap(conn net.Conn) net.Conn {
	m.heard.Store(true)
	return &metered{Conn: conn, meter: m}
}

type metered struct {
	net.Conn
	meter *Meter
}

func (c *metered) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.meter.heard.Store(true)
		if received, allowed := c.meter.received.Add(int64(n)), c.meter.allowance.Load(); allowed > 0 && received > allowed {
			return 0, fault.New(fault.Limited, "the server sends more than a scrape may take")
		}
	}
	return n, err
}

func (c *metered) Write(b []byte) (int, error) {
	if c.meter.heard.Swap(false) {
		c.meter.turnArounds.Add(1)
	}
	n, err := c.Conn.Write(b)
	c.meter.sent.Add(int64(n))
	return n, err
}
