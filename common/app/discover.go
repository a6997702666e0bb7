package app

import (
	"encoding/json"
	"net/http"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// discover answers Prometheus' http_sd_configs. Where the targets cannot be found it says so with a status, and
// Prometheus keeps those that it has.
func (s *server) discover(w http.ResponseWriter, r *http.Request) {
	find := s.setup.Load().Discover
	if find == nil {
		http.Error(w, "the configuration names nothing to find targets from", http.StatusNotFound)
		return
	}
	ctx, cancel := budget(r, *s.timeout)
	defer cancel()
	groups, err := find(ctx)
	if err != nil {
		s.log.Warn("targets cannot be found", "reason", fault.Of(err), "err", err)
		status := http.StatusServiceUnavailable
		if fault.Of(err) == fault.Unsupported {
			status = http.StatusBadRequest
		}
		http.Error(w, "targets cannot be found: "+string(fault.Of(err)), status)
		return
	}
	if groups == nil {
		groups = []TargetGroup{}
	}
	text, err := json.MarshalIndent(groups, "", "  ")
	if err != nil {
		http.Error(w, "the targets cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // the client is gone if this fails
}
