package postgres

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// healthAnswer is what /health says.
type healthAnswer struct {
	Status   string            `json:"status"`
	Services map[string]string `json:"services"`
	Details  map[string]struct {
		Reason string `json:"reason"`
	} `json:"details"`
	Code int
	Took time.Duration
}

func (e *exporter) health() healthAnswer {
	e.T.Helper()
	p := e.Get("/health")
	answer := healthAnswer{Code: p.Code, Took: p.Took}
	if err := json.Unmarshal([]byte(p.Body), &answer); err != nil {
		e.T.Fatalf("%v: %s", err, p.Body)
	}
	return answer
}

// want compares the answer's status, code, and the services as "name state reason".
func (h healthAnswer) want(t *testing.T, status string, code int, services ...string) {
	t.Helper()
	if h.Status != status || h.Code != code || len(h.Services) != len(services) {
		t.Errorf("/health: %+v, want %s %d %q", h, status, code, services)
	}
	for _, service := range services {
		name, state, _ := strings.Cut(service, " ")
		if got := strings.TrimSpace(h.Services[name] + " " + h.Details[name].Reason); got != state {
			t.Errorf("/health: %s is %q, want %q", name, got, state)
		}
	}
}

// A write probe keeps one row, in the one turn-around of a scrape that finds all else as it was, and is seen by the
// platform's alerts like the other steps.
func TestHealthWriteProbe(t *testing.T) {
	for _, major := range []int{13, 15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			db := servers.NewPostgres(t, servers.PostgresOptions{Major: major})
			far := proxy.New(t, db.Addr())
			far.SetDelay(10 * time.Millisecond)
			e := start(t, []string{"DATA_SOURCE_NAME=" + through(db, far), "PG_EXPORTER_HEALTH_WRITE=true", "PG_EXPORTER_HEALTH_CREATE=true"})
			for i := range 4 {
				harness.Freshen()
				far.ResetStats()
				p := e.Scrape("10")
				p.Want(t, `db_write_success{db_name="postgres",service="postgres"}`, 1)
				p.Want(t, `service_health{service="postgres"}`, 1)
				if failing := p.Failing("pg"); len(failing) > 0 {
					t.Errorf("collectors fail: %v", failing)
				}
				if turns := far.Stats().TurnArounds; i > 0 && turns != 1 {
					t.Errorf("scrape %d took %d turn-arounds", i, turns)
				}
				p.Want(t, `db_query_duration_seconds_bucket{database="postgres",operation="write",service="postgres",le="10"}`, float64(i+1))
				if latency, _ := p.Value(`db_write_latency_seconds{db_name="postgres",service="postgres"}`); latency < 0.02 || latency > 1 {
					t.Errorf("the latency of a write over 20 ms is %v s", latency)
				}
			}
			harness.Freshen()
			e.health().want(t, "ok", 200, "postgres ok")
			if rows := query(t, db, "SELECT count(*) || min(id) FROM public.alfred_health_check"); !strings.HasPrefix(rows, "1") || !strings.HasSuffix(rows, "/postgres-exporter") {
				t.Errorf("the table holds %s", rows)
			}
			if strings.Contains(db.Log(), "WARNING") {
				t.Error("the server's log holds a warning")
			}
		})
	}
}

// A replica is not asked to write, also while its configuration is that of its primary.
func TestHealthReplicaIsNotWritten(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	replica := db.NewReplica(t)
	p := forDatabase(t, replica.DSN("postgres"), "--health.write", "--health.create").Scrape("10")
	p.Want(t, `service_health{service="postgres"}`, 1)
	if _, asked := p.Value(`db_write_success{db_name="postgres",service="postgres"}`); asked {
		t.Error("the replica was asked to write")
	}
}

// A primary that cannot be written is degraded, which is no 503, and says why; one that nobody asked to write is not
// written.
func TestHealthWriteFails(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{
		"CREATE ROLE monitor LOGIN PASSWORD 'monitor' IN ROLE pg_monitor",
		"CREATE TABLE closed (id text PRIMARY KEY, checked_at timestamptz NOT NULL)"}})
	readOnly := fmt.Sprintf("postgresql://monitor:monitor@%s/postgres?sslmode=disable", db.Addr())
	e := start(t, nil, "--config.file="+harness.File(t, "c.yml", fmt.Sprintf(`
targets:
- {service: uninvited, dsn: '%s'}
- {service: missing, dsn: '%s', health: {write: true, table: nowhere}}
- {service: denied, dsn: '%s', health: {write: true, table: closed, create: true, id: me}}
`, db.DSN("template1"), db.DSN("postgres"), readOnly)))
	e.health().want(t, "degraded", 200, "uninvited ok", "missing degraded config", "denied degraded denied")
	p := e.Scrape("10")
	label := fmt.Sprintf(`",target="%s/postgres"}`, db.Addr())
	p.Want(t, `service_health{service="missing`+label, 0.5)
	p.Want(t, `service_health_failure_info{reason="config",service="missing`+label, 1)
	p.Want(t, `db_write_success{db_name="postgres",service="denied`+label, 0)
	p.Want(t, `service_health_failure_info{reason="denied",service="denied`+label, 1)
	if tables := query(t, db, `SELECT count(*) FROM pg_class WHERE relname ~ 'health|nowhere'`); tables != "0" {
		t.Errorf("%s tables were created uninvited", tables)
	}
	if log := e.Output(); strings.Count(log, "is missing or of another form") != 1 {
		t.Errorf("the log does not say once what to do:\n%s", log)
	}
	execute(t, db, "CREATE TABLE nowhere (id text PRIMARY KEY, checked_at timestamptz NOT NULL)", "GRANT SELECT, INSERT, UPDATE, DELETE ON closed TO monitor")
	harness.Freshen()
	e.health().want(t, "ok", 200, "uninvited ok", "missing ok", "denied ok")
}

// A slow write is seen as one, and only the write is.
func TestHealthSlowWrite(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{
		"CREATE TABLE alfred_health_check (id text PRIMARY KEY, checked_at timestamptz NOT NULL)",
		"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.2); RETURN new; END'",
		"CREATE TRIGGER slow BEFORE INSERT ON alfred_health_check FOR EACH ROW EXECUTE FUNCTION slow()"}})
	p := forDatabase(t, db.DSN("postgres"), "--health.write").Scrape("10")
	for operation, below := range map[string]float64{"connect": 1, "ping": 1, "read": 1, "write": 0} {
		series := fmt.Sprintf(`db_query_duration_seconds_bucket{database="postgres",operation="%s",service="postgres",le=`, operation)
		p.Want(t, series+`"1"}`, below)
		p.Want(t, series+`"2.5"}`, 1)
	}
}

// dependent is a service whose state the test sets.
type dependent struct {
	*httptest.Server
	status atomic.Int32 // 0: it hangs
	asked  atomic.Int32
}

func newDependent(t *testing.T, status int32, serve func(*httptest.Server)) *dependent {
	d := &dependent{}
	d.status.Store(status)
	d.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.asked.Add(1)
		status := int(d.status.Load())
		switch {
		case status == 0:
			<-r.Context().Done()
		case r.Header.Get("Authorization") != "Bearer canary-token" || r.Header.Get("Apikey") != "canary-key":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(status)
		}
	}))
	serve(d.Server)
	t.Cleanup(d.Close)
	return d
}

// entry is the dependent's line in the configuration.
func (d *dependent) entry(name string) string {
	return fmt.Sprintf("- {name: %s, url: '%s/ready?key=canary-query', interval: 1s, bearer: {env: TOKEN}, headers: {apikey: canary-key}}\n", name, d.URL)
}

// The services before a database are watched beside it: the worst decides, one that hangs delays no scrape, and a
// reload takes them on and off.
func TestHealthDependents(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	api, studio := newDependent(t, 200, (*httptest.Server).Start), newDependent(t, 200, (*httptest.Server).StartTLS)
	authority := harness.File(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: studio.Certificate().Raw})))
	config := filepath.Join(t.TempDir(), "c.yml")
	configure := func(entries ...string) {
		text := fmt.Sprintf("targets: [{service: db, dsn: '%s'}]\ndependents:\n%s", db.DSN("postgres"), strings.Join(entries, ""))
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure(api.entry("db-api"), studio.entry("db-admin"))
	e := start(t, []string{"TOKEN=canary-token", "SSL_CERT_FILE=" + authority}, "--config.file="+config)
	e.health().want(t, "ok", 200, "db ok", "db-api ok", "db-admin ok")
	p := e.Scrape("10")
	p.Want(t, `service_health{service="db-api"}`, 1)
	p.Want(t, `service_health{service="db-admin"}`, 1)
	if took, ok := p.Value(`service_health_probe_duration_seconds{service="db-api"}`); !ok || took <= 0 || took > 3 {
		t.Errorf("a look took %v s", took)
	}

	api.status.Store(503)
	harness.Eventually(t, 5*time.Second, "db-api is down", func() error {
		if h := e.health(); h.Services["db-api"] != "error" {
			return fmt.Errorf("%+v", h)
		}
		return nil
	})
	e.health().want(t, "error", 503, "db ok", "db-api error busy", "db-admin ok")
	e.Scrape("10").Want(t, `service_health_failure_info{reason="busy",service="db-api"}`, 1)

	t.Run("hangs", func(t *testing.T) {
		studio.status.Store(0)
		for range 3 {
			harness.Freshen()
			if p := e.Scrape("10"); p.Took > 500*time.Millisecond {
				t.Errorf("a scrape took %s", p.Took)
			}
			if h := e.health(); h.Took > 500*time.Millisecond {
				t.Errorf("/health took %s", h.Took)
			}
		}
		harness.Eventually(t, 5*time.Second, "the hanging dependent is down", func() error {
			if _, there := e.Scrape("10").Value(`service_health_failure_info{reason="timeout",service="db-admin"}`); !there {
				return fmt.Errorf("%+v", e.health())
			}
			return nil
		})
		studio.status.Store(200)
	})
	t.Run("reload", func(t *testing.T) {
		api.status.Store(200)
		third := newDependent(t, 200, (*httptest.Server).Start)
		configure(api.entry("db-api"), third.entry("db-realtime"))
		if answer, err := http.Post(e.URL+"/-/reload", "", nil); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", answer, err)
		}
		harness.Eventually(t, 5*time.Second, "all are up", func() error {
			if h := e.health(); h.Status != "ok" {
				return fmt.Errorf("%+v", h)
			}
			return nil
		})
		e.health().want(t, "ok", 200, "db ok", "db-api ok", "db-realtime ok")
		asked := studio.asked.Load()
		time.Sleep(1500 * time.Millisecond)
		if studio.asked.Load() != asked {
			t.Error("a dependent that was taken off is still asked")
		}
		if _, there := e.Scrape("10").Value(`service_health{service="db-admin"}`); there {
			t.Error("a dependent that was taken off is still on the page")
		}
	})
	if all := e.Output() + e.Get("/metrics").Body + e.Get("/health").Body + e.Get("/").Body; strings.Contains(all, "canary") {
		t.Error("a secret shows")
	}
}

// The very first /health waits for a dependent no longer than it may.
func TestHealthDependentHangsFromTheStart(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	hangs := newDependent(t, 0, (*httptest.Server).Start)
	e := start(t, nil, "--config.file="+harness.File(t, "c.yml", fmt.Sprintf(
		"targets: [{service: db, dsn: '%s'}]\ndependents: [{name: slow, url: '%s', timeout: 10s}]\n", db.DSN("postgres"), hangs.URL)))
	p := e.Scrape("10")
	p.Want(t, `service_health{service="db"}`, 1)
	if _, there := p.Value(`service_health{service="slow"}`); there || p.Took > time.Second {
		t.Errorf("before the first answer: on the page: %v, after %s", there, p.Took)
	}
	h := e.health()
	h.want(t, "error", 503, "db ok", "slow error timeout")
	if h.Took < 2*time.Second || h.Took > 4*time.Second {
		t.Errorf("/health took %s", h.Took)
	}
}

func TestHealthConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	const target = "targets: [{service: db, dsn: 'host=127.0.0.1 port=1 user=u dbname=d'%s}]\n%s"
	for name, test := range map[string]struct {
		health, dependents string
		want               string
	}{
		"good":          {", health: {write: true}", "dependents: [{name: a, url: 'http://a/', body: ok}]", ""},
		"table":         {", health: {write: true, table: 'a; DROP TABLE b'}", "", "target db: health: table must be a name"},
		"unknown key":   {", health: {write: true, tabel: a}", "", `line 1: unknown key "tabel"`},
		"scheme":        {"", "dependents: [{name: a, url: 'file:///etc/passwd'}]", "dependents: a: url must look like"},
		"pattern":       {"", "dependents:\n- name: a\n  url: 'http://a/'\n  body: '('", "line 5: this must be a regular expression"},
		"twice":         {"", "dependents: [{name: a, url: 'http://a/'}, {name: a, url: 'http://b/'}]", `the name "a" is that of another service`},
		"as the target": {"", "dependents: [{name: db, url: 'http://a/'}]", `the name "db" is that of another service`},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, nil, "check-config", "--config.file="+harness.File(t, "c.yml", fmt.Sprintf(target, test.health, test.dependents)))
			if (code == 0) != (test.want == "") || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") > 1 {
				t.Errorf("code %d: %s%s", code, stdout, stderr)
			}
		})
	}
}
