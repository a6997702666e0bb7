package docs

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// The example of the document is the example that is built, from its first line to its last.
func TestWritingAnExporterIsTheExample(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(root, "common/example/main.go"))
	if err != nil {
		t.Fatal(err)
	}
	rest := string(source)
	for _, b := range documentAt(t, "docs/writing-an-exporter.md").blocks {
		if b.language != "go" {
			continue
		}
		next, ok := strings.CutPrefix(rest, b.code)
		if !ok {
			t.Fatalf("docs/writing-an-exporter.md:%d: the block is not what comes next in common/example/main.go:\n%s", b.line, b.code)
		}
		rest = strings.TrimLeft(next, "\n")
	}
	if rest != "" {
		t.Errorf("docs/writing-an-exporter.md lacks the end of common/example/main.go:\n%s", rest)
	}
}

// What is shown of collectors stands in the catalogues word for word.
func TestWritingACollectorQuotesTheCatalogues(t *testing.T) {
	sources := map[string]string{}
	for _, pattern := range []string{"exporters/*/*.go", "common/*/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources[file] = unindented(string(text))
		}
	}
	quoted := 0
	for _, b := range documentAt(t, "docs/writing-a-collector.md").blocks {
		if b.language != "go" {
			continue
		}
		quoted++
		found := false
		for _, text := range sources {
			found = found || strings.Contains(text, unindented(b.code))
		}
		if !found {
			t.Errorf("docs/writing-a-collector.md:%d: no source has these lines:\n%s", b.line, b.code)
		}
	}
	if quoted < 5 {
		t.Errorf("%d quotations: the document is not read", quoted)
	}
}

// unindented leaves out what is before the first word of each line.
func unindented(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		b.WriteString(strings.TrimLeft(line, " \t"))
	}
	return b.String()
}

// buildExample builds the exporter of docs/writing-an-exporter.md.
func buildExample(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "memcached-exporter")
	build := exec.Command("go", "build", "-o", path, "./example")
	build.Dir = filepath.Join(root, "common")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// startExample starts it for a server.
func startExample(t *testing.T, path, address string) *harness.Exporter {
	t.Helper()
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	process, err := servers.StartProcess(servers.ProcessOptions{
		Path: path, Dir: t.TempDir(), Args: []string{"--web.listen-address=" + listen, "--memcached.address=" + address},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Stop() })
	e := &harness.Exporter{Process: process, T: t, URL: "http://" + listen}
	harness.Eventually(t, 10*time.Second, "the example listens", func() error {
		_, err := e.Try(t.Context(), "/healthz")
		return err
	})
	return e
}

// The example scrapes a real memcached, sees it stop, and says so on every page.
func TestExampleOnMemcached(t *testing.T) {
	server, err := servers.StartMemcached()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	say(t, server.Address, "set a 0 0 5\r\nhello\r\n", "STORED")
	say(t, server.Address, "get a\r\n", "VALUE a 0 5")
	say(t, server.Address, "get b\r\n", "END")
	e := startExample(t, buildExample(t), server.Address)
	page := e.Scrape("5")
	page.Want(t, "memcached_up", 1)
	page.Want(t, "memcached_items", 1)
	page.Want(t, "memcached_limit_bytes", 8<<20)
	page.Want(t, "memcached_get_hits_total", 1)
	page.Want(t, "memcached_get_misses_total", 1)
	page.Want(t, `memcached_exporter_collector_success{collector="stats"}`, 1)
	page.Want(t, `service_health{service="memcached"}`, 1)
	if health := e.Get("/health"); health.Code != 200 || !strings.Contains(health.Body, `"status":"ok"`) {
		t.Errorf("/health: %d %s", health.Code, health.Body)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	harness.Freshen()
	page = e.Scrape("5")
	page.Want(t, "memcached_up", 0)
	if _, present := page.Value("memcached_items"); present {
		t.Error("a server that is gone still has items")
	}
	if health := e.Get("/health"); health.Code != 503 || !strings.Contains(health.Body, `"status":"error"`) {
		t.Errorf("/health: %d %s", health.Code, health.Body)
	}
}

// say sends a command and wants the first line of its reply.
func say(t *testing.T, address, command, want string) {
	t.Helper()
	socket, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	_ = socket.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(socket, command)
	line, err := bufio.NewReader(socket).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		t.Fatalf("%q: %q, %v", command, line, err)
	}
}

// What a server does wrong costs the example a scrape and no more. The server is a fake: no memcached does these things.
func TestExampleOnFaults(t *testing.T) {
	const version = "VERSION 1.6.18\r\n"
	path := buildExample(t)
	for _, test := range []struct{ name, first, then, reason string }{
		{"silent from the beginning", "", "", "timeout"},
		{"silent after the greeting", version, "", "timeout"},
		{"silent in the midst of a reply", version, version + "STAT uptime 1\r\n", "timeout"},
		{"another protocol", "220 mail.example.org ESMTP\r\n", "", "malformed"},
		{"a line without an end", version, version + "STAT " + strings.Repeat("x", 4<<10), "limited"},
		{"a reply without an end", version, version + strings.Repeat("STAT x 1\r\n", 200_000), "limited"},
		{"a command that is not known", version, version + "ERROR\r\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := startExample(t, path, fake(t, test.first, test.then))
			page := e.Scrape("2")
			if page.Code != 200 || page.Took > 2*time.Second {
				t.Errorf("code %d after %s", page.Code, page.Took)
			}
			if _, present := page.Value("memcached_uptime_seconds"); present {
				t.Error("a value of a reply that never ended is on the page")
			}
			if up, ok := page.Value("memcached_up"); !ok || test.reason == "" && up != 1 {
				t.Errorf("memcached_up %v (present: %v)", up, ok)
			}
			if reason := fmt.Sprintf("reason=%q", test.reason); test.reason != "" && !strings.Contains(page.Body, reason) {
				t.Errorf("the page lacks %s:\n%s", reason, page.Body)
			}
		})
	}
}

// fake answers each connection's first word with one text and the next with another.
func fake(t *testing.T, texts ...string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accept(t, listener, func(socket net.Conn) { answer(socket, texts) })
	return listener.Addr().String()
}

func answer(socket net.Conn, texts []string) {
	defer socket.Close()
	_ = socket.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewReader(socket)
	for _, text := range texts {
		if _, err := lines.ReadString('\n'); err != nil {
			return
		}
		if _, err := socket.Write([]byte(text)); err != nil {
			return
		}
	}
	_, _ = lines.WriteTo(new(nothing)) // until the other side hangs up
}

type nothing struct{}

func (*nothing) Write(p []byte) (int, error) { return len(p), nil }
