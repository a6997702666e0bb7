package postgres

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

const (
	acceptText        = "text/plain;version=0.0.4"
	acceptOpenMetrics = "application/openmetrics-text;version=1.0.0"
	acceptProtobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

// names gives the sorted names of a text page's series, without those that only OpenMetrics has.
func names(text string) []string {
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if name, _, _ := strings.Cut(line, "{"); !strings.HasPrefix(line, "#") {
			name, _, _ = strings.Cut(name, " ")
			if !strings.HasSuffix(name, "_created") {
				seen[strings.TrimSpace(name)] = true
			}
		}
	}
	var sorted []string
	for name := range seen {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

// A series has the same name in every format, also a counter without _total, and counters say since when they count
// where the server tells.
func TestFormats(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	execute(t, db, "SELECT pg_stat_reset_shared('bgwriter')", "SELECT pg_stat_reset()")
	e := forDatabase(t, db.DSN("postgres"))
	e.Scrape("10")
	harness.Freshen()
	text, open, proto := e.Get("/metrics", "Accept", acceptText), e.Get("/metrics", "Accept", acceptOpenMetrics), e.Get("/metrics", "Accept", acceptProtobuf)
	for _, p := range []page{text, open, proto} {
		if p.Code != 200 {
			t.Fatalf("code %d", p.Code)
		}
	}
	if !strings.HasPrefix(text.Header.Get("Content-Type"), "text/plain; version=0.0.4") || !strings.HasPrefix(open.Header.Get("Content-Type"), "application/openmetrics-text; version=1.0.0") {
		t.Errorf("types: %q, %q", text.Header.Get("Content-Type"), open.Header.Get("Content-Type"))
	}
	if !strings.HasSuffix(open.Body, "# EOF\n") {
		t.Error("the OpenMetrics page has no end")
	}
	inText, inOpen := names(text.Body), names(open.Body)
	if !slices.Equal(inText, inOpen) {
		t.Errorf("names differ between text and OpenMetrics")
	}
	if !slices.Contains(inOpen, "pg_stat_database_xact_commit") || !strings.Contains(open.Body, "# TYPE pg_stat_database_xact_commit unknown\n") {
		t.Error("an established counter without _total lost its name or type in OpenMetrics")
	}
	if !strings.Contains(open.Body, "\npg_stat_bgwriter_buffers_clean_created ") {
		t.Error("a counter whose reset the server tells has no created timestamp in OpenMetrics")
	}
	families := decode(t, proto)
	commits := families["pg_stat_database_xact_commit"]
	if commits == nil || commits.GetType() != dto.MetricType_COUNTER {
		t.Errorf("pg_stat_database_xact_commit in protobuf: %v", commits)
	}
	if m := families["pg_stat_bgwriter_buffers_clean_total"].GetMetric(); len(m) != 1 || time.Since(m[0].GetCounter().GetCreatedTimestamp().AsTime()) > time.Minute {
		t.Errorf("created timestamp in protobuf: %v", m)
	}
}

func decode(t *testing.T, p page) map[string]*dto.MetricFamily {
	t.Helper()
	decoder, families := expfmt.NewDecoder(strings.NewReader(p.Body), expfmt.ResponseFormat(p.Header)), map[string]*dto.MetricFamily{}
	for {
		family := &dto.MetricFamily{}
		if err := decoder.Decode(family); errors.Is(err, io.EOF) {
			return families
		} else if err != nil {
			t.Fatal(err)
		}
		families[family.GetName()] = family
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	e := forDatabase(t, db.DSN("postgres"))
	plain := e.Get("/metrics")
	for accept, want := range map[string]string{"gzip": "gzip", "zstd": "zstd", "gzip, zstd": "gzip", "zstd;q=1, gzip;q=0.5": "zstd", "br": "", "gzip;q=0": "", "identity": ""} {
		p := e.Get("/metrics", "Accept-Encoding", accept)
		if got := p.Header.Get("Content-Encoding"); got != want {
			t.Errorf("%q is answered with %q, want %q", accept, got, want)
		}
		body := []byte(p.Body)
		switch want {
		case "gzip":
			r, err := gzip.NewReader(bytes.NewReader(body))
			if err == nil {
				body, err = io.ReadAll(r)
			}
			if err != nil {
				t.Errorf("%s: %v", accept, err)
			}
		case "zstd":
			r, err := zstd.NewReader(bytes.NewReader(body))
			if err == nil {
				body, err = io.ReadAll(r)
			}
			if err != nil {
				t.Errorf("%s: %v", accept, err)
			}
		}
		if !slices.Equal(names(string(body)), names(plain.Body)) {
			t.Errorf("%q gives another page", accept)
		}
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	e := forDatabase(t, db.DSN("postgres"))
	for path, want := range map[string]int{
		"/": 200, "/metrics": 200, "/health": 200, "/healthz": 200, "/-/healthy": 200, "/-/ready": 200,
		"/-/reload": 405, "/probe?target=127.0.0.1": 403, "/debug/pprof/": 404, "/config": 404, "/nowhere": 404,
	} {
		if p := e.Get(path); p.Code != want {
			t.Errorf("GET %s answers %d, want %d: %s", path, p.Code, want, p.Body)
		}
	}
	var health struct {
		Status   string            `json:"status"`
		Version  string            `json:"version"`
		Services map[string]string `json:"services"`
	}
	if err := json.Unmarshal([]byte(e.Get("/health").Body), &health); err != nil || health.Status != "ok" || health.Version == "" || health.Services["postgres"] != "ok" {
		t.Errorf("/health: %+v, %v", health, err)
	}
	if body := e.Get("/healthz").Body; body != `{"status":"ok"}`+"\n" {
		t.Errorf("/healthz: %s", body)
	}
	landing := e.Get("/")
	for _, want := range []string{"PostgreSQL exporter", `href="/metrics"`, `href="/health"`, "stat_database", db.Addr() + "/postgres"} {
		if !strings.Contains(landing.Body, want) {
			t.Errorf("the landing page lacks %q", want)
		}
	}
	if policy := landing.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || landing.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers of the landing page: %v", landing.Header)
	}
}

// What a user configures is shown as text, whatever it holds.
func TestLandingPageEscapes(t *testing.T) {
	t.Parallel()
	e := start(t, nil, "--config.file="+harness.File(t, "c.yml", "targets:\n- {service: '<script>alert(1)</script>', dsn: 'host=127.0.0.1 port=1 user=u dbname=''<img>'''}\n"))
	if body := e.Get("/").Body; strings.Contains(body, "<script>") || strings.Contains(body, "<img>") || !strings.Contains(body, "&lt;script&gt;") {
		t.Error("the landing page holds markup of the configuration")
	}
}

func TestHealthcheckCommand(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	e := forDatabase(t, db.DSN("postgres"))
	if code, stdout, stderr := run(t, nil, "healthcheck", "--url", e.URL+"/health"); code != 0 || !strings.Contains(stdout, `"status":"ok"`) {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	if err := db.Stop(); err != nil {
		t.Fatal(err)
	}
	harness.Freshen()
	if code, stdout, _ := run(t, nil, "healthcheck", "--http", e.URL+"/health"); code != 1 || !strings.Contains(stdout, `"postgres":"error"`) {
		t.Errorf("code %d: %s", code, stdout)
	}
	if code, _, stderr := run(t, nil, "healthcheck", "--url", "http://127.0.0.1:1/health"); code != 1 || !strings.Contains(stderr, "connection refused") {
		t.Errorf("code %d: %s", code, stderr)
	}
}

func TestScrapeCommand(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	code, stdout, stderr := run(t, []string{"DATA_SOURCE_NAME=" + db.DSN("postgres")}, "scrape", "--once")
	if code != 0 || !strings.Contains(stdout, "\npg_up 1\n") || !strings.Contains(stdout, "\npg_stat_database_xact_commit{") {
		t.Errorf("code %d: %s", code, stderr)
	}
	code, stdout, _ = run(t, []string{"DATA_SOURCE_NAME=host=127.0.0.1 port=1 user=u dbname=d"}, "scrape", "--once")
	if code != 1 || !strings.Contains(stdout, "\npg_up 0\n") {
		t.Errorf("code %d: %s", code, stdout)
	}
}

// Doctor names what a role lacks and the command that mends it, which then does.
func TestDoctor(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{"CREATE ROLE weak LOGIN PASSWORD 'weak'", "CREATE EXTENSION pg_stat_statements"}, Settings: map[string]string{"track_io_timing": "on"}})
	env := []string{fmt.Sprintf("DATA_SOURCE_NAME=postgresql://weak:weak@%s/postgres?sslmode=disable", db.Addr())}
	code, stdout, stderr := run(t, env, "doctor")
	if code != 1 || !strings.Contains(stdout, "mend: GRANT pg_monitor TO weak;") {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	execute(t, db, "GRANT pg_monitor TO weak")
	if code, stdout, stderr = run(t, env, "doctor"); code != 0 || !strings.Contains(stdout, "nothing is missing") {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
}

// TLS, basic auth and several addresses are those of exporter-toolkit's web configuration.
func TestWebConfig(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{TLS: true})
	dir := filepath.Join(db.DataDir(), "..", "tls")
	certificate, key := firstMatch(t, dir, "server*.crt", "server*.pem"), firstMatch(t, dir, "server*.key")
	config := fmt.Sprintf("tls_server_config: {cert_file: %s, key_file: %s}\nbasic_auth_users: {prometheus: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi}\n", certificate, key)
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	process, err := servers.StartProcess(servers.ProcessOptions{Path: harness.Binary(t, exporterName), Dir: t.TempDir(), Env: []string{"DATA_SOURCE_NAME=" + db.DSN("postgres")},
		Args: []string{"--web.listen-address=" + address, "--web.config.file=" + harness.File(t, "web.yml", config)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Stop() })
	authority, err := os.ReadFile(db.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	ask := func(user, password string) (int, error) {
		request, _ := http.NewRequest(http.MethodGet, "https://"+address+"/healthz", nil)
		if user != "" {
			request.SetBasicAuth(user, password)
		}
		answer, err := client.Do(request)
		if err != nil {
			return 0, fmt.Errorf("%w\n%s", err, process.Output())
		}
		return answer.StatusCode, answer.Body.Close()
	}
	harness.Eventually(t, 10*time.Second, "HTTPS answers", func() error { _, err := ask("", ""); return err })
	for credentials, want := range map[[2]string]int{{"", ""}: 401, {"prometheus", "wrong"}: 401, {"prometheus", "fakepassword"}: 200} {
		if code, err := ask(credentials[0], credentials[1]); err != nil || code != want {
			t.Errorf("%v: %d, %v; want %d", credentials, code, err, want)
		}
	}
}

func firstMatch(t *testing.T, dir string, patterns ...string) string {
	t.Helper()
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatalf("no %v in %s", patterns, dir)
	return ""
}

// The exporter takes the socket that systemd hands over.
func TestSystemdSocket(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" --web.systemd-socket`, harness.Binary(t, exporterName))
	command.Dir, command.Env = t.TempDir(), []string{"DATA_SOURCE_NAME=host=127.0.0.1 port=1 user=u dbname=d"}
	command.ExtraFiles = []*os.File{socket}
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	address := listener.Addr().String()
	_, _ = listener.Close(), socket.Close()
	harness.Eventually(t, 10*time.Second, "the handed socket answers", func() error {
		client := http.Client{Timeout: time.Second}
		answer, err := client.Get("http://" + address + "/healthz")
		if err != nil {
			return err
		}
		return answer.Body.Close()
	})
}

// A reload takes over what is good, keeps what is not changed, and leaves everything when the file is faulty.
func TestReload(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	config := filepath.Join(t.TempDir(), "c.yml")
	write := func(text string) {
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(fmt.Sprintf("targets:\n- {service: one, dsn: '%s'}\n", db.DSN("postgres")))
	e := start(t, nil, "--config.file="+config)
	e.Scrape("10").Want(t, "pg_up", 1)
	reload := func() int {
		answer, err := http.Post(e.URL+"/-/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	write("targets:\n- {service: one, frob: 1}\n")
	if code := reload(); code != 500 {
		t.Errorf("a faulty configuration was reloaded: %d", code)
	}
	harness.Freshen()
	p := e.Scrape("10")
	p.Want(t, "pg_up", 1)
	p.Want(t, "postgres_exporter_config_last_reload_successful", 0)
	write(fmt.Sprintf("targets:\n- {service: one, dsn: '%s'}\n- {service: two, dsn: '%s'}\n", db.DSN("postgres"), db.DSN("template1")))
	if err := e.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 5*time.Second, "the second target is there", func() error {
		p = e.Scrape("10")
		if _, ok := p.Value(`service_health{service="two",target="` + db.Addr() + `/template1"}`); !ok {
			return fmt.Errorf("only: %v", names(p.Body)[:3])
		}
		return nil
	})
	p.Want(t, "postgres_exporter_config_last_reload_successful", 1)
	p.Want(t, `pg_up{target="`+db.Addr()+`/postgres"}`, 1)
	p.Want(t, `pg_up{target="`+db.Addr()+`/template1"}`, 1)
}

// SIGTERM ends the exporter when the scrape under way is answered.
func TestShutdownFinishesScrapes(t *testing.T) {
	t.Parallel()
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	far := proxy.New(t, db.Addr())
	e := forDatabase(t, through(db, far))
	e.Scrape("10")
	harness.Freshen()
	far.SetDelay(400 * time.Millisecond)
	answered := make(chan page, 1)
	go func() { p, _ := e.Try(context.Background(), "/metrics"); answered <- p }()
	time.Sleep(200 * time.Millisecond)
	if err := e.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p := <-answered
	p.Want(t, "pg_up", 1)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := e.Wait(ctx); err != nil {
		t.Errorf("the exporter ended with %v\n%s", err, e.Output())
	}
}

// Old names are served beside the new ones where that is wanted, and constant labels are on every series.
func TestCompatibility(t *testing.T) {
	t.Parallel()
	for _, major := range []int{15, 17} {
		db := servers.NewPostgres(t, servers.PostgresOptions{Major: major, Initial: []string{"SELECT pg_create_physical_replication_slot('s')"}})
		p := forDatabase(t, db.DSN("postgres"), "--compat.legacy-names", "--constantLabels=region=north").Scrape("10")
		p.Want(t, `pg_up{region="north"}`, 1)
		p.Want(t, `pg_replication_slot_slot_is_active{region="north",slot_name="s",slot_type="physical"}`, 0)
		now := "pg_stat_bgwriter_checkpoints_timed_total"
		if major >= 17 {
			now = "pg_stat_checkpointer_num_timed_total"
		}
		for name, old := range map[string]string{now: "pg_stat_bgwriter_checkpoints_timed", "pg_replication_lag_seconds": "pg_replication_lag"} {
			value, known := p.Value(name + `{region="north"}`)
			if !known {
				t.Errorf("%s is not on the page", name)
			}
			p.Want(t, old+`{region="north"}`, value)
		}
	}
}

// Which statements are shown, and whether with their texts, is told by flags. A text with a password is not shown.
func TestStatementOptions(t *testing.T) {
	t.Parallel()
	for _, major := range []int{13, 18} {
		db := servers.NewPostgres(t, servers.PostgresOptions{Major: major, Initial: []string{
			"CREATE EXTENSION pg_stat_statements", "CREATE ROLE other SUPERUSER LOGIN PASSWORD 'hunter2'", "SELECT count(*) FROM pg_class"}})
		args := []string{"--collector.stat_statements", "--collector.stat_statements.include_query", "--collector.stat_statements.query_length=30", "--collector.stat_statements.exclude_users=o'clock,nobody"}
		p := forDatabase(t, db.DSN("postgres"), args...).Scrape("10")
		if failing := p.Failing("pg"); len(failing) > 0 {
			t.Errorf("collectors fail: %v", failing)
		}
		if !strings.Contains(p.Body, `pg_stat_statements_query_id{query="CREATE EXTENSION pg_stat_state",`) {
			t.Errorf("the text of a statement is not on the page: %s", grep(p.Body, "query_id"))
		}
		if strings.Contains(p.Body, "hunter2") || !strings.Contains(p.Body, `query="(not shown: it speaks of a password)"`) {
			t.Error("a password is on the page")
		}
		p = forDatabase(t, db.DSN("postgres"), "--collector.stat_statements", "--collector.stat_statements.exclude_users=postgres", "--collector.stat_statements.limit=3").Scrape("10")
		if found := grep(p.Body, "pg_stat_statements_calls_total{"); strings.Contains(found, `user="postgres"`) {
			t.Errorf("statements of an excluded user are on the page: %s", found)
		}
	}
}

// grep gives the lines that hold a text.
func grep(text, what string) string {
	var found strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			found.WriteString(line)
		}
	}
	return found.String()
}
