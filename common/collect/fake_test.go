package collect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// reply is what the fake server says to one question.
type reply struct {
	after  time.Duration // how long it takes
	stalls bool          // it never comes
	fields string        // names of the columns, separated by spaces
	lines  []string      // values separated by spaces; - is NULL
	err    error         // of this question alone
	ends   error         // after the rows
	breaks error         // the connection is lost
	panics any           // the driver has a bug
	skips  bool          // the driver never hands it on
}

// table is a reply of one row for each text.
func table(fields string, rows ...string) reply { return reply{fields: fields, lines: rows} }

// server is a fake backend and its driver. Tests write its fields before the first scrape, or hold mu.
type server struct {
	mu       sync.Mutex
	identity Identity
	probes   []Probe
	replies  map[string]reply
	connect  func(ctx context.Context, attempt int) error // nil: at once
	classify func(error) fault.Kind

	attempts []time.Time // to connect
	conns    []*conn
	open     int // connections
	asked    []string
}

func newServer() *server {
	return &server{
		identity: Identity{Product: "Fake", Version: 17, Features: map[string]string{}},
		probes:   []Probe{{Operation: Ping, Question: Question{Text: "ping"}}, {Operation: Read, Question: Question{Text: "read"}}},
		replies:  map[string]reply{"ping": table("ok", "1"), "read": table("ok", "1")},
	}
}

// set changes a reply while scrapes run.
func (s *server) set(question string, r reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies[question] = r
}

func (s *server) Connect(ctx context.Context) (Conn, error) {
	s.mu.Lock()
	s.attempts = append(s.attempts, time.Now())
	attempt, connect := len(s.attempts), s.connect
	s.mu.Unlock()
	if connect != nil {
		if err := connect(ctx, attempt); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &conn{server: s, identity: s.identity}
	s.conns = append(s.conns, c)
	s.open++
	return c, nil
}

func (s *server) Classify(err error) fault.Kind {
	if s.classify != nil {
		return s.classify(err)
	}
	return fault.Of(err)
}

func (s *server) Probes() []Probe { return s.probes }

// times gives how long after the first each attempt to connect was made.
func (s *server) times() (since []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.attempts {
		since = append(since, at.Sub(s.attempts[0]))
	}
	return since
}

// count tells how often a question was asked.
func (s *server) count(question string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, asked := range s.asked {
		if asked == question {
			n++
		}
	}
	return n
}

type conn struct {
	server   *server
	identity Identity // as the newest answer tells
	usage    Usage
	closed   bool
	broken   error      // the server closed it while it was idle
	using    sync.Mutex // held by whoever talks
}

var errTwoTalk = errors.New("two talk on one connection at once")

func (c *conn) Usage() Usage       { return c.usage }
func (c *conn) Identity() Identity { return c.identity }

func (c *conn) Close() {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if !c.closed {
		c.closed = true
		c.server.open--
	}
}

func (c *conn) Do(ctx context.Context, questions []Question, read func(int, Answer, error)) error {
	if !c.using.TryLock() {
		return errTwoTalk
	}
	defer c.using.Unlock()
	if c.broken != nil {
		return c.broken
	}
	c.usage = c.usage.plus(Usage{TurnArounds: 1, Sent: 10 * int64(len(questions))})
	for i, question := range questions {
		c.server.mu.Lock()
		c.server.asked = append(c.server.asked, question.Text)
		r, known := c.server.replies[question.Text]
		c.server.mu.Unlock()
		if !known {
			r.err = fault.New(fault.Unsupported, "no such question: "+question.Text)
		}
		if err := r.give(ctx, func(answer Answer, err error) { read(i, answer, err) }); err != nil {
			return err
		}
		c.usage.Received += 100
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.identity = c.server.identity
	return nil
}

func (r reply) give(ctx context.Context, read func(Answer, error)) error {
	if r.panics != nil {
		panic(r.panics)
	}
	if r.stalls {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-time.After(r.after):
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case r.breaks != nil:
		return r.breaks
	case r.skips:
	case r.err != nil:
		read(nil, r.err)
	default:
		read(&rows{reply: r}, nil)
	}
	return nil
}

// rows is the answer of a reply.
type rows struct {
	reply
	next   int
	values []string
}

func (r *rows) Fields() []string { return strings.Fields(r.fields) }

func (r *rows) Next() bool {
	if r.next == len(r.lines) {
		return false
	}
	r.values = strings.Split(r.lines[r.next], " ")
	r.next++
	return true
}

func (r *rows) Value(i int) []byte {
	if r.values[i] == "-" {
		return nil
	}
	return []byte(r.values[i])
}

func (r *rows) Err() error { return r.ends }

// gauge is a collector of one gauge from the rows of a question that has its name.
func gauge(name string, change ...func(*Collector)) *Collector {
	collector, err := Table{
		Name: name, Prefix: "fake", Help: "Rows of " + name + ".", Sources: []Source{Always(name)},
		Columns: []Column{Label("key"), Value("value", name, "What "+name+" holds.")},
	}.Collector()
	if err != nil {
		panic(err)
	}
	for _, c := range change {
		c(collector)
	}
	return collector
}

func slow(every time.Duration) func(*Collector) {
	return func(c *Collector) { c.Class, c.Every = Slow, every }
}

// fixture is a target of a fake server within a bubble of synctest, closed at its end.
type fixture struct {
	*Target
	*server
	t    *testing.T
	logs *logs
}

// bubble runs a test in which time passes only while all goroutines wait. It fails when one is left at the end.
func bubble(t *testing.T, s *server, collectors Catalogue, test func(f *fixture)) {
	t.Helper()
	if err := collectors.Check(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		logs := &logs{}
		spec := Spec{Name: "fake:1/db", Service: "fake", Database: "db", Driver: s, Collectors: collectors}
		f := &fixture{Target: NewTarget(spec, NewSelf("fake", nil), slog.New(logs)), server: s, t: t, logs: logs}
		test(f)
		f.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open != 0 {
			t.Errorf("%d connections are open after Close", s.open)
		}
	})
}

// scrape gives what a scrape of at most so long answers.
func (f *fixture) scrape(limit time.Duration) *Result {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	started := time.Now()
	result := f.Scrape(ctx)
	if took := time.Since(started); took > limit {
		f.t.Errorf("a scrape of at most %v took %v", limit, took)
	}
	return result
}

// later lets so much time pass that no result is shared.
func later() { time.Sleep(shareFor) }

// page gives the text of a result.
func page(t *testing.T, r *Result) string {
	t.Helper()
	var page metric.Page
	var text bytes.Buffer
	r.AddTo(&page)
	if err := page.Encode(&text, expfmt.FmtText); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// lines gives the lines of a page that begin with one of the prefixes.
func lines(text string, prefixes ...string) string {
	var found strings.Builder
	for line := range strings.Lines(text) {
		for _, prefix := range prefixes {
			if strings.HasPrefix(line, prefix) {
				found.WriteString(line)
				break
			}
		}
	}
	return found.String()
}

// expect compares the lines of a result's page that begin with one of the prefixes, separated by spaces.
func (f *fixture) expect(r *Result, prefixes, want string) {
	f.t.Helper()
	if got := lines(page(f.t, r), strings.Fields(prefixes)...); got != undent(want) {
		f.t.Errorf("the page says\n%s\nwant\n%s", got, undent(want))
	}
}

func undent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.TrimLeft(text, "\n")) {
		if line = strings.TrimLeft(line, "\t"); line != "" {
			out.WriteString(line)
		}
	}
	return out.String()
}

// logs keeps what was logged.
type logs struct {
	mu    sync.Mutex
	lines []string
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }
func (l *logs) Handle(_ context.Context, record slog.Record) error {
	line := record.Level.String() + " " + record.Message
	record.Attrs(func(a slog.Attr) bool {
		if a.Key != "err" {
			line += " " + a.String()
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// take gives what was logged since it was called last.
func (l *logs) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.Join(l.lines, "\n")
	l.lines = nil
	return text
}

var errGone = fault.Wrap(fault.Unreachable, "", io.EOF)
