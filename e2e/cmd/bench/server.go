package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// database is what the exporters are connected to.
const database = "app"

// application is 200 tables of three indexes, and as many statements as the collectors show.
const application = `
CREATE EXTENSION pg_stat_statements;
DO $$ BEGIN
	FOR i IN 1..200 LOOP
		EXECUTE format('CREATE TABLE t%1$s (id int PRIMARY KEY, a int, b int); CREATE INDEX ON t%1$s (a); CREATE INDEX ON t%1$s (b)', i);
		EXECUTE format('INSERT INTO t%s SELECT n, n, n FROM generate_series(1, 100) AS n', i);
	END LOOP;
END $$;
ANALYZE;
`

// startServer makes a server that does nothing by itself.
func startServer(ctx context.Context) (*servers.Postgres, error) {
	db, err := servers.StartPostgres(ctx, servers.PostgresOptions{
		Settings: map[string]string{"autovacuum": "off", "checkpoint_timeout": "1h", "max_locks_per_transaction": "1024"},
		Initial:  []string{"CREATE DATABASE " + database},
	})
	if err != nil {
		return nil, err
	}
	statements := []string{application}
	for i := range 150 {
		statements = append(statements, fmt.Sprintf("SELECT a AS a%d FROM t%d WHERE id = 7", i, i+1))
	}
	if err := db.Exec(ctx, database, statements...); err != nil {
		return nil, fmt.Errorf("%w (closing: %w)", err, db.Close())
	}
	return db, nil
}

// admit makes a role for one exporter, by which the server tells its statements from those of the others.
func admit(ctx context.Context, db *servers.Postgres, role string) error {
	return db.Exec(ctx, database, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s' IN ROLE pg_monitor", role, role))
}

// connectionString is that of a role whose password is its name, through a line.
func connectionString(role string, line *proxy.Proxy) string {
	dsn := url.URL{Scheme: "postgresql", User: url.UserPassword(role, role), Host: line.Addr(), Path: "/" + database, RawQuery: "sslmode=disable"}
	return dsn.String()
}

// statements tells how many a role has run, and the milliseconds that the server spent on them.
func statements(ctx context.Context, db *servers.Postgres, role string) (calls, milliseconds float64, err error) {
	answer, err := db.Query(ctx, database, fmt.Sprintf(
		`SELECT sum(calls) || ' ' || sum(total_exec_time + total_plan_time) FROM pg_stat_statements WHERE userid = '%s'::regrole`, role))
	if err == nil {
		_, err = fmt.Sscan(answer, &calls, &milliseconds)
	}
	return calls, milliseconds, err
}
