package metric

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/prometheus/common/model"
)

// seed makes equal sets of labels of all batches have equal hashes, which no peer can foresee.
var seed = maphash.MakeSeed()

// Set is a set of labels shared by the samples of a row.
type Set struct {
	shape  *shape
	values []string // in the order of the shape's names
	hash   uint64
	first  *column // that has a sample with the set
}

// shape is what the sets of labels that were made of the same names have in common.
type shape struct {
	given []string // the names in the caller's order
	names []string // those and the constant ones, in the order of a page
	from  []int    // where the value of each comes from: a place among those given, or where that is none
	fixed []string // the value of a constant label
	hash  uint64   // of the names
}

// none is the place of what the caller does not give.
const none = -1

// Set makes a set of labels that several samples share. The names belong to the caller and must not change. It panics
// where there is not one value for each, or where a name is none that every reader takes.
func (b *Batch) Set(names []string, values ...string) *Set {
	if len(names) != len(values) {
		panic(fmt.Sprintf("metric: %d values for the labels %v", len(values), names))
	}
	shape := b.shape(names)
	set := &Set{shape: shape, values: b.room(len(shape.names)), hash: shape.hash}
	for i, from := range shape.from {
		value := shape.fixed[i]
		if from != none {
			value = b.repair(values[from])
		}
		// The rows of an answer mostly have some of their labels in common: one of the equal strings is enough.
		if i < len(b.recent) && b.recent[i] == value {
			value = b.recent[i]
		}
		set.values[i] = value
		set.hash = mix(set.hash, value)
	}
	b.recent = set.values
	return set
}

// mix adds a text to a hash.
func mix(hash uint64, text string) uint64 {
	return (hash ^ maphash.String(seed, text)) * 0x9e3779b97f4a7c15
}

// room takes the memory of a set's values from a chunk, so that it costs no allocation.
func (b *Batch) room(count int) []string {
	if len(b.values) < count {
		b.chunk = min(max(2*b.chunk, minChunk), maxChunk)
		b.values = make([]string, max(b.chunk, count))
	}
	values := b.values[:count:count]
	b.values = b.values[count:]
	return values
}

// shape gives what sets with these names have in common. The latest are looked at first: the sets of an answer mostly
// have the same.
func (b *Batch) shape(names []string) *shape {
	for i := len(b.shapes) - 1; i >= 0; i-- {
		if slices.Equal(b.shapes[i].given, names) {
			return b.shapes[i]
		}
	}
	s := b.newShape(names)
	b.shapes = append(b.shapes, s)
	return s
}

func (b *Batch) newShape(names []string) *shape {
	type label struct {
		name, fixed string
		from        int
	}
	var labels []label
	for i, name := range names {
		labels = append(labels, label{name, "", i})
	}
	for _, constant := range b.constant {
		if !slices.Contains(names, constant.Name) { // a family's own label counts, as two of a name break the page
			labels = append(labels, label{constant.Name, b.repair(constant.Value), none})
		}
	}
	slices.SortFunc(labels, func(x, y label) int { return cmp.Compare(x.name, y.name) })
	s := &shape{given: names}
	for _, l := range labels {
		if !model.LegacyValidation.IsValidLabelName(l.name) {
			panic(fmt.Sprintf("metric: %q is no name of a label", l.name))
		}
		s.names, s.fixed, s.from = append(s.names, l.name), append(s.fixed, l.fixed), append(s.from, l.from)
		s.hash = mix(s.hash, l.name)
	}
	return s
}

func (s *Set) equal(other *Set) bool {
	return s == other || slices.Equal(s.shape.names, other.shape.names) && slices.Equal(s.values, other.values)
}
