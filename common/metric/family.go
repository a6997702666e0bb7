// Package metric holds what an exporter says: families declared once, and samples appended to them fast.
//
// A Family is declared next to the question that fills it. A Batch takes the samples of one run of one collector and
// is handed on whole or not at all. A Page merges batches and writes them through prometheus/common/expfmt in the
// format that was asked for.
package metric

import (
	"strings"
)

// Type is the type of a family.
type Type uint8

// The types, in the words of the exposition formats.
const (
	Gauge Type = iota
	Counter
	Histogram
	Unknown
)

func (t Type) String() string {
	return [...]string{"gauge", "counter", "histogram", "unknown"}[t]
}

// Family declares a metric: everything about it but its values.
//
// Unit is needed only where the name does not end with it (names kept for the sake of existing dashboards).
type Family struct {
	Name   string
	Help   string
	Type   Type
	Unit   string
	Labels []string
}

// BaseUnit tells the unit of the family's values: the declared one, or the one its name ends with, or "".
func (f *Family) BaseUnit() string {
	if f.Unit != "" {
		return f.Unit
	}
	name := strings.TrimSuffix(f.Name, "_total")
	for _, unit := range []string{"timestamp_seconds", "seconds", "bytes", "ratio", "info"} {
		if strings.HasSuffix(name, "_"+unit) {
			return unit
		}
	}
	return ""
}

// Label is one label of a sample.
type Label struct{ Name, Value string }
