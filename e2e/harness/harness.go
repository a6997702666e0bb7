// Package harness runs an exporter's binary, as make build leaves it, and reads
// its pages as Prometheus and a person would.
package harness

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// Exporter is a running exporter.
type Exporter struct {
	*servers.Process
	T   testing.TB
	URL string // http://127.0.0.1:port
}

// Binary finds an exporter by its name, such as postgres-exporter.
func Binary(t testing.TB, name string) string {
	t.Helper()
	root, err := servers.RepositoryRoot()
	path := filepath.Join(root, "bin", name)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("run make build first: %v", err)
	}
	return path
}

// Start runs an exporter with an environment and arguments, waits until it listens, and ends it with the test.
func Start(t testing.TB, name string, env []string, args ...string) *Exporter {
	t.Helper()
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	process, err := servers.StartProcess(servers.ProcessOptions{
		Path: Binary(t, name), Env: env, Dir: t.TempDir(),
		Args: append([]string{"--web.listen-address=" + address}, args...),
	})
	if err != nil {
		t.Fatal(err)
	}
	e := &Exporter{Process: process, T: t, URL: "http://" + address}
	t.Cleanup(func() { _ = process.Stop() })
	Eventually(t, 10*time.Second, "the exporter listens", func() error {
		answer, err := http.Get(e.URL + "/healthz")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, process.Output())
		}
		return answer.Body.Close()
	})
	return e
}

// Page is an answer of an exporter.
type Page struct {
	Code   int
	Header http.Header
	Body   string
	Took   time.Duration
}

// Get asks for a path with headers given as name, value, name, value.
func (e *Exporter) Get(path string, headers ...string) Page {
	e.T.Helper()
	p, err := e.Try(context.Background(), path, headers...)
	if err != nil {
		e.T.Fatalf("GET %s: %v\n%s", path, err, e.Output())
	}
	return p
}

// Try is Get for a caller that may leave before the answer is there.
func (e *Exporter) Try(ctx context.Context, path string, headers ...string) (Page, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL+path, nil)
	if err != nil {
		return Page{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	begin := time.Now()
	answer, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return Page{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return Page{answer.StatusCode, answer.Header, string(body), time.Since(begin)}, err
}

// Scrape asks for the metrics as Prometheus does, with its timeout in seconds.
func (e *Exporter) Scrape(timeout string) Page {
	e.T.Helper()
	return e.Get("/metrics", "X-Prometheus-Scrape-Timeout-Seconds", timeout)
}

// Value gives the value of a series written as on the page, such as pg_up or a{b="c"}.
func (p Page) Value(series string) (float64, bool) {
	lines := bufio.NewScanner(strings.NewReader(p.Body))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			return value, err == nil
		}
	}
	return 0, false
}

// Want fails the test unless a series has a value.
func (p Page) Want(t testing.TB, series string, want float64) {
	t.Helper()
	if got, ok := p.Value(series); !ok || got != want {
		t.Errorf("%s is %v (present: %v), want %v", series, got, ok, want)
	}
}

// Failing lists the collectors without success of the exporter whose metrics begin with prefix, such as pg.
func (p Page) Failing(prefix string) []string {
	var names []string
	for line := range strings.Lines(p.Body) {
		name, ok := strings.CutPrefix(line, prefix+`_exporter_collector_success{collector="`)
		if ok && strings.HasSuffix(name, `"} 0`+"\n") {
			names = append(names, strings.TrimSuffix(name, `"} 0`+"\n"))
		}
	}
	return names
}

// Eventually repeats a check until it holds.
func Eventually(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", limit, what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Freshen waits until a scrape is no longer shared with the next.
func Freshen() { time.Sleep(600 * time.Millisecond) }
