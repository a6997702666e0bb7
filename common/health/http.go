package health

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// answer is the JSON of /health. Details stands beside the keys of the standard, never instead of them.
type answer struct {
	Status   string            `json:"status"`
	Version  string            `json:"version"`
	Services map[string]string `json:"services"`
	Details  map[string]detail `json:"details,omitempty"`
}

type detail struct {
	Reason  string     `json:"reason,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
	Latency float64    `json:"latency_seconds,omitempty"`
}

// Handler answers /health: 200 for ok and degraded, 503 for error. Look gives the state of every service within the
// time that the context leaves.
func Handler(version string, limit time.Duration, look func(context.Context) []Report) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		overall := Up
		body := answer{Version: version, Services: map[string]string{}, Details: map[string]detail{}}
		for _, report := range look(ctx) {
			overall = min(overall, report.Status)
			body.Services[report.Service] = report.Status.String()
			body.Details[report.Service] = report.detail()
		}
		body.Status = overall.String()
		code := http.StatusOK
		if overall == Down {
			code = http.StatusServiceUnavailable
		}
		writeJSON(w, code, body)
	})
}

func (r Report) detail() detail {
	d := detail{Reason: string(r.Fault), Latency: r.Check.Ping.Latency.Seconds()}
	if !r.Since.IsZero() {
		since := r.Since.UTC().Truncate(time.Second)
		d.Since = &since
	}
	return d
}

// AliveHandler answers /healthz: this process runs. It never touches a backend. Where alive says no, as when the
// process has begun to stop, it answers 503.
func AliveHandler(alive func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if alive() {
			writeJSON(w, http.StatusOK, map[string]string{"status": Up.String()})
			return
		}
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": Down.String()})
	})
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the reader is gone if this fails
}
