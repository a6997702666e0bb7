// Package dashboards holds the tests of what Grafana and Prometheus load: the dashboards, the alerts and the recording
// rules, against what the exporters declare and against real servers.
package dashboards

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/alfred-agent-platform/backend-exporters/e2e/promcheck"
)

// foreign are metrics of others that rules and panels use.
var foreign = promcheck.Catalogue{
	"up":                            {Type: "gauge", Labels: []string{"platform_service"}}, // Prometheus' own, for each target; the label as deploy/platform gives it
	"scrape_duration_seconds":       {Type: "gauge"},
	"scrape_samples_scraped":        {Type: "gauge"},
	"process_resident_memory_bytes": {Type: "gauge"}, // of the client library, for the exporter itself
	"process_cpu_seconds_total":     {Type: "counter"},
	// of node_exporter
	"node_filesystem_avail_bytes": {Type: "gauge", Labels: []string{"device", "fstype", "mountpoint"}},
	"node_filesystem_size_bytes":  {Type: "gauge", Labels: []string{"device", "fstype", "mountpoint"}},
	"node_filesystem_readonly":    {Type: "gauge", Labels: []string{"device", "fstype", "mountpoint"}},
	// of the exporters' processes, which no catalogue of a backend lists
	"postgres_exporter_config_last_reload_successful":  {Type: "gauge"},
	"redis_exporter_config_last_reload_successful":     {Type: "gauge"},
	"vector_db_exporter_config_last_reload_successful": {Type: "gauge"},
	"smtp_exporter_config_last_reload_successful":      {Type: "gauge"},
	"ALERTS": {Type: "gauge", Open: true},
}

// Counters that are shown as they are.
var raw = []string{
	"smtp_queue_message_age_seconds_bucket", // of what is in the queues at one moment, not since a start
}

// panel is what a query of a dashboard is asked for.
type panel struct {
	board, title, ref, expr string
}

// TestExpressions holds every expression of dashboards and rules against the exporters' catalogues.
func TestExpressions(t *testing.T) {
	t.Parallel()
	all := catalogue(t)
	options := promcheck.Options{Interval: 15 * time.Second, Raw: raw}
	for _, p := range readPanels(t) {
		for _, mistake := range all.Check(p.expr, options) {
			t.Errorf("%s: %s: %s", p.board, p.title, mistake)
		}
	}
	for _, r := range readRules(t) {
		for _, mistake := range all.Check(r.Expr, options) {
			t.Errorf("%s%s: %s", r.Record, r.Alert, mistake)
		}
	}
}

func catalogue(t *testing.T) promcheck.Catalogue {
	t.Helper()
	all := promcheck.Catalogue{}
	for name, metric := range foreign {
		all[name] = metric
	}
	pages, err := filepath.Glob("../../docs/metrics-*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no catalogues in docs (%v)", err)
	}
	for _, page := range pages {
		if err := all.Read(page); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range readRules(t) {
		if _, exposed := all[r.Record]; r.Record != "" && !exposed {
			all[r.Record] = promcheck.Metric{Type: "gauge", Open: true}
		}
	}
	return all
}

func readRules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	files, err := filepath.Glob("../../alerts/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no rules (%v)", err)
	}
	var rules []rulefmt.Rule
	for _, file := range files {
		groups, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		for _, group := range groups.Groups {
			rules = append(rules, group.Rules...)
		}
	}
	return rules
}

// readPanels gives all queries of all dashboards with their variables filled in, as Grafana does for All.
func readPanels(t *testing.T) []panel {
	t.Helper()
	files, err := filepath.Glob("../../dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards (%v)", err)
	}
	var all []panel
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board dashboard
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatal(err)
		}
		all = append(all, board.queries(strings.TrimSuffix(filepath.Base(file), ".json"))...)
	}
	return all
}

// dashboard is what of a dashboard's JSON holds queries.
type dashboard struct {
	Panels     []panelJSON `json:"panels"`
	Templating struct {
		List []struct {
			Name     string `json:"name"`
			AllValue string `json:"allValue"`
		} `json:"list"`
	} `json:"templating"`
}

type panelJSON struct {
	Title   string      `json:"title"`
	Panels  []panelJSON `json:"panels"`
	Targets []struct {
		Expr  string `json:"expr"`
		RefID string `json:"refId"`
	} `json:"targets"`
}

func (d dashboard) queries(name string) []panel {
	fill := []string{"$__rate_interval", "1m", "$__interval", "15s", "$__range", "3h"}
	for _, v := range d.Templating.List {
		fill = append(fill, "$"+v.Name, v.AllValue)
	}
	replace := strings.NewReplacer(fill...)
	var all []panel
	var walk func(panels []panelJSON)
	walk = func(panels []panelJSON) {
		for _, p := range panels {
			for _, target := range p.Targets {
				all = append(all, panel{name, p.Title, target.RefID, replace.Replace(target.Expr)})
			}
			walk(p.Panels)
		}
	}
	walk(d.Panels)
	return all
}
