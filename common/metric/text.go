package metric

import (
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// full is how many bytes are written at once.
const full = 4096

// What stands behind a backslash.
const (
	inHelp   = "\\\n"
	inQuotes = "\\\n\""
)

// textWriter writes a page in Prometheus' text format or in OpenMetrics 1.0, to the byte as expfmt does, straight from
// the columns: most of what large pages cost is their writing.
//
// Names are written as they are, since a batch takes none that must be quoted.
type textWriter struct {
	out  io.Writer
	open bool // OpenMetrics
	line []byte
	err  error

	labels  []byte    // of the sample at hand, without the closing bracket
	bounds  []float64 // of the histogram before
	written []string  // these in the format
}

// textWriters are used for one page after another, each with the memory of its lines.
var textWriters = sync.Pool{New: func() any { return new(textWriter) }}

// rest ends the work on a page, and keeps the memory for the next.
func (t *textWriter) rest() {
	if cap(t.line) > 16*full { // which only a very long help or label leaves
		t.line = nil
	}
	*t = textWriter{line: t.line[:0], labels: t.labels[:0]}
	textWriters.Put(t)
}

func (t *textWriter) page(p *Page) error {
	for parts := range p.runs {
		if made := parts[0].made; made != nil {
			t.made(made)
		} else {
			t.family(parts)
		}
	}
	if t.open {
		t.line = append(t.line, "# EOF\n"...)
	}
	t.flush()
	return t.err
}

func (t *textWriter) flush() {
	if t.err == nil && len(t.line) > 0 {
		_, t.err = t.out.Write(t.line)
	}
	t.line = t.line[:0]
}

// made writes a family of another library, which may have what ours have not.
func (t *textWriter) made(family *dto.MetricFamily) {
	t.flush()
	if t.err != nil {
		return
	}
	if t.open {
		dropCreated(family)
		_, t.err = expfmt.MetricFamilyToOpenMetrics(t.out, family, expfmt.WithCreatedLines())
	} else {
		_, t.err = expfmt.MetricFamilyToText(t.out, family)
	}
}

// dropCreated removes the created timestamps of counters whose kept names do not end in _total: OpenMetrics knows
// them as type unknown, which has none.
func dropCreated(family *dto.MetricFamily) {
	if family.GetType() != dto.MetricType_COUNTER || strings.HasSuffix(family.GetName(), "_total") {
		return
	}
	for _, m := range family.Metric {
		m.Counter.CreatedTimestamp = nil
	}
}

func (t *textWriter) family(parts run) {
	first := parts[0].column.family
	t.head(first)
	for c, i := range parts.samples {
		t.setLabels(c.sets[i])
		switch first.Type {
		case Histogram:
			t.histogram(first.Name, c.more.hists[i])
		case Summary:
			t.summary(first.Name, c.more.sums[i])
		case Gauge, Counter, Unknown:
			t.sample(first.Name, "", c.values[i])
			if first.Type == Counter {
				t.created(first.Name, c, i)
			}
		}
		if len(t.line) >= full {
			t.flush()
		}
		if t.err != nil {
			return
		}
	}
}

// head writes the help and the type. In OpenMetrics a counter's name there has no _total, and a counter that is not
// named like one is of type unknown.
func (t *textWriter) head(f *Family) {
	name, kind, escaped := f.Name, f.Type.String(), inHelp
	if t.open {
		escaped = inQuotes
		if base, well := strings.CutSuffix(name, "_total"); f.Type == Counter && well {
			name = base
		} else if f.Type == Counter {
			kind = Unknown.String()
		}
	} else if f.Type == Unknown {
		kind = "untyped"
	}
	t.line = append(append(append(t.line, "# HELP "...), name...), ' ')
	t.line = appendEscaped(t.line, helpOf(f), escaped)
	t.line = append(append(append(t.line, "\n# TYPE "...), name...), ' ')
	t.line = append(append(t.line, kind...), '\n')
}

// setLabels makes the labels of the samples that follow.
func (t *textWriter) setLabels(set *Set) {
	t.labels = t.labels[:0]
	separator := byte('{')
	for i, name := range set.shape.names {
		t.labels = append(append(append(t.labels, separator), name...), `="`...)
		t.labels = append(appendEscaped(t.labels, set.values[i], inQuotes), '"')
		separator = ','
	}
}

// begin writes what goes before a value, where there is no label beside those of the set.
func (t *textWriter) begin(name, suffix string) {
	t.line = append(append(append(t.line, name...), suffix...), t.labels...)
	if len(t.labels) > 0 {
		t.line = append(t.line, '}')
	}
	t.line = append(t.line, ' ')
}

// beginWith does the same with one more label.
func (t *textWriter) beginWith(name, suffix, label, value string) {
	t.line = append(append(append(t.line, name...), suffix...), t.labels...)
	separator := byte(',')
	if len(t.labels) == 0 {
		separator = '{'
	}
	t.line = append(append(append(t.line, separator), label...), `="`...)
	t.line = append(append(t.line, value...), `"} `...)
}

func (t *textWriter) sample(name, suffix string, value float64) {
	t.begin(name, suffix)
	t.line = append(t.appendFloat(t.line, value), '\n')
}

// created writes when a counter began, as OpenMetrics has it: of those that it knows as counters.
func (t *textWriter) created(name string, c *column, i int) {
	if !t.open {
		return
	}
	since, known := c.since(i)
	if name, well := strings.CutSuffix(name, "_total"); well && known {
		t.sample(name, "_created", float64(since.UnixNano())/1e9)
	}
}

func (t *textWriter) histogram(name string, h *HistogramValue) {
	t.setBounds(h.Bounds)
	var count uint64
	for i, bound := range t.written {
		count += h.Counts[i]
		t.beginWith(name, "_bucket", model.BucketLabel, bound)
		t.line = append(t.appendCount(t.line, count), '\n')
	}
	ends := len(h.Bounds)
	count += h.Counts[ends]
	if ends == 0 || !math.IsInf(h.Bounds[ends-1], +1) {
		t.beginWith(name, "_bucket", model.BucketLabel, "+Inf")
		t.line = append(t.appendCount(t.line, count), '\n')
	}
	t.sample(name, "_sum", h.Sum)
	t.begin(name, "_count")
	t.line = append(t.appendCount(t.line, count), '\n')
}

// setBounds writes the bounds of a histogram, which mostly are those of the one before.
func (t *textWriter) setBounds(bounds []float64) {
	if len(bounds) == len(t.bounds) && (len(bounds) == 0 || &bounds[0] == &t.bounds[0]) {
		return
	}
	t.bounds, t.written = bounds, t.written[:0]
	for _, bound := range bounds {
		t.written = append(t.written, string(t.appendFloat(nil, bound)))
	}
}

func (t *textWriter) summary(name string, s *SummaryValue) {
	for _, q := range s.Quantiles {
		t.beginWith(name, "", model.QuantileLabel, string(t.appendFloat(nil, q.Rank)))
		t.line = append(t.appendFloat(t.line, q.Value), '\n')
	}
	t.sample(name, "_sum", s.Sum)
	t.begin(name, "_count")
	t.line = append(t.appendCount(t.line, s.Count), '\n')
}

// appendCount appends a number of observations: the text format knows floats only.
func (t *textWriter) appendCount(to []byte, count uint64) []byte {
	if t.open {
		return strconv.AppendUint(to, count, 10)
	}
	return t.appendFloat(to, float64(count))
}

// appendFloat appends a value: in OpenMetrics it looks like a float.
func (t *textWriter) appendFloat(to []byte, value float64) []byte {
	const plain = 1e6 // below it, whole numbers are written without an exponent
	if whole := int64(value); whole > -plain && whole < plain && float64(whole) == value {
		to = strconv.AppendInt(to, whole, 10)
		if t.open {
			to = append(to, ".0"...)
		}
		return to
	}
	return strconv.AppendFloat(to, value, 'g', -1, 64) // has a fraction or an exponent, or is no number
}

// appendEscaped appends a text in which some characters stand behind a backslash, and a line's end is \n.
func appendEscaped(to []byte, text, escaped string) []byte {
	for {
		at := strings.IndexAny(text, escaped)
		if at < 0 {
			return append(to, text...)
		}
		to = append(append(to, text[:at]...), '\\')
		if text[at] == '\n' {
			to = append(to, 'n')
		} else {
			to = append(to, text[at])
		}
		text = text[at+1:]
	}
}
