package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// The formats that can be converted.
const (
	fromPostgresExporter = "postgres_exporter"
	fromPgExporter       = "pg_exporter"
)

// Commands adds the subcommand that converts queries.
func (b *backend) Commands(a *kingpin.Application) map[string]app.Command {
	command := a.Command("convert", "Convert a file with queries of postgres_exporter or pg_exporter. What cannot be carried over is named on stderr, and then the exit code is 1.")
	path := command.Arg("file", "The file.").Required().String()
	from := command.Flag("from", "Its format; found out where it is not said.").Enum(fromPostgresExporter, fromPgExporter)
	lossy := command.Flag("lossy", "Exit with 0 even if something was lost.").Bool()
	return map[string]app.Command{"convert": func(stdout, stderr io.Writer) (int, error) {
		content, err := readFile(*path)
		if err != nil {
			return 1, err
		}
		c, err := convert(content, *from)
		if err != nil {
			return 1, fmt.Errorf("%s: %w", *path, err)
		}
		for _, note := range c.notes {
			_, _ = fmt.Fprintf(stderr, "%s: %s\n", *path, note)
		}
		if err := c.write(stdout); err != nil {
			return 1, err
		}
		if c.losses() > 0 && !*lossy {
			return 1, nil
		}
		return 0, nil
	}}
}

// conversion turns another exporter's queries into tables, and keeps account of what cannot be carried over.
type conversion struct {
	tables []customTable
	notes  []conversionNote
}

// conversionNote is one line about what is lost, or about what is kept in another way.
type conversionNote struct {
	line int
	lost bool
	text string
}

func (n conversionNote) String() string {
	if n.lost {
		return fmt.Sprintf("line %d: lost: %s", n.line, n.text)
	}
	return fmt.Sprintf("line %d: note: %s", n.line, n.text)
}

func (c *conversion) lose(line int, format string, args ...any) {
	c.notes = append(c.notes, conversionNote{line, true, fmt.Sprintf(format, args...)})
}

func (c *conversion) note(line int, format string, args ...any) {
	c.notes = append(c.notes, conversionNote{line, false, fmt.Sprintf(format, args...)})
}

func (c *conversion) losses() int {
	n := 0
	for _, note := range c.notes {
		if note.lost {
			n++
		}
	}
	return n
}

// write prints the tables as a file that --queries.file takes.
func (c *conversion) write(out io.Writer) error {
	encoder := yaml.NewEncoder(out)
	encoder.SetIndent(2)
	return cmp.Or(encoder.Encode(customFile{c.tables}), encoder.Close())
}

// convert reads a file of the named format, or of the one that it looks like.
func convert(content []byte, format string) (*conversion, error) {
	peers, err := readPeerTables(content)
	if err != nil {
		return nil, err
	}
	if format == "" {
		if format, err = guess(peers); err != nil {
			return nil, err
		}
	}
	c := &conversion{}
	if format == fromPostgresExporter {
		c.note(1, "columns that a query gives and the file does not list are left out; postgres_exporter shows them untyped")
	}
	for _, peer := range peers {
		carry := c.carryPostgresExporter
		if format == fromPgExporter {
			carry = c.carryPgExporter
		}
		if table, ok := carry(peer); ok {
			c.tables = append(c.tables, table)
		}
	}
	return c, c.settle(peers)
}

// peerTable is an entry of a file of either format. Both take unknown keys without a word.
type peerTable struct {
	Key     string                  `yaml:"-"`
	Line    int                     `yaml:"-"`
	Query   string                  `yaml:"query"`
	Metrics []map[string]peerColumn `yaml:"metrics"`

	Master       bool    `yaml:"master"` // postgres_exporter
	CacheSeconds float64 `yaml:"cache_seconds"`
	RunOnServer  string  `yaml:"runonserver"`

	Name       string            `yaml:"name"` // pg_exporter
	Desc       string            `yaml:"desc"`
	Tags       []string          `yaml:"tags"`
	TTL        float64           `yaml:"ttl"`
	Timeout    float64           `yaml:"timeout"`
	Priority   int               `yaml:"priority"`
	MinVersion string            `yaml:"min_version"`
	MaxVersion string            `yaml:"max_version"`
	Fatal      bool              `yaml:"fatal"`
	Skip       bool              `yaml:"skip"`
	Predicates []map[string]any  `yaml:"predicate_queries"`
	Unknown    map[string]any    `yaml:",inline"`
	given      map[string]bool   // the keys that are there
	columns    []namedPeerColumn // of all metrics, in order
}

// peerColumn is a column of either format.
type peerColumn struct {
	Line        int                `yaml:"-"`
	Usage       string             `yaml:"usage"`
	Description string             `yaml:"description"`
	Mapping     map[string]float64 `yaml:"metric_mapping"` // postgres_exporter
	Versions    string             `yaml:"pg_version"`
	Name        string             `yaml:"name"` // pg_exporter
	Rename      string             `yaml:"rename"`
	Scale       string             `yaml:"scale"`
	Default     string             `yaml:"default"`
	Bucket      []float64          `yaml:"bucket"`
	Unknown     map[string]any     `yaml:",inline"`
}

type namedPeerColumn struct {
	field string
	peerColumn
}

// UnmarshalYAML keeps the line.
func (c *peerColumn) UnmarshalYAML(node *yaml.Node) error {
	type plain peerColumn
	c.Line = node.Line
	return node.Decode((*plain)(c))
}

// readPeerTables reads the entries in the order of the file.
func readPeerTables(content []byte) ([]peerTable, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return nil, oneLine(err)
	}
	if len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("line 1: it has no queries: a name with query and metrics below it")
	}
	var tables []peerTable
	entries := document.Content[0].Content
	for i := 0; i+1 < len(entries); i += 2 {
		table := peerTable{Key: entries[i].Value, Line: entries[i].Line, given: map[string]bool{}}
		if table.Key == "tables" && entries[i+1].Kind == yaml.SequenceNode {
			return nil, errors.New("it is in this exporter's format already: give it to --queries.file")
		}
		if err := entries[i+1].Decode(&table); err != nil {
			return nil, fmt.Errorf("%s: %w", table.Key, oneLine(err))
		}
		if slices.ContainsFunc(tables, func(t peerTable) bool { return t.Key == table.Key }) {
			return nil, fmt.Errorf("line %d: %s is there twice", table.Line, table.Key)
		}
		for key := 0; key+1 < len(entries[i+1].Content); key += 2 {
			table.given[entries[i+1].Content[key].Value] = true
		}
		for _, entry := range table.Metrics {
			for _, field := range slices.Sorted(maps.Keys(entry)) {
				table.columns = append(table.columns, namedPeerColumn{field, entry[field]})
			}
		}
		tables = append(tables, table)
	}
	return tables, nil
}

// oneLine takes the first of the library's errors, without the value it found.
func oneLine(err error) error {
	var typeErr *yaml.TypeError
	if errors.As(err, &typeErr) {
		at, _, _ := strings.Cut(typeErr.Errors[0], ": ")
		return errors.New(at + ": a value has the wrong type")
	}
	return err
}

// guess tells the formats apart by the keys that only one has. A file with none of them means the same in both but
// for the label server of postgres_exporter, so it counts as that.
func guess(tables []peerTable) (string, error) {
	var one, other bool
	for _, t := range tables {
		for _, key := range []string{"master", "cache_seconds", "runonserver"} {
			one = one || t.given[key]
		}
		for _, key := range []string{"name", "desc", "tags", "ttl", "timeout", "priority", "min_version", "max_version", "fatal", "skip", "predicate_queries"} {
			other = other || t.given[key]
		}
		for _, c := range t.columns {
			one = one || c.Usage == "MAPPEDMETRIC" || c.Usage == "DURATION" || c.Mapping != nil || c.Versions != ""
			other = other || c.Rename != "" || c.Scale != "" || c.Default != "" || c.Bucket != nil || c.Name != ""
		}
	}
	switch {
	case one && other:
		return "", errors.New("it has keys of postgres_exporter and of pg_exporter: say with --from which one it was written for")
	case other:
		return fromPgExporter, nil
	}
	return fromPostgresExporter, nil
}

// detect tells whether a text is a file of another exporter, and of which.
func detect(content []byte) (format string, known bool) {
	tables, err := readPeerTables(content)
	if err != nil || !slices.ContainsFunc(tables, func(t peerTable) bool { return t.Query != "" && len(t.Metrics) > 0 }) {
		return "", false
	}
	if format, err = guess(tables); err != nil {
		format = "another exporter"
	}
	return format, true
}

// settle makes tables that can stand beside each other and the built-in catalogue, and drops what cannot.
func (c *conversion) settle(peers []peerTable) error {
	built, err := new(backend).Catalogue()
	if err != nil {
		return err
	}
	self := collect.NewSelf("pg", exporter().Aliases)
	lines := map[string]int{}
	for _, peer := range peers {
		lines[peer.Key] = peer.Line
	}
	var kept []customTable
	var own collect.Catalogue
	helps := map[string]string{}
	for _, table := range c.tables {
		line, name := lines[table.Name.Text], table.Name.Text
		before := len(table.Columns)
		table = c.withoutBuiltIn(table, built, line)
		if len(table.Columns) < before && !table.hasMetric() {
			continue // all of it is built in
		}
		c.unify(&table, helps, line)
		if slices.ContainsFunc(built, func(b *collect.Collector) bool { return b.Name == name }) {
			table.Prefix, table.Name.Text = cmp.Or(table.Prefix, name), "own_"+name
			c.note(line, "%s: it is called own_%s, since there is a built-in collector of that name", name, name)
		}
		collector, err := table.collector("", 0)
		if err == nil {
			err = built.CheckOwn(append(slices.Clone(own), collector), self)
		}
		if err != nil {
			_, reason, _ := strings.Cut(err.Error(), "table "+table.Name.Text+": ")
			c.lose(line, "%s: left out: %s", name, cmp.Or(reason, err.Error()))
			continue
		}
		own, kept = append(own, collector), append(kept, table)
	}
	c.tables = kept
	slices.SortStableFunc(c.notes, func(x, y conversionNote) int { return cmp.Compare(x.line, y.line) })
	return nil
}

// withoutBuiltIn leaves out metrics that are built in. Where the labels are the same, but for the server that only
// some carry, nothing is lost by that.
func (c *conversion) withoutBuiltIn(table customTable, built collect.Catalogue, line int) customTable {
	labels := table.labels()
	table.Columns = slices.DeleteFunc(slices.Clone(table.Columns), func(column collect.ColumnYAML) bool {
		name := table.metric(column)
		for _, collector := range built {
			for _, family := range collector.Families {
				if family.Name != name {
					continue
				}
				if sameLabels(family, labels) {
					c.note(line, "%s: the metric %s is left out: --collector.%s gives it", table.Name.Text, name, collector.Name)
				} else {
					c.lose(line, "%s: the metric %s with the labels %v: --collector.%s gives it with %v", table.Name.Text, name, labels, collector.Name, family.Labels)
				}
				return true
			}
		}
		return false
	})
	return table
}

func sameLabels(family *metric.Family, labels []string) bool {
	sorted := func(list []string) []string {
		return slices.DeleteFunc(slices.Sorted(slices.Values(list)), func(l string) bool { return l == "server" })
	}
	return slices.Equal(sorted(family.Labels), sorted(labels))
}

// unify gives a metric that several tables fill, for different versions, one help text.
func (c *conversion) unify(table *customTable, helps map[string]string, line int) {
	for i, column := range table.Columns {
		name := table.metric(column)
		if name == "" {
			continue
		}
		if known, ok := helps[name]; ok && known != column.Help {
			table.Columns[i].Help = known
			c.note(line, "%s: the metric %s has the help text it has elsewhere", table.Name.Text, name)
		}
		helps[name] = table.Columns[i].Help
	}
}

// labels are the names of the table's labels.
func (t customTable) labels() []string {
	var names []string
	for _, c := range t.Columns {
		if name := cmp.Or(c.Const.Text, c.Name, c.Label.Text); name != "" && (!c.Label.IsZero() || !c.Const.IsZero()) {
			names = append(names, name)
		}
	}
	return names
}

func (t customTable) hasMetric() bool {
	return slices.ContainsFunc(t.Columns, func(c collect.ColumnYAML) bool { return t.metric(c) != "" })
}

// metric is the full name of a column's metric, "" for a label.
func (t customTable) metric(c collect.ColumnYAML) string {
	field := cmp.Or(c.Count.Text, c.Value.Text, c.Untyped.Text, c.Histogram.Text)
	if field == "" {
		return ""
	}
	return cmp.Or(t.Prefix, t.Name.Text) + "_" + cmp.Or(c.Name, field)
}

// extend adds the tables of a file in postgres_exporter's format, and says what of it is left out.
func (c *ownTables) extend(path string) ([]string, error) {
	content, err := readFile(path)
	if err != nil {
		return nil, err
	}
	converted, err := convert(content, fromPostgresExporter)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var left []string
	for _, note := range converted.notes {
		if note.lost {
			left = append(left, path+": "+note.String())
		}
	}
	c.add(path, bytes.Clone(content), converted.tables)
	return left, nil
}
