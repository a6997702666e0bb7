// Package backendtest checks that a session does what package backend says, against the server behind it.
package backendtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

const (
	name       = "backendtest_points"
	mark       = "backendtest_mark"
	dimensions = 8
	amount     = 300 // more than any page has
	patience   = 30 * time.Second
)

// Dial opens a plain connection, for endpoints in tests.
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// Check makes a collection through a session, asks all of it, and removes it.
func Check(t *testing.T, s backend.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	t.Cleanup(func() { _ = s.Drop(context.WithoutCancel(ctx), name) })
	c := check{t, ctx, s, backend.Place{}, Points(amount, dimensions)}
	c.create()
	c.list(true)
	c.write()
	c.find()
	c.exact()
	c.walk()
	c.remove()
}

// Points makes points that are the same at each call. Their IDs are UUIDs, and every tenth is as far away as another.
func Points(n, dimensions int) []backend.Point {
	random := rand.New(rand.NewPCG(1, 2))
	points := make([]backend.Point, n)
	for i := range points {
		points[i].ID = fmt.Sprintf("%08x-0000-4000-8000-%012x", random.Uint32(), i)
		points[i].Vector = make([]float32, dimensions)
		for j := range dimensions {
			points[i].Vector[j] = float32(random.NormFloat64())
		}
		if i%10 == 9 {
			copy(points[i].Vector, points[i-1].Vector)
		}
	}
	return points
}

// Cosine is the distance by the definition.
func Cosine(a, b []float32) float64 {
	var product, left, right float64
	for i := range a {
		product += float64(a[i]) * float64(b[i])
		left += float64(a[i]) * float64(a[i])
		right += float64(b[i]) * float64(b[i])
	}
	return 1 - product/math.Sqrt(left*right)
}

type check struct {
	t      *testing.T
	ctx    context.Context
	s      backend.Session
	in     backend.Place
	points []backend.Point
}

// must fails the test at once.
func (c *check) must(err error, doing string) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v (%s)", doing, err, fault.Of(err))
	}
}

func (c *check) create() {
	c.t.Helper()
	if _, _, err := c.s.Marked(c.ctx, name, mark); !errors.Is(err, backend.ErrGone) {
		c.t.Fatalf("looking for a mark where nothing is: %v", err)
	}
	c.must(c.s.Drop(c.ctx, name), "dropping what is not there")
	var err error
	c.in, err = c.s.Create(c.ctx, name, mark, dimensions)
	c.must(err, "creating")
	if _, err := c.s.Create(c.ctx, name, mark, dimensions); !errors.Is(err, backend.ErrExists) {
		c.t.Errorf("creating it again: %v", err)
	}
	in, own, err := c.s.Marked(c.ctx, name, mark)
	c.must(err, "looking for the mark")
	if !own || in != c.in {
		c.t.Errorf("marked: %v, %v; created: %v", in, own, c.in)
	}
	if _, own, err = c.s.Marked(c.ctx, name, "another_mark"); own {
		c.t.Errorf("it has a mark that nobody set: %v", err)
	}
}

// list looks whether the collection is listed, and described.
func (c *check) list(want bool) {
	c.t.Helper()
	names, err := c.s.List(c.ctx)
	c.must(err, "listing")
	if slices.Contains(names, c.in.Collection) != want {
		c.t.Errorf("listed: %q, want %q among them: %v", names, c.in.Collection, want)
	}
	described, err := c.s.Describe(c.ctx, []string{c.in.Collection, c.in.Collection + "_that_is_not_there"})
	c.must(err, "describing")
	found := slices.ContainsFunc(described, func(d backend.Collection) bool { return d.Name == c.in.Collection && d.Err == nil })
	if found != want || len(described) > 1 {
		c.t.Errorf("described: %+v", described)
	}
}

func (c *check) write() {
	c.t.Helper()
	for some := range slices.Chunk(c.points, 100) {
		c.must(c.s.Write(c.ctx, c.in, some), "writing")
	}
	c.must(c.s.Write(c.ctx, c.in, c.points[:1]), "writing a point again")
	got, err := c.s.Read(c.ctx, c.in, c.points[0].ID)
	c.must(err, "reading")
	if got.ID != c.points[0].ID || Cosine(got.Vector, c.points[0].Vector) > 1e-2 {
		c.t.Errorf("read %v, written %v", got, c.points[0])
	}
	if _, err := c.s.Read(c.ctx, c.in, "ffffffff-0000-4000-8000-ffffffffffff"); !errors.Is(err, backend.ErrGone) {
		c.t.Errorf("reading a point that is not there: %v", err)
	}
	c.t.Run("count", func(t *testing.T) { c.count(t, amount) })
}

// count waits until the server has counted: some count late.
func (c *check) count(t *testing.T, want int64) {
	deadline := time.Now().Add(patience)
	for {
		got, err := c.s.Count(c.ctx, c.in)
		if err == nil && got == want {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("count: %d, %v; want %d", got, err, want)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// nearest is what a search should find.
func (c *check) nearest(vector []float32) []backend.Hit {
	hits := make([]backend.Hit, 0, len(c.points))
	for _, p := range c.points {
		hits = append(hits, backend.Hit{ID: p.ID, Distance: Cosine(p.Vector, vector)})
	}
	slices.SortFunc(hits, func(a, b backend.Hit) int { return cmp.Compare(a.Distance, b.Distance) })
	return hits
}

func (c *check) find() {
	c.t.Helper()
	query := c.points[42].Vector
	found, err := c.s.Search(c.ctx, c.in, query, 10)
	c.must(err, "searching")
	if len(found.Hits) != 10 || found.Hits[0].ID != c.points[42].ID || math.Abs(found.Hits[0].Distance) > 1e-2 {
		c.t.Fatalf("searching for a stored vector: %+v", found)
	}
	for i, hit := range found.Hits {
		at := slices.IndexFunc(c.points, func(p backend.Point) bool { return p.ID == hit.ID })
		if at < 0 || math.Abs(hit.Distance-Cosine(c.points[at].Vector, query)) > 1e-2 || i > 0 && hit.Distance < found.Hits[i-1].Distance-1e-6 {
			c.t.Errorf("hit %d: %+v", i, hit)
		}
	}
}

func (c *check) exact() {
	c.t.Helper()
	query := c.points[7].Vector
	got, err := c.s.Exact(c.ctx, c.in, query, 20)
	if fault.Of(err) == fault.Unsupported {
		return
	}
	c.must(err, "searching exactly")
	want := c.nearest(query)[:20]
	if len(got) != len(want) {
		c.t.Fatalf("searching exactly: %d hits", len(got))
	}
	for i := range got {
		if math.Abs(got[i].Distance-want[i].Distance) > 1e-2 {
			c.t.Errorf("exact hit %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func (c *check) walk() {
	c.t.Helper()
	seen := map[string]int{}
	c.must(c.s.Scan(c.ctx, c.in, func(page []backend.Point) error {
		for _, p := range page {
			seen[p.ID]++
		}
		return nil
	}), "scanning")
	for _, p := range c.points {
		if seen[p.ID] != 1 {
			c.t.Fatalf("scanning met %s %d times", p.ID, seen[p.ID])
		}
	}
	enough := errors.New("enough")
	if err := c.s.Scan(c.ctx, c.in, func([]backend.Point) error { return enough }); !errors.Is(err, enough) {
		c.t.Errorf("scanning does not end when it is told to: %v", err)
	}
	first, err := c.s.Sample(c.ctx, c.in, 20)
	c.must(err, "sampling")
	second, err := c.s.Sample(c.ctx, c.in, 20)
	c.must(err, "sampling again")
	if len(first) == 0 || len(first) > 20 || len(first[0].Vector) != dimensions {
		c.t.Fatalf("sampled: %v", first)
	}
	if ids(first) == ids(second) {
		c.t.Errorf("both samples are %s", ids(first))
	}
}

func ids(points []backend.Point) string {
	all := make([]string, len(points))
	for i, p := range points {
		all[i] = p.ID
	}
	return fmt.Sprint(all)
}

func (c *check) remove() {
	c.t.Helper()
	gone := []string{c.points[0].ID, c.points[1].ID}
	c.must(c.s.Delete(c.ctx, c.in, gone), "deleting")
	c.must(c.s.Delete(c.ctx, c.in, gone), "deleting what is not there")
	c.t.Run("count", func(t *testing.T) { c.count(t, amount-2) })
	if _, err := c.s.Read(c.ctx, c.in, gone[0]); !errors.Is(err, backend.ErrGone) {
		c.t.Errorf("reading what was deleted: %v", err)
	}
	c.must(c.s.Drop(c.ctx, name), "dropping")
	c.list(false)
	if _, err := c.s.Count(c.ctx, c.in); !errors.Is(err, backend.ErrGone) {
		c.t.Errorf("counting what was dropped: %v", err)
	}
}
