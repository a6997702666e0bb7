package recall

import (
	"cmp"
	"math"
	"slices"

	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// tolerance is what two distances may differ by and still be the same: servers compute with 32 bits, each in an order of
// its own.
const tolerance = 1e-5

func slack(distance float64) float64 { return tolerance * (1 + math.Abs(distance)) }

// without drops the vector itself, what is no distance, and what comes twice; it sorts the rest and keeps k.
func without(own string, hits []backend.Hit, k int) []backend.Hit {
	seen := map[string]bool{own: true}
	var kept []backend.Hit
	for _, hit := range hits {
		if !seen[hit.ID] && !math.IsNaN(hit.Distance) {
			seen[hit.ID] = true
			kept = append(kept, hit)
		}
	}
	slices.SortStableFunc(kept, func(a, b backend.Hit) int { return cmp.Compare(a.Distance, b.Distance) })
	return kept[:min(k, len(kept))]
}

// score gives the share of the nearest that were found. Truth and found are the k nearest without the vector itself.
// Where the server's distances are rounded, only those that are as far as the last count as equal to it; where they are
// not, what is nearer was written since truth was learned.
func score(truth, found []backend.Hit, rounded bool) float64 {
	if len(truth) == 0 {
		return math.NaN()
	}
	last := truth[len(truth)-1].Distance
	within := map[string]bool{}
	for _, hit := range truth {
		within[hit.ID] = true
	}
	hits := 0
	for _, hit := range found {
		away := hit.Distance - last
		if within[hit.ID] || math.Abs(away) <= slack(last) || !rounded && away < 0 {
			hits++
		}
	}
	return float64(min(hits, len(truth))) / float64(len(truth))
}

// selfHit tells whether a search for a stored vector found it. Where more vectors than were asked for are the same, any
// of them will do.
func selfHit(own string, found []backend.Hit) bool {
	for _, hit := range found {
		if hit.ID == own {
			return true
		}
	}
	same := func(hit backend.Hit) bool { return math.Abs(hit.Distance) <= tolerance }
	return len(found) > 0 && !slices.ContainsFunc(found, func(hit backend.Hit) bool { return !same(hit) })
}

// normal is the quantile of the normal distribution that leaves 2.5 % on either side.
const normal = 1.959964

// interval gives Wilson's interval for a mean share of n queries.
func interval(mean float64, n int) (lower, upper float64) {
	size := float64(n)
	square := normal * normal / size
	middle := mean + square/2
	half := normal * math.Sqrt(mean*(1-mean)/size+square/(4*size))
	lower, upper = (middle-half)/(1+square), (middle+half)/(1+square)
	switch mean { // which lies within, also where rounding says otherwise
	case 0:
		lower = 0
	case 1:
		upper = 1
	}
	return lower, upper
}

// distances computes what package backend says that distances are.
var distances = map[backend.Distance]func(a, b []float32) float64{
	backend.Cosine: cosine,
	backend.Euclidean: func(a, b []float32) float64 {
		return math.Sqrt(sum(a, b, func(x, y float64) float64 { return (x - y) * (x - y) }))
	},
	backend.Manhattan: func(a, b []float32) float64 { return sum(a, b, func(x, y float64) float64 { return math.Abs(x - y) }) },
	backend.Dot:       func(a, b []float32) float64 { return -sum(a, b, func(x, y float64) float64 { return x * y }) },
}

func sum(a, b []float32, of func(x, y float64) float64) float64 {
	var total float64
	for i := range min(len(a), len(b)) {
		total += of(float64(a[i]), float64(b[i]))
	}
	return total
}

func cosine(a, b []float32) float64 {
	var product, left, right float64
	for i := range min(len(a), len(b)) {
		x, y := float64(a[i]), float64(b[i])
		product, left, right = product+x*y, left+x*x, right+y*y
	}
	return 1 - product/math.Sqrt(left*right)
}

// nearest keeps the k nearest of what it is shown.
type nearest struct {
	k    int
	hits []backend.Hit
}

func (n *nearest) add(hit backend.Hit) {
	if math.IsNaN(hit.Distance) || len(n.hits) == n.k && hit.Distance >= n.hits[n.k-1].Distance {
		return
	}
	at, _ := slices.BinarySearchFunc(n.hits, hit.Distance, func(h backend.Hit, d float64) int { return cmp.Compare(h.Distance, d) })
	n.hits = slices.Insert(n.hits, at, hit)
	n.hits = n.hits[:min(n.k, len(n.hits))]
}
