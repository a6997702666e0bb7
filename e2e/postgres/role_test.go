package postgres

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// The role of deploy/postgres/role.sql is enough for every default collector and for statements, it has no more, and
// doctor finds nothing to ask for.
func TestMonitoringRole(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../../deploy/postgres/role.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, major := range []int{13, 15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			db := servers.NewPostgres(t, servers.PostgresOptions{Major: major, Settings: map[string]string{"track_io_timing": "on"}})
			execute(t, db, string(script), "ALTER ROLE monitor PASSWORD 'm'", "CREATE TABLE private (a int)")
			dsn := fmt.Sprintf("postgresql://monitor:m@%s/postgres?sslmode=disable", db.Addr())
			p := forDatabase(t, dsn, "--collector.stat_statements").Scrape("10")
			p.Want(t, "pg_up", 1)
			if failing := p.Failing("pg"); len(failing) > 0 {
				t.Errorf("collectors fail: %v", failing)
			}
			if !strings.Contains(p.Body, "\npg_stat_statements_calls_total{") {
				t.Error("no statements are on the page")
			}
			if code, stdout, stderr := run(t, []string{"DATA_SOURCE_NAME=" + dsn}, "doctor"); code != 0 {
				t.Errorf("doctor: %s%s", stdout, stderr)
			}
			if may := query(t, db, `SELECT has_table_privilege('monitor', 'private', 'SELECT')`); may != "f" {
				t.Errorf("the role may read tables: %s", may)
			}
		})
	}
}
