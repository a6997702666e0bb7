package postgres

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// canary is a password with every character that makes a careless program show it.
const canary = `c%4n'a r\y@:/?#&="x,`

// shows tells in which writing a text holds the canary.
func shows(text string) string {
	const core = `c%4n'a r\y` // what must not stand there even where the rest was cut off
	for _, writing := range []string{core, url.QueryEscape(canary), url.PathEscape(canary), url.UserPassword("", canary).String()[1:],
		base64.StdEncoding.EncodeToString([]byte(canary)), fmt.Sprintf("%q", core), `c%254n`} {
		if strings.Contains(text, writing) {
			return writing
		}
	}
	return ""
}

// wantSilent visits everything that an exporter shows and looks for the canary.
func (e *exporter) wantSilent() {
	e.T.Helper()
	for where, text := range e.Everything("/", "/metrics", "/health", "/probe?target=x", "/config", "/nowhere", "/debug/pprof/cmdline") {
		if found := shows(text); found != "" {
			e.T.Errorf("%s shows the password as %q", where, found)
		}
	}
}

// A password works in each of the ways to give it, and never shows, whether it is right, wrong or useless.
func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{
		"CREATE ROLE monitor LOGIN PASSWORD '" + strings.ReplaceAll(canary, "'", "''") + "'", "GRANT pg_monitor TO monitor"}})
	port := fmt.Sprint(db.Port())
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(canary)
	passwordFile := harness.File(t, "password", canary+"\n")
	home := t.TempDir()
	escaped := strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(canary)
	if err := os.WriteFile(filepath.Join(home, ".pgpass"), []byte("127.0.0.1:"+port+":*:monitor:"+escaped+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	asURL := fmt.Sprintf("postgresql://%s@%s/postgres?sslmode=disable", url.UserPassword("monitor", canary), db.Addr())
	uri := "DATA_SOURCE_URI=" + db.Addr() + "/postgres?sslmode=disable"
	for name, given := range map[string]struct {
		env  []string
		args []string
	}{
		"URL":            {[]string{"DATA_SOURCE_NAME=" + asURL}, nil},
		"URL option":     {[]string{"DATA_SOURCE_NAME=postgresql://" + db.Addr() + "/postgres?sslmode=disable&user=monitor&password=" + strings.ReplaceAll(url.QueryEscape(canary), "+", "%20")}, nil},
		"keywords":       {[]string{"DATA_SOURCE_NAME=host=127.0.0.1 port=" + port + " user=monitor dbname=postgres sslmode=disable password='" + quoted + "'"}, nil},
		"parts":          {[]string{uri, "DATA_SOURCE_USER=monitor", "DATA_SOURCE_PASS=" + canary}, nil},
		"parts by file":  {[]string{uri, "DATA_SOURCE_USER_FILE=" + harness.File(t, "user", "monitor\n"), "DATA_SOURCE_PASS_FILE=" + passwordFile}, nil},
		"PG environment": {[]string{"PGHOST=127.0.0.1", "PGPORT=" + port, "PGUSER=monitor", "PGPASSWORD=" + canary, "PGDATABASE=postgres", "PGSSLMODE=disable"}, nil},
		"pgpass":         {[]string{"HOME=" + home, "DATA_SOURCE_NAME=host=127.0.0.1 port=" + port + " user=monitor dbname=postgres sslmode=disable"}, nil},
		"configuration":  {nil, []string{"--config.file=" + harness.File(t, "c.yml", fmt.Sprintf("targets:\n- {service: a, uri: '%s/postgres?sslmode=disable', user: monitor, password: {file: %s}}\n", db.Addr(), passwordFile))}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, given.env, append(given.args, "--log.level=debug")...)
			e.Scrape("10").Want(t, "pg_up", 1)
			e.wantSilent()
		})
	}
	for name, broken := range map[string]string{
		"refused":     fmt.Sprintf("postgresql://%s@%s/postgres?sslmode=disable", url.UserPassword("nobody", canary), db.Addr()),
		"unreachable": fmt.Sprintf("postgresql://%s@127.0.0.1:1/postgres", url.UserPassword("monitor", canary)),
		"no database": fmt.Sprintf("postgresql://%s@%s/nowhere?sslmode=disable", url.UserPassword("monitor", canary), db.Addr()),
		"no TLS":      fmt.Sprintf("postgresql://%s@%s/postgres?sslmode=require", url.UserPassword("monitor", canary), db.Addr()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := forDatabase(t, broken, "--log.level=debug")
			e.Scrape("2").Want(t, "pg_up", 0)
			e.wantSilent()
		})
	}
}

// The reason of a refusal is told, and a server that refuses a role is not asked more than a few times.
func TestRefusals(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{"CREATE ROLE monitor LOGIN PASSWORD 'right'"}})
	for name, test := range map[string]struct{ dsn, reason string }{
		"wrong password": {fmt.Sprintf("postgresql://monitor:wrong@%s/postgres?sslmode=disable", db.Addr()), "auth"},
		"no such role":   {fmt.Sprintf("postgresql://nobody:x@%s/postgres?sslmode=disable", db.Addr()), "auth"},
		"no database":    {fmt.Sprintf("postgresql://monitor:right@%s/nowhere?sslmode=disable", db.Addr()), "config"},
		"no TLS":         {fmt.Sprintf("postgresql://monitor:right@%s/postgres?sslmode=require", db.Addr()), "config"},
		"no server":      {"postgresql://monitor:right@127.0.0.1:1/postgres", "unreachable"},
		"no such host":   {"postgresql://monitor:right@nowhere.invalid/postgres", "unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			e := forDatabase(t, test.dsn)
			p := e.Scrape("5")
			p.Want(t, "pg_up", 0)
			p.Want(t, `pg_exporter_failure_info{reason="`+test.reason+`"}`, 1)
		})
	}
	e := forDatabase(t, fmt.Sprintf("postgresql://monitor:guess@%s/postgres?sslmode=disable", db.Addr()))
	for range 12 {
		e.Scrape("5").Want(t, "pg_up", 0)
		harness.Freshen()
	}
	p := e.Scrape("5")
	p.Want(t, `pg_exporter_failure_info{reason="auth"}`, 1)
	p.Want(t, "pg_exporter_connections_total", 3)
}

// A password that was rotated on disk is used at the next connect, without a restart.
func TestPasswordRotated(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{"CREATE ROLE monitor LOGIN PASSWORD 'old'"}})
	passwordFile := harness.File(t, "password", "old")
	e := start(t, []string{"DATA_SOURCE_URI=" + db.Addr() + "/postgres?sslmode=disable", "DATA_SOURCE_USER=monitor", "DATA_SOURCE_PASS_FILE=" + passwordFile})
	e.Scrape("5").Want(t, "pg_up", 1)
	execute(t, db, "ALTER ROLE monitor PASSWORD 'new'")
	if err := os.WriteFile(passwordFile, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	execute(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'postgres-exporter'`)
	harness.Freshen()
	e.Scrape("5").Want(t, "pg_up", 1)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{TLS: true})
	for name, test := range map[string]struct {
		host, options string
		up            float64
		reason        string
	}{
		"verified":     {"localhost", "sslmode=verify-full&sslrootcert=" + db.CAFile(), 1, ""},
		"wrong name":   {"127.0.0.2", "sslmode=verify-full&sslrootcert=" + db.CAFile(), 0, "auth"},
		"unknown CA":   {"localhost", "sslmode=verify-full", 0, "auth"},
		"not verified": {"127.0.0.1", "sslmode=require", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			host := test.host
			if host == "127.0.0.2" { // another name for the same server, by a forwarder
				host = forward(t, "127.0.0.2:0", db.Addr())
			} else {
				host = fmt.Sprintf("%s:%d", host, db.Port())
			}
			e := forDatabase(t, fmt.Sprintf("postgresql://postgres:%s@%s/postgres?%s", db.Password(), host, test.options))
			p := e.Scrape("5")
			p.Want(t, "pg_up", test.up)
			if test.reason != "" {
				p.Want(t, `pg_exporter_failure_info{reason="`+test.reason+`"}`, 1)
			}
		})
	}
}

// forward listens on an address and passes connections on.
func forward(t *testing.T, listen, to string) string {
	t.Helper()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			onward, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				continue
			}
			go func() { _, _ = io.Copy(onward, from); onward.Close() }()
			go func() { _, _ = io.Copy(from, onward); from.Close() }()
		}
	}()
	return listener.Addr().String()
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	e := forDatabase(t, fmt.Sprintf("host=%s port=%d user=postgres password=%s dbname=postgres", db.SocketDir(), db.Port(), db.Password()))
	e.Scrape("5").Want(t, "pg_up", 1)
}

// A stranger's server gets no byte, and no credentials, unless the configuration names it.
func TestProbeAllowsOnlyWhatIsConfigured(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	rogue, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rogue.Close() })
	var visits atomic.Int32
	go func() {
		for {
			visitor, err := rogue.Accept()
			if err != nil {
				return
			}
			visits.Add(1)
			visitor.Close()
		}
	}()
	config := fmt.Sprintf(`
auth_modules:
  fleet:
    type: userpass
    userpass: {username: postgres, password: %q}
    options: {sslmode: disable}
    targets: ["%s", "169.254.169.254", "localhost:%d"]
  closed:
    type: userpass
    userpass: {username: postgres, password: x}
`, db.Password(), db.Addr(), db.Port())
	e := start(t, nil, "--config.file="+harness.File(t, "c.yml", config))
	for query, want := range map[string]int{
		"target=" + db.Addr() + "&auth_module=fleet":                                                   200,
		"target=postgresql://" + db.Addr() + "/postgres&auth_module=fleet":                             200,
		"target=" + rogue.Addr().String() + "&auth_module=fleet":                                       403,
		"target=" + db.Addr() + "&auth_module=closed":                                                  403,
		"target=" + db.Addr() + "&auth_module=nowhere":                                                 400,
		"target=" + db.Addr():                                                                          400,
		"auth_module=fleet":                                                                            400,
		"target=" + url.QueryEscape("u:p@"+db.Addr()) + "&auth_module=fleet":                           400,
		"target=" + url.QueryEscape(db.Addr()+"/postgres?sslmode=x") + "&auth_module=fleet":            400,
		"target=" + url.QueryEscape(db.Addr()+"/a host="+rogue.Addr().String()) + "&auth_module=fleet": 400,
		"target=" + url.QueryEscape(db.Addr()+","+rogue.Addr().String()) + "&auth_module=fleet":        400,
		"target=" + url.QueryEscape("/tmp/.s.PGSQL.5432") + "&auth_module=fleet":                       400,
	} {
		if p := e.Get("/probe?"+query, "X-Prometheus-Scrape-Timeout-Seconds", "3"); p.Code != want {
			t.Errorf("/probe?%s answers %d, want %d: %.200s", query, p.Code, want, p.Body)
		} else if want == 200 {
			p.Want(t, "pg_up", 1)
			if _, ok := p.Value("go_goroutines"); ok {
				t.Error("/probe shows the exporter's own process")
			}
		}
	}
	metadata := e.Get("/probe?target=169.254.169.254&auth_module=fleet", "X-Prometheus-Scrape-Timeout-Seconds", "3")
	metadata.Want(t, "pg_up", 0)
	metadata.Want(t, `pg_exporter_failure_info{reason="denied"}`, 1)
	if n := visits.Load(); n != 0 {
		t.Errorf("the stranger's server was visited %d times", n)
	}
	if strings.Contains(e.Output(), db.Password()) {
		t.Error("the log shows the password")
	}
}

// Names that are no UTF-8 are repaired and counted; the page comes, and the process lives.
func TestNamesThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{Encoding: "SQL_ASCII"})
	execute(t, db, `DO $$ BEGIN EXECUTE 'CREATE TABLE '||quote_ident(convert_from('\x636166e9','SQL_ASCII'))||' (a int)'; END $$`)
	e := forDatabase(t, db.DSN("postgres"))
	p := e.Scrape("10")
	p.Want(t, "pg_up", 1)
	p.Want(t, `pg_stat_user_tables_n_tup_ins{datname="postgres",relname="caf�",schemaname="public"}`, 0)
	if n, _ := p.Value("pg_exporter_repaired_labels_total"); n == 0 {
		t.Error("the repair was not counted")
	}
	if failing := p.Failing("pg"); len(failing) > 0 {
		t.Errorf("collectors fail: %v", failing)
	}
}

// With 200 tables of three indexes each, as many series as a real database has, the process stays small.
func TestResidentMemory(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{`DO $$ BEGIN FOR i IN 1..200 LOOP
		EXECUTE format('CREATE TABLE t%s (a int PRIMARY KEY, b int, c int); CREATE INDEX ON t%s (b); CREATE INDEX ON t%s (c)', i, i, i); END LOOP; END $$`}})
	e := forDatabase(t, db.DSN("postgres"))
	var p page
	for range 20 {
		p = e.Get("/metrics", "Accept", acceptOpenMetrics, "Accept-Encoding", "gzip")
		time.Sleep(510 * time.Millisecond)
	}
	rss, err := e.RSS()
	if err != nil {
		t.Fatal(err)
	}
	plain := e.Get("/metrics")
	series := strings.Count(plain.Body, "\n") - strings.Count(plain.Body, "\n#")
	t.Logf("%d series, %d bytes compressed: %.1f MB resident after 20 scrapes", series, len(p.Body), float64(rss)/1e6)
	if rss > 25e6 {
		t.Errorf("%.1f MB resident, want under 25 MB", float64(rss)/1e6)
	}
	if series < 5000 {
		t.Errorf("only %d series", series)
	}
}

// However many callers come, a target has two connections at most.
func TestConnectionsAreCapped(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	e := forDatabase(t, db.DSN("postgres"))
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	for range 8 {
		go func() {
			for ctx.Err() == nil {
				_, _ = e.Try(ctx, "/metrics")
			}
		}()
	}
	for ctx.Err() == nil {
		if n := query(t, db, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'postgres-exporter'`); n != "0" && n != "1" && n != "2" {
			t.Fatalf("%s connections", n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A replica's settings hold the password of its primary, in primary_conninfo: it is on no page.
func TestReplicaKeepsItsPrimarysPassword(t *testing.T) {
	t.Parallel()
	primary := servers.NewPostgres(t, servers.PostgresOptions{})
	replica := primary.NewReplica(t)
	if told := query(t, replica, "SHOW primary_conninfo"); !strings.Contains(told, "password") {
		t.Fatalf("this replica has no password to keep: %s", told)
	}
	e := forDatabase(t, replica.DSN("postgres"), "--log.level=debug")
	p := e.Scrape("10")
	p.Want(t, "pg_up", 1)
	p.Want(t, "pg_replication_is_replica", 1)
	for where, text := range map[string]string{"/metrics": p.Body, "/": e.Get("/").Body, "log": e.Output()} {
		if strings.Contains(text, primary.Password()) || strings.Contains(text, "password=") {
			t.Errorf("%s shows how the replica reaches its primary", where)
		}
	}
}
