package e2e

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

// exporter is a running postgres-exporter, the binary that users run.
type exporter struct {
	*servers.Process
	t   testing.TB
	url string
}

// binary finds what make build has made.
func binary(t testing.TB) string {
	t.Helper()
	path, err := filepath.Abs("../bin/postgres-exporter")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("run make build first: %v", err)
	}
	return path
}

// start runs the exporter with an environment and arguments and waits until it listens.
func start(t testing.TB, env []string, args ...string) *exporter {
	t.Helper()
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	process, err := servers.StartProcess(servers.ProcessOptions{
		Path: binary(t), Env: env, Dir: t.TempDir(),
		Args: append([]string{"--web.listen-address=" + address}, args...),
	})
	if err != nil {
		t.Fatal(err)
	}
	e := &exporter{Process: process, t: t, url: "http://" + address}
	t.Cleanup(func() { _ = process.Stop() })
	eventually(t, 10*time.Second, "the exporter listens", func() error {
		answer, err := http.Get(e.url + "/healthz")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, process.Output())
		}
		return answer.Body.Close()
	})
	return e
}

// forDatabase runs the exporter for one database.
func forDatabase(t testing.TB, dsn string, args ...string) *exporter {
	t.Helper()
	return start(t, []string{"DATA_SOURCE_NAME=" + dsn}, args...)
}

// page is an answer of the exporter.
type page struct {
	code   int
	header http.Header
	body   string
	took   time.Duration
}

// get asks for a path with headers given as name, value, name, value.
func (e *exporter) get(path string, headers ...string) page {
	e.t.Helper()
	p, err := e.try(context.Background(), path, headers...)
	if err != nil {
		e.t.Fatalf("GET %s: %v\n%s", path, err, e.Output())
	}
	return p
}

func (e *exporter) try(ctx context.Context, path string, headers ...string) (page, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+path, nil)
	if err != nil {
		return page{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	begin := time.Now()
	answer, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return page{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return page{answer.StatusCode, answer.Header, string(body), time.Since(begin)}, err
}

// scrape asks for the metrics as Prometheus does, with its timeout in seconds.
func (e *exporter) scrape(timeout string) page {
	e.t.Helper()
	return e.get("/metrics", "X-Prometheus-Scrape-Timeout-Seconds", timeout)
}

// value gives the value of a series written as on the page, such as pg_up or a{b="c"}.
func (p page) value(series string) (float64, bool) {
	lines := bufio.NewScanner(strings.NewReader(p.body))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			return value, err == nil
		}
	}
	return 0, false
}

// want fails the test unless a series has a value.
func (p page) want(t testing.TB, series string, want float64) {
	t.Helper()
	if got, ok := p.value(series); !ok || got != want {
		t.Errorf("%s is %v (present: %v), want %v", series, got, ok, want)
	}
}

// failing lists the collectors without success.
func (p page) failing() []string {
	var names []string
	for line := range strings.Lines(p.body) {
		if name, ok := strings.CutPrefix(line, `pg_exporter_collector_success{collector="`); ok && strings.HasSuffix(name, `"} 0`+"\n") {
			names = append(names, strings.TrimSuffix(name, `"} 0`+"\n"))
		}
	}
	return names
}

// eventually repeats a check until it holds.
func eventually(t testing.TB, limit time.Duration, what string, check func() error) {
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

// freshen waits until a scrape is no longer shared with the next.
func freshen() { time.Sleep(600 * time.Millisecond) }
