package dashboards

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// rightlyEmpty are queries of panels without data on servers that work, and why.
var rightlyEmpty = map[string]string{
	"Collectors that fail A": "none does",
	"Services now C":         "no service has changed its state",
	"Why A":                  "all services are up",
}

// TestPanelsShowData asks a real Prometheus, which scrapes real exporters, every query of every dashboard.
func TestPanelsShowData(t *testing.T) {
	t.Parallel()
	targets := map[string][]string{}
	for _, e := range startPostgres(t) {
		targets["postgres"] = append(targets["postgres"], strings.TrimPrefix(e.URL, "http://"))
	}
	prometheus := servers.NewPrometheus(t, servers.PrometheusOptions{Targets: targets, ScrapeInterval: time.Second, Rules: []string{"../../alerts/*.yml"}})
	for _, p := range readPanels(t) {
		if _, empty := rightlyEmpty[p.title+" "+p.ref]; empty {
			continue
		}
		harness.Eventually(t, 30*time.Second, p.board+": "+p.title, func() error {
			samples, err := prometheus.Query(t.Context(), p.expr)
			switch {
			case err != nil:
				return err
			case len(samples) == 0:
				return fmt.Errorf("no data: %s", p.expr)
			}
			for _, sample := range samples {
				if sample.Value != sample.Value {
					return errors.New("the answer is no number")
				}
			}
			return nil
		})
	}
}
