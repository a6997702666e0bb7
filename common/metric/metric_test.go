package metric

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// encode gives a page of batches in a format.
func encode(t *testing.T, format expfmt.Format, batches ...*Batch) string {
	t.Helper()
	var page Page
	var text bytes.Buffer
	for _, batch := range batches {
		page.Add(batch)
	}
	if err := page.Encode(&text, format); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	want = strings.ReplaceAll(strings.TrimLeft(want, "\n"), "\t", "")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBatch(t *testing.T) {
	gauge := &Family{Name: "b_gauge", Help: "A gauge.", Labels: []string{"z", "a"}}
	count := &Family{Name: "a_total", Help: "A \\ counter\nof \"lines\".", Type: Counter}
	batch := NewBatch(0, Label{"m", "constant"})
	batch.Add(gauge, 1, "z1", "a1")
	batch.Add(count, 2)
	batch.Add(gauge, 3, "z\"\\\n", "")
	batch.Add(gauge, 4, "z1", "a1")
	batch.Add(count, 5)
	batch.Add(gauge, math.NaN(), "z3", "a3")
	batch.Add(gauge, math.Inf(-1), "z3", "a3")
	if batch.Len() != 3 || batch.Duplicates != 2 || batch.Limited != 0 || batch.Repaired != 0 {
		t.Errorf("the batch has %d samples, %d duplicates, %d limited, %d repaired", batch.Len(), batch.Duplicates, batch.Limited, batch.Repaired)
	}
	expect(t, encode(t, expfmt.FmtText, batch), `
		# HELP a_total A \\ counter\nof "lines".
		# TYPE a_total counter
		a_total{m="constant"} 2
		# HELP b_gauge A gauge.
		# TYPE b_gauge gauge
		b_gauge{a="a1",m="constant",z="z1"} 1
		b_gauge{a="",m="constant",z="z\"\\\n"} 3
	`)
}

func TestEmptyPage(t *testing.T) {
	expect(t, encode(t, expfmt.FmtText, NewBatch(0)), "")
	expect(t, encode(t, expfmt.FmtOpenMetrics_1_0_0), "# EOF\n")
}

func TestLimit(t *testing.T) {
	f := &Family{Name: "f", Labels: []string{"l"}}
	batch := NewBatch(2)
	for _, label := range []string{"a", "b", "a", "c"} {
		batch.Add(f, 1, label)
	}
	if batch.Len() != 2 || batch.Limited != 2 {
		t.Errorf("the batch has %d samples and left out %d", batch.Len(), batch.Limited)
	}
}

func TestMistakesPanic(t *testing.T) {
	one := &Family{Name: "one", Labels: []string{"l"}}
	for name, mistake := range map[string]func(*Batch){
		"too few labels":     func(b *Batch) { b.Add(one, 1) },
		"too many labels":    func(b *Batch) { b.Add(one, 1, "a", "b") },
		"a set of another":   func(b *Batch) { b.AddSet(one, 1, 0, b.Set(nil)) },
		"no name":            func(b *Batch) { b.Add(&Family{Name: "a.b"}, 1) },
		"no name of a label": func(b *Batch) { b.Add(&Family{Name: "a", Labels: []string{"b.c"}}, 1, "x") },
		"counts of a bucket": func(b *Batch) { b.AddHistogram(one, &HistogramValue{Bounds: []float64{1}, Counts: []uint64{1}}, "a") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			mistake(NewBatch(0))
		}()
	}
}

func TestRepair(t *testing.T) {
	long := strings.Repeat("é", 600)
	for name, test := range map[string]struct {
		value, want string
		repaired    int
	}{
		"good":                     {"käse", "käse", 0},
		"empty":                    {"", "", 0},
		"as long as may be":        {strings.Repeat("x", MaxLabelBytes), strings.Repeat("x", MaxLabelBytes), 0},
		"too long":                 {strings.Repeat("x", MaxLabelBytes+1), strings.Repeat("x", MaxLabelBytes), 1},
		"cut between characters":   {"x" + long, "x" + long[:MaxLabelBytes-2], 1},
		"latin 1":                  {"k\xe4se", "k\uFFFDse", 1},
		"nothing good":             {"\xff\xfe", "\uFFFD", 1},
		"grows while it is mended": {strings.Repeat("\xffx", 400), strings.Repeat("\uFFFDx", 256), 1},
	} {
		batch := NewBatch(0)
		f := &Family{Name: "f", Labels: []string{"l"}}
		batch.Add(f, 1, test.value)
		if got := batch.Families()[0].Metric[0].Label[0].GetValue(); got != test.want {
			t.Errorf("%s: %d bytes %.20q, want %d bytes", name, len(got), got, len(test.want))
		}
		if batch.Repaired != test.repaired {
			t.Errorf("%s: %d repaired", name, batch.Repaired)
		}
	}
}

// TestHelpFromAServer has a help that holds bytes of a server. Of a page with one that is no UTF-8, Prometheus reads nothing.
func TestHelpFromAServer(t *testing.T) {
	for help, want := range map[string]string{"Server setting naïve.": "Server setting naïve.", "Server setting k\x8cort.": "Server setting k\uFFFDort."} {
		batch := NewBatch(0)
		batch.Add(&Family{Name: "f", Help: help}, 1)
		for _, format := range []expfmt.Format{expfmt.FmtText, expfmt.FmtOpenMetrics_1_0_0} {
			if page := encode(t, format, batch); !strings.Contains(page, "# HELP f "+want+"\n") {
				t.Errorf("%s has the help as %q", format, page)
			}
		}
		if got := batch.Families()[0].GetHelp(); got != want {
			t.Errorf("protobuf has the help as %q", got)
		}
	}
}

// FuzzRepair holds that whatever a peer sends as a label, the page can be read and the label has its length.
func FuzzRepair(f *testing.F) {
	for _, seed := range []string{"", "plain", "k\xe4se", "\xff", strings.Repeat("é", 600), strings.Repeat("\xff", 2000), "a\x00b", "\"\\\n", "\u2028", "\xed\xa0\x80", strings.Repeat("x", 1022) + "€€"} {
		f.Add(seed)
	}
	family := &Family{Name: "f", Labels: []string{"l"}}
	f.Fuzz(func(t *testing.T, value string) {
		batch := NewBatch(0)
		batch.Add(family, 1, value)
		label := batch.Families()[0].Metric[0].Label[0].GetValue()
		if !utf8.ValidString(label) || len(label) > MaxLabelBytes {
			t.Fatalf("the label has %d bytes: %q", len(label), label)
		}
		if changed := label != value; changed != (batch.Repaired == 1) {
			t.Fatalf("%d repaired, changed: %v", batch.Repaired, changed)
		}
		families, err := parser().TextToMetricFamilies(strings.NewReader(encode(t, expfmt.FmtText, batch)))
		if err != nil {
			t.Fatal(err)
		}
		if got := families["f"].Metric[0].Label[0].GetValue(); got != label {
			t.Fatalf("the label arrives as %q, not %q", got, label)
		}
	})
}

// TestMergedBatches holds that batches of several collectors or targets make one family, in which the first of equal
// samples counts, and that a family of another type under the same name does not spoil it.
func TestMergedBatches(t *testing.T) {
	labels := []string{"l"}
	first, second := NewBatch(0), NewBatch(0)
	first.Add(&Family{Name: "f", Help: "First.", Labels: labels}, 1, "a")
	first.Add(&Family{Name: "g", Help: "Before.", Labels: labels}, 1, "a")
	second.Add(&Family{Name: "f", Help: "Second.", Labels: labels}, 2, "a")
	second.Add(&Family{Name: "f", Help: "Third.", Type: Counter, Labels: labels}, 4, "c")
	second.Add(&Family{Name: "f", Help: "Fourth.", Labels: labels}, 3, "b")
	second.Add(&Family{Name: "g", Help: "After.", Labels: labels}, 5, "b")
	expect(t, encode(t, expfmt.FmtText, first, second), `
		# HELP f First.
		# TYPE f gauge
		f{l="a"} 1
		f{l="b"} 3
		# HELP g Before.
		# TYPE g gauge
		g{l="a"} 1
		g{l="b"} 5
	`)
}

func TestAlias(t *testing.T) {
	f, as, other := &Family{Name: "f", Labels: []string{"l"}}, &Family{Name: "as", Labels: []string{"l"}}, &Family{Name: "other"}
	batch := NewBatch(0)
	batch.Add(f, 1, "a")
	batch.Add(f, 2, "b")
	batch.AppendAs(f, as, batch)
	batch.AppendAs(other, as, batch)
	expect(t, encode(t, expfmt.FmtText, batch), `
		# HELP as 
		# TYPE as gauge
		as{l="a"} 1
		as{l="b"} 2
		# HELP f 
		# TYPE f gauge
		f{l="a"} 1
		f{l="b"} 2
	`)
}

func TestFamiliesFromElsewhere(t *testing.T) {
	var page Page
	name, empty, value := "go_goroutines", "go_nothing", 7.0
	page.AddFamilies([]*dto.MetricFamily{
		{Name: &empty, Type: dto.MetricType_GAUGE.Enum()},
		{Name: &name, Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &value}}}},
	})
	own := NewBatch(0)
	own.Add(&Family{Name: "a"}, 1)
	page.Add(own)
	var text bytes.Buffer
	if err := page.Encode(&text, expfmt.FmtText); err != nil {
		t.Fatal(err)
	}
	expect(t, text.String(), `
		# HELP a 
		# TYPE a gauge
		a 1
		# TYPE go_goroutines gauge
		go_goroutines 7
	`)
	if families := page.Families(); len(families) != 2 || families[0].GetName() != "a" || families[1].GetName() != name {
		t.Errorf("the families are %v", families)
	}
}

func TestRecorder(t *testing.T) {
	recorder := NewRecorder([]float64{1, 2})
	for _, value := range []float64{0.5, 1, 1.5, 2, 3} {
		recorder.Observe(value)
	}
	batch := NewBatch(0)
	value := recorder.Value()
	recorder.Observe(100) // after the copy
	batch.AddHistogram(&Family{Name: "h", Help: "A histogram.", Type: Histogram, Labels: []string{"l"}}, value, "a")
	batch.AddHistogram(&Family{Name: "h", Help: "A histogram.", Type: Histogram, Labels: []string{"l"}}, value, "a")
	if value.Count() != 5 {
		t.Errorf("there were %d observations", value.Count())
	}
	expect(t, encode(t, expfmt.FmtText, batch), `
		# HELP h A histogram.
		# TYPE h histogram
		h_bucket{l="a",le="1"} 2
		h_bucket{l="a",le="2"} 4
		h_bucket{l="a",le="+Inf"} 5
		h_sum{l="a"} 8
		h_count{l="a"} 5
	`)
}

func TestBaseUnit(t *testing.T) {
	for name, want := range map[string]string{
		"a_seconds_total": "seconds", "a_bytes": "bytes", "a_start_timestamp_seconds": "timestamp_seconds", "a_ratio": "ratio", "a_info": "info", "a_total": "", "seconds": "",
	} {
		if got := (&Family{Name: name}).BaseUnit(); got != want {
			t.Errorf("the unit of %s is %q, want %q", name, got, want)
		}
	}
	if got := (&Family{Name: "a_time", Unit: "milliseconds"}).BaseUnit(); got != "milliseconds" {
		t.Errorf("the declared unit is lost: %q", got)
	}
}

func TestFamilyCheck(t *testing.T) {
	for _, test := range []struct {
		family Family
		want   string
	}{
		{Family{Name: "a:b_1", Labels: []string{"x", "_y"}}, ""},
		{Family{Name: "a_*"}, ""},
		{Family{Name: ""}, `"" is no name of a metric`},
		{Family{Name: "1a"}, `"1a" is no name of a metric`},
		{Family{Name: "a.b"}, `"a.b" is no name of a metric`},
		{Family{Name: "a*b"}, `"a*b" is no name of a metric`},
		{Family{Name: "a", Labels: []string{""}}, `"" of a is no name of a label`},
		{Family{Name: "a", Labels: []string{"x:y"}}, `"x:y" of a is no name of a label`},
		{Family{Name: "a", Labels: []string{"__x"}}, `"__x" of a is no name of a label`},
		{Family{Name: "a", Labels: []string{"x", "y", "x"}}, `a has the label "x" twice`},
		{Family{Name: "a", Labels: []string{"le"}, Type: Histogram}, `a is a histogram, whose label "le" is taken`},
		{Family{Name: "a", Labels: []string{"le"}}, ""},
	} {
		got := ""
		if err := test.family.Check(); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%+v: %q, want %q", test.family, got, test.want)
		}
	}
}

// TestDuplicatesInColumns holds the index that columns share against a plain one, with rows that repeat, columns that
// lack some rows, and columns that have them in another order.
func TestDuplicatesInColumns(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		batch, names := NewBatch(0), []string{"l"}
		families := make([]*Family, 4)
		plain := make([]map[string]bool, len(families))
		for i := range families {
			families[i], plain[i] = &Family{Name: fmt.Sprint("f", i), Labels: names}, map[string]bool{}
		}
		var rows []*Set
		want, duplicates := 0, 0
		for range 30 {
			label := fmt.Sprint(random.IntN(25))
			rows = append(rows, batch.Set(names, label))
			row := rows[len(rows)-1]
			for i, f := range families {
				if random.IntN(4) == 0 {
					continue
				}
				if i == 3 { // any row so far
					row = rows[random.IntN(len(rows))]
					label = row.values[0]
				}
				batch.AddSet(f, 1, 0, row)
				if plain[i][label] {
					duplicates++
				} else {
					plain[i][label], want = true, want+1
				}
			}
		}
		if batch.Len() != want || batch.Duplicates != duplicates {
			t.Fatalf("%d samples and %d duplicates, want %d and %d", batch.Len(), batch.Duplicates, want, duplicates)
		}
	}
}

// Rows that have a label in common share it in memory, also where others before it differ or it is a batch's own.
func TestSetsShareLabels(t *testing.T) {
	t.Parallel()
	names := []string{"table", "database"}
	b := NewBatch(0, Label{"target", "here"})
	set := func(table, database string) *Set { return b.Set(names, strings.Clone(table), strings.Clone(database)) }
	first, second, third := set("orders", "shop"), set("wares", "shop"), set("wares", "bank")
	for _, set := range []*Set{first, second, third} {
		if want := []string{"database", "table", "target"}; !slices.Equal(set.shape.names, want) {
			t.Errorf("the labels are %q, want %q", set.shape.names, want)
		}
	}
	same := func(x, y string) bool { return unsafe.StringData(x) == unsafe.StringData(y) }
	if !same(first.values[0], second.values[0]) || !same(second.values[1], third.values[1]) || !same(first.values[2], third.values[2]) {
		t.Error("equal labels take memory twice")
	}
	if want := []string{"bank", "wares", "here"}; !slices.Equal(third.values, want) || first.values[1] != "orders" {
		t.Errorf("the values are %q, want %q", third.values, want)
	}
}

// TestCompact holds that a batch that is kept says the same as before, and takes less memory.
func TestCompact(t *testing.T) {
	batch := NewBatch(0, Label{"m", "constant"})
	f := &Family{Name: "f", Labels: []string{"l"}}
	for i := range 20 {
		batch.Add(f, float64(i), fmt.Sprint(i))
		batch.AddHistogram(&Family{Name: "h", Type: Histogram}, &HistogramValue{Bounds: []float64{1}, Counts: []uint64{1, 2}, Sum: 3})
	}
	before := encode(t, expfmt.FmtOpenMetrics_1_0_0, batch)
	batch.Compact()
	if got := encode(t, expfmt.FmtOpenMetrics_1_0_0, batch); got != before {
		t.Errorf("the batch has become\n%s\nand was\n%s", got, before)
	}
	if c := batch.find(f); c.index != nil || cap(c.values) > 22 || batch.adding != nil {
		t.Errorf("room for %d values of %d is kept", cap(c.values), len(c.values))
	}
}
