package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
)

// What convert prints, and what it says of it, is recorded.
func TestConvertGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"postgres_exporter", "pg_exporter"} {
		text, c := converted(t, "testdata/custom/"+name+".yml")
		var notes strings.Builder
		for _, note := range c.notes {
			fmt.Fprintln(&notes, note)
		}
		suitetest.Golden(t, "testdata/custom/"+name+".converted.yml", text, *update)
		suitetest.Golden(t, "testdata/custom/"+name+".notes.txt", notes.String(), *update)
		if _, err := loadOwn(t, text); err != nil {
			t.Errorf("%s: what was converted does not load: %v", name, err)
		}
	}
}

// entry is a file of one query with a column.
func entry(more, column string) string {
	return "app:\n  query: SELECT 1 AS n\n" + more + "  metrics:\n  - n: " + column + "\n"
}

// Nothing is dropped without a word.
func TestConvertSays(t *testing.T) {
	t.Parallel()
	const gauge = "{usage: GAUGE, description: Number}"
	for name, test := range map[string]struct{ from, text, want string }{
		"unlisted columns":   {fromPostgresExporter, entry("", gauge), "line 1: note: columns that a query gives and the file does not list"},
		"mapped":             {fromPostgresExporter, entry("", "{usage: MAPPEDMETRIC, metric_mapping: {a: 1}}"), "line 4: lost: app: the column n: texts are not mapped"},
		"duration":           {fromPostgresExporter, entry("", "{usage: DURATION}"), "lost: app: the column n: a duration in words is not read"},
		"no usage":           {fromPostgresExporter, entry("", "{description: x}"), `lost: app: the column n: the usage "" is unknown`},
		"usage in small":     {fromPostgresExporter, entry("", "{usage: gauge}"), `the usage "gauge" is unknown`},
		"counter":            {fromPostgresExporter, entry("", "{usage: COUNTER}"), "note: app: the counter n keeps its name"},
		"name":               {fromPostgresExporter, strings.ReplaceAll(entry("", gauge), "- n:", "- a-b:"), `lost: app: left out: column 2: "a-b" is no name`},
		"label target":       {fromPostgresExporter, entry("", gauge+"\n  - target: {usage: LABEL}"), "lost: app: left out: column 3: the label target is reserved"},
		"statement":          {fromPostgresExporter, strings.Replace(entry("", gauge), "SELECT", "EXPLAIN SELECT", 1), "lost: app: left out: a query begins with SELECT"},
		"versions":           {fromPostgresExporter, entry("  runonserver: '>=13 || <9'\n", gauge), `lost: app: the versions ">=13 || <9"`},
		"ignored versions":   {fromPostgresExporter, entry("  runonserver: '>=13.0.0'\n", gauge), "note: app: runonserver counts here"},
		"column's versions":  {fromPostgresExporter, entry("", "{usage: GAUGE, pg_version: '>9'}"), "note: app: the column n is read whatever the version"},
		"short cache":        {fromPostgresExporter, entry("  cache_seconds: 30\n", gauge), "note: app: its answer is not kept for 30s"},
		"unknown key":        {fromPostgresExporter, entry("  frob: 1\n", gauge), "note: app: the key frob means nothing to either"},
		"unknown column key": {fromPostgresExporter, entry("", "{usage: GAUGE, frob: 1}"), "note: app: the key frob of the column n means nothing"},
		"no query":           {fromPostgresExporter, strings.Replace(entry("", gauge), "SELECT 1 AS n", "''", 1), "note: app: it has no query and is left out"},
		"built-in":           {fromPostgresExporter, strings.Replace(entry("", "{usage: GAUGE}"), "app:\n", "pg_locks:\n", 1) + "  - count: {usage: GAUGE}\n  - datname: {usage: LABEL}\n  - mode: {usage: LABEL}\n", "note: pg_locks: the metric pg_locks_count is left out: --collector.locks gives it"},
		"built-in otherwise": {fromPostgresExporter, strings.Replace(entry("", "{usage: GAUGE}"), "app:\n", "pg_locks:\n", 1) + "  - count: {usage: GAUGE}\n", "lost: pg_locks: the metric pg_locks_count with the labels [server]: --collector.locks gives it with [datname mode]"},
		"built-in collector": {fromPostgresExporter, strings.Replace(entry("", gauge), "app:", "locks:", 1), "note: locks: it is called own_locks"},
		"exporter's own":     {fromPgExporter, strings.Replace(entry("", gauge), "app:", "go:", 1), "lost: go: left out: the metric go_n would look like"},
		"default":            {fromPgExporter, entry("", "{usage: GAUGE, default: 0}"), "lost: app: the default 0 of n"},
		"scale":              {fromPgExporter, entry("", "{usage: GAUGE, scale: much}"), `lost: app: the scale "much" of n is none`},
		"histogram":          {fromPgExporter, entry("", "{usage: HISTOGRAM, bucket: [1]}"), "note: app: the histogram n is left out"},
		"fatal":              {fromPgExporter, entry("  fatal: true\n", gauge), "lost: app: fatal"},
		"predicate":          {fromPgExporter, entry("  predicate_queries: [{predicate_query: SELECT true}]\n", gauge), "lost: app: predicate_queries"},
		"tag":                {fromPgExporter, entry("  tags: [mine]\n", gauge), "lost: app: the tag mine"},
		"second extension":   {fromPgExporter, entry("  tags: ['extension:a', 'extension:b']\n", gauge), "lost: app: the tag extension:b"},
		"both roles":         {fromPgExporter, entry("  tags: [primary, replica]\n", gauge), "lost: app: left out: it needs a primary and a replica"},
		"bad version":        {fromPgExporter, entry("  min_version: new\n", gauge), `lost: app: the versions "new" and ""`},
		"pgbouncer":          {fromPgExporter, entry("  tags: [pgbouncer]\n", gauge), "lost: app: it asks pgbouncer"},
		"skip":               {fromPgExporter, entry("  skip: true\n", gauge), "note: app: it is left out, as skip tells"},
		"types differ":       {fromPgExporter, entry("", gauge) + "other:\n  name: app\n  query: SELECT 1\n  metrics: [{n: {usage: COUNTER}}]\n", "lost: other: left out: the metric app_n is declared in another way"},
	} {
		c, err := convert([]byte(test.text), test.from)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		said := fmt.Sprint(c.notes)
		if !strings.Contains(said, test.want) {
			t.Errorf("%s: %s, want %s", name, said, test.want)
		}
	}
}

// A file that cannot be converted at all is refused with the line.
func TestConvertRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                    "line 1: it has no queries",
		"- a":                                 "line 1: it has no queries",
		"a: [":                                "line 1",
		"tables: []":                          "it is in this exporter's format already: give it to --queries.file",
		"a: 1":                                "a: line 1: a value has the wrong type",
		"a:\n  metrics: {b: c}":               "a: line 2: a value has the wrong type",
		"a:\n  query: [x]":                    "a: line 2: a value has the wrong type",
		"a: {query: x}\na: {query: y}":        "line 2: a is there twice",
		"a: {query: x, master: true, ttl: 1}": "say with --from which one it was written for",
	} {
		if _, err := convert([]byte(text), ""); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestConvertVersions(t *testing.T) {
	t.Parallel()
	for condition, want := range map[string][2]int{
		">=13.0.0": {130000, 0}, ">13.2": {130003, 0}, "<17.0.0": {0, 170000}, "<=16.4": {0, 160005}, "15.x": {150000, 160000}, "15": {150000, 160000}, "=15.2": {150002, 150003},
	} {
		from, below, ok := bounds(condition)
		if !ok || from != want[0] || below != want[1] {
			t.Errorf("%s: %d, %d, %v", condition, from, below, ok)
		}
	}
	for _, condition := range []string{"!15", "||", "a", ">=", "1.2.3.4"} {
		if _, _, ok := bounds(condition); ok {
			t.Errorf("%s is taken", condition)
		}
	}
}

// The command says on stderr what is lost, and with its exit code that something is.
func TestConvertCommand(t *testing.T) {
	t.Parallel()
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lossy := write("lossy.yml", entry("  fatal: true\n", "{usage: GAUGE}"))
	for name, test := range map[string]struct {
		args        []string
		code        int
		out, errors string
	}{
		"whole":       {[]string{write("whole.yml", entry("  ttl: 60\n", "{usage: GAUGE}"))}, 0, "every: 1m0s", ""},
		"lossy":       {[]string{lossy}, 1, "value: \"n\"", "lossy.yml: line 1: lost: app: fatal"},
		"allowed":     {[]string{lossy, "--lossy"}, 0, "value: \"n\"", "lost: app: fatal"},
		"from":        {[]string{lossy, "--from=postgres_exporter"}, 0, "{server}", "note: columns that a query gives"},
		"from what":   {[]string{lossy, "--from=elsewhere"}, 2, "", "enum value must be one of postgres_exporter,pg_exporter"},
		"missing":     {[]string{"/nowhere.yml"}, 1, "", "cannot read the queries of /nowhere.yml: no such file or directory"},
		"not a file":  {nil, 2, "", "required argument 'file' not provided"},
		"our own":     {[]string{write("own.yml", "tables: []")}, 1, "", "own.yml: it is in this exporter's format already"},
		"nothing yet": {[]string{write("empty.yml", "")}, 1, "", "empty.yml: line 1: it has no queries"},
	} {
		var out, failed bytes.Buffer
		code := exporter().Run(append([]string{"convert"}, test.args...), &out, &failed)
		if code != test.code || !strings.Contains(out.String(), test.out) || !strings.Contains(failed.String(), test.errors) {
			t.Errorf("%s: exit code %d\n%s\n%s", name, code, out.String(), failed.String())
		}
		if test.out == "" && out.Len() > 0 {
			t.Errorf("%s: prints %s", name, out.String())
		}
	}
}

// The old flag takes the old file, warns of what is lost, and refuses what it cannot read.
func TestExtendQueryPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "queries.yaml")
	load := func(text string) (ownTables, []string, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		q := queries{files: &[]string{}, extend: &path}
		return q.load("", nil, false)
	}
	own, warnings, err := load(entry("", "{usage: GAUGE}\n  - took: {usage: DURATION}"))
	if err != nil || len(own.tables) != 1 || len(warnings) != 1 || !strings.Contains(warnings[0], "queries.yaml: line 5: lost: app: the column took") {
		t.Errorf("%v, %v, %v", own.tables, warnings, err)
	}
	if _, _, err := load("a: ["); err == nil || !strings.Contains(err.Error(), "queries.yaml: ") {
		t.Error(err)
	}
}

func FuzzConvert(f *testing.F) {
	for _, name := range []string{"postgres_exporter", "pg_exporter"} {
		text, err := os.ReadFile("testdata/custom/" + name + ".yml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("a: &a {query: SELECT 1, metrics: [{b: {usage: GAUGE, <<: *a}}]}")
	f.Add("? [a]\n: b")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := convert([]byte(text), "")
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := c.write(&out); err != nil {
			t.Fatal(err)
		}
		tables, err := parseCustom(out.Bytes())
		if err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		own := ownTables{}
		own.add("fuzz", nil, tables)
		if err := own.check(false); err != nil {
			t.Errorf("%v: %s", err, out.String())
		}
	})
}
