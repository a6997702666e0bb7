package collect

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Histogram is a column with the upper bounds of buckets as a list. Beside it the answer has FIELD_bucket, which tells
// for each bound how many values are not above it, FIELD_sum and FIELD_count.
func Histogram(field, name, help string) Column {
	return Column{Field: field, Name: name, Help: help, Type: metric.Histogram, kind: valueColumn}
}

// histogram reads the four fields of a value. Where one is absent or NULL there is no sample.
func (r *row) histogram(answer Answer, value *value, out *metric.Batch) error {
	fields := answer.Fields()
	var parts [4][]byte
	for i, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		at := position(fields, value.field+suffix)
		if at < 0 || len(answer.Value(at)) == 0 {
			return nil
		}
		parts[i] = answer.Value(at)
	}
	read, err := histogramValue(parts)
	if err != nil {
		return fault.Wrap(fault.Malformed, "histogram "+value.field, err)
	}
	var labels []string
	for _, from := range r.shapes[value.shape].from {
		labels = append(labels, r.strings[from])
	}
	out.AddHistogram(value.family, read, labels...)
	return nil
}

type bucket struct{ bound, below float64 }

// histogramValue takes bounds, counts, sum and count. Lists come in any order, as aggregates make them.
func histogramValue(parts [4][]byte) (*metric.HistogramValue, error) {
	bounds, err := numbers(parts[0])
	if err != nil {
		return nil, err
	}
	counts, err := numbers(parts[1])
	if err != nil {
		return nil, err
	}
	sum, haveSum, err := number(parts[2])
	if err != nil {
		return nil, err
	}
	total, haveTotal, err := number(parts[3])
	if err != nil {
		return nil, err
	}
	if len(bounds) != len(counts) || !haveSum || !haveTotal {
		return nil, errors.New("it has not as many counts as bounds, or no finite sum and count")
	}
	buckets := make([]bucket, len(bounds))
	for i := range bounds {
		buckets[i] = bucket{bounds[i], counts[i]}
	}
	slices.SortFunc(buckets, func(x, y bucket) int { return cmp.Compare(x.bound, y.bound) })
	return stack(buckets, sum, total)
}

// stack turns counts from below into those of single buckets.
func stack(buckets []bucket, sum, total float64) (*metric.HistogramValue, error) {
	out, before := &metric.HistogramValue{Sum: sum}, 0.0
	buckets = slices.DeleteFunc(buckets, func(b bucket) bool { return math.IsInf(b.bound, 1) }) // the total tells that
	for i, b := range append(buckets, bucket{math.Inf(1), total}) {
		if b.below < before || b.below > 1<<53 || i > 0 && b.bound == buckets[i-1].bound {
			return nil, errors.New("its counts do not rise from bound to bound up to the total")
		}
		if i < len(buckets) {
			out.Bounds = append(out.Bounds, b.bound)
		}
		out.Counts = append(out.Counts, uint64(b.below-before))
		before = b.below
	}
	return out, nil
}

// numbers reads a list as servers write them: {1,2.5,Infinity} or [1,2.5].
func numbers(text []byte) ([]float64, error) {
	var list []float64
	inner := bytes.Trim(text, "{}[]")
	if len(inner) == 0 {
		return nil, nil
	}
	for item := range bytes.SplitSeq(inner, []byte(",")) {
		item = bytes.TrimSpace(item)
		value, present, err := number(item)
		switch {
		case err != nil:
			return nil, err
		case present:
			list = append(list, value)
		case bytes.EqualFold(item, []byte("infinity")):
			list = append(list, math.Inf(1))
		default:
			return nil, errors.New("a list holds what is no finite number")
		}
	}
	return list, nil
}
