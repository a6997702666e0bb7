package dashboards

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// rightlyEmpty are queries of panels without data on servers that work, and why.
var rightlyEmpty = map[string]string{
	"Collectors that fail A":          "none does",
	"Collectors that fail, by name A": "none does",
	"Failures by reason A":            "none has",
	"Samples left out A":              "none are",
	"Failures of the canary A":        "none has failed",
	"Services now C":                  "no service has changed its state",
}

// TestPanelsShowData asks a real Prometheus, which scrapes real exporters, every query of every dashboard.
func TestPanelsShowData(t *testing.T) {
	t.Parallel()
	targets := map[string][]string{}
	for job, start := range map[string]func(*testing.T) []*harness.Exporter{
		"postgres": startPostgres, "redis": startRedis, "vector-db": startVectorDB, "smtp": startSMTP,
	} {
		for _, e := range start(t) {
			targets[job] = append(targets[job], strings.TrimPrefix(e.URL, "http://"))
		}
	}
	prometheus := servers.NewPrometheus(t, servers.PrometheusOptions{Targets: targets, ScrapeInterval: time.Second, Rules: []string{"../../alerts/*.yml"}})
	deadline := time.Now().Add(90 * time.Second)
	for _, p := range readPanels(t) {
		if _, empty := rightlyEmpty[p.title+" "+p.ref]; empty {
			continue
		}
		for {
			err := shows(t, prometheus, p)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: %s: %v", p.board, p.title, err)
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// shows tells what is wrong with the answer to a panel's query.
func shows(t *testing.T, prometheus *servers.Prometheus, p panel) error {
	t.Helper()
	samples, err := prometheus.Query(t.Context(), p.expr)
	if err != nil {
		return err
	}
	if len(samples) == 0 {
		return fmt.Errorf("no data: %s", p.expr)
	}
	for _, sample := range samples {
		if !math.IsNaN(sample.Value) {
			return nil
		}
	}
	return errors.New("the answer is no number")
}
