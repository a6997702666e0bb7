package pgreplay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/pgreplay"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// world is a real server, and one that replays it.
type world struct {
	*servers.Postgres
	replay *pgreplay.Server
}

func newWorld(t testing.TB) world {
	t.Helper()
	server := servers.NewPostgres(t, servers.PostgresOptions{
		HBA:      []string{"host all monitor 127.0.0.1/32 trust"},
		Initial:  []string{"CREATE ROLE monitor LOGIN IN ROLE pg_monitor", "CREATE SEQUENCE calls; GRANT ALL ON SEQUENCE calls TO monitor"},
		Settings: map[string]string{"autovacuum": "off"},
	})
	return world{server, pgreplay.New(server.Addr())}
}

// listen gives another address of the replay.
func (w world) listen(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go w.replay.Serve(listener)
	return listener.Addr().String()
}

func connected(t *testing.T, address, options string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, "postgres://monitor@"+address+"/postgres?"+options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// told asks in each of the ways that there are, and gives all answers in one text.
func told(t *testing.T, conn *pgconn.PgConn, name string) string {
	t.Helper()
	ctx := t.Context()
	var rows [][][]byte
	note := func(result *pgconn.Result) {
		if result.Err != nil {
			rows = append(rows, [][]byte{[]byte(result.Err.Error())})
		}
		rows = append(rows, result.Rows...)
		rows = append(rows, [][]byte{[]byte(result.CommandTag.String())})
	}
	simple, err := conn.Exec(ctx, "SELECT 'simple', current_user; SELECT 2").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range simple {
		note(result)
	}
	for _, value := range []string{"one", "two"} {
		note(conn.ExecParams(ctx, "SELECT $1::text || '!'", [][]byte{[]byte(value)}, nil, nil, nil).Read())
	}
	note(conn.ExecParams(ctx, "SELECT nonsense", nil, nil, nil, nil).Read())
	if _, err := conn.Prepare(ctx, name, "SELECT n, $1::int FROM generate_series(1, 3) AS n", nil); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"7", "8"} {
		note(conn.ExecPrepared(ctx, name, [][]byte{[]byte(value)}, nil, nil).Read())
	}
	if err := conn.Deallocate(ctx, name); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, row := range rows {
		b.Write(slices.Concat(row...))
		b.WriteString("\n")
	}
	return b.String()
}

func TestAnswersAreThoseOfTheServer(t *testing.T) {
	w := newWorld(t)
	want := told(t, connected(t, w.Addr(), "sslmode=disable"), "real")
	asked := 0
	for i, name := range []string{"cold", "warm", "other"} {
		if got := told(t, connected(t, w.listen(t), "sslmode=disable"), name); got != want {
			t.Errorf("%s: it told\n%s\nwhere the server tells\n%s", name, got, want)
		}
		if i == 0 {
			asked = w.replay.Asked()
		}
	}
	if asked < 7 || w.replay.Asked() != asked {
		t.Errorf("the first client made %d questions, and the others %d", asked, w.replay.Asked()-asked)
	}
	if !strings.Contains(want, "nonsense") || !strings.Contains(want, "two!") || !strings.Contains(want, "38") {
		t.Errorf("the server told\n%s", want)
	}
	if err := w.replay.Close(); err != nil {
		t.Error(err)
	}
}

// ask gives the first value of a simple question.
func ask(t *testing.T, conn *pgconn.PgConn, question string) string {
	t.Helper()
	results, err := conn.Exec(t.Context(), question).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	return string(results[0].Rows[0][0])
}

func TestAQuestionIsAskedOnce(t *testing.T) {
	w := newWorld(t)
	one, other := connected(t, w.listen(t), "sslmode=prefer"), connected(t, w.listen(t), "sslmode=prefer")
	for _, conn := range []*pgconn.PgConn{one, other, one} {
		if n := ask(t, conn, "SELECT nextval('calls')"); n != "1" {
			t.Errorf("the question was asked %s times", n)
		}
	}
	if err := w.replay.Close(); err != nil {
		t.Error(err)
	}
}

// TestSessionsDiffer has clients hear what is so in a session such as theirs.
func TestSessionsDiffer(t *testing.T) {
	w := newWorld(t)
	address := w.listen(t)
	plain, named := connected(t, address, "sslmode=disable"), connected(t, address, "sslmode=disable&application_name=named")
	set := connected(t, address, "sslmode=disable")
	ask(t, set, "SELECT set_config('application_name', 'set', false)")
	late := connected(t, address, "sslmode=disable")
	ask(t, late, "SELECT set_config('application_name', 'set', false)")
	for range 2 {
		for conn, want := range map[*pgconn.PgConn]string{plain: "", named: "named", set: "set", late: "set"} {
			if got := ask(t, conn, "SHOW application_name"); got != want {
				t.Errorf("a session has the name %q, want %q", got, want)
			}
		}
	}
	if err := w.replay.Close(); err != nil {
		t.Error(err)
	}
}

// TestTimeoutsMakeNoSession has settings of a time that is left pass as the same.
func TestTimeoutsMakeNoSession(t *testing.T) {
	w := newWorld(t)
	address, asked := w.listen(t), 0
	for i, value := range []string{"54000", "53997"} {
		conn := connected(t, address, "sslmode=disable")
		ask(t, conn, "SELECT pg_catalog.set_config( E'statement_timeout',  E'"+value+"', false)")
		ask(t, conn, "SELECT 1")
		if i == 0 {
			asked = w.replay.Asked()
		}
	}
	if asked != 2 || w.replay.Asked() != asked {
		t.Errorf("%d questions, then %d more", asked, w.replay.Asked()-asked)
	}
}

func TestWhatCannotBeReplayedIsRefused(t *testing.T) {
	for name, question := range map[string]string{"transactions of several questions": "BEGIN", "the real server has closed": "COPY pg_class TO STDOUT; SELECT pg_terminate_backend(pg_backend_pid())"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if _, err := connected(t, w.listen(t), "sslmode=disable").Exec(t.Context(), question).ReadAll(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("the client heard %v", err)
			}
			time.Sleep(100 * time.Millisecond)
			if err := w.replay.Close(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("the server told of %v", err)
			}
		})
	}
}

func TestAPasswordIsNotReplayed(t *testing.T) {
	w := newWorld(t)
	_, err := pgconn.Connect(t.Context(), "postgres://postgres:secret@"+w.listen(t)+"/postgres?sslmode=disable")
	if err == nil || !strings.Contains(err.Error(), "asks for a password") {
		t.Errorf("the client heard %v", err)
	}
}

// BenchmarkQuestions measures 48 questions of a session that has prepared them, sent at once, as a scrape is. A client
// that only writes and reads bytes is part of it.
func BenchmarkQuestions(b *testing.B) {
	w := newWorld(b)
	conn, err := net.Dial("tcp", w.listen(b))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	const questions = 48
	var prepare, ask sayings
	prepare.add(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "monitor", "database": "postgres"}})
	for n := range questions {
		name := fmt.Sprint("q", n)
		prepare.add(&pgproto3.Parse{Name: name, Query: fmt.Sprintf("SELECT %d, name, setting FROM pg_settings LIMIT 20", n)}, &pgproto3.Sync{})
		ask.add(&pgproto3.Bind{PreparedStatement: name}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{})
	}
	prepare.say(b, conn, 1+questions)
	size := ask.say(b, conn, questions)
	answer := make([]byte, size)
	b.SetBytes(int64(size))
	for b.Loop() {
		if _, err := conn.Write(ask.bytes); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			b.Fatal(err)
		}
	}
}

// sayings are messages of a client, as bytes.
type sayings struct {
	bytes []byte
	err   error
}

func (s *sayings) add(messages ...pgproto3.FrontendMessage) {
	for _, m := range messages {
		if s.err == nil {
			s.bytes, s.err = m.Encode(s.bytes)
		}
	}
}

// say says them once, and gives how many bytes are heard until the server has been ready so often.
func (s *sayings) say(tb testing.TB, conn net.Conn, readies int) int {
	tb.Helper()
	if s.err != nil {
		tb.Fatal(s.err)
	}
	if _, err := conn.Write(s.bytes); err != nil {
		tb.Fatal(err)
	}
	var answer []byte
	for bytes.Count(answer, []byte("Z\x00\x00\x00\x05I")) < readies {
		some := make([]byte, 64<<10)
		n, err := conn.Read(some)
		if err != nil {
			tb.Fatal(err)
		}
		answer = append(answer, some[:n]...)
	}
	return len(answer)
}
