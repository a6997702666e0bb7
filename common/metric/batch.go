package metric

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
)

// MaxLabelBytes is the length above which a label value is cut.
const MaxLabelBytes = 1024

// Values of labels are kept so many at once. A batch begins with few: there may be thousands of batches that have no more.
const (
	minChunk = 8
	maxChunk = 256
)

// Batch takes the samples of one run of one collector. It is not safe for concurrent use.
//
// A sample that repeats the labels of an earlier one of its family is dropped and counted, and so is every sample
// above the limit; label values that are not UTF-8 are repaired and counted. A value that is NaN or infinite is no
// sample.
type Batch struct {
	Duplicates int // samples dropped because an equal one was there
	Limited    int // samples dropped because the limit was reached
	Repaired   int // label values that were no UTF-8 or too long

	count   int
	order   []*column
	last    int // where in the order the family of the last sample is
	*adding     // nil once it is compact
}

// adding is what only adding samples takes.
type adding struct {
	constant []Label
	base     []Label // the constant labels, where others were added to them
	limit    int
	shapes   []*shape
	values   []string
	chunk    int
	recent   []string // of the last set
}

// column holds the samples of one family. There are very many of few samples.
type column struct {
	family *Family
	sets   []*Set
	values []float64
	more   *more
	index  *index // while samples are added, from the second one on
}

// more is what most columns have not.
type more struct {
	created []float64 // Unix seconds, 0 where unknown; ends with the last sample that has one
	hists   []*HistogramValue
	sums    []*SummaryValue
}

// index finds sets of labels that a column has already.
type index struct {
	seen map[uint64]int32

	// The columns of a table mostly have the samples of the same rows. While this column's sets are among those of
	// another, in the same order, they are distinct as those are, and need no map.
	leader *column
	cursor int // where to look on in the leader's sets
}

// NewBatch returns a batch that takes at most limit samples (0: no limit) and puts the constant labels on each.
func NewBatch(limit int, constant ...Label) *Batch {
	return &Batch{adding: &adding{constant: constant, limit: limit}}
}

// Label has the samples that are appended from now on carry these labels too, beside the constant ones of the batch;
// none ends that. A family's own label of the same name counts.
func (b *Batch) Label(labels ...Label) {
	if b.base == nil {
		b.base = append([]Label{}, b.constant...)
	}
	b.constant, b.shapes = append(slices.Clip(b.base), labels...), nil
}

// Len tells how many samples the batch holds.
func (b *Batch) Len() int { return b.count }

// Add appends a sample of a family with its label values in the family's order. It panics where their number is
// wrong: that is a mistake in a catalogue, which the scheduler turns into a failed collector.
func (b *Batch) Add(f *Family, value float64, labels ...string) {
	b.AddSet(f, value, 0, b.Set(f.Labels, labels...))
}

func (b *Batch) repair(value string) string {
	if len(value) <= MaxLabelBytes && utf8.ValidString(value) {
		return value
	}
	b.Repaired++
	value = strings.ToValidUTF8(value[:min(len(value), MaxLabelBytes+utf8.UTFMax)], "\uFFFD")
	if len(value) > MaxLabelBytes {
		end := MaxLabelBytes
		for !utf8.RuneStart(value[end]) {
			end--
		}
		value = value[:end]
	}
	return strings.Clone(value)
}

// AddSet appends a sample with a shared set of labels. Created is when the counter began, in Unix seconds, or 0.
func (b *Batch) AddSet(f *Family, value, created float64, set *Set) {
	c := b.column(f)
	if math.IsNaN(value) || math.IsInf(value, 0) || !b.admit(c, set) {
		return
	}
	c.values = append(c.values, value)
	if created > 0 && created < maxCreated {
		m := c.rare()
		for len(m.created) < len(c.values)-1 {
			m.created = append(m.created, 0)
		}
		m.created = append(m.created, created)
	}
}

// maxCreated is a time in Unix seconds (in the year 2242) that is nobody's and that nanoseconds can hold.
const maxCreated = 1 << 33

// AddHistogram appends a histogram sample with its label values in the family's order. It panics where bounds and
// counts do not fit together.
func (b *Batch) AddHistogram(f *Family, h *HistogramValue, labels ...string) {
	if len(h.Counts) != len(h.Bounds)+1 {
		panic(fmt.Sprintf("metric: %d counts for %d bounds of %s", len(h.Counts), len(h.Bounds), f.Name))
	}
	c := b.column(f)
	if b.admit(c, b.Set(f.Labels, labels...)) {
		c.rare().hists = append(c.rare().hists, h)
	}
}

// AddSummary appends a summary sample with its label values in the family's order.
func (b *Batch) AddSummary(f *Family, s *SummaryValue, labels ...string) {
	c := b.column(f)
	if b.admit(c, b.Set(f.Labels, labels...)) {
		c.rare().sums = append(c.rare().sums, s)
	}
}

// rare gives what most columns have not, to be added to.
func (c *column) rare() *more {
	if c.more == nil {
		c.more = &more{}
	}
	return c.more
}

func (b *Batch) column(f *Family) *column {
	if c := b.find(f); c != nil {
		return c
	}
	b.last = len(b.order)
	if !model.LegacyValidation.IsValidMetricName(f.Name) {
		panic(fmt.Sprintf("metric: %q is no name of a metric", f.Name))
	}
	b.order = append(b.order, &column{family: f})
	return b.order[b.last]
}

// find looks from the last family on: most samples are of the same or of the next, as the columns of a table follow
// each other in each row.
func (b *Batch) find(f *Family) *column {
	for i := range b.order {
		at := b.last + i
		if at >= len(b.order) {
			at -= len(b.order)
		}
		if b.order[at].family == f {
			b.last = at
			return b.order[at]
		}
	}
	return nil
}

// admit tells whether a sample with these labels may be appended, and takes note of it.
func (b *Batch) admit(c *column, set *Set) bool {
	if len(set.shape.given) != len(c.family.Labels) {
		panic(fmt.Sprintf("metric: %s has the labels %v, not %v", c.family.Name, c.family.Labels, set.shape.given))
	}
	if b.limit > 0 && b.count >= b.limit {
		b.Limited++
		return false
	}
	if c.duplicate(set) {
		b.Duplicates++
		return false
	}
	if set.first == nil {
		set.first = c
	}
	c.sets = append(c.sets, set)
	b.count++
	return true
}

// duplicate tells whether the column has a sample with these labels.
func (c *column) duplicate(set *Set) bool {
	if len(c.sets) == 0 { // most columns have no more than this one
		return false
	}
	if c.index == nil {
		c.index = &index{}
		if first := c.sets[0]; first.first != c {
			c.index.leader = first.first
			c.index.follows(first)
		}
	}
	x := c.index
	if x.follows(set) {
		return false
	}
	if x.seen == nil {
		x.seen = make(map[uint64]int32, 2*len(c.sets))
		for i, before := range c.sets {
			x.seen[before.hash] = int32(i)
		}
	}
	at, found := x.seen[set.hash]
	if !found {
		x.seen[set.hash] = int32(len(c.sets))
		return false
	}
	return c.sets[at].equal(set)
}

// follows tells whether the leader has the set too, after all those that it was asked for before.
func (x *index) follows(set *Set) bool {
	if x.leader == nil {
		return false
	}
	ahead := slices.Index(x.leader.sets[x.cursor:], set)
	if ahead < 0 {
		x.leader = nil
		return false
	}
	x.cursor += ahead + 1
	return true
}

// Compact gives back the memory that only adding samples takes, of a batch that is kept. It must take none afterwards.
func (b *Batch) Compact() {
	b.adding, b.order = nil, exact(b.order)
	b.compactSets()
	for _, c := range b.order {
		c.values, c.sets, c.index = exact(c.values), exact(c.sets), nil
	}
}

// compactSets has the values of all sets in memory of just their size.
func (b *Batch) compactSets() {
	var sets []*Set
	count := 0
	for _, c := range b.order {
		for _, set := range c.sets {
			if set.first == c { // else it has been met
				sets, count = append(sets, set), count+len(set.values)
			}
		}
	}
	values := make([]string, 0, count)
	for _, set := range sets {
		from := len(values)
		values = append(values, set.values...)
		set.values = values[from:len(values):len(values)]
	}
}

// exact gives a slice that has little room beyond its end.
func exact[T any](s []T) []T {
	if cap(s)-len(s) <= len(s)/8 {
		return s
	}
	return append(make([]T, 0, len(s)), s...)
}

// Undeclared gives a family with samples that declared does not know, or nil.
func (b *Batch) Undeclared(declared func(*Family) bool) *Family {
	for _, c := range b.order {
		if !declared(c.family) {
			return c.family
		}
	}
	return nil
}

// Families gives what the batch holds as client_model families in the order of their first samples.
func (b *Batch) Families() []*dto.MetricFamily {
	page := Page{}
	page.Add(b)
	return page.Families()
}

// AppendAs appends to out the samples of a family that is neither histogram nor summary, under the name of another with the same
// labels: an established name beside the right one.
func (b *Batch) AppendAs(f, other *Family, out *Batch) {
	c := b.find(f)
	if c == nil {
		return
	}
	for i, value := range c.values {
		out.AddSet(other, value, 0, c.sets[i])
	}
}
