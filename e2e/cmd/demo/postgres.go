package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// startPostgres starts a PostgreSQL server with a role that may read statistics.
func startPostgres(ctx context.Context, dir string) (*pair, error) {
	passwordFile, password := filepath.Join(dir, "monitor-password"), rand.Text()
	if err := os.WriteFile(passwordFile, []byte(password), 0o600); err != nil {
		return nil, err
	}
	db, err := servers.StartPostgres(ctx, servers.PostgresOptions{
		Initial: []string{
			"SET pg_stat_statements.track_utility = off", // it would keep the password's text
			"CREATE ROLE monitor LOGIN PASSWORD '" + password + "'",
			"GRANT pg_monitor TO monitor",
			"CREATE EXTENSION pg_stat_statements",
			"CREATE DATABASE " + loadDatabase,
		},
	})
	if err != nil {
		return nil, err
	}
	say("PostgreSQL %s runs on %s", db.Version(), db.Addr())
	p := &pair{
		kind: "postgres", title: "PostgreSQL", backend: db,
		up: "pg_up", rises: "sum(pg_stat_database_xact_commit)",
		queries: []string{
			`rate(pg_stat_database_xact_commit{datname="` + loadDatabase + `"}[30s])`,
			`pg_database_size_bytes`,
			`service_health`,
		},
		talk: fmt.Sprintf("psql -h %s -p %d -U postgres %s", db.SocketDir(), db.Port(), loadDatabase),
		env: []string{
			"DATA_SOURCE_URI=" + db.Addr() + "/postgres?sslmode=disable",
			"DATA_SOURCE_USER=monitor",
			"DATA_SOURCE_PASS_FILE=" + passwordFile,
		},
	}
	if err := db.Exec(ctx, loadDatabase, loadSchema); err != nil {
		return p, err
	}
	p.endLoad = startLoad(db.DSN(loadDatabase))
	return p, nil
}

// loadDatabase is where the load works.
const loadDatabase = "shop"

const loadSchema = `
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE orders (id bigserial PRIMARY KEY, account int NOT NULL REFERENCES accounts, amount int NOT NULL, made timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON orders (made);
INSERT INTO accounts SELECT n, 1000 FROM generate_series(1, 1000) n;`

// loadStep is what happens a few times a second: an order, a look at one customer, an
// order that is given up, and what is old is thrown away so that the table does not grow.
const loadStep = `
BEGIN;
INSERT INTO orders (account, amount) SELECT 1 + floor(random() * 1000), floor(random() * 100) FROM generate_series(1, 3);
UPDATE accounts SET balance = balance - 1 WHERE id = 1 + floor(random() * 1000)::int;
COMMIT;
SELECT sum(amount) FROM orders WHERE account = 1 + floor(random() * 1000)::int;
BEGIN;
UPDATE accounts SET balance = balance + 1 WHERE id = 1 + floor(random() * 1000)::int;
ROLLBACK;
DELETE FROM orders WHERE made < now() - interval '5 minutes';`

// startLoad keeps a database busy until the returned function is called, which waits for
// the end. While the server is down it tries again and again.
func startLoad(dsn string) func() {
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	load.Go(func() {
		for ctx.Err() == nil {
			work(ctx, dsn)
			pause(ctx, 500*time.Millisecond)
		}
	})
	return func() {
		cancel()
		load.Wait()
	}
}

// work works on one connection until it fails: a server that is being stopped is part of the demo.
func work(ctx context.Context, dsn string) {
	connection, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return
	}
	defer connection.Close(context.WithoutCancel(ctx))
	for err == nil {
		_, err = connection.Exec(ctx, loadStep).ReadAll()
		pause(ctx, 250*time.Millisecond)
	}
}
