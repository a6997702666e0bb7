package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// peerWorld is a primary and its replica in which something is to be seen in every family of the peer, and which
// otherwise stands still.
type peerWorld struct{ primary, replica *servers.Postgres }

// peerSettings keep the server from doing anything by itself, but for the vacuum that nothing can put off, and keep
// that one slow.
var peerSettings = map[string]string{
	"autovacuum": "off", "checkpoint_timeout": "1h", "track_io_timing": "on", "wal_level": "logical",
	"archive_mode": "on", "archive_command": "/bin/true", "bgwriter_lru_maxpages": "0",
}

var peerSetup = []string{
	`CREATE EXTENSION pg_stat_statements`,
	`CREATE EXTENSION pg_buffercache`,
	`CREATE ROLE clerk LOGIN PASSWORD 'clerk' CONNECTION LIMIT 7`,
	`CREATE DATABASE shop CONNECTION LIMIT 50`,
	`CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE INDEX ON orders (note)`,
	`INSERT INTO orders SELECT n, 'note ' || n FROM generate_series(1, 1000) AS n`,
	`UPDATE orders SET note = 'changed' WHERE id <= 10; DELETE FROM orders WHERE id > 990`,
	`SELECT note FROM orders WHERE id = 7`,
	`VACUUM ANALYZE orders`,
	`CREATE TABLE plain (id int)`,
	`INSERT INTO plain VALUES (1)`,
	`CREATE SCHEMA "Wares"; CREATE TABLE "Wares"."Quoted name" (id int PRIMARY KEY, picture text)`,
	`INSERT INTO "Wares"."Quoted name" SELECT n, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) AS i) FROM generate_series(1, 20) AS n`,
	`SELECT length(picture) FROM "Wares"."Quoted name"`,
	`CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders`,
	`CREATE TABLE split (id int) PARTITION BY RANGE (id); CREATE TABLE split1 PARTITION OF split FOR VALUES FROM (0) TO (10)`,
	`CREATE TABLE wide (id int PRIMARY KEY, filler text)`,
	`INSERT INTO wide SELECT n, repeat('x', 500) FROM generate_series(1, 20000) AS n`,
	`DELETE FROM wide WHERE id % 2 = 0`,
	`SELECT pg_create_physical_replication_slot('repmgr_slot_1', true), pg_create_physical_replication_slot('forgotten', true)`,
	`SELECT pg_create_logical_replication_slot('readers', 'test_decoding'), pg_create_logical_replication_slot('nobody', 'test_decoding')`,
	`SELECT pg_switch_wal()`,
}

func newPeerWorld(t *testing.T, major int) peerWorld {
	t.Helper()
	primary := servers.NewPostgres(t, servers.PostgresOptions{Major: major, Settings: peerSettings, Initial: peerSetup})
	w := peerWorld{primary, primary.NewReplica(t)}
	execute(t, w.replica, `ALTER SYSTEM SET primary_slot_name = 'repmgr_slot_1'`, `SELECT pg_reload_conf()`)
	return w
}

// inhabit opens sessions of every state that the exporters' own are in, so that these make no group of their own.
func (w peerWorld) inhabit(t *testing.T) {
	t.Helper()
	for _, server := range []*servers.Postgres{w.primary, w.replica} {
		session(t, server, "idler", `SELECT 1`)
		session(t, server, "thinker", `BEGIN; SELECT 1`)
		session(t, server, "", `SELECT 1`)
		busy(t, server, "worker", `SELECT pg_sleep(600)`)
		session(t, server, "broken", `BEGIN; SELECT 1`).Exec(t.Context(), `SELECT 1/0`).Close()
	}
	session(t, w.primary, "holder", `BEGIN; LOCK TABLE plain IN SHARE MODE`)
	busy(t, w.primary, "waiter", `INSERT INTO plain VALUES (2)`)
	busy(t, w.primary, "sweeper", `SET vacuum_cost_delay = '100ms'; SET vacuum_cost_limit = 1`, `VACUUM wide`)
	readSlot(t, w.primary, "readers")
	wait(t, w.primary, `SELECT count(*) FROM pg_locks WHERE NOT granted`, "1")
	wait(t, w.primary, `SELECT count(*) FROM pg_stat_progress_vacuum WHERE phase = 'scanning heap'`, "1")
	wait(t, w.primary, `SELECT count(last_archived_time) FROM pg_stat_archiver`, "1")
	wait(t, w.primary, `SELECT count(*) FROM pg_replication_slots WHERE active`, "2")
	wait(t, w.primary, `SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn() AND application_name = 'replica'`, "1")
	wait(t, w.replica, `SELECT count(latest_end_lsn) FROM pg_stat_wal_receiver WHERE slot_name = 'repmgr_slot_1'`, "1")
}

// dropLinkSlot has the replica follow the primary without a slot.
func (w peerWorld) dropLinkSlot(t *testing.T) {
	t.Helper()
	execute(t, w.replica, `ALTER SYSTEM RESET primary_slot_name`, `SELECT pg_reload_conf()`)
	wait(t, w.replica, `SELECT count(latest_end_lsn) FROM pg_stat_wal_receiver WHERE slot_name IS NULL`, "1")
}

func wait(t *testing.T, server *servers.Postgres, text, want string) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, text, func() error {
		if got := query(t, server, text); got != want {
			return fmt.Errorf("%s, want %s", got, want)
		}
		return nil
	})
}

// session runs statements on a connection that stays open until the test's end.
func session(t *testing.T, server *servers.Postgres, name string, statements ...string) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), named(server.DSN("postgres"), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

// busy runs a last statement that does not end before the test does.
func busy(t *testing.T, server *servers.Postgres, name string, statements ...string) {
	t.Helper()
	last := len(statements) - 1
	conn := session(t, server, name, statements[:last]...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.Exec(ctx, statements[last]).ReadAll()
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// readSlot is the user of a logical slot.
func readSlot(t *testing.T, server *servers.Postgres, slot string) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), named(server.DSN("postgres"), "reader")+"&replication=database")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Conn().Close() })
	conn.Frontend().SendQuery(&pgproto3.Query{String: "START_REPLICATION SLOT " + slot + " LOGICAL 0/0"})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
}

// named adds the name by which the server knows a session.
func named(dsn, name string) string { return dsn + "&application_name=" + name }
