package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// questionLimit is how long a question may take in these tests.
const questionLimit = time.Second

// subject is a target of a real server.
type subject struct {
	*collect.Target
	t *testing.T
}

// newSubject makes a target of collectors, or of the whole catalogue where none are given.
func newSubject(t *testing.T, dsn string, list ...*collect.Collector) *subject {
	t.Helper()
	if list == nil {
		var err error
		if list, err = catalogue("test", defaultStatements); err != nil {
			t.Fatal(err)
		}
	}
	d := &driver{settings: func() (*pgconn.Config, error) { return pgconn.ParseConfig(dsn) }, statement: questionLimit}
	s := &subject{collect.NewTarget(collect.Spec{Name: "test", Service: "test", Collectors: list, Driver: d},
		collect.NewSelf("pg", nil), slog.New(slog.DiscardHandler)), t}
	t.Cleanup(s.Close)
	return s
}

// scrape gives a result that no earlier scrape shares.
func (s *subject) scrape() *collect.Result {
	s.t.Helper()
	time.Sleep(600 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.Scrape(ctx)
}

// good wants a scrape to succeed in everything.
func (s *subject) good() *collect.Result {
	s.t.Helper()
	r := s.scrape()
	wantFailing(s.t, r)
	return r
}

// down wants a scrape to find the server down, and why.
func (s *subject) down(reason fault.Kind) {
	s.t.Helper()
	if r := s.scrape(); r.Up || r.Fault != reason {
		s.t.Errorf("up %v, fault %q, want it down by %q: %v", r.Up, r.Fault, reason, r.Err)
	}
}

// wantFailing wants a server to be up and these collectors, written as name:reason, to fail, and no others.
func wantFailing(t *testing.T, r *collect.Result, want ...string) {
	t.Helper()
	if !r.Up {
		t.Errorf("down by %q: %v", r.Fault, r.Err)
	}
	var got []string
	for _, c := range r.Collectors {
		if c.Fault != fault.None {
			got = append(got, c.Name+":"+string(c.Fault))
			if !slices.Contains(want, c.Name+":"+string(c.Fault)) {
				t.Errorf("%s: %v", c.Name, c.Err)
			}
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("failing are %v, want %v", got, want)
	}
}

// single is a collector of one question, whose samples are value by name.
func single(t *testing.T, name, query string, needs collect.Needs) *collect.Collector {
	t.Helper()
	collector, err := collect.Table{
		Name: name, Prefix: "t_" + name, Help: "A test.", Needs: needs, Sources: []collect.Source{collect.Always(query)},
		Columns: []collect.Column{collect.Label("name"), collect.Value("value", "value", "A value.")},
	}.Collector()
	if err != nil {
		t.Fatal(err)
	}
	return collector
}

// sessions counts those of the exporter.
func sessions(t *testing.T, server *servers.Postgres) string {
	t.Helper()
	return ask(t, server, "postgres", `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres-exporter'`)
}

// A pooler in its default configuration takes no settings, and one that is told to ignore them keeps them to itself.
// Behind both, every question has its settings and none can write, nothing is prepared, and a warm scrape is still one
// turn-around.
func TestPooler(t *testing.T) {
	server := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{`CREATE SEQUENCE written`}})
	for name, settings := range map[string]map[string]string{
		"default": nil,
		"ignoring": {"ignore_startup_parameters": "statement_timeout, lock_timeout, default_transaction_read_only, search_path, " +
			"idle_in_transaction_session_timeout, extra_float_digits"},
		"statements": {"pool_mode": "statement"},
		"sessions":   {"pool_mode": "session"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pooler := servers.NewPgBouncer(t, server, settings)
			wantPooled(t, pooler.DSN("postgres"))
			newSubject(t, pooler.DSN("postgres")).good()
			wantWritten(t, pooler.DSN("postgres"))
			if strings.Contains(server.Log(), "WARNING") {
				t.Error("the server's log holds warnings")
			}
		})
	}
}

func wantPooled(t *testing.T, dsn string) {
	t.Helper()
	const seen = `SELECT 'x' AS name, count(*) AS value FROM pg_settings WHERE name = '%s' AND setting = '%s'`
	s := newSubject(t, dsn,
		single(t, "lock", fmt.Sprintf(seen, "lock_timeout", "250"), collect.Needs{}),
		single(t, "place", fmt.Sprintf(seen, "search_path", "pg_catalog"), collect.Needs{}),
		single(t, "prepared", `SELECT name, 1 AS value FROM pg_prepared_statements`, collect.Needs{}),
		single(t, "reading", fmt.Sprintf(seen, "transaction_read_only", "on"), collect.Needs{}),
		single(t, "sleep", `SELECT 'x' AS name, 1 AS value FROM pg_sleep(1.2)`, collect.Needs{}),
		single(t, "time", fmt.Sprintf(seen, "statement_timeout", "1000"), collect.Needs{}),
		single(t, "writing", `SELECT 'x' AS name, nextval('public.written') AS value`, collect.Needs{}),
	)
	for range 2 {
		r := s.scrape()
		wantFailing(t, r, "sleep:timeout", "writing:internal")
		if r.Usage.Received == 0 || r.Health.Connect.Kept && r.Usage.TurnArounds != 1 {
			t.Errorf("a scrape on a kept connection costs %+v", r.Usage)
		}
		p := newPage(r)
		for _, name := range []string{"t_lock_value", "t_place_value", "t_reading_value", "t_time_value"} {
			if p.value(t, name, "name", "x") != 1 {
				t.Errorf("%s is not what we want", name)
			}
		}
		if n := len(p.values("t_prepared_value")); n != 0 {
			t.Errorf("%d statements are prepared in the pooler's session", n)
		}
	}
}

// wantWritten wants the health check to write, though everything else only reads.
func wantWritten(t *testing.T, dsn string) {
	t.Helper()
	write, err := (&writeProbe{Write: true, ID: t.Name(), Create: true}).probes()
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{settings: func() (*pgconn.Config, error) { return pgconn.ParseConfig(dsn) }, statement: questionLimit, write: write}
	s := &subject{collect.NewTarget(collect.Spec{Name: "test", Service: "test", Driver: d}, collect.NewSelf("pg", nil), slog.New(slog.DiscardHandler)), t}
	defer s.Close()
	if r := s.good(); !r.Health.Write.OK() {
		t.Errorf("the health check wrote with %+v: %v", r.Health.Write, r.Err)
	}
}

// newPage gives what a result shows.
func newPage(r *collect.Result) page {
	var out metric.Page
	r.AddTo(&out)
	return page{r, out.Families()}
}

// What fails for want of time, a lock, a right or an extension fails alone, and says why.
func TestOwnFailures(t *testing.T) {
	t.Parallel()
	server := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{
		`CREATE TABLE held AS SELECT 1 AS value`, `CREATE ROLE reader LOGIN PASSWORD 'reader'`, `CREATE SCHEMA ours`,
		`CREATE VIEW ours.closed AS SELECT 1 AS value`, `CREATE FUNCTION ours.secret() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
		`GRANT USAGE ON SCHEMA ours TO reader`, `GRANT SELECT ON held TO reader`,
		`REVOKE ALL ON FUNCTION ours.secret() FROM PUBLIC`,
	}})
	s := newSubject(t, roleDSN(server, "reader", "postgres"),
		single(t, "closed", `SELECT 'x' AS name, value FROM ours.closed`, collect.Needs{}),
		single(t, "gone", `SELECT 'x' AS name, value FROM ours.gone`, collect.Needs{}),
		single(t, "held", `SELECT 'x' AS name, value FROM public.held`, collect.Needs{}),
		single(t, "late", `SELECT 'x' AS name, 1 AS value FROM pg_sleep(1.2)`, collect.Needs{}),
		single(t, "open", `SELECT 'x' AS name, 1 AS value`, collect.Needs{}),
		single(t, "secret", `SELECT 'x' AS name, ours.secret() AS value`, collect.Needs{}),
		single(t, "wrong", `SELECT 'x' AS name, 1 / 0 AS value`, collect.Needs{}),
	)
	holder := connect(t, server.DSN("postgres"))
	if _, err := holder.Exec(t.Context(), `BEGIN; LOCK TABLE held`).ReadAll(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // while it is prepared, and when it is
		wantFailing(t, s.scrape(), "closed:denied", "held:busy", "late:timeout", "secret:denied", "wrong:malformed")
	}
	if _, err := holder.Exec(t.Context(), `ROLLBACK`).ReadAll(); err != nil {
		t.Fatal(err)
	}
	do(t, server, "postgres", `GRANT SELECT ON ours.closed TO reader`, `GRANT EXECUTE ON FUNCTION ours.secret() TO reader`)
	wantFailing(t, s.scrape(), "late:timeout", "wrong:malformed")
	if n := sessions(t, server); n != "1" {
		t.Errorf("%s sessions", n)
	}
}

// An extension comes, moves, changes what it answers, and goes, while the connection is kept.
func TestExtensionChanges(t *testing.T) {
	t.Parallel()
	server := servers.NewPostgres(t, servers.PostgresOptions{})
	s := newSubject(t, server.DSN("postgres"),
		single(t, "calls", `SELECT 'x' AS name, count(calls) AS value FROM {pg_stat_statements}.pg_stat_statements`, collect.Needs{Feature: "pg_stat_statements"}),
		single(t, "plain", `SELECT * FROM public.plain`, collect.Needs{}),
	)
	missing := func(want string) {
		t.Helper()
		r := s.good()
		if c, _ := r.Find("calls"); c.Missing != want {
			t.Errorf("missing is %q, want %q", c.Missing, want)
		}
	}
	do(t, server, "postgres", `CREATE TABLE plain AS SELECT 'x' AS name, 1 AS value`, `DROP EXTENSION IF EXISTS pg_stat_statements`)
	missing("pg_stat_statements")
	do(t, server, "postgres", `CREATE EXTENSION pg_stat_statements`)
	missing("pg_stat_statements") // the same batch that would ask for it tells that it is there
	missing("")
	do(t, server, "postgres", `CREATE SCHEMA elsewhere; ALTER EXTENSION pg_stat_statements SET SCHEMA elsewhere`)
	missing("server") // it is asked where it was
	missing("")
	do(t, server, "postgres", `ALTER TABLE plain ALTER value TYPE text`)
	wantFailing(t, s.scrape(), "plain:busy")
	s.good()
	do(t, server, "postgres", `DROP EXTENSION pg_stat_statements`)
	missing("server")
	missing("pg_stat_statements")
	if r := s.good(); r.Usage.TurnArounds != 1 || !r.Health.Connect.Kept {
		t.Errorf("the last scrape cost %+v", r.Usage)
	}
}

// The server has no slot for us, is told to stop, starts, or has no such database any more. Each is told by its reason,
// and the first scrape after it is good.
func TestServerStates(t *testing.T) {
	t.Parallel()
	server := servers.NewPostgres(t, servers.PostgresOptions{
		Settings: map[string]string{"max_connections": "4", "superuser_reserved_connections": "2", "autovacuum": "off", "max_wal_senders": "0"},
		Initial:  []string{`CREATE ROLE monitor LOGIN PASSWORD 'monitor' IN ROLE pg_monitor`, `CREATE DATABASE shop`},
	})
	plain := single(t, "plain", `SELECT 'x' AS name, 1 AS value`, collect.Needs{})
	s, super := newSubject(t, monitorDSN(server, "shop"), plain), newSubject(t, server.DSN("shop"), plain)
	s.good()
	do(t, server, "postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'monitor'`)
	var holders []*pgconn.PgConn
	for range 2 {
		holders = append(holders, connect(t, monitorDSN(server, "postgres")))
	}
	s.down(fault.Busy) // the rest of the slots is for superusers
	holders = append(holders, connect(t, server.DSN("postgres")), connect(t, server.DSN("postgres")))
	super.down(fault.Busy)
	for _, holder := range holders {
		if err := holder.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.good()
	super.good()
	super.Close()

	do(t, server, "postgres", `DROP DATABASE shop WITH (FORCE)`)
	s.down(fault.Config)
	do(t, server, "postgres", `CREATE DATABASE shop`)
	time.Sleep(time.Second) // one that is refused comes back a little later
	s.good()

	do(t, server, "postgres", `ALTER ROLE monitor PASSWORD 'other'`, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'monitor'`)
	s.down(fault.Auth)
	do(t, server, "postgres", `ALTER ROLE monitor PASSWORD 'monitor'`)
	time.Sleep(time.Second)
	s.good()
	if n := sessions(t, server); n != "1" {
		t.Errorf("%s sessions", n)
	}
}

// The session is terminated while a question runs: what was answered counts, the rest has failed, and why.
func TestTerminatedInTheMiddle(t *testing.T) {
	t.Parallel()
	server := servers.NewPostgres(t, servers.PostgresOptions{})
	s := newSubject(t, server.DSN("postgres"),
		single(t, "before", `SELECT 'x' AS name, 1 AS value`, collect.Needs{}),
		single(t, "during", `SELECT 'x' AS name, 1 AS value FROM pg_sleep(0.5)`, collect.Needs{}),
		single(t, "later", `SELECT 'x' AS name, 1 AS value`, collect.Needs{}),
	)
	s.good()
	go func() {
		time.Sleep(850 * time.Millisecond)
		_ = server.Exec(context.Background(), "postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'postgres-exporter'`)
	}()
	wantFailing(t, s.scrape(), "during:unreachable", "later:unreachable")
	s.good()
	if n := sessions(t, server); n != "1" {
		t.Errorf("%s sessions", n)
	}
}

// A replica is promoted between two scrapes and during one. No page mixes what is asked of a replica with what is asked
// of a primary.
func TestPromotedReplica(t *testing.T) {
	t.Parallel()
	primary := servers.NewPostgres(t, servers.PostgresOptions{})
	for name, sleep := range map[string]string{"between scrapes": "0", "during one": "0.7"} {
		t.Run(name, func(t *testing.T) {
			replica := primary.NewReplica(t)
			s := newSubject(t, replica.DSN("postgres"),
				single(t, "a_sleep", `SELECT 'x' AS name, 1 AS value FROM pg_sleep(`+sleep+`)`, collect.Needs{}),
				single(t, "first", `SELECT 'x' AS name, pg_is_in_recovery()::int AS value`, collect.Needs{Primary: true}),
				single(t, "second", `SELECT 'x' AS name, pg_is_in_recovery()::int AS value`, collect.Needs{Replica: true}),
			)
			wantRole(t, s.good(), true)
			promoted := make(chan error, 1)
			promote := func() { promoted <- replica.Exec(context.Background(), "postgres", `SELECT pg_promote()`) }
			if sleep == "0" {
				promote()
			} else {
				time.AfterFunc(800*time.Millisecond, promote) // 0.6 s pass before the scrape
			}
			wantRole(t, s.good(), false)
			if err := <-promoted; err != nil {
				t.Fatal(err)
			}
			wantRole(t, s.good(), false)
		})
	}
}

func wantRole(t *testing.T, r *collect.Result, replica bool) {
	t.Helper()
	p := newPage(r)
	first, second := p.values("t_first_value"), p.values("t_second_value")
	if r.Identity.Replica != replica || replica && !(len(first) == 0 && slices.Equal(second, []float64{1})) ||
		!replica && !(len(second) == 0 && slices.Equal(first, []float64{0})) {
		t.Errorf("replica is %v, want %v; the primary's collector says %v, the replica's %v", r.Identity.Replica, replica, first, second)
	}
}

// Names in any encoding, and as long as names can be, come out as they are, or repaired where the server does not know
// its own encoding.
func TestEncodings(t *testing.T) {
	t.Parallel()
	long := "É" + strings.Repeat("ö", 30)
	for encoding, name := range map[string]string{"LATIN1": long, "EUC_JP": "日本語の表", "UTF8": "a\"b'c\\d\n{}" + long[:20], "SQL_ASCII": ""} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			server := servers.NewPostgres(t, servers.PostgresOptions{Encoding: encoding})
			if name == "" {
				name = "caf�"
				do(t, server, "postgres", `DO $$ BEGIN EXECUTE 'CREATE TABLE ' || quote_ident(convert_from('\x636166e9', 'SQL_ASCII')) || ' (a int)'; END $$`)
			} else {
				do(t, server, "postgres", `SET client_encoding TO 'UTF8'`, `CREATE TABLE "`+strings.ReplaceAll(name, `"`, `""`)+`" (a int)`)
			}
			p := newPage(newSubject(t, server.DSN("postgres")).good())
			p.value(t, "pg_stat_user_tables_n_tup_ins", "relname", name)
		})
	}
}
