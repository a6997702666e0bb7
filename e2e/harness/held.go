package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
)

// Held is what an exporter holds: goroutines, files, and connections to its server.
func (e *Exporter) Held(line *proxy.Proxy) [3]int64 {
	e.T.Helper()
	goroutines, _ := e.Scrape("10").Value("go_goroutines")
	files, err := e.FDs()
	if err != nil {
		e.T.Fatal(err)
	}
	return [3]int64{int64(goroutines), int64(files), line.Stats().Open}
}

// WantHeld wants within five seconds no more to be held than before, and the process to have at most so many bytes of
// memory.
func (e *Exporter) WantHeld(line *proxy.Proxy, before [3]int64, memory int64) {
	e.T.Helper()
	Eventually(e.T, 5*time.Second, "goroutines, files and connections are back at their level", func() error {
		if now := e.Held(line); now[0] > before[0]+2 || now[1] > before[1]+2 || now[2] > before[2] {
			return fmt.Errorf("before %v, now %v", before, now)
		}
		return nil
	})
	e.WantSmall(memory)
}

// WantSmall wants the process to have at most so many bytes of memory.
func (e *Exporter) WantSmall(most int64) {
	e.T.Helper()
	if rss, err := e.RSS(); err != nil || rss > most {
		e.T.Errorf("%.1f MB resident: %v", float64(rss)/1e6, err)
	}
}

// Everything is what the exporter shows: its log, its arguments, and its answers to these paths.
func (e *Exporter) Everything(paths ...string) map[string]string {
	e.T.Helper()
	arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", e.PID()))
	if err != nil {
		e.T.Fatal(err)
	}
	everything := map[string]string{"log": e.Output(), "cmdline": string(arguments)}
	for _, path := range paths {
		everything[path] = e.Get(path).Body
	}
	return everything
}

// Families reads a scrape's page.
func (e *Exporter) Families() map[string]*dto.MetricFamily {
	e.T.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(e.Scrape("30").Body))
	if err != nil {
		e.T.Fatal(err)
	}
	return families
}

// FailureReasons lists the reasons for which collectors have ever failed, of the exporter whose metrics begin with
// prefix, such as pg.
func (p Page) FailureReasons(prefix string) []string {
	failure := regexp.MustCompile(`(?m)^` + prefix + `_exporter_collector_failures_total\{collector="[^"]*",reason="([^"]*)"\}`)
	var reasons []string
	for _, found := range failure.FindAllStringSubmatch(p.Body, -1) {
		if !slices.Contains(reasons, found[1]) {
			reasons = append(reasons, found[1])
		}
	}
	return reasons
}

// File writes a file that only we can read.
func File(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
