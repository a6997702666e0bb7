package recall

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

func hits(of ...any) []backend.Hit {
	var all []backend.Hit
	for i := 0; i < len(of); i += 2 {
		all = append(all, backend.Hit{ID: of[i].(string), Distance: of[i+1].(float64)})
	}
	return all
}

func TestScore(t *testing.T) {
	truth := hits("a", 0.1, "b", 0.2, "c", 0.3, "d", 0.3)
	for _, c := range []struct {
		name    string
		found   []backend.Hit
		rounded bool
		want    float64
	}{
		{"all", truth, false, 1},
		{"in another order", hits("d", 0.3, "a", 0.1, "c", 0.3, "b", 0.2), false, 1},
		{"one missing", hits("a", 0.1, "b", 0.2, "c", 0.3), false, 0.75},
		{"another as far as the last", hits("a", 0.1, "b", 0.2, "c", 0.3, "e", 0.3+1e-6), false, 1},
		{"one farther", hits("a", 0.1, "b", 0.2, "c", 0.3, "f", 0.31), false, 0.75},
		{"one written since", hits("a", 0.1, "b", 0.2, "c", 0.3, "new", 0.05), false, 1},
		{"one that rounding brings near", hits("a", 0.1, "b", 0.2, "c", 0.3, "far", 0.05), true, 0.75},
		{"the right ones with rounded distances", hits("a", 0.15, "b", 0.25, "c", 0.35, "d", 0.36), true, 1},
		{"none", nil, false, 0},
	} {
		if got := score(truth, c.found, c.rounded); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if !math.IsNaN(score(nil, truth, false)) {
		t.Error("there is a share of nothing")
	}
}

func TestWithout(t *testing.T) {
	got := without("own", hits("c", 0.3, "own", 0.0, "a", 0.1, "a", 0.1, "x", math.NaN(), "b", 0.2), 2)
	if !slices.Equal(got, hits("a", 0.1, "b", 0.2)) {
		t.Errorf("%v", got)
	}
}

func TestSelfHit(t *testing.T) {
	for _, c := range []struct {
		found []backend.Hit
		want  bool
	}{
		{hits("own", 0.0, "a", 0.1), true},
		{hits("a", 0.1, "b", 0.2), false},
		{hits("a", 0.0, "b", 1e-7), true}, // as many of the same as were asked for
		{hits("a", 0.0, "b", 0.1), false}, // there was room for it
		{nil, false},
	} {
		if got := selfHit("own", c.found); got != c.want {
			t.Errorf("%v: %v", c.found, got)
		}
	}
}

// The interval must hold the true mean in 95 of 100 samples or more, also where the shares of a query are all or nothing.
func TestIntervalHoldsTheMean(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		name string
		mean float64
		draw func() float64
	}{
		{"all or nothing", 0.9, func() float64 {
			if random.Float64() < 0.9 {
				return 1
			}
			return 0
		}},
		{"ten independent neighbours", 0.7, func() float64 {
			found := 0.0
			for range 10 {
				if random.Float64() < 0.7 {
					found++
				}
			}
			return found / 10
		}},
	} {
		const samples, n = 2000, 30
		held := 0
		for range samples {
			var total float64
			for range n {
				total += c.draw()
			}
			if lower, upper := interval(total/n, n); lower <= c.mean && c.mean <= upper {
				held++
			}
		}
		if share := float64(held) / samples; share < 0.93 {
			t.Errorf("%s: the interval holds the mean in %v of the samples", c.name, share)
		}
	}
	for n := range 200 {
		if _, upper := interval(1, n+1); upper != 1 {
			t.Errorf("of %d that find everything: up to %v", n+1, upper)
		}
		if lower, _ := interval(0, n+1); lower != 0 {
			t.Errorf("of %d that find nothing: from %v", n+1, lower)
		}
	}
	if lower, upper := interval(1, 20); math.Abs(lower-0.839) > 1e-3 || upper != 1 {
		t.Errorf("of 20 that find everything: %v to %v", lower, upper)
	}
}

func TestNearestKeepsTheNearest(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	n := nearest{k: 5}
	var all []float64
	for i := range 100 {
		distance := random.Float64()
		all = append(all, distance)
		n.add(backend.Hit{ID: strconv.Itoa(i), Distance: distance})
	}
	n.add(backend.Hit{ID: "nan", Distance: math.NaN()})
	slices.Sort(all)
	for i, hit := range n.hits {
		if len(n.hits) != 5 || hit.Distance != all[i] {
			t.Fatalf("%v, want %v", n.hits, all[:5])
		}
	}
}

func TestDistances(t *testing.T) {
	a, b := []float32{1, 0}, []float32{3, 4}
	for word, want := range map[backend.Distance]float64{backend.Cosine: 1 - 0.6, backend.Euclidean: math.Sqrt(20), backend.Manhattan: 6, backend.Dot: -3} {
		if got := distances[word](a, b); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", word, got, want)
		}
	}
}
