package servers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// ask runs a query over TCP with the password, the way an exporter comes in.
func ask(ctx context.Context, p *Postgres, query string) (string, error) {
	connection, err := pgconn.Connect(ctx, p.DSN("postgres"))
	if err != nil {
		return "", err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	return firstValue(ctx, connection, query)
}

func want(t *testing.T, p *Postgres, query, answer string) {
	t.Helper()
	got, err := ask(t.Context(), p, query)
	if err != nil {
		t.Fatal(err)
	}
	if got != answer {
		t.Fatalf("%s: got %q, want %q", query, got, answer)
	}
}

// short is a context that ends before a frozen server can answer.
func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestPostgresEveryMajor(t *testing.T) {
	for _, major := range Majors() {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			p := NewPostgres(t, PostgresOptions{Major: major, Initial: []string{
				"CREATE EXTENSION pg_stat_statements; CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)"}})
			if p.Major() != major {
				t.Fatalf("version %s, want %d", p.Version(), major)
			}
			want(t, p, "SELECT split_part(current_setting('server_version'), ' ', 1)", p.Version())
			want(t, p, "SELECT count(*) > 0 FROM pg_stat_statements", "t")
			stopAndStart(t, p)
			pauseAndResume(t, p)
			replicate(t, p)
		})
	}
}

func stopAndStart(t *testing.T, p *Postgres) {
	port := p.Port()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t.Context(), p, "SELECT 1"); err == nil {
		t.Fatal("a stopped server answers")
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err == nil {
		t.Fatal("a second start is no error")
	}
	if p.Port() != port {
		t.Fatalf("port %d after the start, %d before", p.Port(), port)
	}
	want(t, p, "SELECT n FROM kept", "7")
}

func pauseAndResume(t *testing.T, p *Postgres) {
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(short(t), p, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a frozen server: %v", err)
	}
	p.Resume()
	want(t, p, "SELECT 1", "1")
}

func replicate(t *testing.T, p *Postgres) {
	replica := p.NewReplica(t)
	want(t, replica, "SELECT pg_is_in_recovery()", "t")
	if err := p.Exec(t.Context(), "postgres", "INSERT INTO kept VALUES (8)"); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if n, err := replica.Query(t.Context(), "postgres", "SELECT count(*) FROM kept"); err != nil || n == "2" {
			want(t, replica, "SELECT count(*) FROM kept", "2")
			want(t, p, "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'replica'", "1")
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the row did not reach the replica")
}

func TestPauseBackend(t *testing.T) {
	t.Parallel()
	p := NewPostgres(t, PostgresOptions{})
	connection, err := pgconn.Connect(t.Context(), p.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(context.WithoutCancel(t.Context()))
	pid := int(connection.PID())
	if err := p.PauseBackend(pid); err != nil {
		t.Fatal(err)
	}
	want(t, p, "SELECT 1", "1") // the others go on
	resumed := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() { resumed <- p.ResumeBackend(pid) })
	began := time.Now()
	if _, err := firstValue(t.Context(), connection, "SELECT 1"); err != nil || time.Since(began) < 50*time.Millisecond {
		t.Fatalf("a frozen backend answered after %v: %v", time.Since(began), err)
	}
	if err := <-resumed; err != nil { // the server's methods are for one caller at a time
		t.Fatal(err)
	}
	if err := p.PauseBackend(os.Getpid()); err == nil {
		t.Fatal("a process that is no backend was accepted")
	}
	if err := p.PauseBackend(pid); err != nil {
		t.Fatal(err)
	}
	if err := p.Restart(t.Context()); err != nil { // a frozen backend does not hold it up
		t.Fatal(err)
	}
}

func TestPostgresOptions(t *testing.T) {
	t.Parallel()
	p := NewPostgres(t, PostgresOptions{
		Encoding: "LATIN1",
		Settings: map[string]string{"work_mem": "5MB", "cluster_name": "it's"},
		HBA:      []string{"host all nobody all reject"},
		TLS:      true,
		Dir:      longDir(t),
		Initial:  []string{"CREATE ROLE nobody LOGIN PASSWORD 'x'"},
	})
	want(t, p, "SHOW server_encoding", "LATIN1")
	want(t, p, "SHOW work_mem", "5MB")
	want(t, p, "SHOW cluster_name", "it's")
	want(t, p, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "t")

	config, err := pgconn.ParseConfig(p.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	config.TLSConfig = &tls.Config{ServerName: "elsewhere.example", RootCAs: config.TLSConfig.RootCAs}
	if _, err := pgconn.ConnectConfig(t.Context(), config); err == nil {
		t.Fatal("the certificate is good for any host")
	}
	config, err = pgconn.ParseConfig(p.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	config.User = "nobody"
	if _, err := pgconn.ConnectConfig(t.Context(), config); err == nil || !strings.Contains(err.Error(), "pg_hba.conf rejects") {
		t.Fatalf("pg_hba.conf was not used: %v", err)
	}
	if err := p.process.until(short(t), func() bool { return strings.Contains(p.Log(), "pg_hba.conf rejects") }); err != nil {
		t.Fatalf("the log lacks the rejection: %v", err)
	}
}

// longDir is a folder that the server's account may not enter and whose path is too long for a Unix socket.
func longDir(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestCloneInClosedFolder runs a server whose programs lie where its account may not go.
func TestCloneInClosedFolder(t *testing.T) {
	const major = 17
	bin, err := PostgresBin(major)
	if err != nil {
		t.Fatal(err)
	}
	clone := longDir(t)
	copied := filepath.Join(clone, ".cache", "postgres", strconv.Itoa(major))
	if err := os.CopyFS(copied, os.DirFS(filepath.Dir(bin))); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(clone, "tools"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(clone, "tools", "ensure.sh"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(clone)
	p := NewPostgres(t, PostgresOptions{Major: major})
	want(t, p, "SELECT 1", "1")
}

func TestPostgresThatCannotStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir, Settings: map[string]string{"shared_buffers": "nonsense"}})
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Fatalf("the error does not tell the cause: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestMissing(t *testing.T) {
	for name, find := range map[string]func() (string, error){
		"postgres":   func() (string, error) { return PostgresBin(9) },
		"prometheus": func() (string, error) { return Tool("prometheus-of-the-future") },
	} {
		if _, err := find(); err == nil || !strings.HasSuffix(err.Error(), "run: tools/ensure.sh "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDiesWithItsStarter kills a process that has started a server, paused or not, and
// sees the server and its backends end.
func TestDiesWithItsStarter(t *testing.T) {
	if os.Getenv("SERVERS_TEST_STARTER") != "" {
		startAndHang(t, os.Getenv("SERVERS_TEST_STARTER"))
	}
	t.Parallel()
	for _, how := range []string{"running", "paused"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			starter := exec.Command(os.Args[0], "-test.run=^TestDiesWithItsStarter$")
			starter.Env = append(os.Environ(), "SERVERS_TEST_STARTER="+how, "SERVERS_TEST_DIR="+dir)
			output, err := starter.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := starter.Start(); err != nil {
				t.Fatal(err)
			}
			var pid int
			if _, err := fmt.Fscanf(output, "postmaster %d\n", &pid); err != nil {
				text, _ := io.ReadAll(output)
				t.Fatalf("%v: %s", err, text)
			}
			_ = starter.Process.Kill()
			_ = starter.Wait()
			for range 1000 {
				if syscall.Kill(pid, 0) != nil && len((&Postgres{process: orphan(pid)}).children()) == 0 {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Fatalf("postmaster %d outlived its starter", pid)
		})
	}
}

func startAndHang(t *testing.T, how string) {
	p, err := StartPostgres(t.Context(), PostgresOptions{Dir: os.Getenv("SERVERS_TEST_DIR")})
	if err != nil {
		t.Fatal(err)
	}
	if how == "paused" {
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("postmaster %d\n", p.Process().PID())
	select {}
}

// orphan is a process that somebody else started.
func orphan(pid int) *Process {
	return &Process{cmd: &exec.Cmd{Process: &os.Process{Pid: pid}}, done: make(chan struct{})}
}

func TestProcess(t *testing.T) {
	t.Setenv("SERVERS_TEST_STRAY", "x")
	p, err := StartProcess(ProcessOptions{
		Path: "/bin/sh",
		Args: []string{"-c", `echo "$GIVEN$SERVERS_TEST_STRAY"; while :; do sleep 0.02; done`},
		Env:  []string{"GIVEN=given"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.until(short(t), func() bool { return p.Output() == "given\n" }); err != nil {
		t.Fatal(err)
	}
	if rss, err := p.RSS(); err != nil || rss < 100_000 || rss > 100_000_000 {
		t.Fatalf("RSS %d: %v", rss, err)
	}
	if fds, err := p.FDs(); err != nil || fds < 3 {
		t.Fatalf("%d descriptors: %v", fds, err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err == nil || err.Error() != "signal: terminated" {
		t.Fatalf("ended with %v", err)
	}
	if err := p.Stop(); err != nil {
		t.Fatalf("a second stop: %v", err)
	}
	if _, err := StartProcess(ProcessOptions{Path: "/nonexistent"}); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestTailIsBounded(t *testing.T) {
	output := &tail{max: 10}
	for i := range 100 {
		fmt.Fprintf(output, "%d,", i)
		if len(output.text) > 2*output.max {
			t.Fatalf("%d bytes kept", len(output.text))
		}
	}
	if output.String() != "6,97,98,99,"[1:] {
		t.Fatalf("kept %q", output.String())
	}
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(t.TempDir(), "rules.yml")
	text := "groups: [{name: g, rules: [{record: scraped, expr: 'up{job=\"self\"} + 1'}]}]"
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := NewPrometheus(t, PrometheusOptions{
		Port:           port,
		Targets:        map[string][]string{"self": {fmt.Sprintf("127.0.0.1:%d", port)}, "none": {"127.0.0.1:1"}},
		ScrapeInterval: 100 * time.Millisecond,
		Rules:          []string{rules},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var samples []Sample
	if err := p.process.until(ctx, func() bool {
		samples, err = p.Query(ctx, "scraped")
		return err != nil || len(samples) == 1
	}); err != nil {
		t.Fatal(err)
	}
	if err != nil || samples[0].Value != 2 || samples[0].Labels["job"] != "self" || time.Since(samples[0].Time).Abs() > time.Minute {
		t.Fatalf("%v: %v", samples, err)
	}
	targets, err := p.Targets(ctx)
	if err != nil || len(targets) != 2 {
		t.Fatalf("%v: %v", targets, err)
	}
	for _, target := range targets {
		if target.Labels["job"] == "self" && target.Health != "up" {
			t.Fatalf("%+v", target)
		}
	}
	if one, err := p.Query(ctx, "1"); err != nil || len(one) != 1 || one[0].Value != 1 {
		t.Fatalf("%v: %v", one, err)
	}
	if _, err := p.Query(ctx, "sum("); err == nil || !strings.Contains(err.Error(), "parse error") {
		t.Fatalf("a wrong query: %v", err)
	}
}
