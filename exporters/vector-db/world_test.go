package main

import (
	"context"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

var update = flag.Bool("update", false, "write the golden files anew")

// serve runs a handler, such as a fake server, for the length of the test.
func serve(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// load reads a configuration as the program does, with these arguments.
func load(t *testing.T, arguments ...string) (*app.Setup, error) {
	t.Helper()
	s := &settings{}
	flags := kingpin.New("test", "")
	s.Flags(flags)
	if _, err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	return s.Load(func(string) bool { return true }, 4*time.Second)
}

// page is the result of a scrape, and what Prometheus gets of it.
type page struct {
	*collect.Result
	text string
}

// watched makes a target of the first server that the arguments configure.
func watched(t *testing.T, arguments ...string) *collect.Target {
	t.Helper()
	setup, err := load(t, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return target0(t, setup.Targets[0].Spec)
}

// quick is watched without the collectors that ask in the background.
func quick(t *testing.T, arguments ...string) *collect.Target {
	t.Helper()
	setup, err := load(t, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	spec := setup.Targets[0].Spec
	spec.Collectors = slices.DeleteFunc(spec.Collectors, func(c *collect.Collector) bool { return c.Class == collect.Slow })
	return target0(t, spec)
}

func target0(t *testing.T, spec collect.Spec) *collect.Target {
	t.Helper()
	made := collect.NewTarget(spec, collect.NewSelf("vectordb", nil), slog.New(slog.DiscardHandler))
	t.Cleanup(made.Close)
	return made
}

// scrape gives what Prometheus would get within a time.
func scrape(t *testing.T, from *collect.Target, within time.Duration) page {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	result := from.Scrape(ctx)
	var all metric.Page
	result.AddTo(&all)
	var text strings.Builder
	if err := all.Encode(&text, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
		t.Fatal(err)
	}
	return page{result, text.String()}
}

// fresh is scrape after the result of an earlier one is no longer shared.
func fresh(t *testing.T, from *collect.Target, within time.Duration) page {
	t.Helper()
	time.Sleep(600 * time.Millisecond)
	return scrape(t, from, within)
}

// value gives a series' value as the page has it.
func (p page) value(series string) (float64, bool) {
	for line := range strings.Lines(p.text) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			return value, err == nil
		}
	}
	return 0, false
}

// want fails the test unless the page has lines such as `vectordb_up 1`; one that ends with " absent" is not to be there.
func (p page) want(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		at := strings.LastIndex(line, " ")
		series, wanted := line[:at], line[at+1:]
		got, there := p.value(series)
		shown := strconv.FormatFloat(got, 'g', -1, 64)
		if !there {
			shown = "absent"
		}
		if shown != wanted {
			t.Errorf("%s is %s, want %s", series, shown, wanted)
		}
	}
	if t.Failed() {
		t.Logf("up %v, fault %s, error %v", p.Up, p.Fault, p.Err)
	}
}

// moving is what is not the same at each run: times, and what the exporter says of its own work.
var moving = regexp.MustCompile(`(?m)^(# (HELP|TYPE) )?(vectordb_exporter_|db_|service_health|vectordb_start_time).*
`)

// settled is the page without it.
func (p page) settled() string { return moving.ReplaceAllString(p.text, "") }

// normal is a vector that is as good as any.
func normal(seed uint64, n int) []float32 {
	vector := make([]float32, n)
	for i := range vector {
		seed = seed*6364136223846793005 + 1442695040888963407
		vector[i] = float32(int64(seed>>33)-1<<30) / (1 << 30)
	}
	return vector
}

// TestMain lets more tests run at once than there are processors: nearly all of their time they wait for a server that
// stalls, or for a scrape to be no longer shared.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
