package chroma

import (
	"math"
	"net/http"
	"net/url"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
)

// Against a real server a session does what it promises.
func TestSession(t *testing.T) {
	server := servers.NewChroma(t)
	at, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), backend.Endpoint{URL: at, Dial: backendtest.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	backendtest.Check(t, s)
	testDistances(t, s.(*session))
}

// Distances of all spaces are told as the interface has them.
func testDistances(t *testing.T, s *session) {
	t.Helper()
	for space, want := range map[string][]float64{"l2": {0, 5}, "ip": {-25, 0}} {
		body := map[string]any{"name": "space-" + space, "configuration": map[string]any{"hnsw": map[string]any{"space": space}}}
		if err := s.client.Do(t.Context(), http.MethodPost, s.base+"/collections", body, nil); err != nil {
			t.Fatal(err)
		}
		in := backend.Place{Collection: "space-" + space}
		err := s.Write(t.Context(), in, []backend.Point{{ID: "a", Vector: []float32{3, 4}}, {ID: "b", Vector: []float32{0, 0}}})
		if err != nil {
			t.Fatal(err)
		}
		found, err := s.Search(t.Context(), in, []float32{3, 4}, 2)
		if err != nil || len(found.Hits) != 2 || math.Abs(found.Hits[0].Distance-want[0]) > 1e-5 || math.Abs(found.Hits[1].Distance-want[1]) > 1e-5 {
			t.Errorf("%s: %+v, %v", space, found, err)
		}
		described, err := s.Describe(t.Context(), []string{in.Collection})
		if err != nil || len(described) != 1 || described[0].Spaces[0].Distance != distances[space] || *described[0].Objects != 2 {
			t.Errorf("%s: %+v, %v", space, described, err)
		}
	}
}
