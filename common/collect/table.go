package collect

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Table is a collector as pure data: what to ask, and what each column of the answer is.
//
// Columns are listed once for all versions of the server. A column that an answer lacks, or that is NULL or not a
// finite number, gives no sample: never 0, never NaN.
type Table struct {
	Name    string
	Prefix  string // before the names of the table's metrics, with an underscore
	Help    string
	Sources []Source
	Columns []Column
	Created string // the column that tells, in Unix seconds, since when the counters of a row count
	Class   Class
	Every   time.Duration
	Off     bool
	// PerMember is for what is asked of each database of a server as well, where they are discovered.
	PerMember bool
	Limit     int
	Rows      int // rows that are shown; what comes after them counts as left out, so one row more is worth asking for
	Needs     Needs
}

// Source is what to ask servers of a range of versions: From <= version < Below, 0 meaning open. In the text, {NAME}
// stands for the place (the quoted schema) of the feature that the table needs.
type Source struct {
	From, Below int
	Text        string
}

// Always is a source for every version.
func Always(text string) Source { return Source{Text: text} }

// Since is a source for a version and all after it.
func Since(version int, text string) Source { return Source{From: version, Text: text} }

// Until is a source for all versions before one.
func Until(version int, text string) Source { return Source{Below: version, Text: text} }

// Between is a source for a version and those after it, before another.
func Between(from, below int, text string) Source {
	return Source{From: from, Below: below, Text: text}
}

// Column is what one field of the answer is: a label of the row's samples, or the value of one metric.
type Column struct {
	Field string
	Name  string // of the label; or of the metric, after the table's prefix
	Help  string
	Type  metric.Type
	Unit  string
	Scale float64  // 0 means 1
	By    []string // the labels of this metric where they are not all of the table's
	text  string   // of a label that is the same for all rows
	kind  columnKind
}

type columnKind uint8

const (
	labelColumn columnKind = iota
	valueColumn
	infoColumn
)

// Label is a column whose text is a label of the same name.
func Label(field string) Column { return Column{Field: field, Name: field, kind: labelColumn} }

// Const is a label that no answer tells: it has the same text on all samples of the table.
func Const(name, text string) Column { return Column{Name: name, text: text, kind: labelColumn} }

// Count is a column that holds a counter.
func Count(field, name, help string) Column {
	return Column{Field: field, Name: name, Help: help, Type: metric.Counter, kind: valueColumn}
}

// Value is a column that holds a gauge. Booleans become 1 and 0.
func Value(field, name, help string) Column {
	return Column{Field: field, Name: name, Help: help, Type: metric.Gauge, kind: valueColumn}
}

// Info is a metric that is 1 for every row: what it tells is in its labels.
func Info(name, help string) Column {
	return Column{Name: name, Help: help, Type: metric.Gauge, kind: infoColumn}
}

// As names a label otherwise than its field.
func (c Column) As(name string) Column { c.Name = name; return c }

// Times scales the value, from the server's unit to the metric's.
func (c Column) Times(scale float64) Column { c.Scale = scale; return c }

// Untyped says that a gauge goes out without a type, for the sake of an established name.
func (c Column) Untyped() Column { c.Type = metric.Unknown; return c }

// In names the unit where the metric's name, kept for the sake of existing dashboards, does not.
func (c Column) In(unit string) Column { c.Unit = unit; return c }

// Per gives the metric only these of the table's labels.
func (c Column) Per(labels ...string) Column { c.By = append([]string{}, labels...); return c }

// Collector compiles the table. A mistake in it is an error that names table and column.
func (t Table) Collector() (*Collector, error) {
	compiled, err := t.compile()
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.Name, err)
	}
	read := func(constant string) func(int, Answer, *metric.Batch) error {
		return func(_ int, answer Answer, out *metric.Batch) error { return compiled.read(answer, constant, out) }
	}
	collector := &Collector{
		Name: t.Name, Help: t.Help, Class: t.Class, Every: t.Every, Off: t.Off, Limit: t.Limit, Needs: t.Needs, PerMember: t.PerMember,
		Ask: t.ask, Read: read(""), withConst: read,
	}
	if t.Limit == 0 {
		collector.Limit = t.Rows * len(compiled.values)
	}
	for _, value := range compiled.values {
		if !slices.Contains(collector.Families, value.family) {
			collector.Families = append(collector.Families, value.family)
		}
	}
	return collector, nil
}

// WithConst gives the collector of a table for another target: the same, but for the text of its Const labels. What is
// large of it is shared.
func (c *Collector) WithConst(text string) *Collector {
	other := *c
	other.Read, other.Families = c.withConst(text), slices.Clip(c.Families)
	return &other
}

// ask picks the source for a server's version.
func (t Table) ask(id Identity) []Question {
	for _, source := range t.Sources {
		if id.Version < source.From || source.Below > 0 && id.Version >= source.Below {
			continue
		}
		text := source.Text
		if t.Needs.Feature != "" {
			text = strings.ReplaceAll(text, "{"+t.Needs.Feature+"}", id.Features[t.Needs.Feature])
		}
		return []Question{{Text: text}}
	}
	return nil
}

// compiled is a table made ready for reading: fields to label and value positions.
type compiled struct {
	created string
	rows    int
	labels  []Column
	shapes  []shape
	values  []value
}

// shape is one set of labels that some of the table's metrics share.
type shape struct {
	names []string
	from  []int // positions in compiled.labels
}

type value struct {
	field  string // "" for an info metric
	family *metric.Family
	scale  float64
	shape  int
}

func (t Table) compile() (*compiled, error) {
	c := &compiled{created: t.Created, rows: t.Rows}
	var names []string
	for _, column := range t.Columns {
		if column.kind == labelColumn {
			c.labels, names = append(c.labels, column), append(names, column.Name)
		}
	}
	for _, column := range t.Columns {
		if column.kind == labelColumn {
			continue
		}
		by := column.By
		if by == nil {
			by = names
		}
		at, err := c.shape(by, names)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", column.Name, err)
		}
		family, err := c.family(t.Prefix, column, c.shapes[at].names)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", column.Name, err)
		}
		c.values = append(c.values, value{field: column.Field, family: family, scale: column.Scale, shape: at})
	}
	if len(t.Sources) == 0 || len(c.values) == 0 {
		return nil, errors.New("it has no source or no metric")
	}
	return c, nil
}

// family declares the metric of a column. Two columns may fill one metric, where versions of the server name the same
// field in two ways.
func (c *compiled) family(prefix string, column Column, labels []string) (*metric.Family, error) {
	family := &metric.Family{Name: column.Name, Help: column.Help, Type: column.Type, Unit: column.Unit, Labels: labels}
	if prefix != "" {
		family.Name = prefix + "_" + column.Name
	}
	for _, known := range c.values {
		switch {
		case known.family.Name != family.Name:
		case reflect.DeepEqual(known.family, family):
			return known.family, nil
		default:
			return nil, errors.New("another column declares the metric in another way")
		}
	}
	return family, family.Check()
}

// shape finds or adds the shape with these labels.
func (c *compiled) shape(by, names []string) (int, error) {
	for i, known := range c.shapes {
		if slices.Equal(known.names, by) {
			return i, nil
		}
	}
	added := shape{names: by}
	for _, name := range by {
		at := slices.Index(names, name)
		if at < 0 {
			return 0, fmt.Errorf("%q is no label of the table", name)
		}
		added.from = append(added.from, at)
	}
	c.shapes = append(c.shapes, added)
	return len(c.shapes) - 1, nil
}

// read takes a whole answer. Where a constant is given, it is the text of Const labels.
func (c *compiled) read(answer Answer, constant string, out *metric.Batch) error {
	row := c.row(answer)
	row.constant = constant
	for n := 1; answer.Next(); n++ {
		if c.rows > 0 && n > c.rows {
			out.Limited += len(c.values)
			continue
		}
		if err := row.read(answer, out); err != nil {
			return err
		}
	}
	return answer.Err()
}

// row reads one row after another of the same answer, in the same memory.
type row struct {
	*compiled
	constant string
	created  int
	labels   []int // positions in the answer, -1 where it lacks the field
	values   []int
	text     []byte
	ends     []int
	strings  []string
	picked   []string
	sets     []*metric.Set
}

func (c *compiled) row(answer Answer) *row {
	fields := answer.Fields()
	r := &row{
		compiled: c, created: position(fields, c.created),
		ends: make([]int, len(c.labels)), strings: make([]string, len(c.labels)), sets: make([]*metric.Set, len(c.shapes)),
	}
	for _, label := range c.labels {
		r.labels = append(r.labels, position(fields, label.Field))
	}
	for _, value := range c.values {
		r.values = append(r.values, position(fields, value.field))
	}
	return r
}

// position finds a field, -1 where the answer lacks it or the column has none.
func position(fields []string, name string) int {
	if name == "" {
		return -1
	}
	return slices.Index(fields, name)
}

func (r *row) read(answer Answer, out *metric.Batch) error {
	r.readLabels(answer, out)
	var created float64
	if r.created >= 0 {
		created, _, _ = number(answer.Value(r.created))
	}
	for i := range r.compiled.values {
		value, number, present := &r.compiled.values[i], 1.0, true
		if value.family.Type == metric.Histogram {
			if err := r.histogram(answer, value, out); err != nil {
				return err
			}
			continue
		}
		if value.field != "" {
			var err error
			if number, present, err = r.number(answer, i); err != nil {
				return err
			}
		}
		if !present {
			continue
		}
		if value.scale != 0 {
			number *= value.scale
		}
		began := created
		if value.family.Type != metric.Counter {
			began = 0
		}
		out.AddSet(value.family, number, began, r.sets[value.shape])
	}
	return nil
}

func (r *row) number(answer Answer, i int) (float64, bool, error) {
	if r.values[i] < 0 {
		return 0, false, nil
	}
	n, present, err := number(answer.Value(r.values[i]))
	if err != nil {
		return 0, false, fault.Wrap(fault.Malformed, "column "+r.compiled.values[i].field, err)
	}
	return n, present, nil
}

// longestLabel is where a label that the batch cuts anyway is cut before it is copied.
const longestLabel = metric.MaxLabelBytes + utf8.UTFMax

// readLabels copies the labels of a row into one string, so that a row costs one allocation for all of them.
func (r *row) readLabels(answer Answer, out *metric.Batch) {
	r.text = r.text[:0]
	for i, at := range r.labels {
		label := &r.compiled.labels[i]
		switch {
		case at >= 0:
			value := answer.Value(at)
			r.text = append(r.text, value[:min(len(value), longestLabel)]...)
		case label.Field == "":
			r.text = append(r.text, cmp.Or(r.constant, label.text)...)
		}
		r.ends[i] = len(r.text)
	}
	text, start := string(r.text), 0
	for i, end := range r.ends {
		r.strings[i] = text[start:end]
		start = end
	}
	for i, shape := range r.shapes {
		r.picked = r.picked[:0]
		for _, from := range shape.from {
			r.picked = append(r.picked, r.strings[from])
		}
		r.sets[i] = out.Set(shape.names, r.picked...)
	}
}

// number reads a number as servers write them: digits, decimals, t and f. NULL, NaN and infinities are not present,
// nor are numbers that no float64 can hold.
func number(text []byte) (value float64, present bool, err error) {
	if len(text) == 0 {
		return 0, false, nil
	}
	if n, ok := integer(text); ok {
		return n, true, nil
	}
	switch string(text) {
	case "t", "true", "on", "yes":
		return 1, true, nil
	case "f", "false", "off", "no":
		return 0, true, nil
	}
	value, err = strconv.ParseFloat(unsafe.String(&text[0], len(text)), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false, fmt.Errorf("%.40q is no number", text)
	}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, false, nil
	}
	return value, true, nil
}

// integer reads the common case, a whole number that a float holds exactly, without an allocation.
func integer(text []byte) (float64, bool) {
	digits := text
	if text[0] == '-' {
		digits = text[1:]
	}
	if len(digits) == 0 || len(digits) > 15 {
		return 0, false
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if len(digits) < len(text) {
		n = -n
	}
	return float64(n), true
}
