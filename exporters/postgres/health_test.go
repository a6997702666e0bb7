package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// writer is a connection of the driver, and the question of a write probe.
type writer struct {
	t    *testing.T
	conn collect.Conn
}

func newWriter(t *testing.T, dsn string) *writer {
	t.Helper()
	d := &driver{settings: func() (*pgconn.Config, error) { return pgconn.ParseConfig(dsn) }, statement: 5 * time.Second}
	conn, err := d.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return &writer{t, conn}
}

// ask puts questions into one batch and gives what each met, and the turn-arounds that all cost.
func (w *writer) ask(questions ...collect.Question) (met []error, turns int64) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	before := w.conn.Usage().TurnArounds
	err := w.conn.Do(ctx, questions, func(_ int, answer collect.Answer, err error) {
		if err == nil {
			err = collect.Drain(answer)
		}
		met = append(met, err)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return met, w.conn.Usage().TurnArounds - before
}

// question is what a configuration asks of a server.
func (w *writer) question(config writeProbe) collect.Question {
	w.t.Helper()
	config.Write = true
	probes, err := config.probes()
	if err != nil || len(probes) != 1 {
		w.t.Fatal(err)
	}
	return probes[0].Question
}

func code(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// One row in place, in a transaction of its own, while all other questions of the same batch and session cannot
// write; nothing of it reaches the server's log.
func TestWriteProbe(t *testing.T) {
	for _, major := range servers.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			server := servers.NewPostgres(t, servers.PostgresOptions{Major: major})
			w := newWriter(t, server.DSN("postgres"))
			write := w.question(writeProbe{Create: true, ID: "a"})
			other := collect.Question{Text: `INSERT INTO public.alfred_health_check VALUES ('other', now())`}
			durable := collect.Question{Text: `SELECT 1 / (current_setting('synchronous_commit') = 'on' AND current_setting('transaction_read_only') = 'on')::int`}
			w.ask(write)
			for range 5 {
				met, turns := w.ask(other, write, other, durable, write)
				if turns != 1 {
					t.Errorf("%d turn-arounds", turns)
				}
				if met[1] != nil || met[3] != nil || met[4] != nil || code(met[0]) != "25006" || code(met[2]) != "25006" {
					t.Fatalf("the questions met %v", met)
				}
			}
			if got := ask(t, server, "postgres", `SELECT string_agg(id, ' ') FROM alfred_health_check`); got != "a" {
				t.Errorf("the table holds %q", got)
			}
			do(t, server, "postgres", `INSERT INTO alfred_health_check VALUES ('gone', now() - interval '8 days'), ('away', now() - interval '6 days')`,
				`UPDATE alfred_health_check SET checked_at = checked_at - interval '9 days' WHERE id = 'a'`)
			if met, _ := w.ask(write); met[0] != nil {
				t.Error(met[0])
			}
			if got := ask(t, server, "postgres", `SELECT string_agg(id, ' ' ORDER BY id) FROM alfred_health_check WHERE checked_at <= now()`); got != "a away" {
				t.Errorf("the table holds %q", got)
			}
			if log := server.Log(); strings.Contains(log, "WARNING") {
				t.Errorf("the server warns:\n%s", log)
			}
		})
	}
}

// Each way to fail has a reason that says whose it is.
func TestWriteProbeFails(t *testing.T) {
	server := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{
		`CREATE ROLE monitor LOGIN PASSWORD 'monitor' IN ROLE pg_monitor`, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`,
		`CREATE TABLE wrong (a int)`, `CREATE TABLE closed (id text PRIMARY KEY, checked_at timestamptz)`,
		`CREATE TABLE keyless (id text, checked_at timestamptz)`, `GRANT ALL ON keyless, wrong TO monitor`,
		`CREATE TABLE open (id text PRIMARY KEY, checked_at timestamptz)`, `GRANT SELECT, INSERT, UPDATE, DELETE ON open TO monitor`,
		`CREATE TABLE held (id text PRIMARY KEY, checked_at timestamptz)`, `GRANT ALL ON held TO monitor`,
	}})
	connection := connect(t, server.DSN("postgres"))
	if _, err := connection.Exec(t.Context(), `BEGIN; LOCK TABLE held`).ReadAll(); err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, roleDSN(server, "monitor", "postgres"))
	for config, want := range map[writeProbe]fault.Kind{
		{Table: "open"}:                        fault.None,
		{Table: "open", Create: true}:          fault.None, // it is there, so no right to create is needed
		{Table: "missing"}:                     fault.Config,
		{Table: "nowhere.missing"}:             fault.Config,
		{Table: "wrong"}:                       fault.Config,
		{Table: "keyless"}:                     fault.Config,
		{Table: "closed"}:                      fault.Denied,
		{Table: "missing", Create: true}:       fault.Denied,
		{Table: "held"}:                        fault.Busy,
		{Table: "pg_catalog.pg_stat_archiver"}: fault.Config,
	} {
		met, _ := w.ask(w.question(config))
		err := met[0]
		if err != nil {
			err = fault.Wrap((&driver{}).Classify(err), "write", err)
		}
		if got := fault.Of(err); got != want {
			t.Errorf("%+v: %q, want %q: %v", config, got, want, met[0])
		}
	}
}

// A table that comes after the first failure, or goes and comes back, is found again on the same connection.
func TestWriteProbeTableComesAndGoes(t *testing.T) {
	server := servers.NewPostgres(t, servers.PostgresOptions{})
	w := newWriter(t, server.DSN("postgres"))
	write := w.question(writeProbe{ID: "a"})
	for _, step := range []struct{ do, want string }{
		{`SELECT 1`, "42P01"},
		{`CREATE TABLE alfred_health_check (id text PRIMARY KEY, checked_at timestamptz)`, ""},
		{`DROP TABLE alfred_health_check`, "42P01"},
		{`CREATE TABLE alfred_health_check (id varchar(9) PRIMARY KEY, checked_at timestamptz, note text)`, ""},
		{`ALTER TABLE alfred_health_check ALTER id TYPE text`, ""},
	} {
		do(t, server, "postgres", step.do)
		if met, _ := w.ask(write, write); code(met[0]) != step.want || code(met[1]) != step.want {
			t.Errorf("after %s: %v", step.do, met)
		}
	}
}

// A commit that would wait for a standby which is not there does not wait here.
func TestWriteProbeWaitsForNoStandby(t *testing.T) {
	server := servers.NewPostgres(t, servers.PostgresOptions{})
	w := newWriter(t, server.DSN("postgres"))
	write := w.question(writeProbe{Create: true})
	w.ask(write)
	do(t, server, "postgres", `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`, `SELECT pg_reload_conf()`)
	begin := time.Now()
	if met, _ := w.ask(write); met[0] != nil || time.Since(begin) > time.Second {
		t.Errorf("after %s: %v", time.Since(begin), met[0])
	}
}

func TestWriteProbeConfiguration(t *testing.T) {
	for _, config := range []writeProbe{
		{Table: "a.b.c"}, {Table: `a"b`}, {Table: "a b"}, {Table: "a;b"}, {Table: "1a"}, {Table: ".a"}, {Table: "a."}, {Table: "$$"},
		{Table: strings.Repeat("a", 64)}, {Table: "a\n"}, {ID: "it's"}, {ID: `back\slash`}, {ID: strings.Repeat("i", 201)}, {ID: "a\n"},
	} {
		config.Write = true
		if _, err := config.probes(); err == nil || !strings.HasPrefix(err.Error(), "health: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", config, err)
		}
		config.Write = false
		if probes, err := config.probes(); probes != nil || err != nil {
			t.Errorf("%+v writes uninvited", config)
		}
	}
	if probes, err := (*writeProbe)(nil).probes(); probes != nil || err != nil {
		t.Error("a target without configuration writes")
	}
	for table, want := range map[string]string{
		"": `"public"."alfred_health_check"`, "health": `"public"."health"`, "Own.Health_1": `"Own"."Health_1"`,
	} {
		probes, err := (&writeProbe{Write: true, Table: table, ID: "x/y"}).probes()
		if err != nil || !strings.Contains(probes[0].Question.Text, "INSERT INTO "+want+" ") || !strings.Contains(probes[0].Question.Text, "'x/y'") {
			t.Errorf("%s: %v, %v", table, probes, err)
		}
	}
}
