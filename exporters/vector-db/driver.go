package main

import (
	"context"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/canary"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/rest"
)

// driver opens connections to one server, of whatever kind.
type driver struct {
	kind        *kind                               // nil: found by asking at each connect
	endpoint    func() (backend.Endpoint, error)    // reads secrets and certificates anew
	wanted      func(names []string) (few []string) // the collections to tell of, sorted
	guard       func(network, address string, c syscall.RawConn) error
	patience    time.Duration  // with a question that is not the list, by which the server is judged
	canary      *canary.Canary // nil where nothing is to be written
	connections int            // at most, 0 for the usual number
}

// Connect opens the session and sees that something answers. Whether it lets us in is for the ping to tell: a server
// that refuses our key is alive.
func (d *driver) Connect(ctx context.Context) (collect.Conn, error) {
	to, err := d.endpoint()
	if err != nil {
		return nil, fault.Wrap(fault.Config, "settings", err)
	}
	c := &conn{driver: d, meter: &meter{dialer: net.Dialer{Control: d.guard}}}
	to.Dial, to.Patience, to.Connections = c.meter.dial, d.patience, d.connections
	c.meter.begin()
	kind := d.kind
	if kind == nil {
		if kind, err = detect(ctx, to); err != nil {
			return nil, err
		}
	}
	c.id.Product = kind.name
	if c.session, err = kind.open(ctx, to); err != nil {
		return nil, err
	}
	if _, err = c.identify(ctx); err != nil && (rest.Status(err) == 0 || fault.Of(err) == fault.Config) {
		c.session.Close()
		return nil, err
	}
	return c, nil
}

// Classify tells the kind of an error; the backends have given them one at the wire.
func (d *driver) Classify(err error) fault.Kind { return fault.Of(err) }

// conn is a session with a server.
type conn struct {
	driver  *driver
	session backend.Session
	meter   *meter

	mu    sync.Mutex
	id    collect.Identity
	names []string // of all collections, as they were listed last
	known bool     // they were
}

// Identity is what the newest answer told.
func (c *conn) Identity() collect.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// Usage counts what the connections cost.
func (c *conn) Usage() collect.Usage { return c.meter.usage() }

// Close ends the session.
func (c *conn) Close() { c.session.Close() }

// The questions. State asks nothing by itself: it is how those fared that tell of the server as a whole.
const (
	askList     = "list"
	askLive     = "live"
	askReady    = "ready"
	askIdentify = "identify"
	askCluster  = "cluster"
	askNative   = "native"
	askWrite    = "write"
	askState    = "state"
)

// ask puts one question.
func (c *conn) ask(ctx context.Context, question string) (any, error) {
	switch question {
	case askList:
		return c.list(ctx)
	case askLive:
		return nil, c.session.Live(ctx)
	case askReady:
		return nil, c.session.Ready(ctx)
	case askIdentify:
		return c.identify(ctx)
	case askCluster:
		return c.session.Cluster(ctx)
	case askNative:
		return readNative(ctx, c.session)
	case askWrite:
		return nil, c.driver.canary.Sign(ctx, c.session)
	}
	return nil, fault.New(fault.Internal, "a question that nobody knows")
}

func (c *conn) identify(ctx context.Context) (backend.Server, error) {
	server, err := c.session.Identify(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.id.Text = server.Version; err != nil {
		c.id.Text = ""
	}
	return server, err
}

func (c *conn) list(ctx context.Context) ([]string, error) {
	names, err := c.session.List(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names, c.known = names, true
	return names, nil
}

// wanted gives the collections to tell of, asking for the list where this session has none yet.
func (c *conn) wanted(ctx context.Context) ([]string, error) {
	c.mu.Lock()
	names, known := c.names, c.known
	c.mu.Unlock()
	if !known {
		var err error
		if names, err = c.list(ctx); err != nil {
			return nil, err
		}
	}
	return c.driver.wanted(names), nil
}

// answer is what a question brought: not rows but what a backend told.
type answer struct{ value any }

func (answer) Fields() []string { return nil }
func (answer) Next() bool       { return false }
func (answer) Value(int) []byte { return nil }
func (answer) Err() error       { return nil }

// outcome is how one question fared.
type outcome struct {
	done  chan struct{}
	value any
	err   error
}

// Do asks all questions at once, each once, and hands out the answers in order. For the list, by which the server is
// judged, it waits as long as somebody waits for the scrape; for the others not so long that the rest could not be asked.
func (c *conn) Do(ctx context.Context, questions []collect.Question, read func(int, collect.Answer, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	c.meter.begin()
	outcomes := map[string]*outcome{}
	var asked sync.WaitGroup
	defer asked.Wait()
	defer cancel()
	for _, text := range distinct(questions) {
		one := &outcome{done: make(chan struct{})}
		outcomes[text] = one
		asked.Go(func() { c.carryOut(ctx, text, one) })
	}
	for i, question := range questions {
		if question.Text == askState {
			state, err := c.state(ctx, outcomes)
			if err != nil {
				return err
			}
			read(i, answer{state}, nil)
			continue
		}
		one := outcomes[question.Text]
		if err := one.wait(ctx); err != nil {
			return err
		}
		switch {
		case question.Text == askList && lost(one.err):
			return one.err
		case question.Text == askReady && fault.Of(one.err) == fault.Unsupported: // nothing to be not ready
			read(i, answer{}, nil)
		default:
			read(i, answer{one.value}, one.err)
		}
	}
	if list := outcomes[askList]; list != nil && refused(list.err) {
		return list.err // the next session reads the key anew
	}
	return nil
}

// refused tells whether the server does not accept our credentials.
func refused(err error) bool { return fault.Of(err) == fault.Auth || fault.Of(err) == fault.Denied }

func (o *outcome) wait(ctx context.Context) error {
	select {
	case <-o.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// carryOut asks one question. A panic is that question's failure.
func (c *conn) carryOut(ctx context.Context, text string, one *outcome) {
	defer close(one.done)
	if text != askList {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.driver.patience)
		defer cancel()
	}
	one.err = rest.Guarded(func() (err error) {
		one.value, err = c.ask(ctx, text)
		return err
	})
}

// distinct gives each question once, and those that state is made of.
func distinct(questions []collect.Question) []string {
	var all []string
	for _, question := range questions {
		texts := []string{question.Text}
		if question.Text == askState {
			texts = []string{askList, askLive, askReady, askIdentify}
		}
		for _, text := range texts {
			if !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return all
}

// lost tells a server that did not answer from one whose answer we do not like.
func lost(err error) bool {
	kind := fault.Of(err)
	return rest.Status(err) == 0 && (kind == fault.Unreachable || kind == fault.Timeout)
}

// state is what tells of the server as a whole, each with the error that it met.
type state struct {
	system                      string
	list, live, ready, identify outcome
	wanted                      int // of the collections
}

func (c *conn) state(ctx context.Context, outcomes map[string]*outcome) (s state, err error) {
	for text, into := range map[string]*outcome{askList: &s.list, askLive: &s.live, askReady: &s.ready, askIdentify: &s.identify} {
		if err := outcomes[text].wait(ctx); err != nil {
			return s, err
		}
		*into = *outcomes[text]
	}
	s.system = c.Identity().Product
	if names, ok := s.list.value.([]string); ok {
		s.wanted = len(c.driver.wanted(names))
	}
	return s, nil
}

var (
	_ collect.Driver = (*driver)(nil)
	_ collect.Conn   = (*conn)(nil)
)
