package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// through gives the connection string of a server with a proxy before it.
func through(p *servers.Postgres, before *proxy.Proxy) string {
	return fmt.Sprintf("postgresql://postgres:%s@%s/postgres?sslmode=disable", p.Password(), before.Addr())
}

// A scrape on a warm connection is one turn-around and no new connection, and so takes little more than one trip to a
// server that is 25 ms away.
func TestWarmScrapeIsOneTurnAround(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	far := proxy.New(t, db.Addr())
	far.SetDelay(25 * time.Millisecond)
	e := forDatabase(t, through(db, far))
	e.Scrape("10").Want(t, "pg_up", 1)
	for range 5 {
		harness.Freshen()
		far.ResetStats()
		p := e.Scrape("10")
		stats := far.Stats()
		p.Want(t, "pg_up", 1)
		p.Want(t, "pg_exporter_last_scrape_turnarounds", 1)
		if failing := p.Failing("pg"); len(failing) > 0 {
			t.Errorf("collectors fail: %v", failing)
		}
		if stats.TurnArounds != 1 || stats.Conns != 0 {
			t.Errorf("a warm scrape took %d turn-arounds and %d new connections, want 1 and 0", stats.TurnArounds, stats.Conns)
		}
		if p.Took > 150*time.Millisecond {
			t.Errorf("a warm scrape took %s, want under 150 ms", p.Took)
		}
		t.Logf("warm scrape at 25 ms one way: %s, %d turn-around, %d up, %d down bytes", p.Took, stats.TurnArounds, stats.Up, stats.Down)
	}
}

// Two Prometheis that come at the same time cost the server one scrape.
func TestConcurrentScrapesShareOneRun(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	far := proxy.New(t, db.Addr())
	far.SetDelay(25 * time.Millisecond)
	e := forDatabase(t, through(db, far))
	e.Scrape("10")
	harness.Freshen()
	far.ResetStats()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { e.Scrape("10").Want(t, "pg_up", 1) })
	}
	both.Wait()
	if n := far.Stats().TurnArounds; n != 1 {
		t.Errorf("two scrapes at once took %d turn-arounds, want 1", n)
	}
}

// stalls are the ways in which a database hangs.
var stalls = map[string]func(t *testing.T, db *servers.Postgres, line *proxy.Proxy) (undo func()){
	"the line accepts and never answers": func(_ *testing.T, _ *servers.Postgres, line *proxy.Proxy) func() {
		line.Stall()
		return line.Resume
	},
	"the whole server is stopped": func(t *testing.T, db *servers.Postgres, _ *proxy.Proxy) func() {
		if err := db.Pause(); err != nil {
			t.Fatal(err)
		}
		return db.Resume
	},
}

// A server that hangs costs a scrape its time and no more: the page comes before Prometheus gives up, says that and
// why, nothing is left behind by a hundred callers who went away, and the first scrape afterwards is good.
func TestStalledServer(t *testing.T) {
	for name, stall := range stalls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := servers.NewPostgres(t, servers.PostgresOptions{})
			line := proxy.New(t, db.Addr())
			e := forDatabase(t, through(db, line))
			before := e.level(db)
			undo := stall(t, db, line)
			harness.Freshen()
			p := e.Scrape("2")
			if p.Code != 200 || p.Took > 2*time.Second {
				t.Errorf("code %d after %s, want 200 within 2 s", p.Code, p.Took)
			}
			p.Want(t, "pg_up", 0)
			p.Want(t, `pg_exporter_failure_info{reason="timeout"}`, 1)
			p.Want(t, `pg_exporter_collector_success{collector="stat_database"}`, 0)
			p.Want(t, `pg_exporter_collector_failures_total{collector="stat_database",reason="timeout"}`, 1)
			p.Want(t, `service_health{service="postgres"}`, 0)
			e.abandon(100)
			undo()
			e.wantGoodAndLevel(db, before)
		})
	}
}

// A single backend process that hangs is left behind: the next scrape has a new connection.
func TestStalledBackend(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	e := forDatabase(t, db.DSN("postgres"))
	before := e.level(db)
	pid := 0
	if _, err := fmt.Sscan(query(t, db, `SELECT pid FROM pg_stat_activity WHERE application_name = 'postgres-exporter'`), &pid); err != nil {
		t.Fatal(err)
	}
	if err := db.PauseBackend(pid); err != nil {
		t.Fatal(err)
	}
	harness.Freshen()
	p := e.Scrape("2")
	if p.Code != 200 || p.Took > 2*time.Second {
		t.Errorf("code %d after %s, want 200 within 2 s", p.Code, p.Took)
	}
	p.Want(t, "pg_up", 0)
	p.Want(t, `pg_exporter_failure_info{reason="timeout"}`, 1)
	e.abandon(100)
	if err := db.ResumeBackend(pid); err != nil {
		t.Fatal(err)
	}
	e.wantGoodAndLevel(db, before)
}

// level is what an exporter and its server hold when nothing is wrong.
type level struct {
	goroutines float64
	files      int
	sessions   string
}

func (e *exporter) level(db *servers.Postgres) level {
	e.T.Helper()
	e.Scrape("10")
	harness.Freshen()
	p := e.Scrape("10")
	p.Want(e.T, "pg_up", 1)
	return e.levelNow(p, db)
}

func (e *exporter) levelNow(p page, db *servers.Postgres) level {
	goroutines, _ := p.Value("go_goroutines")
	files, err := e.FDs()
	if err != nil {
		e.T.Fatal(err)
	}
	return level{goroutines, files, query(e.T, db, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres-exporter'`)}
}

// abandon makes scrapes whose callers go away before the answer.
func (e *exporter) abandon(n int) {
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range n / 10 {
				ctx, cancel := context.WithTimeout(context.Background(), 40*time.Millisecond)
				_, _ = e.Try(ctx, "/metrics")
				cancel()
			}
		})
	}
	all.Wait()
}

// wantGoodAndLevel wants the very next scrape to be good, and within five seconds nothing held that was not before.
func (e *exporter) wantGoodAndLevel(db *servers.Postgres, before level) {
	e.T.Helper()
	p := e.Scrape("10")
	p.Want(e.T, "pg_up", 1)
	if failing := p.Failing("pg"); len(failing) > 0 {
		e.T.Errorf("collectors fail after the server is back: %v", failing)
	}
	harness.Eventually(e.T, 5*time.Second, "goroutines, files and sessions are back at their level", func() error {
		now := e.levelNow(e.Scrape("10"), db)
		if now.goroutines > before.goroutines+2 || now.files > before.files+2 || now.sessions != before.sessions {
			return fmt.Errorf("before %+v, now %+v", before, now)
		}
		return nil
	})
}

func query(t testing.TB, db *servers.Postgres, sql string) string {
	t.Helper()
	value, err := db.Query(context.Background(), "postgres", sql)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func execute(t testing.TB, db *servers.Postgres, statements ...string) {
	t.Helper()
	if err := db.Exec(context.Background(), "postgres", statements...); err != nil {
		t.Fatal(err)
	}
}

// A server that restarted closed our connection: the next scrape finds out and connects anew, and no scrape is lost.
func TestServerRestarted(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	e := forDatabase(t, db.DSN("postgres"))
	e.Scrape("10").Want(t, "pg_up", 1)
	if err := db.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	harness.Freshen()
	e.Scrape("10").Want(t, "pg_up", 1)
	execute(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'postgres-exporter'`)
	harness.Freshen()
	e.Scrape("10").Want(t, "pg_up", 1)
}

// A server that is down when the exporter starts is no reason to exit.
func TestServerDownAtStart(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	if err := db.Stop(); err != nil {
		t.Fatal(err)
	}
	e := forDatabase(t, db.DSN("postgres"))
	p := e.Scrape("10")
	p.Want(t, "pg_up", 0)
	p.Want(t, `pg_exporter_failure_info{reason="unreachable"}`, 1)
	if code := e.Get("/health").Code; code != 503 {
		t.Errorf("/health answers %d, want 503", code)
	}
	if code := e.Get("/healthz").Code; code != 200 {
		t.Errorf("/healthz answers %d, want 200", code)
	}
	if err := db.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	harness.Freshen()
	e.Scrape("10").Want(t, "pg_up", 1)
	if code := e.Get("/health").Code; code != 200 {
		t.Errorf("/health answers %d, want 200", code)
	}
}

// A lock that nobody passes costs what needs it: the sizes of that table, and nothing else.
func TestExclusiveLock(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{
		"CREATE TABLE locked (a int)", "INSERT INTO locked SELECT generate_series(1, 1000)",
		"CREATE TABLE open (a int)", "INSERT INTO open SELECT generate_series(1, 1000)", "ANALYZE"}})
	e := forDatabase(t, db.DSN("postgres"))
	e.Scrape("10").Want(t, "pg_up", 1)
	release := make(chan struct{})
	held := make(chan error, 1)
	go func() {
		held <- db.Exec(context.Background(), "postgres", "BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(4); COMMIT")
		close(release)
	}()
	harness.Eventually(t, 5*time.Second, "the lock is held", func() error {
		if n := query(t, db, `SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'locked'::regclass`); n != "1" {
			return fmt.Errorf("%s locks", n)
		}
		return nil
	})
	harness.Freshen()
	p := e.Scrape("10")
	p.Want(t, "pg_up", 1)
	if p.Took > time.Second {
		t.Errorf("the scrape took %s", p.Took)
	}
	for _, name := range p.Failing("pg") {
		if name != "stat_user_tables_size" {
			t.Errorf("collector %s fails because of a lock", name)
		}
	}
	p.Want(t, `pg_stat_user_tables_n_tup_ins{datname="postgres",relname="locked",schemaname="public"}`, 1000)
	p.Want(t, `pg_stat_user_tables_n_tup_ins{datname="postgres",relname="open",schemaname="public"}`, 1000)
	<-release
	if err := <-held; err != nil {
		t.Fatal(err)
	}
}
