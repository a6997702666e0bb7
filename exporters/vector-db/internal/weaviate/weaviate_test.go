package weaviate

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
)

// Against a real server a session does what it promises.
func TestSession(t *testing.T) {
	server := servers.NewWeaviate(t)
	at, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), backend.Endpoint{URL: at, Key: servers.WeaviateAdminKey, Dial: backendtest.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	backendtest.Check(t, s)
	testDistances(t, s.(*session))
	for key, want := range map[string][2]fault.Kind{ // of reading, of writing
		"": {fault.Auth, fault.Auth}, "wrong": {fault.Auth, fault.Auth}, servers.WeaviateReadKey: {fault.None, fault.Denied},
	} {
		s, err := Open(t.Context(), backend.Endpoint{URL: at, Key: key, Dial: backendtest.Dial})
		if err != nil {
			t.Fatal(err)
		}
		_, reading := s.List(t.Context())
		_, writing := s.Create(t.Context(), "Thing", "mark", 3)
		if fault.Of(reading) != want[0] || fault.Of(writing) != want[1] || s.Live(t.Context()) != nil {
			t.Errorf("with the key %q: %v, %v", key, reading, writing)
		}
		s.Close()
	}
}

// Distances of all kinds are told as the interface has them, and named vectors are found by their names.
func testDistances(t *testing.T, s *session) {
	t.Helper()
	vectors := map[string]any{}
	kinds := map[string][]float64{"l2-squared": {0, 5}, "dot": {-25, 0}, "manhattan": {0, 7}}
	for kind := range kinds {
		vectors[kind[:2]] = map[string]any{
			"vectorIndexType": "hnsw", "vectorizer": map[string]any{"none": map[string]any{}}, "vectorIndexConfig": map[string]any{"distance": kind},
		}
	}
	if err := s.client.Do(t.Context(), http.MethodPost, "/v1/schema", map[string]any{"class": "Spaces", "vectorConfig": vectors}, nil); err != nil {
		t.Fatal(err)
	}
	for kind, want := range kinds {
		in := backend.Place{Collection: "Spaces", Vector: kind[:2]}
		points := []backend.Point{
			{ID: fmt.Sprintf("00000000-0000-4000-8000-%012x", 2*len(kind)), Vector: []float32{3, 4}},
			{ID: fmt.Sprintf("00000000-0000-4000-8000-%012x", 2*len(kind)+1), Vector: []float32{0, 0}},
		}
		if err := s.Write(t.Context(), in, points); err != nil {
			t.Fatal(err)
		}
		found, err := s.Search(t.Context(), in, []float32{3, 4}, 2)
		if err != nil || len(found.Hits) != 2 || math.Abs(found.Hits[0].Distance-want[0]) > 1e-5 || math.Abs(found.Hits[1].Distance-want[1]) > 1e-5 {
			t.Errorf("%s: %+v, %v", kind, found, err)
		}
	}
}
