package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// life is what a server says on one connection: a part for the startup, then one for each Sync.
type life [][]byte

// size is that of all parts.
func (l life) size() (n int) {
	for _, part := range l {
		n += len(part)
	}
	return n
}

// boundaries are the offsets at which messages begin, and the end.
func (l life) boundaries() []int {
	var all []int
	text, at := bytes.Join(l, nil), 0
	for at < len(text) {
		all = append(all, at)
		at += 1 + int(binary.BigEndian.Uint32(text[at+1:]))
	}
	return append(all, at)
}

// cancelRequest is what a client says instead of its version to have a session cancelled.
const cancelRequest = 80877102

// patience is how long a scrape may take in the tests with recorded answers. Their time is that of the bubble.
const patience = 5 * time.Second

// smallCatalogue has one collector of each kind of answer.
func smallCatalogue(t *testing.T) collect.Catalogue {
	t.Helper()
	var all collect.Catalogue
	for name, query := range map[string]string{
		"rows":    `SELECT 'row ' || n AS name, n * 1.5 AS value, CASE WHEN n = 2 THEN n END AS other FROM generate_series(1, 3) AS n`,
		"failing": `SELECT n AS name, 1 / (n - 2) AS value FROM generate_series(1, 3) AS n`,
		"unknown": `SELECT 1 AS value FROM no_such_table`,
		"empty":   `SELECT 'x' AS name, 1 AS value WHERE false`,
		"twice":   `SELECT 'second' AS name, 42 AS value`,
	} {
		collector, err := collect.Table{
			Name: name, Prefix: "t_" + name, Help: "A test.", Sources: []collect.Source{collect.Always(query)},
			Columns: []collect.Column{collect.Label("name"), collect.Value("value", "value", "A value."), collect.Value("other", "other", "Another.")},
		}.Collector()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, collector)
	}
	slices.SortFunc(all, func(a, b *collect.Collector) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// dialled makes a target of a driver whose connections a function makes.
func dialled(t *testing.T, dsn string, list collect.Catalogue, dial pgconn.DialFunc) *collect.Target {
	t.Helper()
	settings := func() (*pgconn.Config, error) {
		config, err := pgconn.ParseConfig(dsn)
		if err != nil {
			return nil, err
		}
		config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
		config.DialFunc = dial
		return config, nil
	}
	return collect.NewTarget(collect.Spec{
		Name: "test", Service: "test", Collectors: list, Driver: &driver{settings: settings, statement: patience / 2},
	}, collect.NewSelf("pg", nil), slog.New(slog.DiscardHandler))
}

// outcome is what a scrape says of the catalogue's collectors.
type outcome struct {
	*collect.Result
	lines []string // of the page, the exporter's own series aside
	took  time.Duration
}

func look(t *testing.T, target *collect.Target) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	begin := time.Now()
	result := target.Scrape(ctx)
	o := outcome{Result: result, took: time.Since(begin)}
	var page metric.Page
	result.AddTo(&page)
	for _, family := range page.Families() {
		if strings.HasPrefix(family.GetName(), "t_") {
			for _, sample := range family.Metric {
				o.lines = append(o.lines, family.GetName()+" "+sample.String())
			}
		}
	}
	return o
}

// differences tells how an outcome differs from a good one. What failed in one of the allowed ways may be missing.
func (o outcome) differences(good outcome, allowed ...fault.Kind) error {
	var all []error
	for _, line := range o.lines {
		if !slices.Contains(good.lines, line) {
			all = append(all, fmt.Errorf("the page holds %s", line))
		}
	}
	for i, c := range o.Collectors {
		want := good.Collectors[i]
		if same := c.Fault == want.Fault && c.Missing == want.Missing && c.Series == want.Series; !same && !slices.Contains(allowed, c.Fault) {
			all = append(all, fmt.Errorf("%s: %d series, missing %q, fault %q: %w", c.Name, c.Series, c.Missing, c.Fault, c.Err))
		}
	}
	if !o.Up && !slices.Contains(allowed, o.Fault) {
		all = append(all, fmt.Errorf("down by %q: %w", o.Fault, o.Err))
	}
	return errors.Join(all...)
}

// record lets a target scrape a real server twice and keeps what the server says.
func record(t *testing.T, list collect.Catalogue) (life, outcome) {
	t.Helper()
	server := servers.NewPostgres(t, servers.PostgresOptions{HBA: []string{"host all all 127.0.0.1/32 trust"}})
	heard := &recorder{}
	target := dialled(t, server.DSN("postgres"), list, func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		heard.Conn = conn
		return heard, err
	})
	first := look(t, target)
	time.Sleep(600 * time.Millisecond) // until the result is no longer shared
	second := look(t, target)
	target.Close()
	if err := errors.Join(first.differences(second), second.differences(first)); err != nil || !first.Up {
		t.Fatal("the scrapes to record differ:", err, first.Err)
	}
	return heard.life(), second
}

// recorder is a connection that keeps what it reads.
type recorder struct {
	net.Conn
	heard []byte
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.heard = append(r.heard, b[:n]...)
	return n, err
}

// life cuts what was heard behind each ReadyForQuery.
func (r *recorder) life() life {
	var l life
	for begin, at := 0, 0; at < len(r.heard); {
		ready := r.heard[at] == 'Z'
		at += 1 + int(binary.BigEndian.Uint32(r.heard[at+1:]))
		if ready {
			l, begin = append(l, r.heard[begin:at]), at
		}
	}
	return l
}

// spoil is what goes wrong on a connection, at the byte that at others came before.
type spoil struct {
	at    int
	how   manner
	flip  byte   // what is changed of the byte
	flood []byte // what is said over and over
}

type manner uint8

const (
	good manner = iota
	stalled
	cut
	flipped
	flooded
)

// actor plays a server that says what was recorded. Its first session is spoiled, or all are.
type actor struct {
	life   life
	spoil  spoil
	always bool

	mu       sync.Mutex
	sessions int
	open     int
	cancels  int
}

func (a *actor) target(t *testing.T, list collect.Catalogue) *collect.Target {
	return dialled(t, "host=actor port=5432 user=u dbname=d sslmode=disable", list, func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		a.count(&a.open, 1)
		go a.play(server)
		return client, nil
	})
}

func (a *actor) count(what *int, by int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	*what += by
	return *what
}

// play serves one connection until the client leaves or the spoil ends it.
func (a *actor) play(conn net.Conn) {
	defer a.count(&a.open, -1)
	defer conn.Close()
	var length, code uint32
	if binary.Read(conn, binary.BigEndian, &length) != nil || binary.Read(conn, binary.BigEndian, &code) != nil || skip(conn, length-8) != nil {
		return
	}
	if code == cancelRequest {
		a.count(&a.cancels, 1)
		return
	}
	var how spoil
	if session := a.count(&a.sessions, 1); session == 1 || a.always {
		how = a.spoil
	}
	asked, gone := make(chan struct{}, 1000), make(chan struct{})
	go a.listen(conn, asked, gone)
	a.speak(conn, how, asked, gone)
	conn.Close()
	<-gone
}

func skip(r io.Reader, n uint32) error {
	_, err := io.CopyN(io.Discard, r, int64(n))
	return err
}

// listen tells of each Sync that the client sends.
func (a *actor) listen(conn net.Conn, asked chan<- struct{}, gone chan<- struct{}) {
	defer close(gone)
	for {
		var header [5]byte
		if _, err := io.ReadFull(conn, header[:]); err != nil || skip(conn, binary.BigEndian.Uint32(header[1:])-4) != nil {
			return
		}
		if header[0] == 'S' {
			asked <- struct{}{}
		}
	}
}

func (a *actor) speak(conn net.Conn, how spoil, asked, gone <-chan struct{}) {
	said := 0
	for _, part := range a.life {
		if !how.say(conn, part, said, gone) {
			return
		}
		said += len(part)
		select {
		case <-asked:
		case <-gone:
			return
		}
	}
	<-gone // more is asked than was recorded
}

// say tells whether the connection goes on.
func (s spoil) say(conn net.Conn, part []byte, said int, gone <-chan struct{}) bool {
	at := s.at - said
	if s.how == good || at < 0 || at >= len(part) {
		_, err := conn.Write(part)
		return err == nil
	}
	if s.how == flipped {
		part = bytes.Clone(part)
		part[at] ^= s.flip
		_, err := conn.Write(part)
		return err == nil
	}
	_, err := conn.Write(part[:at])
	switch s.how {
	case stalled:
		<-gone
	case flooded:
		for err == nil {
			_, err = conn.Write(s.flood)
		}
	}
	return false
}

// endure spoils a target's first connection and wants three scrapes to end in time, the last one to be good, and
// nothing to be left behind: a goroutine that is would make the bubble fail.
func endure(t *testing.T, l life, how spoil, check func(outcome) error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &actor{life: l, spoil: how}
		target := a.target(t, smallCatalogue(t))
		for turn := range 2 {
			o := look(t, target)
			if o.took > patience {
				t.Errorf("%+v: scrape %d took %s", how, turn, o.took)
			}
			if err := check(o); err != nil {
				t.Errorf("%+v: scrape %d: %v", how, turn, err)
			}
			time.Sleep(1100 * time.Millisecond)
		}
		how.how = good
		if err := check(look(t, target)); err != nil {
			t.Errorf("%+v: the scrape after it: %v", how, err)
		}
		target.Close()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := a.count(&a.open, 0); n != 0 {
			t.Errorf("%+v: %d connections are left open", how, n)
		}
	})
}

// split shares cases out among parallel tests.
func split[T any](t *testing.T, cases []T, run func(*testing.T, T)) {
	const parts = 4
	for part := range parts {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			for i := part; i < len(cases) && !t.Failed(); i += parts {
				run(t, cases[i])
			}
		})
	}
}

// The server hangs before each of its messages, and before each message's body.
func TestStallsAtEveryMessage(t *testing.T) {
	l, good := record(t, smallCatalogue(t))
	var cases []int
	for _, at := range l.boundaries() {
		cases = append(cases, at, at+1, at+5)
	}
	split(t, cases, func(t *testing.T, at int) {
		endure(t, l, spoil{at: at, how: stalled}, func(o outcome) error { return o.differences(good, fault.Timeout) })
	})
}

// The connection ends after each byte.
func TestCutsAfterEveryByte(t *testing.T) {
	l, good := record(t, smallCatalogue(t))
	cases := make([]int, l.size())
	for at := range cases {
		cases[at] = at
	}
	split(t, cases, func(t *testing.T, at int) {
		endure(t, l, spoil{at: at, how: cut}, func(o outcome) error { return o.differences(good, fault.Unreachable) })
	})
}
