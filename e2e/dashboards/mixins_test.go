package dashboards

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// mixin is what a dashboard or an alert made by others asks for.
type mixin struct {
	Source  string              `yaml:"source"`
	Metrics map[string][]string `yaml:"metrics"` // labels by metric
	Lacking map[string]string   `yaml:"lacking"` // reasons by METRIC or METRIC{LABEL}
}

// TestMixinsFindTheirMetrics holds what others' dashboards and alerts ask for against what we serve, old names included.
// What they do not find has a reason, and a reason is given for nothing else.
func TestMixinsFindTheirMetrics(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/mixins.yml")
	if err != nil {
		t.Fatal(err)
	}
	var mixins []mixin
	if err := yaml.Unmarshal(text, &mixins); err != nil {
		t.Fatal(err)
	}
	if len(mixins) < 2 {
		t.Fatalf("%d mixins", len(mixins))
	}
	for _, m := range mixins {
		missing := m.missing(t)
		for _, what := range missing {
			if m.Lacking[what] == "" {
				t.Errorf("%s: nobody serves %s", m.Source, what)
			}
		}
		for what := range m.Lacking {
			if !slices.Contains(missing, what) {
				t.Errorf("%s: %s is said to be lacking and is not", m.Source, what)
			}
		}
	}
}

func (m mixin) missing(t *testing.T) []string {
	t.Helper()
	if len(m.Metrics) == 0 {
		t.Fatalf("%s asks for nothing", m.Source)
	}
	all, old := catalogue(t), oldNames(t)
	var missing []string
	for name, labels := range m.Metrics {
		metric, known := all.Lookup(name)
		if now, is := old[name]; !known && is {
			metric, known = all.Lookup(now)
		}
		if !known {
			missing = append(missing, name)
			continue
		}
		for _, label := range labels {
			if !metric.Open && !slices.Contains(metric.Labels, label) {
				missing = append(missing, name+"{"+label+"}")
			}
		}
	}
	return missing
}

// oldNames reads which names the PostgreSQL exporter's --compat.legacy-names adds, and of what, out of its source: that
// they are served is held by its own tests.
func oldNames(t *testing.T) map[string]string {
	t.Helper()
	source, err := os.ReadFile("../../exporters/postgres/compat.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, pair := range regexp.MustCompile(`"(pg_\w+)":\s+"(pg_\w+)"`).FindAllStringSubmatch(string(source), -1) {
		names[pair[2]] = pair[1]
	}
	if len(names) == 0 {
		t.Fatal("no old names")
	}
	return names
}
