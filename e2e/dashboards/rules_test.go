package dashboards

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/rulefmt"
)

// TestAlertsAreWhole holds each alert against what an on-call engineer expects of it: how long it waits, how bad it is,
// what it says, where to read on, and unit tests in which it fires.
func TestAlertsAreWhole(t *testing.T) {
	t.Parallel()
	tests := readAll(t, "../../alerts/tests/*.yml")
	pages := map[string]bool{}
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		pages[r.Alert+".md"] = true
		checkAlert(t, r)
		if !regexp.MustCompile(`alertname(="|: )` + r.Alert + `\b`).MatchString(tests) {
			t.Errorf("%s: no unit test", r.Alert)
		}
	}
	found, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range found {
		if !pages[filepath.Base(page)] {
			t.Errorf("%s is the runbook of no alert", page)
		}
	}
}

func checkAlert(t *testing.T, r rulefmt.Rule) {
	t.Helper()
	if r.For == 0 {
		t.Errorf("%s: it does not wait (for)", r.Alert)
	}
	if !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
		t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
	}
	if !strings.Contains(r.Annotations["summary"], "{{ $labels.") || len(r.Annotations["description"]) < 40 {
		t.Errorf("%s: summary or description tell too little", r.Alert)
	}
	const place = "https://github.com/alfred-agent-platform/backend-exporters/blob/main/docs/runbooks/"
	if want := place + r.Alert + ".md"; r.Annotations["runbook_url"] != want {
		t.Errorf("%s: runbook_url %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
	}
	text, err := os.ReadFile(filepath.Join("../../docs/runbooks", path.Base(r.Annotations["runbook_url"])))
	if err != nil {
		t.Errorf("%s: %v", r.Alert, err)
	}
	for _, part := range []string{"# " + r.Alert + "\n", "\n**Check.** ", "\n**Do.** "} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s: its runbook lacks %q", r.Alert, part)
		}
	}
}

// TestRunbooksNameWhatExists looks up the metrics that runbooks speak of.
func TestRunbooksNameWhatExists(t *testing.T) {
	t.Parallel()
	all := catalogue(t)
	named := regexp.MustCompile("`[^`]*`")
	metric := regexp.MustCompile(`\b(pg_(stat|statio|exporter|replication|table|index|database|settings|archive|oldest|blocking|blocked|autovacuum|wal|sequences)_\w+\*?\w*|service_health\w*|db_(read|write|ping|connection|query)_\w+|(redis|vectordb|smtp)_\w+)`)
	for _, name := range named.FindAllString(readAll(t, "../../docs/runbooks/*.md"), -1) {
		for _, found := range metric.FindAllString(name, -1) {
			if strings.Contains(name, "SELECT") || serverViews[found] {
				continue // that is SQL
			}
			if _, known := all.Lookup(found); !known {
				t.Errorf("a runbook names %s, which nobody exposes", found)
			}
		}
	}
}

// serverViews are views of PostgreSQL, not metrics.
var serverViews = map[string]bool{"pg_stat_replication": true, "pg_stat_statements": true}

func readAll(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files (%v)", pattern, err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
