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
	"runtime"
	"runtime/metrics"
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

// boundaries are the offsets at which messages begin.
func (l life) boundaries() []int {
	var all []int
	text, at := bytes.Join(l, nil), 0
	for at < len(text) {
		all = append(all, at)
		at += 1 + int(binary.BigEndian.Uint32(text[at+1:]))
	}
	return all
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

// recorded is what a real server said to two scrapes, and what each of them made of it.
type recorded struct {
	life
	good outcome
}

// record lets a target scrape a real server twice.
func record(t *testing.T) recorded {
	t.Helper()
	list := smallCatalogue(t)
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
	r := recorded{heard.life(), second}
	if len(r.life) != parts || len(second.lines) != goodLines {
		t.Fatalf("%d parts and %d samples were recorded, want %d and %d", len(r.life), len(second.lines), parts, goodLines)
	}
	return r
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
	flip  byte             // what is changed of the byte
	flood func(int) []byte // what is said over and over, at the nth time
}

type manner uint8

const (
	good manner = iota
	stalled
	cut
	flipped
	flooded
)

// actor plays a server that says what was recorded. In its first session it says something else, or it is spoiled.
type actor struct {
	life  life
	first life // nil: the same
	spoil spoil

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
	lines := slices.Clone(a.life)
	if a.count(&a.sessions, 1) == 1 {
		how = a.spoil
		if a.first != nil {
			lines = slices.Clone(a.first)
		}
	}
	asked, gone := make(chan struct{}, 1000), make(chan struct{})
	go a.listen(conn, asked, gone)
	for range 3 { // more scrapes than were recorded
		lines = append(lines, a.life[secondIdentity:]...)
	}
	lines.speak(conn, how, asked, gone)
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

func (l life) speak(conn net.Conn, how spoil, asked, gone <-chan struct{}) {
	said := 0
	for _, part := range l {
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
	<-gone
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
		for n := 0; err == nil; n++ {
			_, err = conn.Write(s.flood(n))
		}
	}
	return false
}

// endure has a target meet a server that is spoiled in its first session. It wants three scrapes to end in time, the
// last one to be good, and nothing to be left behind: a goroutine that is would make the bubble fail.
func (a *actor) endure(t *testing.T, good outcome, allowed ...fault.Kind) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		target := a.target(t, smallCatalogue(t))
		var last outcome
		for turn := range 3 {
			last = look(t, target)
			if last.took > patience {
				t.Errorf("%v: scrape %d took %s", a.spoil, turn, last.took)
			}
			if err := errors.Join(last.sane(), last.differences(good, allowed...)); err != nil {
				t.Errorf("%v: scrape %d: %v", a.spoil, turn, err)
			}
			time.Sleep(1100 * time.Millisecond)
		}
		if err := last.differences(good); err != nil || len(last.lines) != len(good.lines) {
			t.Errorf("%v: the last scrape is not good: %v", a.spoil, err)
		}
		target.Close()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := a.count(&a.open, 0); n != 0 {
			t.Errorf("%v: %d connections are left open", a.spoil, n)
		}
		if a.spoil.how == stalled && a.spoil.at >= len(a.life[startup]) && a.count(&a.cancels, 0) == 0 {
			t.Errorf("%v: the server was not told to stop", a.spoil)
		}
	})
}

// String leaves out what it would flood.
func (s spoil) String() string { return fmt.Sprintf("%d at %d by %#x", s.how, s.at, s.flip) }

// goodLines is the number of samples that the small catalogue gives.
const goodLines = 5

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

// TestRecordedServer has a target scrape a server that says what a real one has said, until something goes wrong.
func TestRecordedServer(t *testing.T) {
	r := record(t)
	t.Run("stalls", r.stalls)
	t.Run("cuts", r.cuts)
	t.Run("garbled", r.garbled)
	t.Run("hostile", r.hostile)
	t.Run("endless", r.endless)
	t.Run("astray", r.astray)
	t.Run("empty error", r.emptyError)
	t.Run("odd numbers", r.oddNumbers)
	t.Run("deaf", r.deaf)
	t.Run("last words", r.lastWords)
}

// The server hangs before each of its messages, and before each message's body.
func (r recorded) stalls(t *testing.T) {
	var cases []int
	for _, at := range r.boundaries() {
		cases = append(cases, at, at+1, at+5)
	}
	split(t, cases, func(t *testing.T, at int) {
		a := &actor{life: r.life, spoil: spoil{at: at, how: stalled}}
		a.endure(t, r.good, fault.Timeout)
	})
}

// The connection ends after each byte.
func (r recorded) cuts(t *testing.T) {
	split(t, offsets(r.life), func(t *testing.T, at int) {
		a := &actor{life: r.life, spoil: spoil{at: at, how: cut}}
		a.endure(t, r.good, fault.Unreachable)
	})
}

func offsets(l life) []int {
	all := make([]int, l.size())
	for at := range all {
		all[at] = at
	}
	return all
}

// Every byte is garbled once, each in another way than the one before. What a garbled row says nobody can tell from the
// truth; but nothing panics, hangs or is left behind.
func (r recorded) garbled(t *testing.T) {
	split(t, offsets(r.life), func(t *testing.T, at int) {
		flips := []byte{0xff, 0x01, 0x80, 0x20, 0x04}
		garbled := spoil{at: at, how: flipped, flip: flips[at%len(flips)]}
		synctest.Test(t, func(t *testing.T) {
			a := &actor{life: r.life, spoil: garbled}
			target := a.target(t, smallCatalogue(t))
			for range 2 {
				if o := look(t, target); o.took > patience || o.sane() != nil {
					t.Errorf("%v: after %s: %v", garbled, o.took, o.sane())
				}
				time.Sleep(1100 * time.Millisecond)
			}
			target.Close()
			time.Sleep(3 * time.Second)
			if n := a.count(&a.open, 0); n != 0 {
				t.Errorf("%v: %d connections are left open", garbled, n)
			}
		})
	})
}

// sane tells whether an outcome is consistent in itself and free of panics.
func (o outcome) sane() error {
	var all []error
	if !o.Up && o.Fault == fault.None {
		all = append(all, errors.New("down without a reason"))
	}
	failures := []error{o.Err}
	for _, c := range o.Collectors {
		failures = append(failures, c.Err)
		if c.Fault != fault.None && c.Series > 0 {
			all = append(all, fmt.Errorf("%s failed and shows %d series", c.Name, c.Series))
		}
	}
	for _, err := range failures {
		if err != nil && strings.Contains(err.Error(), "panic") {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// The parts of a recorded life, by what they answer. The collectors are asked in the order of their names.
const (
	startup = iota
	helloIdentity
	helloSession
	helloSettings
	firstIdentity
	firstRead
	firstEmpty
	firstFailing
	firstRows
	firstTwice
	firstUnknown
	secondIdentity
	secondRead
	secondEmpty
	secondFailing
	secondRows
	secondTwice
	secondUnknown
	parts
)

// message writes one message of the protocol.
func message(kind byte, body string) []byte {
	return append(header(kind, uint32(len(body)+4)), body...)
}

// header declares a body that may not come.
func header(kind byte, length uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, length)
}

// row is a message with a row of these values.
func row(values ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, value := range values {
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(value))), value...)
	}
	return message('D', string(body))
}

// change gives a life of which one part is another one.
func (l life) change(part int, change func([]byte) []byte) life {
	changed := slices.Clone(l)
	changed[part] = change(l[part])
	return changed
}

// without takes the messages of these types out of a part.
func without(kinds string) func([]byte) []byte {
	return func(part []byte) []byte {
		var left []byte
		for len(part) > 0 {
			n := 1 + int(binary.BigEndian.Uint32(part[1:]))
			if !strings.Contains(kinds, string(part[:1])) {
				left = append(left, part[:n]...)
			}
			part = part[n:]
		}
		return left
	}
}

// from gives what begins with the first message of a type, or all where there is none.
func from(kind byte, part []byte) []byte {
	for left := part; len(left) > 0; left = left[1+int(binary.BigEndian.Uint32(left[1:])):] {
		if left[0] == kind {
			return left
		}
	}
	return part
}

var ready = message('Z', "I")

// meet has a target scrape a server whose first session is hostile. Memory stays small meanwhile.
func (r recorded) meet(t *testing.T, hostile life, how spoil, allowed ...fault.Kind) {
	t.Helper()
	peak := watchHeap(func() {
		a := &actor{life: r.life, first: hostile, spoil: how}
		a.endure(t, r.good, allowed...)
	})
	if peak > 100<<20 {
		t.Errorf("%d MB were in use", peak>>20)
	}
}

// watchHeap gives the growth of the heap, garbage included, at its peak during a call.
func watchHeap(call func()) (growth uint64) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() uint64 { metrics.Read(samples); return samples[0].Value.Uint64() }
	runtime.GC()
	before, over, result := read(), make(chan struct{}), make(chan uint64)
	go func() {
		peak := before
		for {
			peak = max(peak, read())
			select {
			case <-over:
				result <- peak - before
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	call()
	close(over)
	return <-result
}

// anywhere are parts at which a server can break the protocol: on connecting, in the first and in a later batch.
var anywhere = []int{startup, helloIdentity, helloSession, firstIdentity, firstRows, secondIdentity, secondRead, secondRows, secondUnknown}

// A server breaks the protocol anywhere in its talk. The connection ends, or the one question fails; a row never counts
// for another question than its own, and no length that is only declared is believed.
func (r recorded) hostile(t *testing.T) {
	for name, messages := range map[string][]byte{
		"authentication of no length":   header('R', 0),
		"authentication without type":   message('R', ""),
		"unknown authentication":        message('R', "\x00\x00\x00\x63"),
		"message of 2 GB":               header('D', 1<<31-1),
		"message of negative length":    header('D', 1<<32-1),
		"message of 1 GB":               header('N', 1<<30),
		"row of 16 MB that never comes": header('D', 16<<20),
		"row without a count":           message('D', ""),
		"row of 65535 missing fields":   message('D', "\xff\xff"),
		"field of 2 GB":                 message('D', "\x00\x01\x7f\xff\xff\xff"),
		"field of negative length":      message('D', "\x00\x01\xff\xff\xff\xfe"),
		"description without columns":   message('T', "\xff\xff"),
		"unknown type":                  message('?', "what"),
		"error that never ends":         message('E', "Mx"),
		"error without fields":          message('E', "\x00"),
		"copy in":                       message('G', "\x00\x00\x00"),
		"copy out":                      message('H', "\x00\x00\x00"),
		"copy both":                     message('W', "\x00\x00\x00"),
		"negotiation":                   message('v', "\x00\x03\x00\x00\xff\xff\xff\xff"),
		"suspension":                    message('s', ""),
		"row":                           row("1"),
		"ready two times":               slices.Concat(ready, ready),
	} {
		t.Run(name, func(t *testing.T) {
			for _, part := range anywhere {
				hostile := r.change(part, func(was []byte) []byte { return slices.Concat(messages, was) })
				r.meet(t, hostile, spoil{}, fault.Malformed, fault.Limited, fault.Timeout, fault.Unreachable)
			}
		})
	}
}

// A server talks without end. What it may say is bounded, in bytes and in memory, also where time stands still.
func (r recorded) endless(t *testing.T) {
	always := func(messages ...[]byte) func(int) []byte {
		once := bytes.Join(messages, nil)
		block := bytes.Repeat(once, 1+(64<<10)/len(once))
		return func(int) []byte { return block }
	}
	long := strings.Repeat("x", 2000) // so that 64 MB are soon said
	for name, flood := range map[string]func(int) []byte{
		"zeros":      always(make([]byte, 10)),
		"notices":    always(message('N', "SNOTICE\x00M"+long+"\x00\x00")),
		"errors":     always(message('E', "SERROR\x00C22012\x00M"+long+"\x00\x00")),
		"parameters": always(message('S', "name\x00"+long+"\x00")),
		"new parameters": func(n int) []byte {
			return message('S', fmt.Sprintf("name%d\x00%s\x00", n, long))
		},
		"notifications":         always(message('A', "\x00\x00\x00\x01channel\x00"+long+"\x00")),
		"keys":                  always(message('K', string(make([]byte, 300)))),
		"ready":                 always(ready),
		"rows":                  always(row(long, long, long)),
		"extensions":            func(n int) []byte { return row(fmt.Sprint("extension", n), long) },
		"large rows":            always(row(strings.Repeat(long, 100), "1", "1")),
		"requests of passwords": always(message('R', "\x00\x00\x00\x03")),
	} {
		t.Run(name, func(t *testing.T) {
			for _, part := range []int{startup, firstIdentity, secondRows} {
				at := r.life[:part].size()
				if strings.Contains(name, "rows") || name == "extensions" { // where rows may be: before the end of the answer
					at += len(r.life[part]) - len(from('C', r.life[part]))
				}
				r.meet(t, nil, spoil{at: at, how: flooded, flood: flood}, fault.Malformed, fault.Limited)
			}
		})
	}
}

// Answers go astray: some are lost, some come twice, some in another's place. What a question is answered with is its
// own answer or none.
func (r recorded) astray(t *testing.T) {
	rows, twice := r.life[secondRows], r.life[secondTwice]
	double := func(part []byte) []byte { return slices.Concat(part, part) }
	newColumns := func(part []byte) []byte {
		description := from('T', part)
		description = description[:1+binary.BigEndian.Uint32(description[1:])]
		at := len(part) - len(from('C', part))
		return slices.Concat(part[:at], description, part[at:])
	}
	for name, test := range map[string]struct {
		life life
		want fault.Kind // of what comes after it
	}{
		"the end of an answer is lost":         {r.change(secondRows, without("CZ")), fault.Malformed},
		"the completion of an answer is lost":  {r.change(secondRows, without("C")), fault.Malformed},
		"the end of all but its rows is lost":  {r.change(secondRead, without("CZ")), fault.Malformed},
		"ready is not said":                    {r.change(secondRows, without("Z")), fault.Malformed},
		"ready is not said at the end":         {r.change(secondUnknown, without("Z")), fault.Timeout},
		"the beginning of an answer is lost":   {r.change(secondRows, without("2")), fault.Malformed},
		"an answer is lost":                    {r.change(secondRows, without("2DCZ")), fault.Malformed},
		"an answer comes twice":                {r.change(secondRows, double), fault.Malformed},
		"the last answer of a batch is double": {r.change(firstUnknown, double), fault.None},
		"two answers change places":            {r.change(secondRows, func([]byte) []byte { return twice }).change(secondTwice, func([]byte) []byte { return rows }), fault.Malformed},
		"the identity is another's answer":     {r.change(secondIdentity, func([]byte) []byte { return rows }), fault.Malformed},
		"the identity is no row":               {r.change(secondIdentity, without("D")), fault.Malformed},
		"the columns change in an answer":      {r.change(firstRows, newColumns), fault.Malformed},
	} {
		t.Run(name, func(t *testing.T) { r.meet(t, test.life, spoil{}, test.want) })
	}
}

// An error that says nothing of itself is that of its question alone.
func (r recorded) emptyError(t *testing.T) {
	hostile := r.change(secondRows, func([]byte) []byte { return slices.Concat(message('E', "\x00"), ready) })
	synctest.Test(t, func(t *testing.T) {
		target := (&actor{life: r.life, first: hostile}).target(t, smallCatalogue(t))
		defer target.Close()
		look(t, target)
		time.Sleep(time.Second)
		o := look(t, target)
		for i, c := range o.Collectors {
			want := r.good.Collectors[i].Fault
			if c.Name == "rows" {
				want = fault.Malformed
			}
			if !o.Up || c.Fault != want {
				t.Errorf("%s: fault %q, want %q: %v", c.Name, c.Fault, want, c.Err)
			}
		}
	})
}

// A number that is none, or that no float64 holds, is left out; text in its place is the question's failure. The others
// are not touched.
func (r recorded) oddNumbers(t *testing.T) {
	for text, want := range map[string]string{
		"NaN": "", "Infinity": "", "-Infinity": "", "1e400": "", "": "", "-0": "gauge:{value:0}", "1e-400": "gauge:{value:0}",
		"9223372036854775808": "gauge:{value:9.223372036854776e+18}", "t": "gauge:{value:1}",
		"many": "malformed", "1,5": "malformed", " 1": "malformed", "0x": "malformed", "1\x00": "malformed", "٣": "malformed",
		strings.Repeat("9", 1<<20): "",
	} {
		hostile := r.change(secondTwice, func(part []byte) []byte {
			return slices.Concat(without("DCZ")(part), row("odd", text), from('C', part))
		})
		synctest.Test(t, func(t *testing.T) {
			target := (&actor{life: r.life, first: hostile}).target(t, smallCatalogue(t))
			defer target.Close()
			look(t, target)
			time.Sleep(time.Second)
			o := look(t, target)
			got := ""
			for _, line := range o.lines {
				if strings.Contains(line, `"odd"`) {
					got = line[strings.LastIndex(line, "gauge"):]
				}
			}
			twice, _ := o.Find("twice")
			if got += string(twice.Fault); strings.ReplaceAll(got, " ", "") != want {
				t.Errorf("%.20q gives %q, want %q: %v", text, got, want, twice.Err)
			}
			if rows, _ := o.Find("rows"); !o.Up || rows.Series != 4 {
				t.Errorf("%.20q: the others are not whole: %v", text, o.Err)
			}
		})
	}
}

// A server that talks and never listens, while a batch is sent to it, does not fill the memory.
func (r recorded) deaf(t *testing.T) {
	long := message('N', "M"+strings.Repeat("x", 60000)+"\x00\x00")
	for _, deaf := range []int{startup, helloSession} {
		peak := watchHeap(func() {
			synctest.Test(t, func(t *testing.T) {
				target := dialled(t, "host=actor port=5432 user=u dbname=d sslmode=disable", smallCatalogue(t), func(context.Context, string, string) (net.Conn, error) {
					client, server := net.Pipe()
					go func() {
						defer server.Close()
						for i := range deaf + 1 {
							_, _ = server.Read(make([]byte, 64<<10))
							_, _ = server.Write(r.life[i])
						}
						for {
							if _, err := server.Write(long); err != nil {
								return
							}
						}
					}()
					return client, nil
				})
				if o := look(t, target); o.Up || o.Fault != fault.Timeout && o.Fault != fault.Limited || o.took > patience {
					t.Errorf("up %v, fault %q after %s: %v", o.Up, o.Fault, o.took, o.Err)
				}
				target.Close()
				time.Sleep(3 * time.Second)
			})
		})
		if peak > 64<<20 {
			t.Errorf("%d MB were in use", peak>>20)
		}
	}
}

// A server that refuses us, or ends the session in the midst of a batch, says why, in whatever language. That is the
// reason, not that the connection is closed.
func (r recorded) lastWords(t *testing.T) {
	for code, want := range map[string]fault.Kind{
		"53300": fault.Busy, "57P03": fault.Unreachable, "57P01": fault.Unreachable, "57P02": fault.Unreachable,
		"28P01": fault.Auth, "28000": fault.Auth, "3D000": fault.Config, "42501": fault.Denied, "XX000": fault.Malformed,
	} {
		words := message('E', "SВАЖНО\x00VFATAL\x00C"+code+"\x00Mно\x00\x00")
		for _, part := range []int{startup, helloIdentity, firstIdentity, firstRows, secondRows} {
			said := r.change(part, func([]byte) []byte { return words })[:part+1]
			synctest.Test(t, func(t *testing.T) {
				a := &actor{life: r.life, first: said, spoil: spoil{at: said.size(), how: cut}}
				a.first[part] = append(slices.Clone(words), 0) // the byte that the cut takes away
				target := a.target(t, smallCatalogue(t))
				defer target.Close()
				o := look(t, target)
				if part == secondRows {
					time.Sleep(time.Second)
					o = look(t, target)
				}
				rows, _ := o.Find("rows")
				if rows.Fault != want || o.Up != (part >= firstRows) {
					t.Errorf("%s in part %d: up %v, fault %q, want %q: %v", code, part, o.Up, rows.Fault, want, rows.Err)
				}
			})
		}
	}
}
