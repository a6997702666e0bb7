package metric

import (
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

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

// Add puts the samples of a batch on the page. The batch must not change afterwards.
func (p *Page) Add(b *Batch) {
	for _, c := range b.order {
		if len(c.sets) > 0 {
			p.entries = append(p.entries, entry{name: c.family.Name, column: c})
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
	// Every name here is of the old alphabet, so escaping changes nothing; saying so saves a copy of each family.
	encoder := expfmt.NewEncoder(w, format.WithEscapingScheme(model.NoEscaping), expfmt.WithCreatedLines())
	var build builder
	for _, run := range p.runs() {
		family := build.family(run)
		if format.FormatType() == expfmt.TypeOpenMetrics {
			dropCreated(family)
		}
		if err := encoder.Encode(family); err != nil {
			return err
		}
	}
	if closer, ok := encoder.(expfmt.Closer); ok {
		return closer.Close()
	}
	return nil
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

// Families gives the page as client_model families, sorted by name.
func (p *Page) Families() []*dto.MetricFamily {
	var families []*dto.MetricFamily
	for _, run := range p.runs() {
		var build builder // each family keeps its own memory
		families = append(families, build.family(run))
	}
	return families
}

// runs gives the entries of each family together, in the order of names.
func (p *Page) runs() [][]entry {
	if !p.sorted {
		slices.SortStableFunc(p.entries, func(x, y entry) int { return strings.Compare(x.name, y.name) })
		p.sorted = true
	}
	var runs [][]entry
	for start := 0; start < len(p.entries); {
		end := start + 1
		for end < len(p.entries) && p.entries[end].name == p.entries[start].name {
			end++
		}
		runs = append(runs, p.entries[start:end])
		start = end
	}
	return runs
}

// builder makes client_model families in memory that it uses again for the next one.
type builder struct {
	out      dto.MetricFamily
	metrics  []dto.Metric
	pointers []*dto.Metric
	gauges   []dto.Gauge
	counters []dto.Counter
	untyped  []dto.Untyped
	seen     map[uint64]*Set // only where a family comes from several batches
}

// family merges the parts of one family. Parts of another type than the first are left out: a page with two types
// under one name is refused whole by every reader.
func (b *builder) family(parts []entry) *dto.MetricFamily {
	if parts[0].made != nil {
		return parts[0].made
	}
	total := 0
	for _, part := range parts {
		if part.column != nil {
			total += len(part.column.sets)
		}
	}
	b.reset(total)
	first := parts[0].column.family
	b.out.Name, b.out.Help, b.out.Type = &first.Name, helpOf(first), first.Type.proto()
	b.out.Metric = b.pointers[:0]
	clear(b.seen)
	for _, part := range parts {
		if part.column != nil && part.column.family.Type == first.Type {
			b.append(part.column, len(parts) > 1)
		}
	}
	return &b.out
}

// helpOf gives the family's help. Some helps hold what a server has said, and one byte of them that is no UTF-8 makes
// Prometheus refuse the whole page.
func helpOf(f *Family) *string {
	if utf8.ValidString(f.Help) {
		return &f.Help
	}
	help := strings.ToValidUTF8(f.Help, "\uFFFD")
	return &help
}

// repeated tells whether an equal set of labels was seen in the family before.
func (b *builder) repeated(set *Set) bool {
	if b.seen == nil {
		b.seen = map[uint64]*Set{}
	}
	before, found := b.seen[set.hash]
	if !found {
		b.seen[set.hash] = set
	}
	return found && before.equal(set)
}

func (b *builder) reset(n int) {
	if cap(b.metrics) < n {
		size := max(n, 2*cap(b.metrics))
		b.metrics, b.pointers = make([]dto.Metric, size), make([]*dto.Metric, size)
		b.gauges, b.counters, b.untyped = nil, nil, nil
	}
}

func (b *builder) append(c *column, shared bool) {
	for i, set := range c.sets {
		if shared && b.repeated(set) {
			continue
		}
		at := len(b.out.Metric)
		m := &b.metrics[at]
		m.Reset()
		m.Label = set.pairs
		switch c.family.Type {
		case Histogram:
			m.Histogram = c.hists[i].proto()
		case Summary:
			m.Summary = c.sums[i].proto()
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
}

// at0 gives element i of a slab that is made when first needed.
func at0[T any](slab *[]T, i, size int) *T {
	if *slab == nil {
		*slab = make([]T, size)
	}
	return &(*slab)[i]
}

func (c *column) createdAt(i int) *timestamppb.Timestamp {
	if i >= len(c.created) || c.created[i] <= 0 {
		return nil
	}
	seconds, fraction := math.Modf(c.created[i])
	return timestamppb.New(time.Unix(int64(seconds), int64(fraction*1e9)))
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
