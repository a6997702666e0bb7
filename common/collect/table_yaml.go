package collect

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// TableYAML is a Table as users write it. It is as strict as a catalogue is linted, since nobody else looks at it.
type TableYAML struct {
	Name    Word          `yaml:"name" help:"Name of the table, which is also the collector's."`
	Prefix  string        `yaml:"prefix,omitempty" help:"What the names of its metrics begin with; the name of the table without it."`
	Help    string        `yaml:"help,omitempty" help:"What the table shows."`
	Every   time.Duration `yaml:"every,omitempty" help:"Makes it slow: it is asked in the background, this often."`
	Limit   int           `yaml:"limit,omitempty" help:"Most samples that are shown."`
	Created string        `yaml:"created,omitempty" help:"Field with the time since when the counters count, in seconds of Unix time."`
	Needs   NeedsYAML     `yaml:"needs,omitempty" help:"What a server must have; elsewhere the table is left out."`
	Query   string        `yaml:"query,omitempty" help:"The question; or sources."`
	Sources []SourceYAML  `yaml:"sources,omitempty" help:"Questions for different versions, instead of one query."`
	Columns []ColumnYAML  `yaml:"columns" help:"What the fields of the answer are."`
}

// NeedsYAML is what a server must have.
type NeedsYAML struct {
	Extension string `yaml:"extension,omitempty" help:"An extension that must be installed."`
	Primary   bool   `yaml:"primary,omitempty" help:"Whether the server must be a primary."`
	Replica   bool   `yaml:"replica,omitempty" help:"Whether the server must be a replica."`
}

// SourceYAML is a query for the versions since <= version < until.
type SourceYAML struct {
	Since int    `yaml:"since,omitempty" help:"First version that the query is for, as the server numbers it, such as 140000; any without it."`
	Until int    `yaml:"until,omitempty" help:"First version that it is no longer for; any without it."`
	Query string `yaml:"query" help:"The question."`
}

// ColumnYAML is a column. Exactly one of its first keys says what it is, and names the field of the answer or, for
// const and info, which have none, the label or metric.
type ColumnYAML struct {
	Label     Word     `yaml:"label,omitempty" help:"Field that is a label."`
	Const     Word     `yaml:"const,omitempty" help:"Label whose value is the same in each row: that of text."`
	Count     Word     `yaml:"count,omitempty" help:"Field that is a counter."`
	Value     Word     `yaml:"value,omitempty" help:"Field that is a gauge."`
	Untyped   Word     `yaml:"untyped,omitempty" help:"Field that is a number of no type."`
	Info      Word     `yaml:"info,omitempty" help:"Name of a metric that is 1, with the labels as what it tells."`
	Histogram Word     `yaml:"histogram,omitempty" help:"Field that holds a histogram."`
	Name      string   `yaml:"name,omitempty" help:"Name of the label, or of the metric after the prefix; the field's without it."`
	Text      string   `yaml:"text,omitempty" help:"Value of a const label."`
	Help      string   `yaml:"help,omitempty" help:"What the metric means, in a sentence."`
	Scale     *float64 `yaml:"scale,omitempty" help:"What the value is multiplied by, such as 0.001 for milliseconds."`
	By        []string `yaml:"by,omitempty,flow" help:"Labels that this metric has; all of the table without it."`
}

// Word is a text that knows its line in the file.
type Word struct {
	Text string
	Line int
}

// UnmarshalYAML reads the text and where it stands.
func (w *Word) UnmarshalYAML(node *yaml.Node) error {
	w.Line = node.Line
	return node.Decode(&w.Text)
}

// MarshalYAML writes the text.
func (w Word) MarshalYAML() (any, error) { return w.Text, nil }

// IsZero tells whether there is none.
func (w Word) IsZero() bool { return w.Text == "" }

// plainName is what names must look like; a colon in a metric's is for the rules of Prometheus.
var plainName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// Table checks what was written. An error names the line and the table, and says what to do.
func (t TableYAML) Table() (Table, error) {
	if !plainName.MatchString(t.Name.Text) {
		return Table{}, fmt.Errorf("line %d: %q is no name of a table: letters, digits and _, the first no digit", t.Name.Line, t.Name.Text)
	}
	fail := func(line int, err error) (Table, error) {
		return Table{}, fmt.Errorf("line %d: table %s: %w", line, t.Name.Text, err)
	}
	table := Table{
		Name: t.Name.Text, Prefix: cmp.Or(t.Prefix, t.Name.Text), Help: t.Help, Created: t.Created, Every: t.Every, Class: Dear,
		Rows: cmp.Or(t.Limit, DefaultSeriesLimit), Limit: cmp.Or(t.Limit, DefaultSeriesLimit),
		Needs: Needs{Feature: t.Needs.Extension, Primary: t.Needs.Primary, Replica: t.Needs.Replica},
	}
	if t.Every > 0 {
		table.Class = Slow
	}
	var err error
	if table.Sources, err = t.sources(); err == nil {
		err = t.check()
	}
	if err != nil {
		return fail(t.Name.Line, err)
	}
	for i, column := range t.Columns {
		made, line, err := column.column()
		if err != nil {
			return fail(cmp.Or(line, t.Name.Line), fmt.Errorf("column %d: %w", i+1, err))
		}
		table.Columns = append(table.Columns, made)
	}
	if !slices.ContainsFunc(table.Columns, func(c Column) bool { return c.kind != labelColumn }) {
		err = errors.New("no column is a metric: add one with count, value, untyped, info or histogram")
	} else {
		_, err = table.compile()
	}
	if err != nil {
		return fail(t.Name.Line, err)
	}
	return table, nil
}

func (t TableYAML) check() error {
	switch {
	case t.Prefix != "" && !plainName.MatchString(t.Prefix):
		return fmt.Errorf("%q is no prefix for a metric's name", t.Prefix)
	case t.Every != 0 && t.Every < time.Second:
		return errors.New("every must be 1s or more; leave it out to ask at each scrape")
	case t.Limit < 0:
		return errors.New("limit must be more than nothing")
	case t.Needs.Primary && t.Needs.Replica:
		return errors.New("it needs a primary and a replica: no server is both")
	}
	return nil
}

func (t TableYAML) sources() ([]Source, error) {
	if (t.Query == "") == (len(t.Sources) == 0) {
		return nil, errors.New("give it a query, or sources where versions differ")
	}
	if t.Query != "" {
		return []Source{Always(t.Query)}, nil
	}
	var sources []Source
	for i, s := range t.Sources {
		switch {
		case s.Query == "":
			return nil, fmt.Errorf("source %d has no query", i+1)
		case s.Since < 0, s.Until < 0, s.Until > 0 && s.Since >= s.Until:
			return nil, fmt.Errorf("source %d is for no version: since must be lower than until", i+1)
		}
		sources = append(sources, Between(s.Since, s.Until, s.Query))
	}
	return sources, nil
}

// columnForm is one of the things that a column may be: the key that says so, those that go with it, and the way to
// make it of a field, a name and a help text.
type columnForm struct {
	key  string
	word Word
	fits string
	make func(field, name, help string) Column
}

func (c ColumnYAML) forms() []columnForm {
	return []columnForm{
		{"label", c.Label, "name", func(field, name, _ string) Column { return Label(field).As(name) }},
		{"const", c.Const, "text", func(name, _, _ string) Column { return Const(name, c.Text) }},
		{"count", c.Count, "name help scale by", Count},
		{"value", c.Value, "name help scale by", Value},
		{"untyped", c.Untyped, "name help scale by", func(field, name, help string) Column { return Value(field, name, help).Untyped() }},
		{"info", c.Info, "help by", func(name, _, help string) Column { return Info(name, help) }},
		{"histogram", c.Histogram, "name help by", Histogram},
	}
}

// column makes the column and gives the line it stands on, 0 where it is none.
func (c ColumnYAML) column() (Column, int, error) {
	forms := slices.DeleteFunc(c.forms(), func(f columnForm) bool { return f.word.IsZero() })
	if len(forms) == 0 {
		return Column{}, 0, errors.New("say what it is: label, const, count, value, untyped, info or histogram")
	}
	form := forms[0]
	if len(forms) > 1 {
		return Column{}, form.word.Line, fmt.Errorf("it is both %s and %s: make two columns of it", form.key, forms[1].key)
	}
	made := form.make(form.word.Text, cmp.Or(c.Name, form.word.Text), c.Help)
	if c.Scale != nil {
		made.Scale = *c.Scale
	}
	made.By = c.By
	return made, form.word.Line, cmp.Or(c.fit(form), checkColumn(made), c.checkScale())
}

// fit reports a key that means nothing for what the column is, or one that is missing.
func (c ColumnYAML) fit(form columnForm) error {
	for _, given := range []struct {
		key string
		set bool
	}{{"name", c.Name != ""}, {"text", c.Text != ""}, {"help", c.Help != ""}, {"scale", c.Scale != nil}, {"by", c.By != nil}} {
		takes := slices.Contains(strings.Fields(form.fits), given.key)
		switch {
		case given.set && !takes:
			return fmt.Errorf("%s %s: %s means nothing here; it may have: %s", form.key, form.word.Text, given.key, form.fits)
		case !given.set && takes && given.key == "text":
			return fmt.Errorf("%s %s: say in text what it holds", form.key, form.word.Text)
		case !given.set && takes && given.key == "help":
			return fmt.Errorf("%s %s: say in help what it means", form.key, form.word.Text)
		}
	}
	return nil
}

func (c ColumnYAML) checkScale() error {
	if c.Scale != nil && (*c.Scale == 0 || math.IsNaN(*c.Scale) || math.IsInf(*c.Scale, 0)) {
		return errors.New("scale is what the value is multiplied by, such as 0.001 for milliseconds")
	}
	return nil
}

// checkColumn holds a column's name to the conventions.
func checkColumn(c Column) error {
	switch {
	case !plainName.MatchString(c.Name):
		return fmt.Errorf("%q is no name: letters, digits and _, the first no digit; give it a name", c.Name)
	case c.kind == labelColumn && (strings.HasPrefix(c.Name, "__") || c.Name == "target"):
		return fmt.Errorf("the label %s is reserved: give it another name", c.Name)
	case c.Type == metric.Counter && !strings.HasSuffix(c.Name, "_total"):
		return fmt.Errorf("the name of a counter ends with _total: add name: %s_total, or make it untyped", c.Name)
	}
	return nil
}

// CheckOwn reports what is wrong with users' collectors beside each other and those that are built in: a collector's
// name or a metric's that is taken, also by what the exporter says of itself.
func (c Catalogue) CheckOwn(own Catalogue, self *Self) error {
	for i, collector := range own {
		if slices.ContainsFunc(own[:i], collector.namesake) {
			return fmt.Errorf("table %s: there is another of that name: choose one, and a prefix for its metrics", collector.Name)
		}
		if slices.ContainsFunc(c, collector.namesake) {
			return fmt.Errorf("table %s: the name is that of a built-in collector: choose another, and a prefix for its metrics", collector.Name)
		}
		for _, family := range collector.Families {
			owner := c.owner(family, self)
			if owner == "" {
				owner = own[:i+1].clash(family)
			}
			if owner != "" {
				return fmt.Errorf("table %s: the metric %s is %s already: choose another prefix or name", collector.Name, family.Name, owner)
			}
		}
	}
	return own.Check()
}

func (c *Collector) namesake(other *Collector) bool { return c.Name == other.Name }

// owner says to whom a metric of that name belongs, or "".
func (c Catalogue) owner(family *metric.Family, self *Self) string {
	taken := func(known *metric.Family) bool { return overlap(known, family) }
	for _, collector := range c {
		if slices.ContainsFunc(collector.Families, taken) {
			return "one of the collector " + collector.Name
		}
	}
	if slices.ContainsFunc(self.Families(), taken) {
		return "one of the exporter's own"
	}
	return ""
}

// clash is owner for a user's collectors, which may share a metric where they mean the same by it: versions of a server
// may need tables of their own.
func (c Catalogue) clash(family *metric.Family) string {
	for _, collector := range c {
		for _, known := range collector.Families {
			same := known.Name == family.Name && known.Type == family.Type && known.Help == family.Help
			if overlap(known, family) && !same {
				return "declared in another way by the table " + collector.Name
			}
		}
	}
	return ""
}

// overlap tells whether two families have a series' name in common.
func overlap(known, family *metric.Family) bool {
	if prefix, open := strings.CutSuffix(known.Name, "*"); open {
		return strings.HasPrefix(family.Name, prefix)
	}
	names := seriesNames(known)
	return slices.ContainsFunc(seriesNames(family), func(name string) bool { return slices.Contains(names, name) })
}

func seriesNames(f *metric.Family) []string {
	if f.Type != metric.Histogram {
		return []string{f.Name}
	}
	return []string{f.Name, f.Name + "_bucket", f.Name + "_sum", f.Name + "_count"}
}
