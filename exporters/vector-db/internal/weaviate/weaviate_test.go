package weaviate

import (
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
