package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// queries are the files with users' own tables.
type queries struct {
	files  *[]string
	extend *string
}

func (q *queries) flags(a *kingpin.Application) {
	q.files = a.Flag("queries.file", "File with queries of your own; * and ? as in file names, may be repeated.").
		Envar("PG_EXPORTER_QUERIES_FILE").Strings()
	q.extend = a.Flag("extend.query-path", "File with queries in the format of postgres_exporter, converted at each start.").
		Envar("PG_EXPORTER_EXTEND_QUERY_PATH").String()
}

// customFile is a file of users' own tables.
type customFile struct {
	Tables []customTable `yaml:"tables" help:"Tables of metrics, each of one query."`
}

// customTable is a table with what only PostgreSQL has.
type customTable struct {
	collect.TableYAML `yaml:",inline"`
	Databases         []string      `yaml:"databases,omitempty,flow" help:"Databases that are asked, with * and ?; the target's without it."`
	EachDatabase      bool          `yaml:"each_database,omitempty" help:"Whether discovered databases are asked as well."`
	SearchPath        []string      `yaml:"search_path,omitempty,flow" help:"Schemas in which names without one are looked for."`
	Timeout           time.Duration `yaml:"timeout,omitempty" help:"Longest time that the query may take."`
	file              string
}

// ownTables is what the files hold.
type ownTables struct {
	tables []customTable
	key    string // changes when a file does
}

// load reads all files. The patterns of the configuration file count from its directory, as in Prometheus. Warnings
// name what is left out.
func (q *queries) load(configFile string, listed []string, legacy bool) (c ownTables, warnings []string, err error) {
	patterns := slices.Clone(*q.files)
	for _, pattern := range listed {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(configFile), pattern)
		}
		patterns = append(patterns, pattern)
	}
	var files []string
	for _, pattern := range patterns {
		matches, err := filepath.Glob(pattern)
		switch {
		case err != nil:
			return c, nil, fmt.Errorf("%q is no pattern for files: use * and ? as in file names", pattern)
		case len(matches) == 0 && !strings.ContainsAny(pattern, "*?["):
			matches = []string{pattern} // reading it says what is wrong
		case len(matches) == 0:
			warnings = append(warnings, "no file with queries matches "+pattern)
		}
		files = append(files, matches...)
	}
	for i, path := range files {
		if !slices.Contains(files[:i], path) {
			if err := c.read(path); err != nil {
				return c, nil, err
			}
		}
	}
	if *q.extend != "" {
		left, err := c.extend(*q.extend)
		if err != nil {
			return c, nil, err
		}
		warnings = append(warnings, left...)
	}
	return c, warnings, c.check(legacy)
}

// read adds the tables of a file.
func (c *ownTables) read(path string) error {
	content, err := readFile(path)
	if err != nil {
		return err
	}
	tables, err := parseCustom(content)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	c.add(path, content, tables)
	return nil
}

func readFile(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	var failed *os.PathError
	if errors.As(err, &failed) {
		return nil, fmt.Errorf("cannot read the queries of %s: %w", path, failed.Err)
	}
	return content, err
}

func (c *ownTables) add(path string, content []byte, tables []customTable) {
	c.key += path + "\x00" + string(content) + "\x00"
	for _, table := range tables {
		table.file = path
		c.tables = append(c.tables, table)
	}
}

// parseCustom reads the text of a file, and knows when it is another exporter's.
func parseCustom(content []byte) ([]customTable, error) {
	var f customFile
	err := config.ParseYAML(content, &f)
	if err != nil {
		if format, known := detect(content); known {
			return nil, fmt.Errorf("this is the format of %s: run postgres-exporter convert on it", format)
		}
	}
	return f.Tables, err
}

// check compiles all tables, and holds them against each other and against what is built in.
func (c *ownTables) check(legacy bool) error {
	if len(c.tables) == 0 {
		return nil
	}
	built, err := new(backend).Catalogue()
	if err != nil {
		return err
	}
	for _, collector := range built {
		if legacy {
			addLegacyNames(collector)
		}
	}
	var own collect.Catalogue
	for _, table := range c.tables {
		collector, err := table.collector("", 0)
		if err == nil {
			own = append(own, collector)
			err = built.CheckOwn(own, collect.NewSelf("pg", exporter().Aliases))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", table.file, err)
		}
	}
	return nil
}

// collectors makes those for a target. No question may take longer than statement.
func (c *ownTables) collectors(server, database string, statement time.Duration) (collect.Catalogue, error) {
	var list collect.Catalogue
	for _, table := range c.tables {
		if len(table.Databases) > 0 && !slices.Contains(table.Databases, database) {
			continue
		}
		collector, err := table.collector(server, statement)
		if err != nil {
			return nil, err
		}
		list = append(list, collector)
	}
	return list, nil
}

// collector compiles a table. Its questions set what holds for them alone, and its answers are read with a mind to
// their types.
func (t customTable) collector(server string, statement time.Duration) (*collect.Collector, error) {
	t.Columns = slices.Clone(t.Columns)
	for i := range t.Columns {
		t.Columns[i].Text = strings.ReplaceAll(t.Columns[i].Text, "{server}", cmp.Or(server, "server"))
	}
	table, err := t.Table()
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return nil, err
	}
	table.PerMember = t.EachDatabase
	collector, err := table.Collector()
	if err != nil {
		return nil, err
	}
	for _, family := range collector.Families {
		if reserved.MatchString(family.Name) {
			return nil, t.fail("the metric %s would look like one of the exporter itself: choose another prefix", family.Name)
		}
	}
	prelude, ask, read := []string{t.prelude(statement)}, collector.Ask, collector.Read
	collector.Own = true
	collector.Ask = func(id collect.Identity) []collect.Question {
		questions := ask(id)
		for i := range questions {
			questions[i].Prelude = prelude
		}
		return questions
	}
	collector.Read = func(i int, rows collect.Answer, out *metric.Batch) error { return read(i, typed(rows), out) }
	return collector, nil
}

var (
	// reserved are names that the exporter, its libraries or Prometheus give to series about the scrape.
	reserved = regexp.MustCompile(`^(go|process|promhttp|scrape|pg_exporter|pg_scrape|postgres_exporter)_`)
	// question is how a query begins. Other statements could end the transaction or change the session, on which
	// everybody else's questions depend.
	question = regexp.MustCompile(`(?is)^(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table|show)\b`)
)

func (t customTable) fail(format string, args ...any) error {
	return fmt.Errorf("line %d: table %s: %w", t.Name.Line, t.Name.Text, fmt.Errorf(format, args...))
}

// check looks at what only PostgreSQL has.
func (t customTable) check() error {
	texts := []string{t.Query}
	for _, source := range t.Sources {
		texts = append(texts, source.Query)
		for _, version := range []int{source.Since, source.Until} {
			if version != 0 && version < 10000 {
				return t.fail("%d is no version: write it as server_version_num does, such as 140000", version)
			}
		}
	}
	for _, text := range texts {
		if text != "" && !question.MatchString(text) {
			return t.fail("a query begins with SELECT, WITH, VALUES, TABLE or SHOW")
		}
	}
	switch {
	case t.Timeout < 0, t.Timeout > 0 && t.Timeout < time.Millisecond:
		return t.fail("timeout must be 1ms or more")
	case t.EachDatabase && len(t.Databases) > 0:
		return t.fail("databases and each_database exclude each other: leave one out")
	case slices.Contains(t.SearchPath, ""):
		return t.fail("search_path holds a name that is empty")
	}
	return nil
}

// prelude sets what holds for one question, until the end of its transaction: built-in questions never see a schema
// that users may write. The system's names come first, so that nothing in another schema can stand in for them.
func (t customTable) prelude(statement time.Duration) string {
	path := []string{"pg_catalog"}
	for _, schema := range t.searchPath() {
		path = append(path, `"`+strings.ReplaceAll(schema, `"`, `""`)+`"`)
	}
	path = append(path, "pg_temp")
	settings := [][2]string{
		{"search_path", strings.Join(path, ", ")},
		{"transaction_read_only", "on"}, // whatever an earlier question may have done to the session
		{"datestyle", "ISO"},            // which typed reads
	}
	if timeout := t.Timeout; timeout > 0 {
		if statement > 0 && t.Every == 0 {
			timeout = min(timeout, statement)
		}
		settings = append(settings, [2]string{"statement_timeout", milliseconds(timeout)})
	}
	calls := make([]string, len(settings))
	for i, setting := range settings {
		calls[i] = "pg_catalog.set_config('" + setting[0] + "', '" + strings.ReplaceAll(setting[1], "'", "''") + "', true)"
	}
	return "SELECT " + strings.Join(calls, ", ")
}

// searchPath is PostgreSQL's own default, unless the table says otherwise.
func (t customTable) searchPath() []string {
	if t.SearchPath != nil {
		return t.SearchPath
	}
	return []string{"$user", "public"}
}
