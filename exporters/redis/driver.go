package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

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
	c := &conn{driver: d, tls: s.tls, database: s.database, wanted: s.found.name != "", dialer: net.Dialer{Control: d.guard, Timeout: s.timeout}}
	c.client = goredis.NewClient(s.options(c))
	c.client.AddHook(greeting{c})
	c.session = c.client.Conn()
	err := c.hello(ctx, s.clientName)
	if err == nil {
		err = c.strayed()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// options sets the library to one connection and nothing that it would do by itself: no retries, no second pool, no
// word to the server that nobody asked for. Its deadline is that of the context, which closes the connection.
func (s *settings) options(c *conn) *goredis.Options {
	return &goredis.Options{
		Network: s.network, Addr: s.address, Username: s.user, Password: s.password, DB: s.database,
		Dialer: c.dial, DialTimeout: s.timeout, DialerRetries: 1, MaxRetries: -1,
		ReadTimeout: -1, WriteTimeout: -1, ContextTimeoutEnabled: true,
		PoolSize: 1, PipelinePoolSize: -1, ConnMaxIdleTime: -1,
		DisableIdentity: true, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// greeting notes how the server answers the library's first word, which the library does not tell.
type greeting struct{ conn *conn }

func (g greeting) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (g greeting) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		err := next(ctx, cmd)
		g.conn.greeted = cmp.Or(g.conn.greeted, err)
		return err
	}
}

func (g greeting) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

// conn is one connection.
type conn struct {
	driver  *driver
	client  *goredis.Client
	session *goredis.Conn
	dialer  net.Dialer
	tls     *tls.Config
	meter   collect.Meter
	guard   *guard
	id      collect.Identity
	nodes   nodes // others of the cluster

	database int  // its own
	wanted   bool // a primary is
	greeted  error
	asked    int              // replies that the server owes us in all, since it is known
	lacking  map[string]error // what the server said of commands that it does not have

	mu     sync.Mutex
	raw    net.Conn
	closed bool
}

// dial counts and guards the connection and keeps it at hand, so that it can be closed when the library waits for it.
func (c *conn) dial(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := c.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if !c.keep(raw) {
		_ = raw.Close()
		return nil, net.ErrClosed
	}
	through := c.meter.Wrap(raw)
	if c.tls != nil {
		secured := tls.Client(through, c.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		through = secured
	}
	c.guard = &guard{Conn: through}
	return c.guard, nil
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

// hello asks who is there. A server that does not say is taken for a Redis of which nothing is known.
func (c *conn) hello(ctx context.Context, name string) error {
	c.id = collect.Identity{Product: "Redis", Features: map[string]string{}}
	questions := []collect.Question{ask("INFO"), ask(dbsize)}
	if name != "" {
		questions = append(questions, ask("CLIENT", "SETNAME", name)) // which it need not allow
	}
	var refused error
	err := c.Do(ctx, questions, func(i int, answer collect.Answer, err error) {
		switch {
		case i == 0 && err == nil:
			c.identified(answered(answer).Info())
		case i == 0:
			refused = fatal(err)
		case i == 1 && denied(err):
			c.id.Features[noDatabaseSize] = ""
		}
	})
	if err != nil {
		return cmp.Or(fatal(c.greeted), err)
	}
	return refused
}

// Identity is what the newest batch told.
func (c *conn) Identity() collect.Identity { return c.id }

// Usage counts what the connection cost.
func (c *conn) Usage() collect.Usage { return plus(c.meter.Usage(), c.nodes.usage()) }

// Close ends the connection.
func (c *conn) Close() {
	c.nodes.close()
	c.abandon()
	_ = c.session.Close() // closed already
	_ = c.client.Close()
}

// abandon closes the connection below the library, which ends whatever it waits for.
func (c *conn) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.raw != nil {
		_ = c.raw.Close()
	}
}

// silence keeps the library from writing to standard error: what went wrong is told by the target, once.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
