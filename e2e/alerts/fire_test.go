// Package alerts sees the alerts fire: real faults on real servers, a real Prometheus and a real Alertmanager.
package alerts

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// hurry is the factor by which alerts wait less than users' do (for): five minutes become half a second.
const hurry = 600

// fault is something that is done to a server, and the alerts that must follow, as "ALERT instance".
type fault struct {
	make   func(t *testing.T)
	alerts []string
}

// TestAlertsFire starts servers that work and sees that nothing fires; then it makes faults, and sees that each alert
// that should fire does, arrives, and that what is known already is not said twice.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	w := &world{targets: map[string][]string{}}
	w.addPostgres(t)
	w.addRedis(t)
	w.addVectorDB(t)
	w.addSMTP(t)
	alertmanager := servers.NewAlertmanager(t, "../../deploy/alertmanager/alertmanager.yml")
	prometheus := servers.NewPrometheus(t, servers.PrometheusOptions{Config: w.config(t, alertmanager.Addr())})

	harness.Eventually(t, 30*time.Second, "all targets are scraped", func() error { return allUp(t, prometheus) })
	time.Sleep(15 * time.Second)
	if firing := firing(t, alertmanager); len(firing) > 0 {
		t.Fatalf("these alerts fire on servers that work: %v", slices.Sorted(maps.Keys(firing)))
	}

	for _, f := range w.faults {
		f.make(t)
	}
	deadline := time.Now().Add(120 * time.Second)
	proven := map[string]bool{}
	for _, f := range w.faults {
		for _, alert := range f.alerts {
			waitFor(t, alertmanager, alert, deadline)
			proven[strings.Fields(alert)[0]] = true
		}
	}
	t.Logf("%d alerts fired on a real fault and arrived: %v", len(proven), slices.Sorted(maps.Keys(proven)))
	w.checkSuppressed(t, alertmanager)
}

func waitFor(t *testing.T, alertmanager *servers.Alertmanager, alert string, deadline time.Time) {
	t.Helper()
	for {
		if _, there := firing(t, alertmanager)[alert]; there {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s does not fire", alert)
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// firing gives what Alertmanager knows of, and whether it is suppressed.
func firing(t *testing.T, alertmanager *servers.Alertmanager) map[string]bool {
	t.Helper()
	alerts, err := alertmanager.Alerts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, alert := range alerts {
		all[alert.Labels["alertname"]+" "+alert.Labels["instance"]] = alert.Status.State == "suppressed"
	}
	return all
}

func allUp(t *testing.T, prometheus *servers.Prometheus) error {
	t.Helper()
	targets, err := prometheus.Targets(t.Context())
	if err != nil {
		return err
	}
	for _, target := range targets {
		if target.Health != "up" {
			return fmt.Errorf("%s: %s", target.ScrapeURL, target.LastError)
		}
	}
	return nil
}

// world is the servers, what is scraped of them, and what will be done to them.
type world struct {
	targets    map[string][]string // of each job
	faults     []fault
	suppressed []string // alerts of which Alertmanager must not speak
}

// watch starts an exporter of a job and gives its instance.
func (w *world) watch(t *testing.T, job string, env []string, args ...string) (*harness.Exporter, string) {
	t.Helper()
	e := harness.Start(t, strings.TrimSuffix(job, "-slow")+"-exporter", env, args...)
	instance := strings.TrimPrefix(e.URL, "http://")
	w.targets[job] = append(w.targets[job], instance)
	return e, instance
}

func (w *world) fault(makeIt func(t *testing.T), alerts ...string) {
	w.faults = append(w.faults, fault{makeIt, alerts})
}

func (w *world) checkSuppressed(t *testing.T, alertmanager *servers.Alertmanager) {
	t.Helper()
	for _, alert := range w.suppressed {
		if suppressed, there := firing(t, alertmanager)[alert]; !there || !suppressed {
			t.Errorf("%s: suppressed %v, there %v", alert, suppressed, there)
		}
	}
}

// config is a Prometheus that scrapes each second, and the rules in a hurry.
func (w *world) config(t *testing.T, alertmanager string) string {
	t.Helper()
	type object = map[string]any
	var scrapes []object
	for job, targets := range w.targets {
		scrape := object{"job_name": job, "static_configs": []object{{"targets": targets}}}
		if strings.HasSuffix(job, "-slow") { // what is slow on purpose must be waited for
			scrape["scrape_interval"], scrape["scrape_timeout"] = "6s", "6s"
		}
		scrapes = append(scrapes, scrape)
	}
	text, err := json.Marshal(object{
		"global":         object{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files":     []string{filepath.Join(hastyRules(t), "*.yml")},
		"scrape_configs": scrapes,
		"alerting":       object{"alertmanagers": []object{{"static_configs": []object{{"targets": []string{alertmanager}}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hastyRules writes the rules with shorter times to wait into a folder.
func hastyRules(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("../../alerts/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules (%v)", err)
	}
	for _, file := range files {
		groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		for _, group := range groups.Groups {
			for i := range group.Rules {
				group.Rules[i].For /= hurry
				group.Rules[i].KeepFiringFor /= hurry
			}
		}
		text, err := yaml.Marshal(groups)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
