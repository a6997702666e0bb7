package metric

import (
	"io"
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Page is what one response holds: batches merged by family, sorted by name.
//
// Where two batches hold a sample with the same name and labels, the first one goes out.
type Page struct {
	entries []entry
	sorted  bool
}

// entry is a part of a family: samples of a batch, or a family that another library made.
type entry struct {
	name   string
	column *column
	made   *dto.MetricFamily
}

// Add puts the samples of batches on the page. They must not change afterwards.
func (p *Page) Add(batches ...*Batch) {
	columns := 0
	for _, b := range batches {
		columns += len(b.order)
	}
	p.entries = slices.Grow(p.entries, columns)
	for _, b := range batches {
		for _, c := range b.order {
			if len(c.sets) > 0 {
				p.entries = append(p.entries, entry{name: c.family.Name, column: c})
			}
		}
	}
	p.sorted = false
}

// AddFamilies puts families on the page that come from elsewhere, such as client_golang's process metrics.
func (p *Page) AddFamilies(families []*dto.MetricFamily) {
	for _, family := range families {
		if len(family.Metric) > 0 {
			p.entries = append(p.entries, entry{name: family.GetName(), made: family})
		}
	}
	p.sorted = false
}

// Encode writes the page in a format of expfmt, with created timestamps where the format has them.
func (p *Page) Encode(w io.Writer, format expfmt.Format) error {
	switch format.FormatType() {
	case expfmt.TypeTextPlain, expfmt.TypeOpenMetrics:
		t := textWriters.Get().(*textWriter)
		defer t.rest()
		t.out, t.open = w, format.FormatType() == expfmt.TypeOpenMetrics
		return t.page(p)
	}
	// Every name here is of the old alphabet, so escaping changes nothing; saying so saves a copy of each family.
	encoder := expfmt.NewEncoder(w, format.WithEscapingScheme(model.NoEscaping))
	var build builder
	for run := range p.runs {
		if err := encoder.Encode(build.family(run)); err != nil {
			return err
		}
	}
	return nil
}

// Families gives the page as client_model families, sorted by name.
func (p *Page) Families() []*dto.MetricFamily {
	var families []*dto.MetricFamily
	for run := range p.runs {
		var build builder // each family keeps its own memory
		families = append(families, build.family(run))
	}
	return families
}

// runs gives the entries of each family together, in the order of names.
func (p *Page) runs(yield func(run) bool) {
	if !p.sorted {
		slices.SortStableFunc(p.entries, func(x, y entry) int { return strings.Compare(x.name, y.name) })
		p.sorted = true
	}
	for start := 0; start < len(p.entries); {
		end := start + 1
		for end < len(p.entries) && p.entries[end].name == p.entries[start].name {
			end++
		}
		if !yield(p.entries[start:end]) {
			return
		}
		start = end
	}
}

// run is the parts of one family. It has the type and the help of the first; parts of another type are left out: a page
// with two types under one name is refused whole by every reader.
type run []entry

// samples gives the places of the samples in their columns. Where two parts hold one with the same labels, that of the
// first goes out.
func (r run) samples(yield func(*column, int) bool) {
	var seen map[uint64]*Set // only where a family comes from several batches
	if len(r) > 1 {
		seen = map[uint64]*Set{}
	}
	for _, part := range r {
		if part.column == nil || part.column.family.Type != r[0].column.family.Type {
			continue
		}
		for i, set := range part.column.sets {
			if seen != nil && repeated(seen, set) {
				continue
			}
			if !yield(part.column, i) {
				return
			}
		}
	}
}

// repeated tells whether an equal set of labels was seen before.
func repeated(seen map[uint64]*Set, set *Set) bool {
	before, found := seen[set.hash]
	if !found {
		seen[set.hash] = set
	}
	return found && before.equal(set)
}

// builder makes client_model families in memory that it uses again for the next one.
type builder struct {
	out      dto.MetricFamily
	metrics  []dto.Metric
	pointers []*dto.Metric
	gauges   []dto.Gauge
	counters []dto.Counter
	untyped  []dto.Untyped
	labels   []dto.LabelPair
	sets     []*dto.LabelPair
}

// family merges the parts of one family.
func (b *builder) family(parts run) *dto.MetricFamily {
	if parts[0].made != nil {
		return parts[0].made
	}
	samples, labels := 0, 0
	for _, part := range parts {
		if part.column == nil {
			continue
		}
		samples += len(part.column.sets)
		for _, set := range part.column.sets {
			labels += len(set.values)
		}
	}
	b.reset(samples, labels)
	first := parts[0].column.family
	help := helpOf(first)
	b.out.Name, b.out.Help, b.out.Type = &first.Name, &help, first.Type.proto()
	b.out.Metric = b.pointers[:0]
	for c, i := range parts.samples {
		b.append(c, i)
	}
	return &b.out
}

// helpOf gives the family's help. Some helps hold what a server has said, and one byte of them that is no UTF-8 makes
// Prometheus refuse the whole page.
func helpOf(f *Family) string { return strings.ToValidUTF8(f.Help, "\uFFFD") }

// reset makes room for a family.
func (b *builder) reset(samples, labels int) {
	if cap(b.metrics) < samples {
		size := max(samples, 2*cap(b.metrics))
		b.metrics, b.pointers = make([]dto.Metric, size), make([]*dto.Metric, size)
		b.gauges, b.counters, b.untyped = nil, nil, nil
	}
	if cap(b.labels) < labels {
		size := max(labels, 2*cap(b.labels))
		b.labels, b.sets = make([]dto.LabelPair, size), make([]*dto.LabelPair, size)
	}
	b.labels, b.sets = b.labels[:0], b.sets[:0]
}

func (b *builder) append(c *column, i int) {
	at := len(b.out.Metric)
	m := &b.metrics[at]
	m.Reset()
	m.Label = b.set(c.sets[i])
	switch c.family.Type {
	case Histogram:
		m.Histogram = c.more.hists[i].proto()
	case Summary:
		m.Summary = c.more.sums[i].proto()
	case Counter:
		m.Counter = at0(&b.counters, at, cap(b.metrics))
		m.Counter.Value, m.Counter.CreatedTimestamp = &c.values[i], c.createdAt(i)
	case Gauge:
		m.Gauge = at0(&b.gauges, at, cap(b.metrics))
		m.Gauge.Value = &c.values[i]
	case Unknown:
		m.Untyped = at0(&b.untyped, at, cap(b.metrics))
		m.Untyped.Value = &c.values[i]
	}
	b.out.Metric = append(b.out.Metric, m)
}

// set gives the labels of a set, whose texts are those of the set.
func (b *builder) set(set *Set) []*dto.LabelPair {
	from := len(b.sets)
	for i := range set.values {
		b.labels = b.labels[:len(b.labels)+1]
		pair := &b.labels[len(b.labels)-1]
		pair.Name, pair.Value = &set.shape.names[i], &set.values[i]
		b.sets = append(b.sets, pair)
	}
	return b.sets[from:len(b.sets):len(b.sets)]
}

// at0 gives element i of a slab that is made when first needed.
func at0[T any](slab *[]T, i, size int) *T {
	if *slab == nil {
		*slab = make([]T, size)
	}
	return &(*slab)[i]
}

func (c *column) createdAt(i int) *timestamppb.Timestamp {
	at, known := c.since(i)
	if !known {
		return nil
	}
	return timestamppb.New(at)
}

// since tells when a counter began.
func (c *column) since(i int) (time.Time, bool) {
	if c.more == nil || i >= len(c.more.created) || c.more.created[i] <= 0 {
		return time.Time{}, false
	}
	seconds, fraction := math.Modf(c.more.created[i])
	return time.Unix(int64(seconds), int64(fraction*1e9)), true
}

func (t Type) proto() *dto.MetricType {
	return [...]dto.MetricType{
		Gauge: dto.MetricType_GAUGE, Counter: dto.MetricType_COUNTER,
		Histogram: dto.MetricType_HISTOGRAM, Unknown: dto.MetricType_UNTYPED, Summary: dto.MetricType_SUMMARY,
	}[t].Enum()
}

// proto makes the histogram with room for all buckets at once, since pages have ten thousands of them.
func (h *HistogramValue) proto() *dto.Histogram {
	n := len(h.Bounds)
	buckets, pointers, cumulative := make([]dto.Bucket, n), make([]*dto.Bucket, n), make([]uint64, n+1)
	var below uint64
	for i := range h.Bounds {
		below += h.Counts[i]
		cumulative[i] = below
		buckets[i].UpperBound, buckets[i].CumulativeCount = &h.Bounds[i], &cumulative[i]
		pointers[i] = &buckets[i]
	}
	cumulative[n] = h.Count()
	return &dto.Histogram{SampleSum: &h.Sum, SampleCount: &cumulative[n], Bucket: pointers}
}
