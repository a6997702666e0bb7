package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// loadOwn loads a text as a file of users' own tables.
func loadOwn(t testing.TB, text string) (ownTables, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "own.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	q, extend := queries{files: &[]string{path}}, ""
	q.extend = &extend
	own, _, err := q.load("", nil, true)
	return own, err
}

// ownTable is a good table but for what is put into it.
func ownTable(more, columns string) string {
	return "tables:\n- name: queue\n  " + more + "\n  columns:\n  - label: q\n  - " + columns + "\n"
}

const (
	someQuery = "query: SELECT 1"
	someValue = "{value: n, help: Some.}"
)

// A bad file is refused with one line that names the file, the line and the table, and says what to do.
func TestBadOwnTables(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"not YAML":              {"tables: [", "own.yml: "},
		"unknown key":           {"frob: 1", `own.yml: line 1: unknown key "frob"`},
		"unknown key of table":  {ownTable(someQuery+"\n  frob: 1", someValue), `line 4: unknown key "frob"`},
		"unknown key of column": {ownTable(someQuery, "{value: n, help: Some., usage: GAUGE}"), `line 6: unknown key "usage"`},
		"unknown key of needs":  {ownTable(someQuery+"\n  needs: {role: x}", someValue), `line 4: unknown key "role"`},
		"unknown key of source": {ownTable("sources: [{from: 13, query: SELECT 1}]", someValue), `line 3: unknown key "from"`},
		"wrong type":            {ownTable(someQuery+"\n  limit: many", someValue), "line 4: the value has the wrong type (str)"},
		"no list":               {"tables: {name: x}", "line 1: the value has the wrong type (map)"},
		"two documents":         {ownTable(someQuery, someValue) + "---\ntables: []", "it holds more than one document"},
		"no name":               {"tables:\n- query: SELECT 1", `"" is no name of a table`},
		"bad name":              {strings.Replace(ownTable(someQuery, someValue), "queue", "my-queue", 1), `line 2: "my-queue" is no name of a table: letters, digits and _`},
		"bad prefix":            {ownTable(someQuery+"\n  prefix: a-b", someValue), `line 2: table queue: "a-b" is no prefix`},
		"no query":              {ownTable("help: x", someValue), "line 2: table queue: give it a query, or sources where versions differ"},
		"query and sources":     {ownTable(someQuery+"\n  sources: [{query: SELECT 2}]", someValue), "give it a query, or sources"},
		"source without query":  {ownTable("sources: [{since: 140000}]", someValue), "source 1 has no query"},
		"empty range":           {ownTable("sources: [{since: 150000, until: 140000, query: SELECT 1}]", someValue), "source 1 is for no version: since must be lower than until"},
		"major as version":      {ownTable("sources: [{since: 14, query: SELECT 1}]", someValue), "14 is no version: write it as server_version_num does, such as 140000"},
		"no metric":             {"tables:\n- name: queue\n  query: SELECT 1\n  columns: [{label: q}]", "no column is a metric: add one with count, value"},
		"no columns":            {"tables:\n- name: queue\n  query: SELECT 1", "no column is a metric"},
		"no kind":               {ownTable(someQuery, "{name: n, help: Some.}"), "column 2: say what it is: label, const, count"},
		"two kinds":             {ownTable(someQuery, "{value: n, count: n_total, help: Some.}"), "line 6: table queue: column 2: it is both count and value: make two columns of it"},
		"no help":               {ownTable(someQuery, "{value: n}"), "line 6: table queue: column 2: value n: say in help what it means"},
		"help of a label":       {ownTable(someQuery, "{label: x, help: Some.}"), "label x: help means nothing here; it may have: name"},
		"const without text":    {ownTable(someQuery, "{const: x}"), "const x: say in text what it holds"},
		"counter":               {ownTable(someQuery, "{count: done, help: Some.}"), "the name of a counter ends with _total: add name: done_total, or make it untyped"},
		"bad metric name":       {ownTable(someQuery, "{value: a-b, help: Some.}"), `"a-b" is no name: letters, digits and _`},
		"open metric name":      {ownTable(someQuery, "{value: 'a*', help: Some.}"), `"a*" is no name`},
		"bad label name":        {ownTable(someQuery, "{label: a.b}"), `"a.b" is no name`},
		"reserved label":        {ownTable(someQuery, "{label: __a}"), "the label __a is reserved"},
		"label of targets":      {ownTable(someQuery, "{label: target}"), "the label target is reserved: give it another name"},
		"label twice":           {ownTable(someQuery, someValue+"\n  - label: q"), `queue_n has the label "q" twice`},
		"bucket label":          {ownTable(someQuery, "{histogram: h, help: Some.}\n  - label: le"), `whose label "le" is taken`},
		"unknown label in by":   {ownTable(someQuery, "{value: n, help: Some., by: [z]}"), `column n: "z" is no label of the table`},
		"metric in two ways":    {ownTable(someQuery, someValue+"\n  - {value: m, name: n, help: Other.}"), "another column declares the metric in another way"},
		"scale of nothing":      {ownTable(someQuery, "{value: n, help: Some., scale: 0}"), "scale is what the value is multiplied by"},
		"scale without end":     {ownTable(someQuery, "{value: n, help: Some., scale: .inf}"), "scale is what the value is multiplied by"},
		"every too often":       {ownTable(someQuery+"\n  every: 10ms", someValue), "every must be 1s or more"},
		"every without unit":    {ownTable(someQuery+"\n  every: 60", someValue), "line 4: the value has the wrong type (int)"},
		"limit":                 {ownTable(someQuery+"\n  limit: -1", someValue), "limit must be more than nothing"},
		"timeout":               {ownTable(someQuery+"\n  timeout: -1s", someValue), "timeout must be 1ms or more"},
		"both roles":            {ownTable(someQuery+"\n  needs: {primary: true, replica: true}", someValue), "no server is both"},
		"databases":             {ownTable(someQuery+"\n  databases: [a]\n  each_database: true", someValue), "databases and each_database exclude each other"},
		"empty schema":          {ownTable(someQuery+"\n  search_path: ['']", someValue), "search_path holds a name that is empty"},
		"statement":             {ownTable("query: BEGIN", someValue), "line 2: table queue: a query begins with SELECT, WITH, VALUES, TABLE or SHOW"},
		"hidden statement":      {ownTable("query: \"/* SELECT */ -- SELECT\\nSET search_path = x\"", someValue), "a query begins with SELECT"},
		"built-in collector":    {strings.Replace(ownTable(someQuery, someValue), "queue", "locks", 1), "table locks: the name is that of a built-in collector: choose another"},
		"built-in metric":       {ownTable(someQuery+"\n  prefix: pg_locks", "{value: count, help: Some.}"), "the metric pg_locks_count is one of the collector locks already: choose another prefix or name"},
		"built-in open metric":  {ownTable(someQuery+"\n  prefix: pg_settings", someValue), "the metric pg_settings_n is one of the collector settings already"},
		"old name":              {ownTable(someQuery+"\n  prefix: pg_database", "{value: size, help: Some.}"), "the metric pg_database_size is one of the collector database already"},
		"health metric":         {ownTable(someQuery+"\n  prefix: service", "{value: health, help: Some.}"), "one of the exporter's own already"},
		"part of a histogram":   {ownTable(someQuery, "{histogram: h, help: Some.}\n- name: other\n  prefix: queue\n  query: SELECT 1\n  columns: [{value: h_sum, help: Some.}]"), "the metric queue_h_sum is declared in another way by the table queue already"},
		"process metric":        {ownTable(someQuery+"\n  prefix: go", someValue), "the metric go_n would look like one of the exporter itself"},
		"table twice":           {ownTable(someQuery, someValue) + "- name: queue\n  prefix: x\n  query: SELECT 1\n  columns: [{value: n, help: Some.}]", "table queue: there is another of that name"},
		"metric of two types":   {ownTable(someQuery, someValue) + "- name: b\n  prefix: queue\n  query: SELECT 1\n  columns: [{untyped: n, help: Some.}]", "table b: the metric queue_n is declared in another way by the table queue already"},
		"postgres_exporter":     {"a:\n  query: SELECT 1\n  master: true\n  metrics: [{b: {usage: GAUGE}}]", "this is the format of postgres_exporter: run postgres-exporter convert on it"},
		"pg_exporter":           {"a:\n  query: SELECT 1\n  ttl: 1\n  metrics: [{b: {usage: GAUGE}}]", "this is the format of pg_exporter: run postgres-exporter convert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := loadOwn(t, test.text)
			switch {
			case err == nil:
				t.Error("it is taken")
			case !strings.Contains(err.Error(), test.want):
				t.Errorf("%v, want %s", err, test.want)
			case strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "own.yml: "):
				t.Errorf("not one line with the file: %v", err)
			}
		})
	}
}

func TestGoodOwnTables(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":              "",
		"no tables":            "tables: []",
		"least":                ownTable(someQuery, someValue),
		"begins with a remark": ownTable("query: |\n    -- why\n    /* and\n       how */ (SELECT 1)", someValue),
		"two versions":         ownTable("sources: [{until: 140000, query: SELECT 1}, {since: 140000, query: TABLE x}]", someValue),
		"two tables, a metric": ownTable(someQuery, someValue) + "- name: b\n  prefix: queue\n  query: SELECT 1\n  columns: [{label: z}, {value: n, help: Some.}]",
		"no labels by":         ownTable(someQuery, "{value: n, help: Some., by: []}"),
	} {
		if _, err := loadOwn(t, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Files are named by patterns; those of the configuration file count from where that is.
func TestOwnFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a.yml": strings.Replace(ownTable(someQuery, someValue), "queue", "a", 1),
		"b.yml": strings.Replace(ownTable(someQuery, someValue), "queue", "b", 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		flags, listed []string
		tables        int
		warns         bool
		fails         string
	}{
		"none":               {},
		"one":                {flags: []string{dir + "/a.yml"}, tables: 1},
		"listed":             {listed: []string{"*.yml"}, tables: 2},
		"one file, two ways": {flags: []string{dir + "/a.yml", dir + "/*.yml"}, listed: []string{"b.yml"}, tables: 2},
		"an empty folder":    {listed: []string{"own.d/*.yml"}, warns: true},
		"missing":            {flags: []string{dir + "/c.yml"}, fails: "cannot read the queries of " + dir + "/c.yml: no such file or directory"},
		"no pattern":         {flags: []string{dir + "/["}, fails: "is no pattern for files"},
	} {
		extend := ""
		q := queries{files: &test.flags, extend: &extend}
		own, warnings, err := q.load(filepath.Join(dir, "config.yml"), test.listed, false)
		if test.fails != "" {
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s: %v, want %s", name, err, test.fails)
			}
			continue
		}
		if err != nil || len(own.tables) != test.tables || (len(warnings) > 0) != test.warns {
			t.Errorf("%s: %d tables, warnings %v, error %v", name, len(own.tables), warnings, err)
		}
	}
}

func TestUnixSeconds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2024-05-01":                      "1714521600",
		"2024-05-01 00:00:00":             "1714521600",
		"2024-05-01 00:00:00.25":          "1714521600.25",
		"2024-05-01 00:00:00+00":          "1714521600",
		"2024-05-01 02:00:00.5+02":        "1714521600.5",
		"2024-05-01 05:30:00+05:30":       "1714521600",
		"1900-01-01 00:00:00-00:01:15":    "-2208988725",
		"infinity":                        "infinity",
		"-infinity":                       "-infinity",
		"0044-03-15 00:00:00+00:00:15 BC": "0044-03-15 00:00:00+00:00:15 BC",
		"12024-05-01 00:00:00+00":         "12024-05-01 00:00:00+00",
		"":                                "",
	} {
		if got := string(unixSeconds([]byte(text))); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzOwnTables(f *testing.F) {
	f.Add(ownTable(someQuery, someValue))
	f.Add(ownTable("sources: [{since: 140000, query: SELECT 1}]\n  search_path: ['a\"b']", "{histogram: h, help: H., by: []}"))
	f.Add("tables: [&a {name: x, columns: [{value: *a}]}]")
	f.Add("a: {query: SELECT 1, metrics: [{b: {usage: GAUGE}}]}")
	f.Fuzz(func(t *testing.T, text string) {
		tables, err := parseCustom([]byte(text))
		if err != nil {
			return
		}
		own := ownTables{}
		own.add("fuzz", []byte(text), tables)
		if err := own.check(true); err != nil {
			return
		}
		if _, err := own.collectors("host:5432", "app", 0); err != nil {
			t.Errorf("checked and good, and yet: %v", err)
		}
	})
}
