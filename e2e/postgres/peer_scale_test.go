package postgres

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// size is how much a server has of what gives many series.
type size struct{ tables, statements, databases int }

// scale is the size that make scale asks for, else one that a server reaches in a few seconds.
func scale() size {
	if os.Getenv("SCALE") == "large" {
		return size{tables: 50_000, statements: 20_000, databases: 1_000}
	}
	return size{tables: 5_000, statements: 1_000, databases: 20}
}

// However much a server has, a scrape ends in time, the process stays small, and what is left out is counted. Where all
// databases are asked for their tables, the answers of each are kept, which takes more.
func TestScale(t *testing.T) {
	t.Parallel()
	n := scale()
	db := newLarge(t, n)
	for _, mode := range []struct {
		name string
		args []string
		most float64 // bytes resident
	}{{"one database", nil, 60e6}, {"all databases", []string{"--auto-discover-databases"}, 120e6}} {
		t.Run(mode.name, func(t *testing.T) {
			e := forDatabase(t, db.DSN("postgres"), append(mode.args, "--collector.stat_statements", "--collector.statio_user_indexes")...)
			for range 5 {
				p := e.scrapeZipped("10")
				if p.Took > 10*time.Second {
					t.Errorf("a scrape took %s", p.Took)
				}
				p.Want(t, "pg_up", 1)
				for line := range strings.Lines(p.Body) {
					if strings.HasPrefix(line, "pg_exporter_collector_failures_total{") && !strings.HasSuffix(line, " 0\n") {
						t.Error(line)
					}
				}
				for _, collector := range []string{"stat_user_tables", "statio_user_tables"} {
					if left, _ := p.Value(`pg_exporter_collector_series_limited{collector="` + collector + `"}`); left == 0 {
						t.Errorf("%s leaves out nothing, or does not count it", collector)
					}
				}
				e.wantSmall(p, mode.most)
				harness.Freshen()
			}
		})
	}
}

// scrapeZipped asks for the metrics as Prometheus does, compressed, and unpacks them.
func (e *exporter) scrapeZipped(timeout string) page {
	e.T.Helper()
	p := e.Get("/metrics", "X-Prometheus-Scrape-Timeout-Seconds", timeout, "Accept-Encoding", "gzip")
	reader, err := gzip.NewReader(strings.NewReader(p.Body))
	if err != nil {
		e.T.Fatal(err)
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		e.T.Fatal(err)
	}
	p.Body = string(body)
	return p
}

// wantSmall tells the cost of a scrape, and fails the test where more memory is resident than may be.
func (e *exporter) wantSmall(p page, most float64) {
	e.T.Helper()
	resident, err := e.RSS()
	if err != nil {
		e.T.Fatal(err)
	}
	series := strings.Count(p.Body, "\n") - strings.Count(p.Body, "\n#")
	e.T.Logf("%.2f s, %d series, %.1f MB of page, %.1f MB resident", p.Took.Seconds(), series, float64(len(p.Body))/1e6, float64(resident)/1e6)
	if float64(resident) > most {
		e.T.Errorf("%.1f MB resident, want under %.1f MB", float64(resident)/1e6, most/1e6)
	}
}

// newLarge starts a server of a size.
func newLarge(t *testing.T, n size) *servers.Postgres {
	t.Helper()
	began := time.Now()
	db := servers.NewPostgres(t, servers.PostgresOptions{
		Settings: map[string]string{"autovacuum": "off", "pg_stat_statements.max": "25000", "max_wal_size": "4GB"},
		Initial: []string{"CREATE EXTENSION pg_stat_statements", fmt.Sprintf(`DO $$ BEGIN
			FOR i IN 1..%d LOOP
				EXECUTE format('CREATE TABLE t%%s (a int PRIMARY KEY, b text)', i);
				IF i %% 500 = 0 THEN COMMIT; END IF;
			END LOOP; END $$`, n.tables)},
	})
	for i := 0; i < n.statements; i += 500 {
		var batch strings.Builder
		for j := range 500 {
			fmt.Fprintf(&batch, "SELECT b FROM t%d;", i+j+1)
		}
		execute(t, db, batch.String())
	}
	for i := range n.databases {
		execute(t, db, fmt.Sprintf("CREATE DATABASE d%d", i))
	}
	t.Logf("%d tables, %d statements and %d databases after %s", n.tables, n.statements, n.databases, time.Since(began).Round(time.Second))
	return db
}
