package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// maxBatch is how many bytes all answers of a batch may have.
const maxBatch = 96 << 20

// driver opens connections to one server.
type driver struct {
	settings func() (*settings, error)                              // reads secrets anew
	guard    func(network, address string, c syscall.RawConn) error // on the addresses that names resolve to
	renamed  map[string]string                                      // commands that the server knows under other names; "" for one that it must not be asked
	write    []collect.Probe                                        // of the health check, where one is configured
	follow   bool                                                   // to the nodes of a cluster that have the keys
}

// settings is how to reach a server, and as whom.
type settings struct {
	network, address string
	found            sentinels   // by which the address is found at each connect
	tls              *tls.Config // nil: no TLS
	user, password   string
	database         int
	clientName       string // "" for none
	timeout          time.Duration
}

// Probes are the steps of the health check: the server answers, it is in a state to look at its data, and where that is
// configured, a key can be written. A sentinel has no data, and an account need not have the right to look at it.
func (d *driver) Probes() []collect.Probe {
	return append([]collect.Probe{
		{Operation: collect.Ping, Question: ask(ping)},
		{Operation: collect.Read, Question: ask(dbsize), Skip: func(id collect.Identity) bool { return has(id, sentinel) || has(id, noDatabaseSize) }},
	}, d.write...)
}

// The questions of the health check.
const (
	ping   = "PING"
	dbsize = "DBSIZE"
)

// Connect opens a connection and asks who is there.
func (d *driver) Connect(ctx context.Context) (collect.Conn, error) {
	c, err := d.open(ctx, "")
	if err != nil {
		return nil, err
	}
	c.nodes.follow, c.nodes.driver = d.follow, d
	return c, nil
}

// open connects to the server that is configured, or to another node of its cluster.
func (d *driver) open(ctx context.Context, node string) (*conn, error) {
	s, err := d.settings()
	if err != nil {
		return nil, fault.Wrap(fault.Config, "connection settings", err)
	}
	switch {
	case node != "":
		s.network, s.address = "tcp", node
	case s.found.name != "":
		if s.address, err = d.primary(ctx, s); err != nil {
			return nil, err
		}
	}
	return d.reach(ctx, s)
}

// reach connects to the server at an address and asks who is there.
func (d *driver) reach(ctx context.Context, s *settings) (*conn, error) {
	if s.tls != nil && s.tls.ServerName == "" {
		s.tls.ServerName, _, _ = net.SplitHostPort(s.address)
	}
	c := &conn{driver: d, database: s.database, wanted: s.found.name != ""}
	err := c.dial(ctx, s)
	if err == nil {
		err = c.hello(ctx, s)
	}
	if err == nil {
		err = c.strayed()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// conn is one connection.
type conn struct {
	driver *driver
	meter  collect.Meter
	line   line
	id     collect.Identity
	nodes  nodes // others of the cluster

	database int              // its own
	wanted   bool             // a primary is
	lacking  map[string]error // what the server said of commands that it does not have

	mu     sync.Mutex
	raw    net.Conn
	closed bool
}

// dial opens the connection, counted, and keeps it at hand, so that it can be closed when somebody waits for it.
func (c *conn) dial(ctx context.Context, s *settings) error {
	dialer := net.Dialer{Control: c.driver.guard, Timeout: s.timeout}
	raw, err := dialer.DialContext(ctx, s.network, s.address)
	if err != nil {
		return err
	}
	if !c.keep(raw) {
		_ = raw.Close()
		return net.ErrClosed
	}
	through := c.meter.Wrap(raw)
	if s.tls != nil {
		secured := tls.Client(through, s.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			return err
		}
		through = secured
	}
	c.line.conn = through
	return nil
}

// keep takes note of the connection, unless it comes too late.
func (c *conn) keep(raw net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.raw = raw
	}
	return !c.closed
}

// hello logs in and asks who is there. A server that does not say is taken for a Redis of which nothing is known.
func (c *conn) hello(ctx context.Context, s *settings) error {
	if err := c.login(ctx, s); err != nil {
		return err
	}
	c.id = collect.Identity{Product: "Redis", Features: map[string]string{}}
	questions := []collect.Question{ask("INFO"), ask(dbsize)}
	if s.clientName != "" {
		questions = append(questions, ask("CLIENT", "SETNAME", s.clientName)) // which it need not allow
	}
	var refused error
	err := c.Do(ctx, questions, func(i int, answer collect.Answer, err error) {
		switch {
		case i == 0 && err == nil:
			c.identified(answered(answer).Info())
		case i == 0:
			refused = fatal(err)
		case i == 1:
			if absent, _ := absence(err, dbsize); absent || denied(err) {
				c.id.Features[noDatabaseSize] = ""
			}
		}
	})
	return cmp.Or(err, refused)
}

// login agrees on the newest form of the protocol, says who we are, and selects the database. A server that does not know
// HELLO, as those before Redis 6 and some between us and it, is spoken to in the older form.
func (c *conn) login(ctx context.Context, s *settings) error {
	hello := []string{"HELLO", "3"}
	if s.password != "" {
		hello = append(hello, "AUTH", cmp.Or(s.user, "default"), s.password)
	}
	answer, err := c.exchange(ctx, hello...)
	switch {
	case err != nil:
		return err
	case fatal(answer.Err()) != nil:
		return answer.Err()
	case answer.Err() == nil && answer.Get("proto").Null():
		return fault.New(fault.Malformed, "this is not how Redis says hello")
	case answer.Err() != nil && s.password != "":
		auth := []string{"AUTH", s.user, s.password}
		if s.user == "" {
			auth = []string{"AUTH", s.password}
		}
		if err := c.must(ctx, auth...); err != nil {
			return err
		}
	}
	if s.database != 0 {
		return c.must(ctx, "SELECT", strconv.Itoa(s.database))
	}
	return nil
}

// must carries out a command that has to succeed.
func (c *conn) must(ctx context.Context, args ...string) error {
	answer, err := c.exchange(ctx, args...)
	return cmp.Or(err, answer.Err())
}

// exchange sends one command and reads the reply to it.
func (c *conn) exchange(ctx context.Context, args ...string) (answer value, err error) {
	err = c.talk(ctx, appendCommand(nil, args...), func() error {
		answer, err = c.line.reply()
		return err
	})
	return answer, err
}

// talk sends commands and has the replies read, until the time is up.
func (c *conn) talk(ctx context.Context, commands []byte, read func() error) error {
	if err := c.line.listen(); err != nil {
		return err
	}
	defer c.line.rest()
	defer context.AfterFunc(ctx, c.abandon)() // which ends whatever is read or written
	c.meter.Allow(maxBatch)
	_, err := c.line.conn.Write(commands)
	if err == nil {
		err = read()
	}
	return cmp.Or(ctx.Err(), err)
}

// Identity is what the newest batch told.
func (c *conn) Identity() collect.Identity { return c.id }

// Usage counts what the connection cost.
func (c *conn) Usage() collect.Usage { return plus(c.meter.Usage(), c.nodes.usage()) }

// Close ends the connection.
func (c *conn) Close() {
	c.nodes.close()
	c.abandon()
}

// abandon closes the connection, which ends whatever waits for it.
func (c *conn) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.raw != nil {
		_ = c.raw.Close()
	}
}
