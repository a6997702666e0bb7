// Command example is a whole exporter in one file, for those who write another: a catalogue, a driver, and a main that
// hands both over. docs/writing-an-exporter.md explains it.
package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// The catalogue: what is asked, and what each field of the answer is.

var stats = collect.Table{
	Name: "stats", Prefix: "memcached", Help: "stats: what the server holds and counts.",
	Sources: []collect.Source{collect.Always("stats")},
	Columns: []collect.Column{
		collect.Value("uptime", "uptime_seconds", "Time since the server started, in seconds."),
		collect.Value("curr_items", "items", "Items that are stored."),
		collect.Value("bytes", "stored_bytes", "Bytes that the stored items take."),
		collect.Value("limit_maxbytes", "limit_bytes", "Bytes that stored items may take."),
		collect.Count("get_hits", "get_hits_total", "Items that were asked for and found."),
		collect.Count("get_misses", "get_misses_total", "Items that were asked for and not found."),
	},
}

// The driver: connecting, one batch out and the answers in, and what errors mean.

type driver struct{ address string }

func (d *driver) Connect(ctx context.Context) (collect.Conn, error) {
	socket, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.address)
	if err != nil {
		return nil, err
	}
	c := &conn{}
	c.socket = c.meter.Wrap(socket)
	c.lines = bufio.NewReaderSize(c.socket, 2<<10) // no line is longer than that
	err = c.Do(ctx, []collect.Question{{Text: "version"}}, func(_ int, answer collect.Answer, refused error) {
		if err = refused; err == nil && len(answer.Fields()) == 1 {
			c.version = string(answer.Value(0))
		}
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (d *driver) Classify(err error) fault.Kind { return fault.Of(err) }

func (d *driver) Probes() []collect.Probe {
	return []collect.Probe{{Operation: collect.Ping, Question: collect.Question{Text: "version"}}}
}

type conn struct {
	socket  net.Conn
	lines   *bufio.Reader
	meter   collect.Meter
	version string
}

func (c *conn) Identity() collect.Identity {
	id := collect.Identity{Product: "memcached", Text: c.version}
	for part := range strings.SplitSeq(c.version, ".") { // 1.6.18 is 10618
		number, _ := strconv.Atoi(part)
		id.Version = id.Version*100 + number
	}
	return id
}

func (c *conn) Usage() collect.Usage { return c.meter.Usage() }

func (c *conn) Close() { _ = c.socket.Close() }

func (c *conn) Do(ctx context.Context, questions []collect.Question, read func(int, collect.Answer, error)) error {
	defer context.AfterFunc(ctx, c.Close)() // which ends whatever waits for the server
	c.meter.Allow(1 << 20)
	var batch strings.Builder
	for _, question := range questions {
		batch.WriteString(question.Text + "\r\n")
	}
	if _, err := io.WriteString(c.socket, batch.String()); err != nil {
		return broken(ctx, err)
	}
	for i := range questions {
		answer, refused, err := c.answer()
		if err != nil {
			return broken(ctx, err)
		}
		read(i, answer, refused)
	}
	return nil
}

// broken says why the connection is lost: where the time was up, that is the reason.
func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fault.Wrap(fault.Timeout, "the server does not answer", ctx.Err())
	}
	return err
}

// answer reads lines up to the last one of a reply: "STAT name value" any number of times and END, or one of VERSION.
func (c *conn) answer() (answer *row, refused, err error) {
	answer = &row{}
	for {
		line, err := c.lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = fault.New(fault.Limited, "a line is too long")
		}
		if err != nil {
			return nil, nil, err
		}
		word, rest, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
		switch name, value, _ := strings.Cut(rest, " "); word {
		case "STAT":
			answer.fields, answer.values = append(answer.fields, name), append(answer.values, []byte(value))
		case "VERSION":
			return &row{fields: []string{"version"}, values: [][]byte{[]byte(rest)}}, nil, nil
		case "END":
			return answer, nil, nil
		case "ERROR":
			return nil, fault.New(fault.Unsupported, "the server does not know the command"), nil
		default:
			return nil, nil, fault.New(fault.Malformed, "the server speaks another protocol")
		}
	}
}

// row is an answer of one row.
type row struct {
	fields []string
	values [][]byte
	read   bool
}

func (r *row) Fields() []string   { return r.fields }
func (r *row) Value(i int) []byte { return r.values[i] }
func (r *row) Err() error         { return nil }
func (r *row) Next() bool         { first := !r.read; r.read = true; return first }

// The backend: flags, and the targets that they describe.

type backend struct{ address *string }

func (b *backend) Flags(a *kingpin.Application) {
	b.address = a.Flag("memcached.address", "The server, as host:port.").Default("localhost:11211").Envar("MEMCACHED_ADDRESS").String()
}

func (b *backend) Catalogue() (collect.Catalogue, error) {
	collector, err := stats.Collector()
	return collect.Catalogue{collector}, err
}

func (b *backend) Load(enabled func(string) bool, _ time.Duration) (*app.Setup, error) {
	all, err := b.Catalogue()
	spec := collect.Spec{Name: *b.address, Service: "memcached", Driver: &driver{*b.address}}
	for _, collector := range all {
		if enabled(collector.Name) {
			spec.Collectors = append(spec.Collectors, collector)
		}
	}
	return &app.Setup{Targets: []app.Target{{Spec: spec, Key: spec.Name}}}, err
}

func (b *backend) Examine(context.Context, collect.Spec) ([]app.Finding, error) { return nil, nil }

func exporter() app.Exporter {
	return app.Exporter{
		Name: "memcached-exporter", Title: "memcached", Prefix: "memcached", Program: "memcached_exporter",
		Env: "MEMCACHED_EXPORTER", Backend: &backend{},
	}
}

func main() { os.Exit(exporter().Main()) }
