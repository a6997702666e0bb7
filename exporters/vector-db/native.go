package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// maxNative bounds the samples of a server's own metrics.
const maxNative = 20_000

// ours are the names that this exporter's own page has: a server's families of these names cannot stand beside them.
var ours = []string{"vectordb_", "go_", "process_", "promhttp_", "vector_db_exporter_", "db_", "service_health"}

// checkNative reports a pattern that is no name, with or without * at its end, or that stands for one of our own.
func checkNative(patterns []string) error {
	for _, pattern := range patterns {
		name := strings.TrimSuffix(pattern, "*")
		if !model.LegacyValidation.IsValidMetricName(name) {
			return fmt.Errorf("native: %q is no name of a metric: write it whole, or its beginning and *", pattern)
		}
		if slices.ContainsFunc(ours, func(own string) bool { return strings.HasPrefix(name, own) }) {
			return fmt.Errorf("native: %q stands for names that this exporter has itself", pattern)
		}
	}
	return nil
}

// nativeFamilies declares what the patterns stand for.
func nativeFamilies(patterns []string) []*metric.Family {
	var all []*metric.Family
	for _, pattern := range patterns {
		all = append(all, &metric.Family{Name: strings.TrimSuffix(pattern, "*") + "*", Type: metric.Unknown, Help: "Metrics of the server's own, as it describes them."})
	}
	return all
}

// readNative parses the server's own metrics. They may hold any label and any text, which the batch repairs.
func readNative(ctx context.Context, session backend.Session) (map[string]*dto.MetricFamily, error) {
	var families map[string]*dto.MetricFamily
	err := session.Native(ctx, func(from io.Reader) (err error) {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		if families, err = parser.TextToMetricFamilies(from); err != nil {
			return fault.New(fault.Malformed, "the page of metrics cannot be read") // the parser's words quote it
		}
		return nil
	})
	return families, err
}

// nativeReader takes the chosen families over.
func nativeReader(patterns []string) func(int, collect.Answer, *metric.Batch) error {
	return func(_ int, from collect.Answer, out *metric.Batch) error {
		families := told[map[string]*dto.MetricFamily](from)
		for _, family := range families {
			name := family.GetName()
			if chosen(patterns, name) && (&metric.Family{Name: name}).Check() == nil {
				pass(family, out)
			}
		}
		return nil
	}
}

func chosen(patterns []string, name string) bool {
	if slices.ContainsFunc(ours, func(own string) bool { return strings.HasPrefix(name, own) }) {
		return false
	}
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return name == pattern || open && strings.HasPrefix(name, prefix)
	})
}

var types = map[dto.MetricType]metric.Type{
	dto.MetricType_COUNTER: metric.Counter, dto.MetricType_HISTOGRAM: metric.Histogram,
	dto.MetricType_GAUGE: metric.Gauge, dto.MetricType_SUMMARY: metric.Summary, dto.MetricType_UNTYPED: metric.Unknown,
}

// pass adds a family with the labels that any of its samples has. One that no page can hold is left out.
func pass(from *dto.MetricFamily, out *metric.Batch) {
	kind, known := types[from.GetType()]
	to := &metric.Family{Name: from.GetName(), Help: cmp.Or(from.GetHelp(), "As the server tells it."), Type: kind, Labels: labelNames(from)}
	if !known || to.Check() != nil {
		return
	}
	for _, m := range from.Metric {
		labels := labelValues(m, to.Labels)
		switch {
		case m.Histogram != nil:
			if value, err := histogram(m.Histogram); err == nil {
				out.AddHistogram(to, value, labels...)
			}
		case m.Summary != nil:
			out.AddSummary(to, summary(m.Summary), labels...)
		case m.Counter != nil:
			out.Add(to, m.Counter.GetValue(), labels...)
		case m.Gauge != nil:
			out.Add(to, m.Gauge.GetValue(), labels...)
		case m.Untyped != nil:
			out.Add(to, m.Untyped.GetValue(), labels...)
		}
	}
}

func summary(from *dto.Summary) *metric.SummaryValue {
	value := &metric.SummaryValue{Count: from.GetSampleCount(), Sum: from.GetSampleSum()}
	for _, q := range from.Quantile {
		value.Quantiles = append(value.Quantiles, metric.Quantile{Rank: q.GetQuantile(), Value: q.GetValue()})
	}
	return value
}

func labelNames(family *dto.MetricFamily) []string {
	var names []string
	for _, m := range family.Metric {
		for _, pair := range m.Label {
			if !slices.Contains(names, pair.GetName()) {
				names = append(names, pair.GetName())
			}
		}
	}
	slices.Sort(names)
	return names
}

// labelValues gives "" for what a sample lacks, which means the same.
func labelValues(m *dto.Metric, names []string) []string {
	values := make([]string, len(names))
	for _, pair := range m.Label {
		values[slices.Index(names, pair.GetName())] = pair.GetValue()
	}
	return values
}

// histogram makes counts of each bucket from cumulative ones, and refuses those that fall.
func histogram(from *dto.Histogram) (*metric.HistogramValue, error) {
	value := &metric.HistogramValue{Sum: from.GetSampleSum()}
	below, bound := uint64(0), math.Inf(-1)
	for _, bucket := range from.Bucket {
		if bucket.GetCumulativeCount() < below || bucket.GetUpperBound() <= bound {
			return nil, errors.New("the buckets are in disorder")
		}
		bound = bucket.GetUpperBound()
		if !math.IsInf(bound, 1) {
			value.Bounds = append(value.Bounds, bound)
			value.Counts = append(value.Counts, bucket.GetCumulativeCount()-below)
			below = bucket.GetCumulativeCount()
		}
	}
	if from.GetSampleCount() < below {
		return nil, errors.New("the buckets hold more than all")
	}
	value.Counts = append(value.Counts, from.GetSampleCount()-below)
	return value, nil
}
