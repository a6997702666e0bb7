package milvus

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/milvus"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
)

// Against the FAKE of old and new versions a session does what it promises.
func TestSession(t *testing.T) {
	for name, old := range map[string]bool{"2.4": true, "2.6": false} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(milvus.New(milvus.Options{Old: old, Token: "root:secret"}))
			t.Cleanup(server.Close)
			at, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), backend.Endpoint{URL: at, User: "root", Password: "secret", Dial: backendtest.Dial})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			backendtest.Check(t, s)
		})
	}
}
