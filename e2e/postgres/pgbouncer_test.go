package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// The admin console of a pgbouncer is a target like another: one turn-around, numbers that are those of the pooler, and
// down when it is.
func TestPgBouncerConsole(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	pooler := servers.NewPgBouncer(t, db, map[string]string{"stats_users": "postgres", "max_client_conn": "77"})
	far := proxy.New(t, pooler.Addr())
	far.SetDelay(5 * time.Millisecond)
	e := forDatabase(t, fmt.Sprintf("postgresql://postgres:%s@%s/pgbouncer?sslmode=disable", db.Password(), far.Addr()))
	through := forDatabase(t, fmt.Sprintf("postgresql://postgres:%s@%s/postgres?sslmode=disable", db.Password(), pooler.Addr()))
	through.Scrape("10").Want(t, "pg_up", 1)
	before, _ := e.Scrape("10").Value(`pgbouncer_stats_totals_sql_transactions_pooled_total{database="postgres"}`)
	harness.Freshen()
	through.Scrape("10").Want(t, "pg_up", 1)
	far.ResetStats()
	p := e.Scrape("10")
	if stats := far.Stats(); stats.TurnArounds != 1 || stats.Conns != 0 {
		t.Errorf("a warm scrape took %d turn-arounds and %d new connections, want 1 and 0", stats.TurnArounds, stats.Conns)
	}
	if failing := p.Failing("pg"); len(failing) > 0 {
		t.Errorf("collectors fail: %v", failing)
	}
	p.Want(t, "pg_up", 1)
	p.Want(t, `service_health{service="pgbouncer"}`, 1)
	p.Want(t, "pgbouncer_config_max_client_connections", 77)
	p.Want(t, `pgbouncer_pools_client_waiting_connections{database="postgres",user="postgres"}`, 0)
	if after, ok := p.Value(`pgbouncer_stats_totals_sql_transactions_pooled_total{database="postgres"}`); !ok || after <= before {
		t.Errorf("transactions went from %v to %v (present: %v)", before, after, ok)
	}
	far.Stall()
	harness.Freshen()
	p = e.Scrape("2")
	p.Want(t, "pg_up", 0)
	p.Want(t, `pg_exporter_failure_info{reason="timeout"}`, 1)
	if p.Took > 2*time.Second {
		t.Errorf("the scrape of a stalled pooler took %s", p.Took)
	}
	far.Resume()
	harness.Freshen()
	e.Scrape("10").Want(t, "pg_up", 1)
}
