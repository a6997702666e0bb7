package collect

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

func parseTable(t *testing.T, text string) (TableYAML, error) {
	t.Helper()
	var table TableYAML
	return table, yaml.Unmarshal([]byte(text), &table)
}

const wholeTable = `
name: jobs
prefix: app
help: Jobs.
every: 1m
limit: 7
created: since
needs: {extension: x, replica: true}
sources:
- {since: 2, until: 5, query: first}
- {query: other}
columns:
- label: queue
- {label: q, name: kind}
- {const: region, text: eu}
- {count: done, name: done_total, help: Done., scale: 2}
- {value: waiting, help: Waiting., by: [queue]}
- {value: all, help: All., by: []}
- {untyped: odd, help: Odd.}
- {info: info, help: There.}
- {histogram: age, name: age_seconds, help: Age.}
`

// What a user writes is the same table that a catalogue would hold, and is written as it was read.
func TestTableYAML(t *testing.T) {
	written, err := parseTable(t, wholeTable)
	if err != nil {
		t.Fatal(err)
	}
	got, err := written.Table()
	if err != nil {
		t.Fatal(err)
	}
	want := Table{
		Name: "jobs", Prefix: "app", Help: "Jobs.", Class: Slow, Every: time.Minute, Limit: 7, Rows: 7, Created: "since",
		Needs:   Needs{Feature: "x", Replica: true},
		Sources: []Source{Between(2, 5, "first"), Always("other")},
		Columns: []Column{
			Label("queue"), Label("q").As("kind"), Const("region", "eu"),
			Count("done", "done_total", "Done.").Times(2), Value("waiting", "waiting", "Waiting.").Per("queue"), Value("all", "all", "All.").Per(),
			Value("odd", "odd", "Odd.").Untyped(), Info("info", "There."), Histogram("age", "age_seconds", "Age."),
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	written.Columns[5].By = nil // an empty list is not written, and nobody writes one but a person
	text, err := yaml.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseTable(t, string(text))
	if err != nil {
		t.Fatal(err)
	}
	if one, err := written.Table(); err != nil {
		t.Error(err)
	} else if two, err := again.Table(); err != nil || !reflect.DeepEqual(one, two) {
		t.Errorf("%+v\n%+v\n%v\n%s", one, two, err, text)
	}
}

func TestTableYAMLMistakes(t *testing.T) {
	for change, want := range map[string]string{
		"name: jobs=>name: 1x":                       `line 2: "1x" is no name of a table`,
		"every: 1m=>every: 1ms":                      "line 2: table jobs: every must be 1s or more",
		"{query: other}=>{since: 3}":                 "source 2 has no query",
		"{const: region, text: eu}=>{const: region}": "line 15: table jobs: column 3: const region: say in text",
		"count: done, =>":                            "column 4: say what it is",
		"scale: 2=>scale: .nan":                      "scale is what the value is multiplied by",
		"by: [queue]=>by: [nobody]":                  `"nobody" is no label of the table`,
		"untyped: odd=>count: odd":                   "ends with _total: add name: odd_total",
		"- {info: info, help: There.}=>- {info: done_total, help: There.}": "another column declares the metric in another way",
	} {
		from, to, _ := strings.Cut(change, "=>")
		if !strings.Contains(wholeTable, from) {
			t.Fatal(from)
		}
		written, err := parseTable(t, strings.Replace(wholeTable, from, to, 1))
		if err == nil {
			_, err = written.Table()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", change, err, want)
		}
	}
}

func TestCheckOwn(t *testing.T) {
	own := func(name string, families ...*metric.Family) *Collector {
		c := gauge(name)
		c.Families = families
		return c
	}
	built := Catalogue{own("built", &metric.Family{Name: "x_a"}, &metric.Family{Name: "x_open_*"}, &metric.Family{Name: "x_h", Type: metric.Histogram})}
	for name, test := range map[string]struct {
		own  Catalogue
		want string
	}{
		"nothing":           {nil, ""},
		"another":           {Catalogue{own("a", &metric.Family{Name: "x_b"})}, ""},
		"shared":            {Catalogue{own("a", &metric.Family{Name: "x_b"}), own("b", &metric.Family{Name: "x_b"})}, ""},
		"name":              {Catalogue{own("built")}, "table built: the name is that of a built-in collector"},
		"own name":          {Catalogue{own("a"), own("a")}, "table a: there is another of that name"},
		"metric":            {Catalogue{own("a", &metric.Family{Name: "x_a"})}, "x_a is one of the collector built already"},
		"open metric":       {Catalogue{own("a", &metric.Family{Name: "x_open_b"})}, "x_open_b is one of the collector built already"},
		"histogram's part":  {Catalogue{own("a", &metric.Family{Name: "x_h_count"})}, "x_h_count is one of the collector built already"},
		"exporter's":        {Catalogue{own("a", &metric.Family{Name: "p_up"})}, "p_up is one of the exporter's own already"},
		"two types":         {Catalogue{own("a", &metric.Family{Name: "x_b"}), own("b", &metric.Family{Name: "x_b", Type: metric.Counter})}, "x_b is declared in another way by the table a"},
		"part of its own":   {Catalogue{own("a", &metric.Family{Name: "x_b", Type: metric.Histogram}, &metric.Family{Name: "x_b_sum"})}, "is declared in another way by the table a"},
		"two texts of help": {Catalogue{own("a", &metric.Family{Name: "x_b", Help: "1"}), own("b", &metric.Family{Name: "x_b", Help: "2"})}, "x_b is declared in another way"},
	} {
		err := built.CheckOwn(test.own, NewSelf("p", nil))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

// A question that the server does not take is the user's mistake in his own collector, and the server's lack in others.
func TestOwnKind(t *testing.T) {
	s := newServer()
	s.classify = func(err error) fault.Kind {
		if errors.Is(err, io.ErrNoProgress) { // that of a driver, which knows no better
			return fault.Unsupported
		}
		return fault.Of(err)
	}
	for _, test := range []struct {
		own  bool
		err  error
		want fault.Kind
	}{
		{false, io.ErrNoProgress, fault.Unsupported},
		{true, io.ErrNoProgress, fault.Config},
		{true, fault.New(fault.Internal, "panic"), fault.Internal}, // ours whoever asked
		{true, fault.New(fault.Denied, "x"), fault.Denied},
	} {
		if got := (&Collector{Own: test.own}).kind(test.err, s); got != test.want {
			t.Errorf("%v: %s, want %s", test.err, got, test.want)
		}
	}
}
