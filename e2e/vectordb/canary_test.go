package vectordb

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// ours is the collection that the canary has without configuration.
const ours = "vectordb_exporter_canary"

func canaryEverySecond(target string) string {
	return "targets:\n  - " + target + "\n    canary:\n      every: 1s\n"
}

// until scrapes until a series has a value.
func until(t *testing.T, e *harness.Exporter, limit time.Duration, series string, want float64) (page harness.Page) {
	t.Helper()
	harness.Eventually(t, limit, fmt.Sprintf("%s is %v", series, want), func() error {
		page = e.Scrape("10")
		if got, ok := page.Value(series); !ok || got != want {
			return fmt.Errorf("it is %v (present: %v):\n%.3000s", got, ok, about(page.Body, "canary_success", "canary_failures", "vectordb_up", "write_success", "reason"))
		}
		return nil
	})
	return page
}

func (p pgvector) count(t *testing.T, where string) string {
	t.Helper()
	n, err := p.Query(t.Context(), "postgres", "SELECT count(*) FROM "+ours+" WHERE "+where)
	must(t, err)
	return n
}

// An exporter that is killed leaves a point at most; the next one removes it once it is old, and never what another one
// works with.
func TestCanaryCleansUpAfterACrash(t *testing.T) {
	p := newPgvector(t)
	first := start(t, canaryEverySecond(p.target()))
	until(t, first, 20*time.Second, "vectordb_canary_success", 1)
	must(t, first.Signal(syscall.SIGKILL))
	// What a crash an hour ago would have left: IDs hold the time in their first 48 bits.
	old := fmt.Sprintf("%012x", time.Now().Add(-time.Hour).UnixMilli())
	now := fmt.Sprintf("%012x", time.Now().UnixMilli())
	for _, made := range []string{old, now} {
		p.exec(t, fmt.Sprintf("INSERT INTO %s VALUES ('%s-%s-7000-8000-000000000000', '[1,2,3,4,5,6,7,8]')", ours, made[:8], made[8:]))
	}
	second := start(t, canaryEverySecond(p.target()))
	until(t, second, 20*time.Second, "vectordb_canary_leftovers_removed_total", 1)
	if n := p.count(t, "id::text LIKE '%-7000-8000-000000000000'"); n != "1" {
		t.Errorf("%s of the two are left", n)
	}
	must(t, second.Stop())
	if n := p.count(t, "id::text NOT LIKE '%-7000-8000-000000000000'"); n != "0" && n != "1" && n != "2" { // the signs of the health check
		t.Errorf("%s points are left", n)
	}
}

// A collection of the canary's name that is not the canary's is not touched, on any server.
func TestCanaryLeavesSomebodyElsesAlone(t *testing.T) {
	for _, s := range everyStore(t) {
		t.Run(s.kind(), func(t *testing.T) {
			all := vectors(20, 8)
			s.fill(t, ours, all, usual)
			e := start(t, canaryEverySecond(s.target()))
			page := until(t, e, 20*time.Second, "vectordb_canary_success", 0)
			page.Want(t, `vectordb_canary_operation_success{operation="create"}`, 0)
			if got, _ := page.Value(`vectordb_canary_failures_total{operation="create",reason="config"}`); got < 1 {
				t.Errorf("failures:\n%s", about(page.Body, "canary_failures"))
			}
			page.Want(t, "vectordb_up", 1)
			if _, ok := page.Value(`vectordb_canary_operation_duration_seconds_count{operation="write"}`); ok {
				t.Error("something was written")
			}
			if found := s.nearest(t, ours, all[3], 20); len(found) != 20 || found[0] != 3 {
				t.Errorf("what is left of it: %v", found)
			}
		})
	}
}

// A key that may only read is enough for everything but the canary, whose failure makes the server degraded nowhere but
// where it had written before.
func TestCanaryWithAKeyThatOnlyReads(t *testing.T) {
	w := newWeaviate(t)
	e := start(t, canaryEverySecond("url: "+w.URL()+"\n    api_key: "+servers.WeaviateReadKey))
	page := until(t, e, 20*time.Second, "vectordb_canary_success", 0)
	page.Want(t, "vectordb_up", 1)
	page.Want(t, "vectordb_auth_ok", 1)
	if got, _ := page.Value(`vectordb_canary_failures_total{operation="create",reason="denied"}`); got < 1 {
		t.Errorf("failures:\n%s", about(page.Body, "canary_failures"))
	}
}

// While the server is away the canary fails, and it heals by itself. What the server no longer takes is seen by the
// health check too.
func TestCanaryHeals(t *testing.T) {
	p := newPgvector(t)
	e := start(t, canaryEverySecond(p.target()))
	until(t, e, 20*time.Second, `db_write_success{db_name="",service="vector-db"}`, 1)
	p.stop(t)
	until(t, e, 20*time.Second, "vectordb_up", 0)
	time.Sleep(1500 * time.Millisecond) // at least one round meets no server
	p.start(t)
	until(t, e, 20*time.Second, "vectordb_up", 1)
	page := until(t, e, 20*time.Second, "vectordb_canary_success", 1)
	if !strings.Contains(page.Body, `reason="unreachable"`) {
		t.Errorf("no round failed:\n%s", about(page.Body, "canary_failures"))
	}
	// A disk that is full refuses writes and answers reads, as this does.
	p.exec(t, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '53100'; END $$",
		"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON "+ours+" FOR EACH ROW EXECUTE FUNCTION refuse()")
	page = until(t, e, 20*time.Second, `vectordb_canary_operation_success{operation="write"}`, 0)
	page.Want(t, "vectordb_up", 1)
	page = until(t, e, 20*time.Second, `db_write_success{db_name="",service="vector-db"}`, 0)
	page.Want(t, `service_health{service="vector-db"}`, 0.5)
	if got, _ := page.Value(`vectordb_canary_failures_total{operation="write",reason="busy"}`); got < 1 {
		t.Errorf("failures:\n%s", about(page.Body, "canary_failures"))
	}
	p.exec(t, "DROP TRIGGER refuse ON "+ours)
	page = until(t, e, 20*time.Second, "vectordb_canary_success", 1)
	harness.Freshen()
	page = until(t, e, 20*time.Second, `db_write_success{db_name="",service="vector-db"}`, 1)
	page.Want(t, `service_health{service="vector-db"}`, 1)
}
