package postgres

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// withDatabases starts a server with databases of one table each, called t.
func withDatabases(t *testing.T, names ...string) *servers.Postgres {
	t.Helper()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	for _, name := range names {
		execute(t, db, `CREATE DATABASE "`+name+`"`)
		if err := db.Exec(t.Context(), name, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)"); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func inserted(database string) string {
	return fmt.Sprintf(`pg_stat_user_tables_n_tup_ins{datname="%s",relname="t",schemaname="public"}`, database)
}

// The tables of all databases are on the page, those of the wanted ones. On warm connections a database costs one
// turn-around, and one that refuses costs only itself.
func TestDatabasesAreDiscovered(t *testing.T) {
	t.Parallel()
	db := withDatabases(t, "one", "two", "scratch")
	execute(t, db, "ALTER DATABASE two CONNECTION LIMIT 5", "CREATE ROLE monitor LOGIN PASSWORD 'm'", "GRANT pg_monitor TO monitor")
	far := proxy.New(t, db.Addr())
	far.SetDelay(5 * time.Millisecond)
	e := forDatabase(t, fmt.Sprintf("postgresql://monitor:m@%s/postgres?sslmode=disable", far.Addr()), "--auto-discover-databases", "--exclude-databases=scr*", "--collector.statio_user_indexes")
	p := e.Scrape("10")
	p.Want(t, "pg_up", 1)
	p.Want(t, inserted("one"), 1)
	p.Want(t, inserted("two"), 1)
	p.Want(t, `pg_exporter_database_success{datname="one"}`, 1)
	if _, there := p.Value(inserted("scratch")); there {
		t.Error("an excluded database is on the page")
	}
	harness.Freshen()
	far.ResetStats()
	p = e.Scrape("10")
	if stats := far.Stats(); stats.TurnArounds != 3 || stats.Conns != 0 {
		t.Errorf("three databases took %d turn-arounds and %d new connections, want 3 and 0", stats.TurnArounds, stats.Conns)
	}
	p.Want(t, "pg_exporter_last_scrape_turnarounds", 3)
	p.Want(t, inserted("two"), 1)
	execute(t, db, "REVOKE CONNECT ON DATABASE two FROM PUBLIC", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'two'`)
	harness.Freshen()
	p = e.Scrape("10")
	p.Want(t, "pg_up", 1)
	p.Want(t, `pg_exporter_database_success{datname="two"}`, 0)
	p.Want(t, `pg_exporter_database_failure_info{datname="two",reason="denied"}`, 1)
	p.Want(t, inserted("one"), 1)
	if _, there := p.Value(inserted("two")); there {
		t.Error("the page shows what a database told that cannot be asked any more")
	}
	if failing := p.Failing("pg"); len(failing) > 0 {
		t.Errorf("collectors fail: %v", failing)
	}
}

// Names that do not tell their database get a label that does, so that no two series are the same.
func TestDatabasesHaveNoDuplicates(t *testing.T) {
	t.Parallel()
	db := withDatabases(t, "one", "two")
	for _, name := range []string{"one", "two"} {
		if err := db.Exec(t.Context(), name, "CREATE INDEX i ON t (a)"); err != nil {
			t.Fatal(err)
		}
	}
	p := forDatabase(t, db.DSN("postgres"), "--auto-discover-databases", "--collector.statio_user_indexes").Scrape("10")
	seen := map[string]bool{}
	for line := range strings.Lines(p.Body) {
		if series := line[:strings.LastIndex(line, " ")]; !strings.HasPrefix(series, "#") {
			if seen[series] {
				t.Errorf("twice: %s", series)
			}
			seen[series] = true
		}
	}
	for _, name := range []string{"one", "two"} {
		if !seen[fmt.Sprintf(`pg_statio_user_indexes_idx_blks_read_total{datname="%s",indexrelname="i",relname="t",schemaname="public"}`, name)] {
			t.Errorf("the index of %s is not on the page", name)
		}
	}
}

// More databases than connections are asked in the background: a scrape serves what they told last, never opens more
// connections than it may, and takes no longer for their number.
func TestManyDatabases(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("db%02d", i))
	}
	db := withDatabases(t, names...)
	e := forDatabase(t, db.DSN("postgres"), "--auto-discover-databases")
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		for {
			select {
			case <-stop:
				done <- most
				return
			case <-time.After(5 * time.Millisecond):
				n := 0
				_, _ = fmt.Sscan(query(t, db, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres-exporter'`), &n)
				most = max(most, n)
			}
		}
	}()
	p := e.Scrape("10")
	for _, name := range names {
		p.Want(t, inserted(name), 1)
		p.Want(t, `pg_exporter_database_success{datname="`+name+`"}`, 1)
	}
	harness.Freshen()
	p = e.Scrape("10")
	p.Want(t, inserted("db07"), 1)
	p.Want(t, "pg_exporter_last_scrape_turnarounds", 1)
	if age, ok := p.Value(`pg_exporter_database_age_seconds{datname="db07"}`); !ok || age <= 0 || age > 60 {
		t.Errorf("the age of a database's answer is %v (present: %v)", age, ok)
	}
	close(stop)
	if most := <-done; most > 10 { // three, and some that a busy server has not yet noticed to be closed
		t.Errorf("%d connections at once, want 3 at most", most)
	}
}
