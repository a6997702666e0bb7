package pgreplay_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// TestExporters wants the pages of ours and of postgres_exporter to be those that the real server makes, and scrapes
// after the first to be wholly from the record.
func TestExporters(t *testing.T) {
	peer, err := servers.Peer()
	if err != nil {
		t.Fatal(err)
	}
	const module = "auth_modules: {all: {type: userpass, userpass: {username: monitor, password: monitor}, options: {sslmode: disable}%s}}\n"
	for name, asked := range map[string]bench.Asked{
		"ours": {Binary: harness.Binary(t, "postgres-exporter"), Configuration: fmt.Sprintf(module, ", targets: ['127.*']")},
		"peer": {Binary: peer, Configuration: fmt.Sprintf(module, "")},
	} {
		t.Run(name, func(t *testing.T) {
			asked.Name = name
			w := newWorld(t)
			want := wanted(t, w, asked) // and nobody is connected when the record is made
			probe, end := begin(t, asked)
			defer end()
			replayed(t, w, probe, want)
		})
	}
}

// begin runs an exporter, and gives how it is asked for an address.
func begin(t *testing.T, asked bench.Asked) (probe func(address string) string, end func()) {
	t.Helper()
	e, err := asked.Begin(t.Context(), filepath.Dir(asked.Binary), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return func(address string) string {
			return e.URL + "/probe?auth_module=all&target=" + url.QueryEscape(address+"/postgres")
		},
		func() { _ = e.Stop() }
}

// wanted is the page of a second scrape of the real server: what only the first one tells is gone.
func wanted(t *testing.T, w world, asked bench.Asked) map[string]*dto.MetricFamily {
	t.Helper()
	probe, end := begin(t, asked)
	defer end()
	page(t, probe(w.Addr()))
	time.Sleep(bench.Sharing)
	return page(t, probe(w.Addr()))
}

func replayed(t *testing.T, w world, probe func(string) string, want map[string]*dto.MetricFamily) {
	t.Helper()
	addresses := []string{w.listen(t), w.listen(t), w.listen(t)}
	for range 2 { // the second scrape of ours has prepared already
		page(t, probe(addresses[0]))
		time.Sleep(bench.Sharing)
	}
	cold := w.replay.Asked()
	const scrapes = 3
	before := processor(t)
	for i := range scrapes {
		for _, address := range addresses {
			if got := page(t, probe(address)); i > 0 {
				same(t, got, want)
			}
		}
		time.Sleep(bench.Sharing)
	}
	if more := w.replay.Asked() - cold; more > 0 {
		t.Errorf("the record of %d questions was not enough: %d more", cold, more)
	}
	if err := w.replay.Close(); err != nil {
		t.Error(err)
	}
	series := 0
	for _, family := range want {
		series += len(family.Metric)
	}
	t.Logf("%d questions; %d families, %d series; with reading the pages and the race detector, %s for a scrape",
		cold, len(want), series, (processor(t)-before)/(scrapes*3))
}

// same compares how many series the families of two pages have.
func same(t *testing.T, got, want map[string]*dto.MetricFamily) {
	t.Helper()
	for name, family := range want {
		if !strings.HasPrefix(name, "pg_") {
			continue // the exporter's own
		}
		if other := got[name]; other == nil || len(other.Metric) != len(family.Metric) {
			t.Errorf("%s has %d series, where the server's has %d", name, len(other.GetMetric()), len(family.Metric))
		}
	}
	for name := range got {
		if want[name] == nil {
			t.Errorf("%s is not there where the server is asked", name)
		}
	}
}

func page(t *testing.T, url string) map[string]*dto.MetricFamily {
	t.Helper()
	got, err := bench.Get(t.Context(), http.DefaultClient, url, 10*time.Second)
	if err != nil || !strings.Contains(string(got.Body), "\npg_up 1\n") {
		t.Fatalf("%s: HTTP %d, %v\n%.2000s", url, got.Code, err, got.Body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(got.Body)))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// processor gives the processor time of this process.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
