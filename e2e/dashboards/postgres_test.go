package dashboards

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// postgresSetup leaves something to be seen on every panel.
var postgresSetup = []string{
	`CREATE EXTENSION pg_stat_statements`,
	`CREATE TABLE orders (id bigserial PRIMARY KEY, note text)`,
	`INSERT INTO orders (note) SELECT 'note ' || n % 5000 FROM generate_series(1, 20000) AS n`,
	`CREATE INDEX unread ON orders (note)`,
	`DELETE FROM orders WHERE id % 2 = 0`,
	`ANALYZE orders`,
	`CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)`,
	`INSERT INTO counted DEFAULT VALUES`,
	`SELECT pg_create_physical_replication_slot('forgotten', true)`,
	`ALTER SYSTEM SET shared_buffers = '40MB'`,
	`SELECT pg_reload_conf()`,
	`SELECT pg_switch_wal()`,
}

// startPostgres starts a primary that has troubles, its replica, and their exporters.
func startPostgres(t *testing.T) []*harness.Exporter {
	t.Helper()
	primary := servers.NewPostgres(t, servers.PostgresOptions{Major: 18, Initial: postgresSetup, Settings: map[string]string{
		"archive_mode": "on", "archive_command": "/bin/false", "autovacuum_naptime": "1h", "track_io_timing": "on",
	}})
	replica := primary.NewReplica(t)
	open(t, primary, `SET statement_timeout = '100ms'`).Exec(t.Context(), `CREATE UNIQUE INDEX CONCURRENTLY broken ON orders (note)`).Close() // left invalid: the notes repeat
	open(t, primary, `BEGIN; LOCK TABLE counted`)
	wait(t, primary, `INSERT INTO counted DEFAULT VALUES`)
	busy(t, primary)
	service := httptest.NewServer(http.NotFoundHandler()) // stands in for one before the database
	t.Cleanup(service.Close)
	config := filepath.Join(t.TempDir(), "postgres.yml")
	text := fmt.Sprintf("dependents:\n  - {name: db-api, url: %q, status: [404]}\n", service.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var exporters []*harness.Exporter
	for _, db := range []*servers.Postgres{primary, replica} {
		exporters = append(exporters, harness.Start(t, "postgres-exporter", []string{"DATA_SOURCE_NAME=" + db.DSN("postgres")}, "--collector.stat_statements", "--collector.table_bloat", "--config.file="+config))
	}
	return exporters
}

// open runs statements on a connection that stays open until the test's end.
func open(t *testing.T, db *servers.Postgres, statements ...string) *pgconn.PgConn {
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
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

// wait runs a statement that does not end before the test does.
func wait(t *testing.T, db *servers.Postgres, statement string) {
	t.Helper()
	conn, ended := open(t, db), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		conn.Exec(ctx, statement).Close()
	}()
}

// busy keeps the server at work until the test's end.
func busy(t *testing.T, db *servers.Postgres) {
	t.Helper()
	conn := open(t, db)
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			conn.Exec(ctx, `INSERT INTO orders (note) SELECT 'more' FROM generate_series(1, 10); SELECT count(*) FROM orders; SELECT note FROM orders WHERE id = 7`).Close()
			time.Sleep(100 * time.Millisecond)
		}
	}()
}
