package canary

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/redissearch"
)

// troubled is a session of a real server that fails or lies where it is told to.
type troubled struct {
	backend.Session
	write, del error
	forget     int // searches that find nothing
	garble     bool
}

func (s *troubled) Write(ctx context.Context, in backend.Place, points []backend.Point) error {
	if s.write != nil {
		return s.write
	}
	return s.Session.Write(ctx, in, points)
}

func (s *troubled) Delete(ctx context.Context, in backend.Place, ids []string) error {
	if s.del != nil {
		return s.del
	}
	return s.Session.Delete(ctx, in, ids)
}

func (s *troubled) Read(ctx context.Context, in backend.Place, id string) (backend.Point, error) {
	p, err := s.Session.Read(ctx, in, id)
	if s.garble && err == nil {
		p.Vector[0] += 10
	}
	return p, err
}

func (s *troubled) Search(ctx context.Context, in backend.Place, vector []float32, k int) (backend.Found, error) {
	if s.forget > 0 {
		s.forget--
		return backend.Found{}, nil
	}
	return s.Session.Search(ctx, in, vector, k)
}

func open(t *testing.T, commands ...[]any) *troubled {
	t.Helper()
	r := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis8, Initial: commands})
	s, err := redissearch.Open(t.Context(), backend.Endpoint{URL: &url.URL{Scheme: "redis", Host: r.Addr()}, Dial: backendtest.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &troubled{Session: s}
}

// page gives what a canary publishes, as text.
func page(t *testing.T, c *Canary) string {
	t.Helper()
	batch := metric.NewBatch(0)
	c.Publish(batch)
	p := &metric.Page{}
	p.Add(batch)
	var out strings.Builder
	if err := p.Encode(&out, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func round(t *testing.T, c *Canary, s backend.Session) string {
	t.Helper()
	err := c.Round(t.Context(), s)
	got := page(t, c)
	if (err == nil) != strings.Contains(got, "vectordb_canary_success 1") {
		t.Errorf("%v, and:\n%s", err, got)
	}
	return got
}

func has(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+page, "\n"+line+"\n") {
			t.Errorf("%s is not on the page:\n%s", line, page)
		}
	}
}

func count(t *testing.T, s backend.Session, c *Canary) int64 {
	t.Helper()
	in, _, err := s.Marked(t.Context(), c.name, mark)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Count(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRoundLeavesNothing(t *testing.T) {
	s, c := open(t), New(Collection)
	if got := page(t, c); strings.Contains(got, "success") {
		t.Errorf("something was said before the first round:\n%s", got)
	}
	has(t, round(t, c, s), "vectordb_canary_success 1", `vectordb_canary_operation_success{operation="create"} 1`,
		`vectordb_canary_operation_duration_seconds_count{operation="search"} 1`, "vectordb_canary_freshness_seconds_count 1")
	got := round(t, c, s)
	has(t, got, `vectordb_canary_operation_duration_seconds_count{operation="create"} 1`, `vectordb_canary_operation_duration_seconds_count{operation="delete"} 2`)
	if strings.Contains(got, `operation_success{operation="create"}`) || count(t, s, c) != 0 {
		t.Errorf("%d points are left:\n%s", count(t, s, c), got)
	}
	if err := c.Sign(t.Context(), s); err != nil || count(t, s, c) != 1 {
		t.Errorf("%d points after signing: %v", count(t, s, c), err)
	}
	if err := c.Sign(t.Context(), s); err != nil || count(t, s, c) != 1 {
		t.Errorf("%d points after signing again: %v", count(t, s, c), err)
	}
}

func TestRoundWaitsUntilTheVectorIsFound(t *testing.T) {
	s, c := open(t), New(Collection)
	s.forget = 4 // found after 10 + 20 + 40 + 80 ms
	has(t, round(t, c, s), "vectordb_canary_success 1", `vectordb_canary_freshness_seconds_bucket{le="0.1"} 0`, "vectordb_canary_freshness_seconds_count 1")
	s.forget = 1 << 30
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.Round(ctx, s); fault.Of(err) != fault.Timeout {
		t.Errorf("searching in vain: %v", err)
	}
	has(t, page(t, c), "vectordb_canary_success 0", `vectordb_canary_failures_total{operation="search",reason="timeout"} 1`, `vectordb_canary_operation_success{operation="delete"} 1`)
	if left := count(t, s, c); left != 0 {
		t.Errorf("%d points are left", left)
	}
}

func TestFailuresAreCountedAndHeal(t *testing.T) {
	s, c := open(t), New(Collection)
	s.write = fault.New(fault.Busy, "disk full")
	has(t, round(t, c, s), "vectordb_canary_success 0", `vectordb_canary_failures_total{operation="write",reason="busy"} 1`, `vectordb_canary_operation_success{operation="write"} 0`)
	s.write, s.garble = nil, true
	has(t, round(t, c, s), "vectordb_canary_success 0", `vectordb_canary_failures_total{operation="read",reason="malformed"} 1`, `vectordb_canary_operation_success{operation="search"} 1`)
	s.garble, s.del = false, fault.New(fault.Denied, "no")
	has(t, round(t, c, s), "vectordb_canary_success 0", `vectordb_canary_failures_total{operation="delete",reason="denied"} 1`)
	s.del = nil
	if err := s.Drop(t.Context(), c.name); err != nil {
		t.Fatal(err)
	}
	has(t, round(t, c, s), "vectordb_canary_success 1")
	if err := s.Drop(t.Context(), c.name); err != nil {
		t.Fatal(err)
	}
	has(t, round(t, c, s), "vectordb_canary_success 1")
	s.write = fault.New(fault.Busy, "disk full")
	round(t, c, s)
	if err := c.Sign(t.Context(), s); fault.Of(err) != fault.Busy || !c.Ready() {
		t.Errorf("signing on a full disk: %v; ready: %v", err, c.Ready())
	}
}

func TestSomebodyElsesIsLeftAlone(t *testing.T) {
	s, c := open(t, []any{"VADD", Collection, "VALUES", "8", "1", "0", "0", "0", "0", "0", "0", "0", "theirs"}), New(Collection)
	has(t, round(t, c, s), "vectordb_canary_success 0", `vectordb_canary_failures_total{operation="create",reason="config"} 1`)
	if err := c.Sign(t.Context(), s); fault.Of(err) != fault.Config {
		t.Errorf("signed there: %v", err)
	}
	n, err := s.Count(t.Context(), backend.Place{Collection: Collection})
	if err != nil || n != 1 {
		t.Errorf("%d points: %v", n, err)
	}
}

// A collection that has taken the place of ours since the last round is not written to.
func TestReplacedCollectionIsLeftAlone(t *testing.T) {
	s, c := open(t), New(Collection)
	has(t, round(t, c, s), "vectordb_canary_success 1")
	if err := s.Drop(t.Context(), Collection); err != nil {
		t.Fatal(err)
	}
	in, err := s.Create(t.Context(), Collection, "somebody_else", dimensions)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Sign(t.Context(), s); fault.Of(err) != fault.Config {
		t.Errorf("signed there: %v", err)
	}
	has(t, round(t, c, s), "vectordb_canary_success 0")
	if n, err := s.Count(t.Context(), in); err != nil || n != 0 {
		t.Errorf("%d points: %v", n, err)
	}
}

func TestLeftoversAreRemovedAndOthersAtWorkAreNot(t *testing.T) {
	s := open(t)
	in, err := s.Create(t.Context(), Collection, mark, dimensions)
	if err != nil {
		t.Fatal(err)
	}
	old, fresh := newID(time.Now().Add(-time.Hour)), newID(time.Now())
	if err := s.Session.Write(t.Context(), in, []backend.Point{{ID: old, Vector: randomVector()}, {ID: fresh, Vector: randomVector()}}); err != nil {
		t.Fatal(err)
	}
	c := New(Collection)
	has(t, round(t, c, s), "vectordb_canary_success 1", "vectordb_canary_leftovers_removed_total 1")
	if _, err := s.Session.Read(t.Context(), in, old); !errors.Is(err, backend.ErrGone) {
		t.Errorf("the leftover: %v", err)
	}
	if _, err := s.Session.Read(t.Context(), in, fresh); err != nil {
		t.Errorf("what another exporter works with: %v", err)
	}
}

func TestSessionThatCannotBeOpened(t *testing.T) {
	c := New(Collection)
	c.Failed(fault.New(fault.Unreachable, "nobody is there"))
	has(t, page(t, c), "vectordb_canary_success 0", `vectordb_canary_failures_total{operation="create",reason="unreachable"} 1`)
	if err := c.Sign(t.Context(), nil); !c.Ready() || fault.Of(err) != fault.Unreachable {
		t.Errorf("the write check does not fail as the round did: %v", err)
	}
}

func TestIDs(t *testing.T) {
	now := time.Now()
	var ids []string
	for range 100 {
		id := newID(now)
		made, ok := madeAt(id)
		if !ok || made.UnixMilli() != now.UnixMilli() || len(id) != 36 || id[14] != '7' || !strings.ContainsRune("89ab", rune(id[19])) || slices.Contains(ids, id) {
			t.Fatalf("%s: %v, %v", id, made, ok)
		}
		ids = append(ids, id)
	}
	if _, ok := madeAt("00000000-0000-4000-8000-000000000000"); ok {
		t.Error("a UUID of another version has a time")
	}
}
