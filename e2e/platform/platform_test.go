// Package platform takes each of the platform's nine services down, with the example configuration of deploy/platform,
// a real Prometheus and a real Alertmanager.
package platform

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

// patience bounds how long a change takes until it is seen, on a machine that is busy with others.
const patience = 40 * time.Second

// nine are the platform's services.
var nine = []string{
	"db-api", "db-admin", "db-realtime", "vector-db", "mail-server", "monitoring-db", "monitoring-node", "monitoring-redis", "redis-exporter",
}

// TestNineServices sees all services healthy and no alert; then, one after the other, each goes down: its row of the
// dashboard Backend health becomes 0 and no other does, its alert arrives at Alertmanager, and it heals.
func TestNineServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	healthy := map[string]float64{"db": 1, "redis": 1}
	for _, service := range nine {
		healthy[service] = 1
	}
	query := row(t)
	harness.Eventually(t, patience, "all are healthy", func() error { return w.shows(t, query, healthy) })
	w.checkTargets(t)

	taken := map[string]bool{}
	for _, f := range w.faults {
		began := time.Now()
		w.checkFault(t, query, healthy, f)
		taken[f.service] = true
		t.Logf("%s went down and healed within %s", f.service, time.Since(began).Round(time.Second))
	}
	for _, service := range nine {
		if !taken[service] {
			t.Errorf("%s was not taken down", service)
		}
	}
}

func (w *world) checkFault(t *testing.T, query string, healthy map[string]float64, f fault) {
	t.Helper()
	harness.Eventually(t, patience, "nothing fires before "+f.service+" goes down", func() error { return w.quiet(t) })
	f.make(t)
	ill := maps.Clone(healthy)
	ill[f.service] = 0
	for _, service := range f.unseen {
		delete(ill, service)
	}
	harness.Eventually(t, patience, f.service+" is shown as down, and nothing else", func() error { return w.shows(t, query, ill) })
	harness.Eventually(t, patience, f.service+"'s alert arrives", func() error { return w.arrived(t, "ServiceDown", f.service) })
	if f.alsoKnown != "" {
		harness.Eventually(t, patience, f.alsoKnown+" arrives", func() error { return w.arrived(t, f.alsoKnown, "") })
	}
	for _, service := range f.unseen {
		if slices.Contains(nine, service) {
			harness.Eventually(t, patience, "it is said that nobody tells of "+service, func() error { return w.unseen(t, service) })
		}
	}
	f.heal(t)
	harness.Eventually(t, patience, f.service+" is healthy again", func() error { return w.shows(t, query, healthy) })
}

// shows compares the dashboard's rows with what they should be.
func (w *world) shows(t *testing.T, query string, want map[string]float64) error {
	t.Helper()
	samples, err := w.prometheus.Query(t.Context(), query)
	if err != nil {
		return err
	}
	got := map[string]float64{}
	for _, sample := range samples {
		service := sample.Labels["service"]
		if strings.HasSuffix(sample.Labels["job"], "-fleet") { // further servers, which are none of the platform's services
			continue
		}
		if _, twice := got[service]; twice {
			return fmt.Errorf("%s has two rows", service)
		}
		got[service] = sample.Value
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("the rows are %v, want %v", got, want)
	}
	return nil
}

// arrived looks for an alert at Alertmanager, and that somebody is paged: by it, or by what says it already.
func (w *world) arrived(t *testing.T, name, service string) error {
	t.Helper()
	alerts, err := w.alerts.Alerts(t.Context())
	if err != nil {
		return err
	}
	paged := map[string]bool{} // by instance
	for _, alert := range alerts {
		if alert.Status.State == "active" && len(alert.Receivers) == 1 && alert.Receivers[0].Name == "pager" {
			paged[alert.Labels["instance"]] = true
		}
	}
	for _, alert := range alerts {
		if alert.Labels["alertname"] == name && (service == "" || alert.Labels["service"] == service) && paged[alert.Labels["instance"]] {
			return nil
		}
	}
	return fmt.Errorf("there are %v", alerts)
}

// unseen looks for the ticket about a service of which nobody tells.
func (w *world) unseen(t *testing.T, service string) error {
	t.Helper()
	alerts, err := w.alerts.Alerts(t.Context())
	if err != nil {
		return err
	}
	for _, alert := range alerts {
		if alert.Labels["alertname"] == "PlatformServiceUnseen" && alert.Labels["service"] == service && alert.Receivers[0].Name == "tickets" {
			return nil
		}
	}
	return fmt.Errorf("there are %v", alerts)
}

// quiet fails where an alert fires that says that a service is not well. Other rules may see what this test does to
// servers, such as that one was started a moment ago.
func (w *world) quiet(t *testing.T) error {
	t.Helper()
	alerts, err := w.alerts.Alerts(t.Context())
	if err != nil {
		return err
	}
	said := []string{"ServiceDown", "ServiceDegraded", "DatabaseConnectionFailed", "ExporterWithoutHealth", "ExporterDown", "PostgresDown", "PlatformServiceUnseen"}
	for _, alert := range alerts {
		if slices.Contains(said, alert.Labels["alertname"]) {
			return fmt.Errorf("this fires: %v", alert)
		}
	}
	return nil
}

// checkTargets sees that all that the example scrapes answers, the servers of the fleets too.
func (w *world) checkTargets(t *testing.T) {
	t.Helper()
	targets, err := w.prometheus.Targets(t.Context())
	must(t, err)
	var jobs []string
	for _, target := range targets {
		jobs = append(jobs, target.Labels["job"])
		if target.Health != "up" {
			t.Errorf("%s: %s", target.ScrapeURL, target.LastError)
		}
	}
	slices.Sort(jobs)
	if want := []string{"node", "postgres", "postgres-fleet", "redis", "redis_exporter", "smtp", "smtp-fleet", "vector-db"}; !slices.Equal(jobs, want) {
		t.Errorf("jobs %v, want %v", jobs, want)
	}
	for _, expr := range []string{`pg_up{job="postgres-fleet"} == 1`, `smtp_up{job="smtp-fleet"} == 1`, `node_uname_info{job="node"}`, `redis_up{job="redis_exporter"} == 1`} {
		if samples, err := w.prometheus.Query(t.Context(), expr); err != nil || len(samples) != 1 {
			t.Errorf("%s: %v, %v", expr, samples, err)
		}
	}
}
