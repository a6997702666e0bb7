package app

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// TestDiscover holds what Prometheus gets where it looks for targets.
func TestDiscover(t *testing.T) {
	finds := func(groups []TargetGroup, err error) func(context.Context) ([]TargetGroup, error) {
		return func(context.Context) ([]TargetGroup, error) { return groups, err }
	}
	for name, test := range map[string]struct {
		find   func(context.Context) ([]TargetGroup, error)
		status int
		body   string
	}{
		"targets":      {finds([]TargetGroup{{Targets: []string{"redis://a:1"}, Labels: map[string]string{}}}, nil), 200, `[ { "targets": [ "redis://a:1" ], "labels": {} } ]`},
		"none":         {finds(nil, nil), 200, `[]`},
		"down":         {finds(nil, fault.New(fault.Timeout, "secret words")), 503, "targets cannot be found: timeout"},
		"no such":      {finds(nil, fault.New(fault.Unsupported, "secret words")), 400, "targets cannot be found: unsupported"},
		"not possible": {nil, 404, "the configuration names nothing to find targets from"},
	} {
		timeout := time.Second
		s := &server{program: &program{timeout: &timeout, log: slog.New(slog.DiscardHandler)}}
		s.setup.Store(&Setup{Discover: test.find})
		w := httptest.NewRecorder()
		s.discover(w, httptest.NewRequest(http.MethodGet, "/find", nil))
		if body := strings.Join(strings.Fields(w.Body.String()), " "); w.Code != test.status || body != test.body {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, body, test.status, test.body)
		}
	}
}
