package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	dto "github.com/prometheus/client_model/go"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// world is a primary and its replica in which everything happens that has a metric: vacuum runs, somebody waits for a
// lock, slots are used and left alone.
type world struct {
	primary, replica *servers.Postgres
}

// superuserSetup runs once in the database postgres.
var superuserSetup = []string{
	`CREATE ROLE monitor LOGIN PASSWORD 'monitor' IN ROLE pg_monitor`,
	`CREATE ROLE anybody LOGIN PASSWORD 'anybody' CONNECTION LIMIT 7`,
	`CREATE DATABASE shop CONNECTION LIMIT 50`,
	`CREATE DATABASE quiet`,
	`CREATE DATABASE works`,
	`SELECT pg_create_physical_replication_slot('repmgr_slot_1', true), pg_create_physical_replication_slot('forgotten', true)`,
}

// shopSetup runs once in the database that is scraped.
var shopSetup = []string{
	`CREATE SCHEMA "Statistics's"; GRANT USAGE ON SCHEMA "Statistics's" TO monitor`,
	`CREATE EXTENSION pg_stat_statements SCHEMA "Statistics's"`,
	`CREATE EXTENSION pg_buffercache`,
	`CREATE TABLE orders (id int PRIMARY KEY, note text) WITH (autovacuum_enabled = off)`,
	`CREATE TABLE untouched (id int)`,
	`INSERT INTO orders SELECT n, 'note ' || n FROM generate_series(1, 1000) AS n`,
	`UPDATE orders SET note = 'changed' WHERE id <= 10; DELETE FROM orders WHERE id > 990`,
	`SELECT count(*) FROM orders WHERE id = 7`,
	`VACUUM ANALYZE orders`,
	`CREATE TABLE busy (id int) WITH (autovacuum_vacuum_threshold = 1, autovacuum_analyze_threshold = 1)`,
	`INSERT INTO busy SELECT generate_series(1, 100)`,
	`DELETE FROM busy`,
	`CREATE TABLE wide (id int, filler text) WITH (autovacuum_enabled = off)`,
	`INSERT INTO wide SELECT n, repeat('x', 500) FROM generate_series(1, 20000) AS n`,
	`DELETE FROM wide WHERE id % 2 = 0`,
	`CREATE PUBLICATION everything FOR ALL TABLES`,
	`SELECT pg_create_logical_replication_slot('readers', 'pgoutput')`,
	`BEGIN; INSERT INTO untouched SELECT 1 WHERE false; PREPARE TRANSACTION 'left'`,
	`SELECT pg_switch_wal()`,
}

func newWorld(t *testing.T, major int) *world {
	t.Helper()
	primary := servers.NewPostgres(t, servers.PostgresOptions{
		Major: major, Initial: superuserSetup,
		Settings: map[string]string{
			"wal_level": "logical", "max_slot_wal_keep_size": "1GB", "track_io_timing": "on", "autovacuum_naptime": "1s",
			"max_prepared_transactions": "5", "archive_mode": "on", "archive_command": "/bin/true",
		},
	})
	do(t, primary, "shop", publisherSetup...)
	do(t, primary, "works", worksSetup...)
	do(t, primary, "works", vectorSetup...)
	do(t, primary, "shop", shopSetup...)
	w := &world{primary: primary, replica: primary.NewReplica(t)}
	do(t, w.replica, "postgres", `ALTER SYSTEM SET primary_slot_name = 'repmgr_slot_1'`,
		`ALTER SYSTEM SET hot_standby_feedback = on`, `SELECT pg_reload_conf()`)
	w.happen(t)
	happenInWorks(t, w)
	return w
}

// happen opens the sessions that stay for the length of the test, and waits until all of it is to be seen.
func (w *world) happen(t *testing.T) {
	session(t, w.primary, `SET application_name = 'forgetful'; BEGIN; SELECT 1`)
	session(t, w.replica, `SELECT 1`)
	session(t, w.primary, `BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE`)
	blocked(t, w.primary, `SELECT count(*) FROM orders`)
	blocked(t, w.primary, `SET vacuum_cost_delay = '100ms'; SET vacuum_cost_limit = 1`, `VACUUM wide`)
	readLogically(t, w.primary)
	eventually(t, w.primary, `SELECT count(*) FROM pg_locks WHERE NOT granted`, "1")
	eventually(t, w.primary, `SELECT count(*) FROM pg_stat_progress_vacuum`, "1")
	eventually(t, w.primary, `SELECT count(last_autovacuum) * count(last_autoanalyze) > 0 FROM pg_stat_user_tables`, "t")
	eventually(t, w.primary, `SELECT count(last_archived_time) FROM pg_stat_archiver`, "1")
	eventually(t, w.primary, `SELECT count(*) FROM pg_replication_slots WHERE active`, "2")
	eventually(t, w.primary, `SELECT count(xmin) FROM pg_replication_slots`, "1")
	eventually(t, w.replica, `SELECT count(latest_end_lsn) FROM pg_stat_wal_receiver WHERE slot_name = 'repmgr_slot_1'`, "1")
}

func do(t *testing.T, server *servers.Postgres, database string, statements ...string) {
	t.Helper()
	if err := server.Exec(t.Context(), database, statements...); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, server *servers.Postgres, database, query string) string {
	t.Helper()
	answer, err := server.Query(t.Context(), database, query)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func eventually(t *testing.T, server *servers.Postgres, query, want string) {
	t.Helper()
	eventuallyIn(t, server, "shop", query, want)
}

func eventuallyIn(t *testing.T, server *servers.Postgres, database, query, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got = ask(t, server, database, query); got == want {
			return
		}
	}
	t.Fatalf("%s: still %q, not %q", query, got, want)
}

func connect(t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

// session runs statements on a connection that stays open until the test's end.
func session(t *testing.T, server *servers.Postgres, statements ...string) {
	t.Helper()
	run(t, connect(t, server.DSN("shop")), statements...)
}

func run(t *testing.T, conn *pgconn.PgConn, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}

// blocked runs a last statement that does not end before the test does.
func blocked(t *testing.T, server *servers.Postgres, statements ...string) {
	t.Helper()
	stuck(t, connect(t, server.DSN("shop")), statements...)
}

func stuck(t *testing.T, conn *pgconn.PgConn, statements ...string) {
	t.Helper()
	last := len(statements) - 1
	run(t, conn, statements[:last]...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.Exec(ctx, statements[last]).ReadAll()
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// readLogically uses the logical slot.
func readLogically(t *testing.T, server *servers.Postgres) {
	t.Helper()
	conn := connect(t, server.DSN("shop")+"&replication=database&application_name=reader")
	start := `START_REPLICATION SLOT readers LOGICAL 0/0 (proto_version '1', publication_names 'everything')`
	conn.Frontend().SendQuery(&pgproto3.Query{String: start})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
}

// roleDSN is that of a role whose password is its name.
func roleDSN(server *servers.Postgres, role, database string) string {
	dsn, _ := url.Parse(server.DSN(database))
	dsn.User = url.UserPassword(role, role)
	return dsn.String()
}

// monitorDSN is that of a role that may do no more than monitor.
func monitorDSN(server *servers.Postgres, database string) string {
	return roleDSN(server, "monitor", database)
}

// page is what one scrape through a real target says.
type page struct {
	result   *collect.Result
	families []*dto.MetricFamily
}

// scrape asks a server everything, collectors that are off by default included.
func scrape(t *testing.T, dsn string) page {
	t.Helper()
	settings, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	list, err := catalogue(address(settings), defaultStatements)
	if err != nil {
		t.Fatal(err)
	}
	target := collect.NewTarget(collect.Spec{
		Name: address(settings), Service: "postgres", Database: settings.Database, Collectors: list,
		Driver: &driver{settings: func() (*pgconn.Config, error) { return pgconn.ParseConfig(dsn) }, statement: 10 * time.Second},
	}, collect.NewSelf("pg", exporter().Aliases), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	result := target.Scrape(ctx)
	target.Close()
	var out metric.Page
	result.AddTo(&out)
	return page{result, out.Families()}
}

// succeeded fails the test for every collector that failed, or was not asked for want of something unexpected.
func (p page) succeeded(t *testing.T, missing map[string]string) {
	t.Helper()
	if !p.result.Up {
		t.Fatal(p.result.Err)
	}
	for _, c := range p.result.Collectors {
		if c.Err != nil || c.Missing != missing[c.Name] {
			t.Errorf("collector %s: missing %q, error %v", c.Name, c.Missing, c.Err)
		}
	}
}

func (p page) family(name string) *dto.MetricFamily {
	at := slices.IndexFunc(p.families, func(f *dto.MetricFamily) bool { return f.GetName() == name })
	if at < 0 {
		return nil
	}
	return p.families[at]
}

// value gives the one sample of a family that has these labels, among others.
func (p page) value(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	values := p.values(name, labels...)
	if len(values) != 1 {
		t.Errorf("%s%v: %d samples", name, labels, len(values))
		return -1
	}
	return values[0]
}

func (p page) values(name string, labels ...string) []float64 {
	var found []float64
	for _, m := range p.family(name).GetMetric() {
		if has(m, labels) {
			found = append(found, m.GetGauge().GetValue()+m.GetCounter().GetValue()+m.GetUntyped().GetValue()+float64(m.GetHistogram().GetSampleCount()))
		}
	}
	return found
}

func has(m *dto.Metric, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		if !slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == labels[i] && l.GetValue() == labels[i+1] }) {
			return false
		}
	}
	return true
}

// labelNames lists the names that the samples of a family have.
func labelNames(f *dto.MetricFamily) string {
	var names []string
	for _, m := range f.Metric {
		for _, l := range m.Label {
			if !slices.Contains(names, l.GetName()) {
				names = append(names, l.GetName())
			}
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

func typeName(f *dto.MetricFamily) string { return strings.ToLower(fmt.Sprint(f.GetType())) }
