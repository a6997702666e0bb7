// Package suitetest holds the checks that the catalogue of every exporter must pass.
package suitetest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Families lists what a catalogue and the exporter itself declare.
func Families(catalogue collect.Catalogue, self *collect.Self) []*metric.Family {
	all := slices.Clone(self.Families())
	for _, c := range catalogue {
		all = append(all, c.Families...)
	}
	return all
}

// Lint checks a catalogue: that it can be compiled, and that promlint has nothing to say of its names and help texts
// but of the established ones, which kept knows.
func Lint(t *testing.T, catalogue collect.Catalogue, self *collect.Self, kept func(name string) bool) {
	t.Helper()
	if err := catalogue.Check(); err != nil {
		t.Error(err)
	}
	var families []*dto.MetricFamily
	for _, f := range Families(catalogue, self) {
		if !strings.HasSuffix(f.Name, "*") {
			families = append(families, example(f))
		}
		if !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: the help text is no sentence: %q", f.Name, f.Help)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Error(err)
	}
	for _, problem := range problems {
		if !kept(problem.Metric) {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
}

// example is a family with one sample.
func example(f *metric.Family) *dto.MetricFamily {
	batch := metric.NewBatch(0)
	switch labels := make([]string, len(f.Labels)); f.Type {
	case metric.Histogram:
		batch.AddHistogram(f, metric.NewRecorder(nil).Value(), labels...)
	case metric.Summary:
		batch.AddSummary(f, &metric.SummaryValue{}, labels...)
	default:
		batch.Add(f, 0, labels...)
	}
	return proto.Clone(batch.Families()[0]).(*dto.MetricFamily)
}

// Rules checks that every metric and label that the rule files of a pattern name is declared. Prefixes are those of
// the exporter's metrics; names of other exporters are left to them.
func Rules(t *testing.T, pattern string, families []*metric.Family, prefixes ...string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no rule files at %s: %v", pattern, err)
	}
	for _, file := range files {
		for _, expression := range expressions(t, file) {
			for _, problem := range unknown(expression, families, prefixes) {
				t.Errorf("%s: %s in %s", filepath.Base(file), problem, expression)
			}
		}
	}
}

// expressions gives the PromQL of a rule file.
func expressions(t *testing.T, file string) []string {
	t.Helper()
	var rules struct {
		Groups []struct {
			Rules []struct {
				Expr string `yaml:"expr"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	content, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(content, &rules)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var all []string
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			all = append(all, rule.Expr)
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)`)
)

// unknown says which metrics and labels of an expression are not declared.
func unknown(expression string, families []*metric.Family, prefixes []string) []string {
	var problems []string
	for _, match := range selector.FindAllStringSubmatch(expression, -1) {
		name, labels := match[1], match[2]
		if strings.Contains(name, ":") || !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		family := find(families, name)
		if family == nil {
			problems = append(problems, "unknown metric "+name)
			continue
		}
		for _, label := range matcher.FindAllStringSubmatch(labels, -1) {
			known := append([]string{"job", "instance", "target", "le"}, family.Labels...)
			if !slices.Contains(known, label[1]) {
				problems = append(problems, "unknown label "+label[1]+" of "+name)
			}
		}
	}
	return problems
}

// find gives the family of a series: by name, as part of a histogram, or by an open prefix.
func find(families []*metric.Family, name string) *metric.Family {
	for _, f := range families {
		prefix, open := strings.CutSuffix(f.Name, "*")
		base := name
		if f.Type == metric.Histogram || f.Type == metric.Summary {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, part)
			}
		}
		if f.Name == base || open && strings.HasPrefix(name, prefix) {
			return f
		}
	}
	return nil
}

// Golden compares a text with a file, line by line, or writes the file where update is set.
func Golden(t *testing.T, path, got string, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	was, is := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	told := missing(t, path+": gone", was, is) + missing(t, path+": new", is, was)
	if told == 0 {
		t.Errorf("%s: the order or number of lines differs", path)
	}
}

// missing reports the lines that the other text lacks, and tells how many they are.
func missing(t *testing.T, what string, lines, others []string) (n int) {
	t.Helper()
	for _, line := range lines {
		if !slices.Contains(others, line) {
			t.Errorf("%s: %s", what, line)
			n++
		}
	}
	return n
}
