package metric

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// byExpfmt writes a page in the way that others do, from client_model families.
func byExpfmt(t *testing.T, page *Page, format expfmt.Format) string {
	t.Helper()
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, format.WithEscapingScheme(model.NoEscaping), expfmt.WithCreatedLines())
	for _, family := range page.Families() {
		if format.FormatType() == expfmt.TypeOpenMetrics {
			dropCreated(family)
		}
		if err := encoder.Encode(family); err != nil {
			t.Fatal(err)
		}
	}
	if err := encoder.(expfmt.Closer).Close(); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// sameAsExpfmt holds that a page is written to the byte as expfmt does.
func sameAsExpfmt(t *testing.T, page *Page) {
	t.Helper()
	for _, format := range []expfmt.Format{expfmt.FmtText, expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1} {
		var text bytes.Buffer
		if err := page.Encode(&text, format); err != nil {
			t.Fatal(err)
		}
		got, want := strings.Split(text.String(), "\n"), strings.Split(byExpfmt(t, page, format), "\n")
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				t.Fatalf("%s, line %d: have\n%q\nwant\n%q", format, i+1, got[min(i, len(got)-1)], want[i])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d lines, want %d", format, len(got), len(want))
		}
	}
}

func TestTextOfEstablishedPage(t *testing.T) {
	var page Page
	page.Add(established())
	sameAsExpfmt(t, &page)
}

// TestTextOfFamiliesFromElsewhere has what client_golang makes and batches do not.
func TestTextOfFamiliesFromElsewhere(t *testing.T) {
	var page Page
	page.Add(established())
	number := func(x float64) *float64 { return &x }
	text := func(x string) *string { return &x }
	label := []*dto.LabelPair{{Name: text("a.b"), Value: text("\"")}}
	page.AddFamilies([]*dto.MetricFamily{
		{Name: text("go.odd"), Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Label: label, Gauge: &dto.Gauge{Value: number(1)}}}},
		{Name: text("pg_static"), Help: text("Behind ours."), Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: number(2)}}}},
		{Name: text("a_first_total"), Unit: text("s"), Type: dto.MetricType_COUNTER.Enum(), Metric: []*dto.Metric{{Counter: &dto.Counter{Value: number(3)}}}},
	})
	sameAsExpfmt(t, &page)
}

// TestTextOfAnything compares pages of chance: every type, labels and helps with what must be escaped, values of every size.
func TestTextOfAnything(t *testing.T) {
	for seed := range uint64(300) {
		var page Page
		chance := &chance{rand.New(rand.NewPCG(seed, 7))}
		for range 1 + chance.IntN(3) {
			page.Add(chance.batch())
		}
		sameAsExpfmt(t, &page)
	}
}

// FuzzText compares what is written of one label, one help and one value.
func FuzzText(f *testing.F) {
	for i, seed := range []string{"", "plain", "\"\\\n", "\xff", "a\\nb", "é\u2028", strings.Repeat("\n", 5000)} {
		f.Add(seed, seed, math.Pow(-10, float64(3*i)))
	}
	for _, value := range []float64{0, math.Copysign(0, -1), 999999, 1e6, -999999, -1e6, 1e5 + .5, 1e-5, math.MaxInt64, math.MaxFloat64, math.SmallestNonzeroFloat64} {
		f.Add("", "", value)
	}
	f.Fuzz(func(t *testing.T, help, label string, value float64) {
		batch := NewBatch(0)
		batch.Add(&Family{Name: "f", Help: help, Labels: []string{"l"}}, value, label)
		batch.AddHistogram(&Family{Name: "h", Help: help, Type: Histogram}, &HistogramValue{Bounds: []float64{value}, Counts: []uint64{1, math.Float64bits(value) / 2}, Sum: value})
		batch.AddSummary(&Family{Name: "s", Help: help, Type: Summary}, &SummaryValue{Sum: value, Quantiles: []Quantile{{value, value}}})
		var page Page
		page.Add(batch)
		sameAsExpfmt(t, &page)
	})
}

// chance makes batches.
type chance struct{ *rand.Rand }

func pick[T any](c *chance, from ...T) T { return from[c.IntN(len(from))] }

func (c *chance) text() string {
	return pick(c, "", "plain", "a longer text without anything", "quote\"", "back\\slash", "line\nend", "naïve \u2028", "\\n", "\"", "x\xffy", strings.Repeat("long ", 100))
}

func (c *chance) value() float64 {
	return pick(c, 0, 1, -1, 999999, 1000000, 1e6+.5, 1<<40, -1<<53, .1, 1e-7, 1/3., 1e21, math.MaxFloat64, math.Copysign(0, -1),
		c.NormFloat64(), float64(c.Uint64()), float64(c.IntN(2e6)))
}

// bounds are sometimes shared by all histograms, and sometimes end at infinity.
func (c *chance) bounds() []float64 {
	return pick(c, sharedBounds, []float64{.25, 1e6}, []float64{1, math.Inf(+1)}, nil)
}

var sharedBounds = []float64{1e-6, .001, 1, 16}

func (c *chance) batch() *Batch {
	batch := NewBatch(0, pick(c, nil, []Label{{"constant", c.text()}})...)
	for i := range 12 {
		f := &Family{
			Name: fmt.Sprintf("f%d%s", i, pick(c, "", "_total", "_seconds", "_created", "_sum")), Help: c.text(),
			Type: pick(c, Gauge, Counter, Histogram, Unknown, Summary), Labels: pick(c, nil, []string{"z"}, []string{"m", "b", "x"}),
		}
		for range c.IntN(40) {
			c.sample(batch, f)
		}
	}
	return batch
}

func (c *chance) sample(batch *Batch, f *Family) {
	var labels []string
	for range f.Labels {
		labels = append(labels, c.text())
	}
	switch f.Type {
	case Histogram:
		h := &HistogramValue{Bounds: c.bounds(), Sum: c.value()}
		for range len(h.Bounds) + 1 {
			h.Counts = append(h.Counts, pick(c, 0, 1, uint64(c.IntN(3e6)), c.Uint64()>>8))
		}
		batch.AddHistogram(f, h, labels...)
	case Summary:
		s := &SummaryValue{Sum: c.value(), Count: c.Uint64()}
		for range c.IntN(3) {
			s.Quantiles = append(s.Quantiles, Quantile{c.Float64(), pick(c, c.value(), math.NaN(), math.Inf(-1))})
		}
		batch.AddSummary(f, s, labels...)
	case Gauge, Counter, Unknown:
		batch.AddSet(f, c.value(), pick(c, 0, 1.7e9, 1234567890.123, float64(c.IntN(1<<31))), batch.Set(f.Labels, labels...))
	}
}

// broken takes no more than a few bytes.
type broken struct{ left int }

var errBroken = errors.New("the client has left")

func (b *broken) Write(p []byte) (int, error) {
	if b.left < len(p) {
		return b.left, errBroken
	}
	b.left -= len(p)
	return len(p), nil
}

// TestWriterThatFails holds that a page ends with the error of what it is written to, wherever that comes.
func TestWriterThatFails(t *testing.T) {
	page := &Page{}
	page.Add((&chance{rand.New(rand.NewPCG(1, 1))}).batch())
	name, value := "zz", 1.0
	page.AddFamilies([]*dto.MetricFamily{{Name: &name, Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &value}}}}})
	var whole bytes.Buffer
	if err := page.Encode(&whole, expfmt.FmtOpenMetrics_1_0_0); err != nil || whole.Len() < 3*full {
		t.Fatalf("%d bytes: %v", whole.Len(), err)
	}
	for left := 0; left < whole.Len(); left += 97 {
		if err := page.Encode(&broken{left}, expfmt.FmtOpenMetrics_1_0_0); !errors.Is(err, errBroken) {
			t.Fatalf("after %d bytes: %v", left, err)
		}
	}
	if err := page.Encode(io.Discard, expfmt.FmtOpenMetrics_1_0_0); err != nil {
		t.Fatal(err)
	}
}
