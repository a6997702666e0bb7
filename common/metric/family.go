// Package metric holds what an exporter says: families declared once, and samples appended to them fast.
//
// A Family is declared next to the question that fills it. A Batch takes the samples of one run of one collector and
// is handed on whole or not at all. A Page merges batches and writes them in the format that was asked for.
package metric

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
)

// Type is the type of a family.
type Type uint8

// The types, in the words of the exposition formats.
const (
	Gauge Type = iota
	Counter
	Histogram
	Unknown
	Summary
)

func (t Type) String() string {
	return [...]string{"gauge", "counter", "histogram", "unknown", "summary"}[t]
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

// Check reports a name or a label that not every reader of the formats takes. A name may end with *: it stands for
// names that only the server knows.
func (f *Family) Check() error {
	if !model.LegacyValidation.IsValidMetricName(strings.TrimSuffix(f.Name, "*")) {
		return fmt.Errorf("%q is no name of a metric", f.Name)
	}
	for i, label := range f.Labels {
		switch {
		case !model.LegacyValidation.IsValidLabelName(label), strings.HasPrefix(label, "__"):
			return fmt.Errorf("%q of %s is no name of a label", label, f.Name)
		case slices.Contains(f.Labels[:i], label):
			return fmt.Errorf("%s has the label %q twice", f.Name, label)
		case f.Type == Histogram && label == model.BucketLabel:
			return fmt.Errorf("%s is a histogram, whose label %q is taken", f.Name, label)
		case f.Type == Summary && label == model.QuantileLabel:
			return fmt.Errorf("%s is a summary, whose label %q is taken", f.Name, label)
		}
	}
	return nil
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

// Truth is the value of a sample that says yes or no.
func Truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Label is one label of a sample.
type Label struct{ Name, Value string }
