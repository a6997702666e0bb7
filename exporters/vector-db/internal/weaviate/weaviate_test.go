package weaviate

import (
	"net/url"
	"testing"

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
}
