package collect

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// read gives what a table makes of an answer, in the text format without HELP.
func read(t *testing.T, table Table, r reply) (string, error) {
	t.Helper()
	table.Name, table.Prefix, table.Sources = "t", "t", []Source{Always("")}
	collector, err := table.Collector()
	if err != nil {
		t.Fatal(err)
	}
	if err := (Catalogue{collector}).Check(); err != nil {
		t.Fatal(err)
	}
	batch, page, text := metric.NewBatch(0), metric.Page{}, bytes.Buffer{}
	err = collector.Read(0, &rows{reply: r}, batch)
	page.Add(batch)
	if err := page.Encode(&text, expfmt.FmtText); err != nil {
		t.Fatal(err)
	}
	var samples strings.Builder
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "# HELP") {
			samples.WriteString(line)
		}
	}
	return samples.String(), err
}

func TestTable(t *testing.T) {
	for name, test := range map[string]struct {
		columns []Column
		created string
		answer  reply
		want    string
	}{
		"types": {
			[]Column{Count("c", "calls_total", ""), Value("v", "size", ""), Value("u", "old", "").Untyped(), Info("info", ""), Label("l")}, "",
			table("l c v u", "a 1 2 3"), `
			# TYPE t_calls_total counter
			t_calls_total{l="a"} 1
			# TYPE t_info gauge
			t_info{l="a"} 1
			# TYPE t_old untyped
			t_old{l="a"} 3
			# TYPE t_size gauge
			t_size{l="a"} 2
		`},
		"no labels and no rows": {[]Column{Value("v", "v", "")}, "", table("v"), ""},
		"no sample of what is absent, NULL, NaN or infinite": {
			[]Column{Value("a", "absent", ""), Value("b", "null", ""), Value("c", "nan", ""), Value("d", "inf", ""), Value("e", "minus_inf", ""),
				Value("f", "huge", ""), Value("g", "scaled", "").Times(1e300), Value("h", "zero", ""), Value("i", "empty", "")}, "",
			table("b c d e f g h i", "- NaN Infinity -Infinity 1e999 1e300 0 "), `
			# TYPE t_zero gauge
			t_zero 0
		`},
		"numbers": {
			[]Column{Label("l"), Value("v", "v", "")}, "",
			table("l v", "a 7", "b -7", "c 007", "d 1.5", "e -0.25", "f 1e3", "g t", "h f", "i true", "j false", "k on", "l off", "m 9007199254740993", "n 123456789012345"), `
			# TYPE t_v gauge
			t_v{l="a"} 7
			t_v{l="b"} -7
			t_v{l="c"} 7
			t_v{l="d"} 1.5
			t_v{l="e"} -0.25
			t_v{l="f"} 1000
			t_v{l="g"} 1
			t_v{l="h"} 0
			t_v{l="i"} 1
			t_v{l="j"} 0
			t_v{l="k"} 1
			t_v{l="l"} 0
			t_v{l="m"} 9.007199254740992e+15
			t_v{l="n"} 1.23456789012345e+14
		`},
		"scale": {[]Column{Count("ms", "seconds_total", "").Times(1e-3)}, "", table("ms", "1500"), `
			# TYPE t_seconds_total counter
			t_seconds_total 1.5
		`},
		"labels are renamed, constant, absent or some": {
			[]Column{Label("datname").As("database"), Const("server", "a:1"), Label("missing"), Value("v", "all", ""), Value("v", "one", "").Per("database"), Value("v", "none", "").Per()}, "",
			table("datname v", "x 1"), `
			# TYPE t_all gauge
			t_all{database="x",missing="",server="a:1"} 1
			# TYPE t_none gauge
			t_none 1
			# TYPE t_one gauge
			t_one{database="x"} 1
		`},
		"labels come in the order of their names": {[]Column{Label("b"), Label("a"), Value("v", "v", "")}, "", table("a b v", "1 2 3"), `
			# TYPE t_v gauge
			t_v{a="1",b="2"} 3
		`},
		"one metric from a field of two names": {[]Column{Count("total_time", "time_total", ""), Count("total_exec_time", "time_total", "")}, "", table("total_exec_time", "5"), `
			# TYPE t_time_total counter
			t_time_total 5
		`},
		"a nameless field is nobody's": {[]Column{Const("c", "x"), Info("info", "")}, "", reply{fields: "", lines: []string{"1"}}, `
			# TYPE t_info gauge
			t_info{c="x"} 1
		`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(t, Table{Columns: test.columns, Created: test.created}, test.answer)
			if err != nil {
				t.Error(err)
			}
			if got != undent(test.want) {
				t.Errorf("got\n%s\nwant\n%s", got, undent(test.want))
			}
		})
	}
}

// Targets have a table in common, and each its own text for the constant label.
func TestTableWithConst(t *testing.T) {
	shared, err := Table{Name: "t", Prefix: "t", Sources: []Source{Always("q")}, Columns: []Column{
		Label("name"), Const("server", "nobody"), Label("missing"), Value("v", "v", "V."),
	}}.Collector()
	if err != nil {
		t.Fatal(err)
	}
	for server, collector := range map[string]*Collector{"nobody": shared, "a:1": shared.WithConst("a:1"), "b:1": shared.WithConst("b:1")} {
		s := newServer()
		s.replies["q"] = table("name v", "x 1")
		bubble(t, s, Catalogue{collector}, func(f *fixture) {
			f.expect(f.scrape(second), "t_v", fmt.Sprintf("t_v{missing=\"\",name=\"x\",server=%q} 1\n", server))
		})
		collector.Families = append(collector.Families, nil) // which is nobody else's
	}
	if len(shared.Families) != 2 {
		t.Errorf("%d families", len(shared.Families))
	}
}

func TestTableFails(t *testing.T) {
	for name, test := range map[string]struct {
		answer reply
		want   fault.Kind
		text   string
	}{
		"not a number":  {table("v", "1", "zwei"), fault.Malformed, `column v: "zwei" is no number`},
		"rows break":    {reply{fields: "v", lines: []string{"1"}, ends: errGone}, fault.Unreachable, "EOF"},
		"longest value": {table("v", strings.Repeat("x", 100)), fault.Malformed, `column v: "` + strings.Repeat("x", 40) + `" is no number`},
	} {
		_, err := read(t, Table{Columns: []Column{Value("v", "v", "")}}, test.answer)
		if fault.Of(err) != test.want || err.Error() != test.text {
			t.Errorf("%s: the error is %q, %v", name, fault.Of(err), err)
		}
	}
}

func TestCreated(t *testing.T) {
	made := Table{Name: "t", Sources: []Source{Always("")}, Created: "since", Columns: []Column{
		Label("l"), Count("c", "t_calls_total", ""), Value("c", "t_size", ""),
	}}
	collector, err := made.Collector()
	if err != nil {
		t.Fatal(err)
	}
	batch := metric.NewBatch(0)
	answer := table("l c since", "a 1 1700000000", "b 2 -", "c 3 -5", "d 4 infinity", "e 5 1e300", "f 6 soon")
	if err := collector.Read(0, &rows{reply: answer}, batch); err != nil {
		t.Fatal(err)
	}
	var page metric.Page
	var text bytes.Buffer
	page.Add(batch)
	if err := page.Encode(&text, expfmt.FmtOpenMetrics_1_0_0); err != nil {
		t.Fatal(err)
	}
	if got := lines(text.String(), "t_calls_created", "t_size_created"); got != "t_calls_created{l=\"a\"} 1.7e+09\n" {
		t.Errorf("the page says\n%s", text.String())
	}
}

func TestTableMistakes(t *testing.T) {
	always, value := []Source{Always("q")}, Value("v", "v", "")
	for name, test := range map[string]struct {
		table Table
		want  string
	}{
		"no source":                {Table{Columns: []Column{value}}, "table t: it has no source or no metric"},
		"no metric":                {Table{Sources: always, Columns: []Column{Label("l")}}, "table t: it has no source or no metric"},
		"no such label":            {Table{Sources: always, Columns: []Column{value.Per("l")}}, `table t: column v: "l" is no label of the table`},
		"label twice":              {Table{Sources: always, Columns: []Column{Label("l"), Label("k").As("l"), value}}, `table t: column v: v has the label "l" twice`},
		"name of a metric":         {Table{Sources: always, Columns: []Column{Value("v", "a-b", "")}}, `table t: column a-b: "a-b" is no name of a metric`},
		"name of a label":          {Table{Sources: always, Columns: []Column{Label("a-b"), value}}, `table t: column v: "a-b" of v is no name of a label`},
		"reserved label":           {Table{Sources: always, Columns: []Column{Label("__name__"), value}}, `table t: column v: "__name__" of v is no name of a label`},
		"one metric in two ways":   {Table{Sources: always, Columns: []Column{value, Count("v", "v", "")}}, "table t: column v: another column declares the metric in another way"},
		"one metric by two labels": {Table{Sources: always, Columns: []Column{Label("l"), value, value.Per()}}, "table t: column v: another column declares the metric in another way"},
	} {
		test.table.Name = "t"
		if _, err := test.table.Collector(); err == nil || err.Error() != test.want {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

func TestSources(t *testing.T) {
	collector, err := Table{
		Name: "t", Columns: []Column{Value("v", "v", "")}, Needs: Needs{Feature: "ext"},
		Sources: []Source{Since(17, "new"), Between(12, 14, "middle {ext}.view"), Until(10, "old")},
	}.Collector()
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[int]string{9: "old", 10: "", 11: "", 12: `middle "my schema".view`, 13: `middle "my schema".view`, 14: "", 16: "", 17: "new", 99: "new"} {
		questions, _, missing, err := collector.questions(Identity{Version: version, Features: map[string]string{"ext": `"my schema"`}})
		switch {
		case err != nil:
			t.Error(err)
		case want == "" && (missing != "version" || len(questions) != 0):
			t.Errorf("version %d: asks %v, lacks %q", version, questions, missing)
		case want != "" && (len(questions) != 1 || questions[0].Text != want):
			t.Errorf("version %d: asks %v", version, questions)
		}
	}
	if _, _, missing, _ := collector.questions(Identity{Version: 17}); missing != "ext" {
		t.Errorf("without the feature, %q is missing", missing)
	}
}

func TestCatalogueCheck(t *testing.T) {
	family := func(help string, kind metric.Type) []*metric.Family {
		return []*metric.Family{{Name: "m", Help: help, Type: kind}}
	}
	asks := func(name string, change func(*Collector)) *Collector { return gauge(name, change) }
	for name, test := range map[string]struct {
		catalogue Catalogue
		want      string
	}{
		"nothing is wrong": {Catalogue{gauge("a"), gauge("b"), gauge("c", slow(second))}, ""},
		"shared family":    {Catalogue{asks("a", func(c *Collector) { c.Families = family("h", metric.Gauge) }), asks("b", func(c *Collector) { c.Families = family("h", metric.Gauge) })}, ""},
		"open family":      {Catalogue{asks("a", func(c *Collector) { c.Families = []*metric.Family{{Name: "settings_*"}} })}, ""},
		"no name":          {Catalogue{asks("a", func(c *Collector) { c.Name = "" })}, `collector "": the name is missing or taken`},
		"name taken":       {Catalogue{gauge("a"), gauge("a")}, `collector "a": the name is missing or taken`},
		"asks only":        {Catalogue{asks("a", func(c *Collector) { c.Read = nil })}, "collector a: it must either ask and read, or talk, or run"},
		"does nothing":     {Catalogue{asks("a", func(c *Collector) { c.Ask, c.Read = nil, nil })}, "collector a: it must either ask and read, or talk, or run"},
		"does both":        {Catalogue{asks("a", func(c *Collector) { c.Run = dialogue("b", nil).Run })}, ""},
		"slow, no Every":   {Catalogue{asks("a", func(c *Collector) { c.Class = Slow })}, "collector a: the slow class, and only it, needs Every"},
		"cheap, Every":     {Catalogue{asks("a", func(c *Collector) { c.Every = second })}, "collector a: the slow class, and only it, needs Every"},
		"two types":        {Catalogue{asks("a", func(c *Collector) { c.Families = family("h", metric.Gauge) }), asks("b", func(c *Collector) { c.Families = family("h", metric.Counter) })}, "collector b: m is declared elsewhere in another way"},
		"two helps":        {Catalogue{asks("a", func(c *Collector) { c.Families = family("h", metric.Gauge) }), asks("b", func(c *Collector) { c.Families = family("i", metric.Gauge) })}, "collector b: m is declared elsewhere in another way"},
		"bad family":       {Catalogue{asks("a", func(c *Collector) { c.Families = []*metric.Family{{Name: "a.b"}} })}, `collector a: "a.b" is no name of a metric`},
	} {
		err := test.catalogue.Check()
		if got := errorText(err); got != test.want {
			t.Errorf("%s: the error is %q, want %q", name, got, test.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzNumber holds that no text makes the reading of numbers fail otherwise than by an error, and that what it takes
// for a whole number is what the standard library takes it for.
func FuzzNumber(f *testing.F) {
	for _, seed := range []string{"", "0", "-", "-0", "+1", "12", "-12", "123456789012345", "1234567890123456", "1.5", "1e999", "-1e999", "NaN", "inf", "t", "off", "0x1p-2", "1_000", " 1", "1 ", "\x00", "é"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		value, present, err := number(text)
		if !bytes.Equal(before, text) {
			t.Fatal("the text was changed")
		}
		if present && (err != nil || math.IsNaN(value) || math.IsInf(value, 0)) {
			t.Fatalf("%q is %v, %v", text, value, err)
		}
		if !present && value != 0 {
			t.Fatalf("%q is not present but %v", text, value)
		}
		want, wantErr := strconv.ParseFloat(string(text), 64)
		if wantErr == nil && !math.IsNaN(want) && !math.IsInf(want, 0) && (!present || value != want) {
			t.Fatalf("%q is %v, want %v", text, value, want)
		}
		if len(text) > 0 && err == nil && !present && wantErr != nil && !errors.Is(wantErr, strconv.ErrRange) {
			t.Fatalf("%q passes for NULL", text)
		}
	})
}
