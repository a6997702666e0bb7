package alerts

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

func (w *world) addPostgres(t *testing.T) {
	t.Helper()
	w.addFull(t)
	w.addBroken(t)
	w.addSlowAndDown(t)
	w.addExporters(t)
}

// addFull adds a primary that runs out of connections and keeps too much log, and a replica that loses it.
func (w *world) addFull(t *testing.T) {
	t.Helper()
	primary := servers.NewPostgres(t, servers.PostgresOptions{Major: 18, Settings: map[string]string{
		"max_connections": "25", "max_wal_size": "32MB", "wal_keep_size": "1GB", "max_logical_replication_workers": "0",
		"archive_mode": "on", "archive_command": "''", "wal_level": "logical", "superuser_reserved_connections": "5",
	}, Initial: []string{"CREATE TABLE filler (t text)", "CREATE TABLE watched (n int)"}})
	replica := primary.NewReplica(t)
	own := filepath.Join(t.TempDir(), "queries.yml")
	write(t, own, "own:\n  query: SELECT count(*) AS n FROM watched\n  metrics:\n  - n: {usage: GAUGE, description: Rows.}\n")
	_, full := w.watch(t, "postgres", []string{"DATA_SOURCE_NAME=" + primary.DSN("postgres")}, "--extend.query-path="+own)
	_, lost := w.watch(t, "postgres", []string{"DATA_SOURCE_NAME=" + replica.DSN("postgres")})

	w.fault(func(t *testing.T) {
		execute(t, primary, "ALTER SYSTEM SET shared_buffers = '40MB'", "SELECT pg_reload_conf()")
	}, "PostgresRestartPending "+full)
	w.fault(func(t *testing.T) {
		execute(t, replica, "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'", "SELECT pg_reload_conf()")
	}, "PostgresReplicationBroken "+lost)
	w.fault(func(t *testing.T) { execute(t, primary, "DROP TABLE watched") }, "PostgresCollectorFailing "+full)
	w.fault(func(t *testing.T) {
		execute(t, primary, "INSERT INTO filler SELECT (SELECT string_agg(md5((n + i)::text), '') FROM generate_series(1, 60) AS i) FROM generate_series(1, 80000) AS n")
	}, "PostgresLogGrows "+full)
	w.fault(func(t *testing.T) {
		execute(t, primary, "ALTER SYSTEM SET archive_command = '/bin/false'", "SELECT pg_reload_conf()", "SELECT pg_switch_wal()")
	}, "PostgresArchiveFailing "+full)
	w.fault(func(t *testing.T) {
		execute(t, primary, "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = 's')", "ALTER SUBSCRIPTION s ENABLE")
	}, "PostgresSubscriptionDown "+full)
	w.fault(func(t *testing.T) {
		for range 19 {
			open(t, primary)
		}
	}, "PostgresConnectionsNearLimit "+full)
}

// addBroken adds a primary on which much goes wrong by itself, and a replica that is promoted.
func (w *world) addBroken(t *testing.T) {
	t.Helper()
	primary := servers.NewPostgres(t, servers.PostgresOptions{Major: 18, Settings: map[string]string{
		"autovacuum": "off", "deadlock_timeout": "10ms", "shared_buffers": "1MB", "max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB", "wal_keep_size": "48MB",
	}, Initial: []string{
		"CREATE TABLE rows (id int PRIMARY KEY, t text)", "INSERT INTO rows SELECT n, repeat('x', 100) FROM generate_series(1, 200000) AS n",
		"CREATE TABLE page AS SELECT n FROM generate_series(1, 10) AS n", "ANALYZE", "CHECKPOINT",
	}})
	replica := primary.NewReplica(t)
	_, broken := w.watch(t, "postgres", []string{"DATA_SOURCE_NAME=" + primary.DSN("postgres")})
	_, turned := w.watch(t, "postgres", []string{"DATA_SOURCE_NAME=" + replica.DSN("postgres")})

	w.fault(func(t *testing.T) { execute(t, replica, "SELECT pg_promote()") }, "PostgresRoleChanged "+turned)
	w.fault(func(t *testing.T) {
		_, err := open(t, primary).Exec(t.Context(), "CREATE UNIQUE INDEX CONCURRENTLY twice ON rows (t)").ReadAll()
		if err == nil {
			t.Error("an index of what repeats is unique")
		}
	}, "PostgresInvalidIndex "+broken)
	w.fault(func(t *testing.T) {
		execute(t, primary, "SELECT pg_create_physical_replication_slot('left_behind', true)", "DELETE FROM rows WHERE id % 4 > 0",
			"CREATE TABLE more AS SELECT repeat(md5(n::text), 100) FROM generate_series(1, 30000) AS n")
	}, "PostgresDeadRows "+broken, "PostgresSlotLost "+broken)
	w.fault(func(t *testing.T) {
		for range 10 {
			execute(t, primary, "CREATE TABLE IF NOT EXISTS few (n int)", "INSERT INTO few VALUES (1)", "CHECKPOINT")
		}
	}, "PostgresCheckpointsTooOften "+broken)
	w.fault(func(t *testing.T) {
		for range 7 {
			deadlock(t, primary)
		}
	}, "PostgresDeadlocks "+broken)
	w.fault(func(t *testing.T) { readMuch(t, primary) }, "PostgresCacheHitsLow "+broken)
	w.fault(func(t *testing.T) { damage(t, primary, "page") }, "PostgresChecksumFailure "+broken)
}

// addSlowAndDown adds a server far away and one that ends, of which only that is said.
func (w *world) addSlowAndDown(t *testing.T) {
	t.Helper()
	db := servers.NewPostgres(t, servers.PostgresOptions{Major: 17, Initial: []string{"CREATE TABLE kept (n int)"}})
	line := proxy.New(t, db.Addr())
	_, slow := w.watch(t, "postgres-slow", []string{
		fmt.Sprintf("DATA_SOURCE_URI=127.0.0.1:%d/postgres?sslmode=disable", line.Port()), "DATA_SOURCE_USER=postgres", "DATA_SOURCE_PASS=" + db.Password(),
	})
	w.fault(func(*testing.T) { line.SetDelay(700 * time.Millisecond) }, "DatabaseSlow "+slow)

	ends := servers.NewPostgres(t, servers.PostgresOptions{Major: 17})
	_, down := w.watch(t, "postgres", []string{"DATA_SOURCE_NAME=" + ends.DSN("postgres")})
	w.fault(func(t *testing.T) {
		if err := ends.Stop(); err != nil {
			t.Fatal(err)
		}
	}, "PostgresDown "+down, "ServiceDown "+down, "DatabaseConnectionFailed "+down)
	w.suppressed = append(w.suppressed, "ServiceDown "+down, "DatabaseConnectionFailed "+down)
}

// addExporters adds exporters that end, that lose their target, and whose health check may not write any more.
func (w *world) addExporters(t *testing.T) {
	t.Helper()
	db := servers.NewPostgres(t, servers.PostgresOptions{Major: 17})
	dsn := "DATA_SOURCE_NAME=" + db.DSN("postgres")
	dies, dead := w.watch(t, "postgres", []string{dsn})
	w.fault(func(t *testing.T) {
		if err := dies.Stop(); err != nil {
			t.Fatal(err)
		}
	}, "ExporterDown "+dead)

	config := filepath.Join(t.TempDir(), "postgres.yml")
	write(t, config, fmt.Sprintf("targets: [{dsn: %q}]\n", db.DSN("postgres")))
	loses, idle := w.watch(t, "postgres", nil, "--config.file="+config)
	w.fault(func(t *testing.T) {
		write(t, config, "auth_modules: {some: {type: userpass, userpass: {username: a, password: b}, targets: ['db.invalid:5432']}}\n")
		reload(t, loses)
	}, "ExporterWithoutHealth "+idle)

	_, degraded := w.watch(t, "postgres", []string{dsn}, "--health.write", "--health.create")
	w.fault(func(t *testing.T) {
		execute(t, db, "ALTER TABLE alfred_health_check ADD CHECK (false) NOT VALID")
	}, "ServiceDegraded "+degraded)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func execute(t *testing.T, db *servers.Postgres, statements ...string) {
	t.Helper()
	if err := db.Exec(t.Context(), "postgres", statements...); err != nil {
		t.Fatal(err)
	}
}

// open gives a connection that stays open until the test's end.
func open(t *testing.T, db *servers.Postgres) *pgconn.PgConn {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), db.DSN("postgres"))
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

// deadlock lets two transactions wait for each other.
func deadlock(t *testing.T, db *servers.Postgres) {
	t.Helper()
	one, other := open(t, db), open(t, db)
	for conn, key := range map[*pgconn.PgConn]int{one: 1, other: 2} {
		if _, err := conn.Exec(t.Context(), fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d)", key)).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := one.Exec(context.Background(), "SELECT pg_advisory_xact_lock(2)").ReadAll()
		done <- err
	}()
	_, first := other.Exec(t.Context(), "SELECT pg_advisory_xact_lock(1)").ReadAll()
	_, _ = other.Exec(t.Context(), "ROLLBACK").ReadAll()
	if second := <-done; first == nil && second == nil {
		t.Error("two that wait for each other have both gone on")
	}
	_, _ = one.Exec(t.Context(), "ROLLBACK").ReadAll()
}

// readMuch reads a table that is larger than the buffers again and again, until the test's end.
func readMuch(t *testing.T, db *servers.Postgres) {
	t.Helper()
	conn, ended := open(t, db), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			conn.Exec(ctx, "SELECT count(t) FROM rows").Close()
		}
	}()
}

// damage writes over a page of a table on disk and reads it.
func damage(t *testing.T, db *servers.Postgres, table string) {
	t.Helper()
	path, err := db.Query(t.Context(), "postgres", fmt.Sprintf("SELECT pg_relation_filepath('%s')", table))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(filepath.Join(db.DataDir(), path), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte("no such page"), 8000); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Query(t.Context(), "postgres", "SELECT count(*) FROM "+table); err == nil {
		t.Error("a damaged page was read as if nothing were")
	}
}
