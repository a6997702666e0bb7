package collect

import (
	"math"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

func TestTableHistogram(t *testing.T) {
	columns := []Column{Label("l"), Label("k"), Histogram("h", "wait_seconds", "").Per("l")}
	const fields = "l k h h_bucket h_sum h_count"
	for name, test := range map[string]struct {
		answer reply
		want   string
		fault  fault.Kind
	}{
		"lists in any order": {table(fields, "a x {1,0.5,Infinity} {3,1,5} 7.5 5"), `
			# TYPE t_wait_seconds histogram
			t_wait_seconds_bucket{l="a",le="0.5"} 1
			t_wait_seconds_bucket{l="a",le="1"} 3
			t_wait_seconds_bucket{l="a",le="+Inf"} 5
			t_wait_seconds_sum{l="a"} 7.5
			t_wait_seconds_count{l="a"} 5
		`, ""},
		"no buckets": {table(fields, "a x {} {} 7.5 5"), `
			# TYPE t_wait_seconds histogram
			t_wait_seconds_bucket{l="a",le="+Inf"} 5
			t_wait_seconds_sum{l="a"} 7.5
			t_wait_seconds_count{l="a"} 5
		`, ""},
		"NULL":                  {table(fields, "a x - {} 7.5 5", "b x {} - 7.5 5", "c x {} {} - 5", "d x {} {} 1 -"), "", ""},
		"a field is missing":    {table("l h h_bucket h_sum", "a {1} {1} 1"), "", ""},
		"lengths differ":        {table(fields, "a x {1,2} {3} 7.5 5"), "", fault.Malformed},
		"counts fall":           {table(fields, "a x {1,2} {3,2} 7.5 5"), "", fault.Malformed},
		"counts pass the total": {table(fields, "a x {1,2} {3,6} 7.5 5"), "", fault.Malformed},
		"below nothing":         {table(fields, "a x {1} {-1} 7.5 5"), "", fault.Malformed},
		"a bound twice":         {table(fields, "a x {1,1} {1,2} 7.5 5"), "", fault.Malformed},
		"a bound is NaN":        {table(fields, "a x {NaN} {1} 7.5 5"), "", fault.Malformed},
		"a bound is NULL":       {table(fields, "a x {NULL} {1} 7.5 5"), "", fault.Malformed},
		"the sum is NaN":        {table(fields, "a x {1} {1} NaN 5"), "", fault.Malformed},
		"too many to be exact":  {table(fields, "a x {1} {1} 1 1e300"), "", fault.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(t, Table{Columns: columns}, test.answer)
			if fault.Of(err) != test.fault {
				t.Errorf("the error is %v", err)
			}
			if err == nil && got != undent(test.want) {
				t.Errorf("got\n%s\nwant\n%s", got, undent(test.want))
			}
		})
	}
}

// FuzzHistogram holds that whatever a server sends as a histogram is an error, or one whose parts fit together.
func FuzzHistogram(f *testing.F) {
	for _, seed := range []string{"{}", "{1,2}", "{0.5, Infinity}", "{", ",", "{1,,2}", "{-1,1}", "{1e308,1e309}", "[1]", "{{1},{2}}"} {
		f.Add([]byte(seed), []byte("{1,2}"), []byte("3"), []byte("4"))
		f.Add([]byte("{1,2}"), []byte(seed), []byte("-3"), []byte("9007199254740993"))
	}
	f.Fuzz(func(t *testing.T, bounds, counts, sum, total []byte) {
		value, err := histogramValue([4][]byte{bounds, counts, sum, total})
		if err != nil {
			return
		}
		if len(value.Counts) != len(value.Bounds)+1 || math.IsNaN(value.Sum) || math.IsInf(value.Sum, 0) {
			t.Fatalf("the histogram is %+v", value)
		}
		for i, bound := range value.Bounds {
			if math.IsNaN(bound) || math.IsInf(bound, 0) || i > 0 && bound <= value.Bounds[i-1] {
				t.Fatalf("the bounds are %v", value.Bounds)
			}
		}
		if want, _, _ := number(total); float64(value.Count()) != want && want == math.Trunc(want) {
			t.Fatalf("%s values are counted as %d", total, value.Count())
		}
	})
}
