package recall

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
)

// fake is a session that compares all vectors by cosine and spoils its approximate answers as it is told to.
type fake struct {
	backend.Session // what is not faked must not be asked
	points          []backend.Point
	collection      backend.Collection
	spoil           func([]backend.Hit) []backend.Hit
	exact           func() error // before an exact answer
	by              string
	searches, scans int
}

func newFake() *fake {
	return &fake{points: backendtest.Points(200, 8), collection: backend.Collection{
		Name: "docs", Status: backend.OK, Spaces: []backend.Space{{Distance: backend.Cosine, Index: "hnsw", Quantized: "none"}},
	}}
}

func (f *fake) Describe(context.Context, []string) ([]backend.Collection, error) {
	if f.collection.Name == "" {
		return nil, nil
	}
	return []backend.Collection{f.collection}, nil
}

func (f *fake) Count(context.Context, backend.Place) (int64, error) { return int64(len(f.points)), nil }

func (f *fake) Sample(_ context.Context, _ backend.Place, n int) ([]backend.Point, error) {
	return slices.Clone(f.points[:min(n, len(f.points))]), nil
}

func (f *fake) nearest(vector []float32, k int) []backend.Hit {
	n := nearest{k: k}
	for _, p := range f.points {
		n.add(backend.Hit{ID: p.ID, Distance: backendtest.Cosine(p.Vector, vector)})
	}
	return n.hits
}

func (f *fake) Search(_ context.Context, _ backend.Place, vector []float32, k int) (backend.Found, error) {
	f.searches++
	found := f.nearest(vector, k)
	if f.spoil != nil {
		found = f.spoil(found)
	}
	return backend.Found{Hits: found, By: f.by}, nil
}

func (f *fake) Exact(_ context.Context, _ backend.Place, vector []float32, k int) ([]backend.Hit, error) {
	if f.exact != nil {
		if err := f.exact(); err != nil {
			return nil, err
		}
	}
	return f.nearest(vector, k), nil
}

func (f *fake) Scan(_ context.Context, _ backend.Place, page func([]backend.Point) error) error {
	f.scans++
	for some := range slices.Chunk(f.points, 64) {
		if err := page(some); err != nil {
			return err
		}
	}
	return nil
}

func settings() Settings {
	s := Defaults()
	s.Places = []backend.Place{{Collection: "docs"}}
	return s
}

// run measures once and gives the page.
func run(t *testing.T, m *Monitor, s backend.Session) string {
	t.Helper()
	_ = m.Round(t.Context(), s) // the page tells
	batch := metric.NewBatch(0)
	m.Publish(batch)
	p := &metric.Page{}
	p.Add(batch)
	var out strings.Builder
	if err := p.Encode(&out, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func has(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+page, "\n"+line+"\n") {
			t.Errorf("%s is not on the page:\n%s", line, page)
		}
	}
}

const labels = `{collection="docs",vector=""`

func TestMeasures(t *testing.T) {
	unsupported := func() error { return fault.New(fault.Unsupported, "no") }
	quarter := func(found []backend.Hit) []backend.Hit { return slices.Delete(found, 4, 6) } // loses two of the eight nearest
	for _, c := range []struct {
		name string
		set  func(*fake, *Settings)
		want []string
	}{
		{"exact answers", func(*fake, *Settings) {}, []string{
			`vectordb_search_recall_ratio{collection="docs",k="10",vector=""} 1`,
			"vectordb_search_recall_queries" + labels + "} 20", "vectordb_search_recall_vectors" + labels + "} 200",
			`vectordb_search_recall_method_info{collection="docs",method="server",vector=""} 1`, "vectordb_search_self_hit_ratio" + labels + "} 1",
		}},
		{"lost answers", func(f *fake, s *Settings) { f.spoil, s.K = quarter, 8 }, []string{
			`vectordb_search_recall_ratio{collection="docs",k="8",vector=""} 0.75`, `vectordb_search_recall_worst_ratio{collection="docs",k="8",vector=""} 0.75`,
			"vectordb_search_self_hit_ratio" + labels + "} 1",
		}},
		{"by reading all", func(f *fake, s *Settings) { f.exact, f.spoil, s.K = unsupported, quarter, 8 }, []string{
			`vectordb_search_recall_ratio{collection="docs",k="8",vector=""} 0.75`, `vectordb_search_recall_method_info{collection="docs",method="scan",vector=""} 1`,
		}},
		{"nothing found", func(f *fake, _ *Settings) { f.spoil = func([]backend.Hit) []backend.Hit { return nil } }, []string{
			`vectordb_search_recall_ratio{collection="docs",k="10",vector=""} 0`, "vectordb_search_self_hit_ratio" + labels + "} 0",
		}},
		{"few vectors", func(f *fake, _ *Settings) { f.points = f.points[:10] }, skippedFor("too_small")},
		{"many vectors", func(_ *fake, s *Settings) { s.MaxVectors = 100 }, skippedFor("too_large")},
		{"many bytes", func(f *fake, s *Settings) { f.exact, s.MaxBytes = unsupported, 200*8*4-1 }, skippedFor("too_large")},
		{"slow", func(f *fake, s *Settings) {
			f.exact, s.MaxTime = func() error { time.Sleep(50 * time.Millisecond); return nil }, 100*time.Millisecond
		}, skippedFor("over_budget")},
		{"work under way", func(f *fake, _ *Settings) { f.collection.Status = backend.Optimizing }, skippedFor("not_ready")},
		{"no index", func(f *fake, _ *Settings) {
			f.collection.Objects, f.collection.Indexed = backend.Some(200), backend.Some(0)
		}, skippedFor("not_indexed")},
		{"an index that is not used", func(f *fake, _ *Settings) { f.by = "scan" }, skippedFor("not_indexed")},
		{"an odd distance", func(f *fake, _ *Settings) {
			f.exact, f.collection.Spaces[0].Distance = unsupported, "hamming"
		}, skippedFor("incomparable")},
		{"gone", func(f *fake, _ *Settings) { f.collection = backend.Collection{} }, skippedFor("config")},
		{"refused", func(f *fake, _ *Settings) { f.exact = func() error { return fault.New(fault.Denied, "secret words") } }, skippedFor("denied")},
	} {
		f, s := newFake(), settings()
		c.set(f, &s)
		got := run(t, New(s), f)
		has(t, got, c.want...)
		if strings.Contains(got, "secret") || strings.Contains(got, "skipped") && strings.Contains(got, "recall_ratio") {
			t.Errorf("%s:\n%s", c.name, got)
		}
	}
}

func skippedFor(reason string) []string {
	return []string{`vectordb_search_recall_skipped_info{collection="docs",reason="` + reason + `",vector=""} 1`}
}

func TestTheLastMeasurementIsKept(t *testing.T) {
	f, s := newFake(), settings()
	m := New(s)
	run(t, m, f)
	searches := f.searches
	got := run(t, m, f) // not due: self hits alone
	if f.searches-searches != 20 || strings.Contains(got, "skipped") {
		t.Errorf("%d searches:\n%s", f.searches-searches, got)
	}
	f.collection.Status = backend.NotLoaded
	m.places[s.Places[0]].tried = time.Now().Add(-2 * time.Hour)
	got = run(t, m, f)
	has(t, got, skippedFor("not_ready")...)
	has(t, got, `vectordb_search_recall_ratio{collection="docs",k="10",vector=""} 1`)
	if strings.Contains(got, "self_hit") {
		t.Errorf("a look that failed is told of:\n%s", got)
	}
	m.places[s.Places[0]].at = time.Now().Add(-3 * time.Hour)
	if got = run(t, m, f); strings.Contains(got, "recall_ratio") {
		t.Errorf("it is told for ever:\n%s", got)
	}
}

func TestOnePlaceIsMeasuredAtATime(t *testing.T) {
	s := settings()
	s.Places = []backend.Place{{Collection: "docs"}, {Collection: "more"}}
	m, f := New(s), newFake()
	for range 2 {
		run(t, m, f)
	}
	got := run(t, m, f)
	for _, name := range []string{"docs", "more"} {
		has(t, got, `vectordb_search_recall_ratio{collection="`+name+`",k="10",vector=""} 1`)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f, m := newFake(), New(settings())
	f.exact = ctx.Err
	if err := m.Round(ctx, f); fault.Of(err) != fault.Timeout {
		t.Errorf("%v", err)
	}
	m.Failed(fault.New(fault.Auth, "a key that holds no longer"))
	has(t, run(t, m, f), skippedFor("auth")...)
}
