package collect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// TestSamples holds what a collector's answer comes to: all of it, or nothing.
func TestSamples(t *testing.T) {
	two := func(name string) *Collector {
		c := gauge(name)
		c.Ask = func(Identity) []Question { return []Question{{Text: "first"}, {Text: "second"}} }
		return c
	}
	undeclared := &metric.Family{Name: "fake_undeclared"}
	for name, test := range map[string]struct {
		collector *Collector
		replies   map[string]reply
		want      string
	}{
		"duplicates are dropped and counted": {gauge("g"), map[string]reply{"g": table("key value", "a 1", "b 2", "a 3", "a 1")}, `
			fake_exporter_collector_success{collector="g"} 1
			fake_exporter_duplicate_samples_total 2
			fake_exporter_limited_samples_total 0
			fake_exporter_repaired_labels_total 0
			fake_g{key="a"} 1
			fake_g{key="b"} 2
		`},
		"a collector has a limit": {gauge("g", func(c *Collector) { c.Limit = 2 }), map[string]reply{"g": table("key value", "a 1", "b 2", "c 3", "d 4", "e 5")}, `
			fake_exporter_collector_series_limited{collector="g"} 3
			fake_exporter_collector_success{collector="g"} 1
			fake_exporter_duplicate_samples_total 0
			fake_exporter_limited_samples_total 3
			fake_exporter_repaired_labels_total 0
			fake_g{key="a"} 1
			fake_g{key="b"} 2
		`},
		"rows beyond those that are shown are left out whole": {rowsOf(2), map[string]reply{"g": table("key value", "a 1", "b -", "c 3", "d 4")}, `
			fake_exporter_collector_series_limited{collector="g"} 4
			fake_exporter_collector_success{collector="g"} 1
			fake_exporter_duplicate_samples_total 0
			fake_exporter_limited_samples_total 4
			fake_exporter_repaired_labels_total 0
			fake_g_info{key="a"} 1
			fake_g_info{key="b"} 1
			fake_g_value{key="a"} 1
		`},
		"labels are repaired and counted": {gauge("g"), map[string]reply{"g": table("key value", "caf\xe9 1", strings.Repeat("x", 2000)+" 2")}, `
			fake_exporter_collector_success{collector="g"} 1
			fake_exporter_duplicate_samples_total 0
			fake_exporter_limited_samples_total 0
			fake_exporter_repaired_labels_total 2
			fake_g{key="caf` + "\uFFFD" + `"} 1
			fake_g{key="` + strings.Repeat("x", 1024) + `"} 2
		`},
		"two answers are one": {two("g"), map[string]reply{"first": table("key value", "a 1"), "second": table("key value", "b 2")}, `
			fake_exporter_collector_success{collector="g"} 1
			fake_exporter_duplicate_samples_total 0
			fake_exporter_limited_samples_total 0
			fake_exporter_repaired_labels_total 0
			fake_g{key="a"} 1
			fake_g{key="b"} 2
		`},
		"the second of two fails": {two("g"), map[string]reply{"first": table("key value", "a 1", "a 1"), "second": {err: fault.New(fault.Busy, "")}}, nothing("busy")},
		"the first of two fails":  {two("g"), map[string]reply{"first": {err: fault.New(fault.Busy, "")}, "second": {err: fault.New(fault.Denied, "")}}, nothing("busy")},
		"the rows break off":      {gauge("g"), map[string]reply{"g": {fields: "key value", lines: []string{"a 1"}, ends: fault.New(fault.Limited, "")}}, nothing("limited")},
		"a value is no number":    {gauge("g"), map[string]reply{"g": table("key value", "a 1", "b x")}, nothing("malformed")},
		"a family is undeclared": {gauge("g", func(c *Collector) {
			c.Read = func(_ int, _ Answer, out *metric.Batch) error { out.Add(undeclared, 1); return nil }
		}), map[string]reply{"g": table("key value")}, nothing("internal")},
		"a number of labels is wrong": {gauge("g", func(c *Collector) {
			c.Read = func(_ int, _ Answer, out *metric.Batch) error { out.Add(c.Families[0], 1, "a", "b"); return nil }
		}), map[string]reply{"g": table("key value")}, nothing("internal")},
		"an open family takes no name that breaks the page": {gauge("g", func(c *Collector) {
			c.Families = []*metric.Family{{Name: "fake_g_*"}}
			c.Read = func(_ int, _ Answer, out *metric.Batch) error {
				out.Add(&metric.Family{Name: "fake_g_a b"}, 1)
				return nil
			}
		}), map[string]reply{"g": table("key value")}, nothing("internal")},
		"an open family takes what the server names": {gauge("g", func(c *Collector) {
			c.Families = []*metric.Family{{Name: "fake_g_*"}}
			c.Read = func(_ int, _ Answer, out *metric.Batch) error {
				out.Add(&metric.Family{Name: "fake_g_work_mem"}, 1)
				return nil
			}
		}), map[string]reply{"g": table("key value")}, `
			fake_exporter_collector_success{collector="g"} 1
			fake_exporter_duplicate_samples_total 0
			fake_exporter_limited_samples_total 0
			fake_exporter_repaired_labels_total 0
			fake_g_work_mem 1
		`},
		"an unclassified error is our mistake": {gauge("g"), map[string]reply{"g": {err: fmt.Errorf("?")}}, nothing("internal")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			for question, reply := range test.replies {
				s.replies[question] = reply
			}
			bubble(t, s, Catalogue{test.collector}, func(f *fixture) {
				names := "fake_g fake_undeclared fake_exporter_collector_success fake_exporter_collector_failures fake_exporter_collector_series fake_exporter_duplicate fake_exporter_limited fake_exporter_repaired"
				f.expect(f.scrape(second), names, test.want)
			})
		})
	}
}

// rowsOf is a collector of two metrics that shows so many rows.
func rowsOf(n int) *Collector {
	collector, err := Table{
		Name: "g", Prefix: "fake_g", Rows: n, Sources: []Source{Always("g")},
		Columns: []Column{Label("key"), Value("value", "value", ""), Info("info", "")},
	}.Collector()
	if err != nil {
		panic(err)
	}
	return collector
}

func nothing(reason string) string {
	return `
		fake_exporter_collector_failures_total{collector="g",reason="` + reason + `"} 1
		fake_exporter_collector_success{collector="g"} 0
		fake_exporter_duplicate_samples_total 0
		fake_exporter_limited_samples_total 0
		fake_exporter_repaired_labels_total 0
	`
}

// TestNeeds holds what is asked of which server, and that what it cannot have is no failure.
func TestNeeds(t *testing.T) {
	for name, test := range map[string]struct {
		needs    Needs
		identity Identity
		missing  string
	}{
		"nothing":        {},
		"a feature":      {Needs{Feature: "x"}, Identity{Features: map[string]string{"x": ""}}, ""},
		"no feature":     {Needs{Feature: "x"}, Identity{Features: map[string]string{"y": ""}}, "x"},
		"a primary":      {Needs{Primary: true}, Identity{}, ""},
		"not a replica":  {Needs{Primary: true}, Identity{Replica: true}, "primary"},
		"a replica":      {Needs{Replica: true}, Identity{Replica: true}, ""},
		"not a primary":  {Needs{Replica: true}, Identity{}, "replica"},
		"feature first":  {Needs{Feature: "x", Replica: true}, Identity{}, "x"},
		"feature, wrong": {Needs{Feature: "x", Replica: true}, Identity{Features: map[string]string{"x": ""}}, "replica"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.identity, s.replies["g"] = test.identity, table("key value", "a 1")
			bubble(t, s, Catalogue{gauge("g", func(c *Collector) { c.Needs = test.needs })}, func(f *fixture) {
				want := "fake_exporter_collector_success{collector=\"g\"} 1\n"
				if test.missing != "" {
					want += "fake_exporter_collector_unsupported_info{collector=\"g\",missing=\"" + test.missing + "\"} 1\n"
				} else {
					want += "fake_g{key=\"a\"} 1\n"
				}
				result := f.scrape(second)
				f.expect(result, "fake_g fake_exporter_collector_success fake_exporter_collector_unsupported fake_exporter_collector_failures", want)
				f.expect(result, "fake_exporter_last_scrape_error", "fake_exporter_last_scrape_error 0\n")
				if asked := f.count("g"); (asked == 0) != (test.missing != "") {
					t.Errorf("the question was asked %d times", asked)
				}
				if state, _ := result.Find("g"); state.Missing != test.missing || state.Fault != fault.None || state.Err != nil {
					t.Errorf("the collector is reported as %+v", state)
				}
			})
		})
	}
}

// TestUnsupportedAnswer holds that a server which says itself that it cannot answer is no failure either.
func TestUnsupportedAnswer(t *testing.T) {
	bubble(t, newServer(), Catalogue{gauge("g")}, func(f *fixture) {
		result := f.scrape(second)
		f.expect(result, "fake_exporter_collector_success fake_exporter_collector_failures fake_exporter_collector_unsupported fake_exporter_last_scrape_error", `
			fake_exporter_collector_success{collector="g"} 1
			fake_exporter_collector_unsupported_info{collector="g",missing="server"} 1
			fake_exporter_last_scrape_error 0
		`)
		if state, _ := result.Find("g"); state.Err != nil || state.Fault != fault.None || state.Missing != "server" {
			t.Errorf("the collector is reported as %+v", state)
		}
	})
}

// TestOrder holds that the health is asked for first, and dear collectors last.
func TestOrder(t *testing.T) {
	s := newServer()
	dear := func(c *Collector) { c.Class = Dear }
	bubble(t, s, Catalogue{gauge("d1", dear), gauge("c1"), gauge("d2", dear), gauge("c2")}, func(f *fixture) {
		f.scrape(second)
		if got := strings.Join(s.asked, " "); got != "ping read c1 c2 d1 d2" {
			t.Errorf("asked: %s", got)
		}
	})
}

func TestSelf(t *testing.T) {
	self := NewSelf("pg", map[string]string{"exporter_last_scrape_error": "pg_last_error", "exporter_scrapes_total": "pg_scrapes", "no_such": "x"})
	names := map[string]bool{}
	for _, family := range self.Families() {
		if err := family.Check(); err != nil {
			t.Error(err)
		}
		if names[family.Name] || family.Help == "" {
			t.Errorf("%s is declared twice or has no help", family.Name)
		}
		names[family.Name] = true
	}
	for _, name := range []string{"pg_up", "pg_last_error", "pg_scrapes", "service_health", "db_connection_success"} {
		if !names[name] {
			t.Errorf("%s is not declared", name)
		}
	}
	if names["x"] {
		t.Error("an alias of nothing is declared")
	}
	bubble(t, newServer(), nil, func(f *fixture) {
		f.self = self
		f.expect(f.scrape(second), "pg_last_error pg_scrapes pg_exporter_scrapes pg_exporter_last_scrape_error", `
			pg_exporter_last_scrape_error 0
			pg_exporter_scrapes_total 1
			pg_last_error 0
			pg_scrapes 1
		`)
	})
}

// TestConstantLabels holds that the labels of a target are on all its samples.
func TestConstantLabels(t *testing.T) {
	s := newServer()
	s.replies["g"] = table("key value", "a 1")
	bubble(t, s, Catalogue{gauge("g")}, func(f *fixture) {
		f.spec.Labels = []metric.Label{{Name: "target", Value: "t1"}, {Name: "key", Value: "hidden by the collector's own"}}
		for line := range strings.Lines(page(t, f.scrape(second))) {
			if !strings.HasPrefix(line, "#") && !strings.Contains(line, `target="t1"`) {
				t.Errorf("a sample lacks the target's label: %s", line)
			}
			if strings.HasPrefix(line, "fake_g") && line != "fake_g{key=\"a\",target=\"t1\"} 1\n" {
				t.Errorf("the sample is %s", line)
			}
		}
	})
}
