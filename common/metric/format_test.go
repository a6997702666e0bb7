package metric

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func parser() *expfmt.TextParser {
	p := expfmt.NewTextParser(model.LegacyValidation)
	return &p
}

// established is a page with what goes wrong most easily between formats: counters that are not named like one.
func established() *Batch {
	labels := []string{"datname"}
	batch := NewBatch(0, Label{"target", "a"})
	since := func(f *Family, value float64, values ...string) {
		batch.AddSet(f, value, 1.7e9, batch.Set(f.Labels, values...))
	}
	since(&Family{Name: "pg_stat_database_xact_commit", Help: "Kept name.", Type: Counter, Labels: labels}, 12, "db")
	since(&Family{Name: "pg_stat_bgwriter_buffers_clean_total", Help: "Named well.", Type: Counter}, 3)
	batch.Add(&Family{Name: "pg_stat_archiver_failed_total", Help: "Named well, no beginning known.", Type: Counter}, 4)
	batch.Add(&Family{Name: "pg_settings_total", Help: "A gauge that is named like a counter."}, 5)
	batch.Add(&Family{Name: "pg_static", Help: "Untyped.", Type: Unknown, Labels: []string{"version"}}, 1, "17")
	batch.Add(&Family{Name: "pg_database_size_bytes", Help: "A gauge.", Labels: labels}, 1.5e9, "db")
	batch.AddHistogram(&Family{Name: "db_query_duration_seconds", Help: "A histogram.", Type: Histogram},
		&HistogramValue{Bounds: []float64{.1, .5}, Counts: []uint64{1, 2, 3}, Sum: 20})
	batch.AddSummary(&Family{Name: "redis_latency_percentiles_usec", Help: "A summary.", Type: Summary, Labels: []string{"cmd"}},
		&SummaryValue{Count: 7, Sum: 30, Quantiles: []Quantile{{0.5, 3}, {99.9, 4}}}, "get")
	return batch
}

// TestSameNamesInEveryFormat holds that a series has the same name and value in every format: Prometheus asks for
// OpenMetrics first, where others would append _total to established names.
func TestSameNamesInEveryFormat(t *testing.T) {
	want := map[string]float64{
		`pg_stat_database_xact_commit{datname="db",target="a"}`: 12,
		`pg_stat_bgwriter_buffers_clean_total{target="a"}`:      3,
		`pg_stat_archiver_failed_total{target="a"}`:             4,
		`pg_settings_total{target="a"}`:                         5,
		`pg_static{target="a",version="17"}`:                    1,
		`pg_database_size_bytes{datname="db",target="a"}`:       1.5e9,
		`db_query_duration_seconds_bucket{target="a",le="0.1"}`: 1,
		`db_query_duration_seconds_bucket{target="a",le="0.5"}`: 3,
		`db_query_duration_seconds_count{target="a"}`:           6,
		`db_query_duration_seconds_sum{target="a"}`:             20,

		`redis_latency_percentiles_usec{cmd="get",target="a",quantile="0.5"}`:  3,
		`redis_latency_percentiles_usec{cmd="get",target="a",quantile="99.9"}`: 4,
		`redis_latency_percentiles_usec_count{cmd="get",target="a"}`:           7,
		`redis_latency_percentiles_usec_sum{cmd="get",target="a"}`:             30,
	}
	for name, format := range map[string]expfmt.Format{
		"text": expfmt.FmtText, "OpenMetrics": expfmt.FmtOpenMetrics_1_0_0, "OpenMetrics 0": expfmt.FmtOpenMetrics_0_0_1, "protobuf": expfmt.FmtProtoDelim,
		"asked to escape": expfmt.FmtText.WithEscapingScheme(model.UnderscoreEscaping), "asked for UTF-8": expfmt.FmtOpenMetrics_1_0_0.WithEscapingScheme(model.NoEscaping),
	} {
		got := map[string]float64{}
		for _, family := range decode(t, format, encode(t, format, established())) {
			flatten(family, got)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s has\n%s\nwant\n%s", name, sorted(got), sorted(want))
		}
	}
}

func TestTypes(t *testing.T) {
	text := encode(t, expfmt.FmtText, established())
	expect(t, matching(text, "# TYPE"), `
		# TYPE db_query_duration_seconds histogram
		# TYPE pg_database_size_bytes gauge
		# TYPE pg_settings_total gauge
		# TYPE pg_stat_archiver_failed_total counter
		# TYPE pg_stat_bgwriter_buffers_clean_total counter
		# TYPE pg_stat_database_xact_commit counter
		# TYPE pg_static untyped
		# TYPE redis_latency_percentiles_usec summary
	`)
	text = encode(t, expfmt.FmtOpenMetrics_1_0_0, established())
	expect(t, matching(text, "# TYPE"), `
		# TYPE db_query_duration_seconds histogram
		# TYPE pg_database_size_bytes gauge
		# TYPE pg_settings_total gauge
		# TYPE pg_stat_archiver_failed counter
		# TYPE pg_stat_bgwriter_buffers_clean counter
		# TYPE pg_stat_database_xact_commit unknown
		# TYPE pg_static unknown
		# TYPE redis_latency_percentiles_usec summary
	`)
	if !strings.HasSuffix(text, "# EOF\n") {
		t.Error("the page of OpenMetrics has no end")
	}
}

// TestCreated holds where the beginning of a counter goes out: as _created in OpenMetrics, but for names that are
// unknown to it as counters, and as a field in protobuf.
func TestCreated(t *testing.T) {
	expect(t, matching(encode(t, expfmt.FmtOpenMetrics_1_0_0, established()), "created"), "pg_stat_bgwriter_buffers_clean_created{target=\"a\"} 1.7e+09\n")
	expect(t, matching(encode(t, expfmt.FmtText, established()), "created"), "")
	var created []string
	for _, family := range decode(t, expfmt.FmtProtoDelim, encode(t, expfmt.FmtProtoDelim, established())) {
		for _, m := range family.Metric {
			if since := m.GetCounter().GetCreatedTimestamp(); since != nil {
				created = append(created, fmt.Sprint(family.GetName(), " ", since.AsTime().Unix()))
			}
		}
	}
	slices.Sort(created)
	if want := []string{"pg_stat_bgwriter_buffers_clean_total 1700000000", "pg_stat_database_xact_commit 1700000000"}; !slices.Equal(created, want) {
		t.Errorf("protobuf has %q, want %q", created, want)
	}
}

// TestEncodingTwice holds that a page can be written again, in another format, and that nothing is missing then.
func TestEncodingTwice(t *testing.T) {
	batch := established()
	first := encode(t, expfmt.FmtProtoDelim, batch)
	encode(t, expfmt.FmtOpenMetrics_1_0_0, batch)
	if encode(t, expfmt.FmtProtoDelim, batch) != first {
		t.Error("writing OpenMetrics changed the page")
	}
}

// decode reads a page back. What expfmt cannot read, OpenMetrics, is made the text format first, which says the same
// where there is no _created.
func decode(t *testing.T, format expfmt.Format, page string) []*dto.MetricFamily {
	t.Helper()
	if format.FormatType() == expfmt.TypeOpenMetrics {
		format, page = expfmt.FmtText, withoutComments(page)
	}
	decoder := expfmt.NewDecoder(bufio.NewReader(strings.NewReader(page)), format)
	var families []*dto.MetricFamily
	for {
		var family dto.MetricFamily
		switch err := decoder.Decode(&family); {
		case errors.Is(err, io.EOF):
			return families
		case err != nil:
			t.Fatal(err)
		}
		families = append(families, &family)
	}
}

// withoutComments leaves the samples of a page, without types, and without the series that only OpenMetrics has.
func withoutComments(page string) string {
	var samples strings.Builder
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_created") && !strings.Contains(line, `le="+Inf"`) {
			samples.WriteString(line)
		}
	}
	return samples.String()
}

// flatten adds the series of a family with their values.
func flatten(family *dto.MetricFamily, to map[string]float64) {
	for _, m := range family.Metric {
		var labels []string
		for _, pair := range m.Label {
			labels = append(labels, fmt.Sprintf("%s=%q", pair.GetName(), pair.GetValue()))
		}
		series := func(suffix string, more ...string) string {
			return family.GetName() + suffix + "{" + strings.Join(append(slices.Clone(labels), more...), ",") + "}"
		}
		switch {
		case m.Counter != nil:
			to[series("")] = m.Counter.GetValue()
		case m.Gauge != nil:
			to[series("")] = m.Gauge.GetValue()
		case m.Untyped != nil:
			to[series("")] = m.Untyped.GetValue()
		case m.Summary != nil:
			to[series("_count")], to[series("_sum")] = float64(m.Summary.GetSampleCount()), m.Summary.GetSampleSum()
			for _, q := range m.Summary.Quantile {
				to[series("", fmt.Sprintf("quantile=%q", fmt.Sprint(q.GetQuantile())))] = q.GetValue()
			}
		case m.Histogram != nil:
			to[series("_count")], to[series("_sum")] = float64(m.Histogram.GetSampleCount()), m.Histogram.GetSampleSum()
			for _, bucket := range m.Histogram.Bucket {
				if bound := fmt.Sprint(bucket.GetUpperBound()); bound != "+Inf" {
					to[series("_bucket", "le="+fmt.Sprintf("%q", bound))] = float64(bucket.GetCumulativeCount())
				}
			}
		}
	}
}

func sorted(series map[string]float64) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(series)) {
		fmt.Fprintln(&text, name, series[name])
	}
	return text.String()
}

func matching(page, part string) string {
	var found strings.Builder
	for line := range strings.Lines(page) {
		if strings.Contains(line, part) {
			found.WriteString(line)
		}
	}
	return found.String()
}
