// Package scale loads each exporter with some hundred targets, of which a tenth does not answer, and wants bounds to hold.
// What make bench-targets measures with a thousand and for long is looked at here for some seconds.
package scale

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// What is asked, and how.
const (
	interval = 3 * time.Second
	timeout  = 3 * time.Second
	rounds   = 2
)

// count is how many targets of a kind there are. Pages of PostgreSQL are large: to read them under the race detector takes
// more of the machine than the exporter does.
func count(kind string) int {
	if kind == "postgres" {
		return 100
	}
	return 200
}

// Bounds. Those on memory are several times what is measured: garbage is in it, and a small heap has much.
const (
	answers   = 2 * time.Second // p90 of those that live, on a machine that is busy with other tests
	perTarget = 300e3           // bytes resident
)

func TestManyTargets(t *testing.T) {
	root, err := servers.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range bench.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			if kind.Name != "postgres" {
				t.Parallel()
			}
			many(t, kind, filepath.Join(root, "bin"))
		})
	}
}

func many(t *testing.T, kind bench.Kind, bin string) {
	dir, targets := t.TempDir(), count(kind.Name)
	crowd, err := kind.Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, crowd.Close)
	field, err := bench.NewField(targets, 10, crowd.At)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, field.Close)
	e, err := crowd.Ours.Begin(t.Context(), bin, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, e.Stop)
	empty := used(t, e)
	load := bench.Load{Live: field.Live, Up: crowd.Ours.Up, Interval: interval, Wait: timeout}
	for _, address := range field.Addresses {
		load.URLs = append(load.URLs, e.URL+crowd.Ours.URL(address))
	}
	run(t, connecting(load), 2*interval)
	early := used(t, e)
	outcome := run(t, load, rounds*interval)
	late := used(t, e)

	if outcome.Wrong > 0 {
		t.Errorf("%d answers are wrong, the first: %v", outcome.Wrong, outcome.Problem)
	}
	if len(outcome.Took) != rounds*targets*9/10 || len(outcome.Dead) != rounds*targets/10 {
		t.Errorf("%d scrapes of those that live and %d of the others", len(outcome.Took), len(outcome.Dead))
	}
	if p90 := bench.Quantile(outcome.Took, 0.9); p90 > bench.Milliseconds(answers) {
		t.Errorf("a tenth of the living took longer than %.0f ms", p90)
	}
	if slowest := bench.Quantile(outcome.Dead, 1); slowest > bench.Milliseconds(timeout) {
		t.Errorf("a target that does not answer took %.0f ms, where the scraper waits %s", slowest, timeout)
	}
	if each := float64(late.RSS-empty.RSS) / float64(targets); each > perTarget {
		t.Errorf("%.0f kB resident for a target", each/1e3)
	}
	if late.Goroutines > early.Goroutines+20 || late.FDs > early.FDs+20 {
		t.Errorf("%.0f goroutines and %d descriptors became %.0f and %d", early.Goroutines, early.FDs, late.Goroutines, late.FDs)
	}
	t.Logf("p50 %.1f ms, p99 %.1f ms; %.1f MB became %.1f; %.0f goroutines and %d descriptors, then %.0f and %d",
		bench.Median(outcome.Took), bench.Quantile(outcome.Took, 0.99), float64(empty.RSS)/1e6, float64(late.RSS)/1e6,
		early.Goroutines, early.FDs, late.Goroutines, late.FDs)
}

// connecting gives the load for the first scrape of all targets, which takes its time.
func connecting(load bench.Load) bench.Load {
	load.Interval = 2 * interval
	return load
}

// run loads the exporter, and waits until what was asked of those that do not answer is over.
func run(t *testing.T, load bench.Load, duration time.Duration) *bench.Outcome {
	t.Helper()
	outcome, err := load.Run(t.Context(), duration)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	return outcome
}

func used(t *testing.T, e *servers.Exporter) bench.Usage {
	t.Helper()
	usage, err := bench.Used(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return usage
}

func closing(t *testing.T, end func() error) {
	if err := end(); err != nil {
		t.Error(err)
	}
}
