package qdrant

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
)

// Against the FAKE of each version a session does what it promises, and asks and is answered in the described shape.
func TestSession(t *testing.T) {
	for _, version := range []string{"1.7.4", "1.9.0", "1.10.0", "1.12.0", "1.19.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			fake := qdrant.New(qdrant.Options{Version: version, Key: "key"})
			server := httptest.NewServer(fake)
			t.Cleanup(server.Close)
			at, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), backend.Endpoint{URL: at, Key: "key", Dial: backendtest.Dial})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			backendtest.Check(t, s)
			shapes, err := qdrant.Describe(version)
			if err != nil {
				return // only the oldest and the newest are described
			}
			for _, request := range fake.Requests() {
				if err := shapes.Check(request); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
