package app

import (
	"context"
	_ "embed"
	"html/template"
	"net/http"
	"time"

	"github.com/prometheus/common/version"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
)

//go:embed landing.html
var landingText string

// view is what the landing page shows.
type view struct {
	Name, Title, Version, Metrics string
	Probe                         bool
	Targets                       []targetView
	Dependents                    []targetView
	Collectors                    []collectorView
}

type targetView struct {
	Name, Service string
	Status        health.Status
	Reason        string
	Since, Last   string
	Took          time.Duration
	Server        string
	Role          string
	TurnArounds   int64
	Series        int
	Failing       []collect.CollectorState
	Absent        []collect.CollectorState
}

type collectorView struct {
	Name, Help string
	Enabled    bool
	Slow       bool
}

// landing shows each target's state as the last scrape found it, and where to go on.
func (s *server) landing(w http.ResponseWriter, r *http.Request) {
	page, err := template.New("landing").Parse(landingText)
	if err != nil {
		http.Error(w, "the page could not be written", http.StatusInternalServerError)
		return
	}
	v := view{Name: s.Name, Title: s.Title, Version: version.Version, Metrics: *s.telemetryPath, Probe: s.setup.Load().Probe != nil}
	for _, k := range s.targets.all() {
		v.Targets = append(v.Targets, viewTarget(k.Target))
	}
	ended, cancel := context.WithCancel(r.Context())
	cancel() // what is not known yet is not waited for
	for _, report := range s.watch.Reports(ended) {
		v.Dependents = append(v.Dependents, viewReport(report))
	}
	for _, c := range s.catalogue {
		v.Collectors = append(v.Collectors, collectorView{c.Name, c.Help, s.enabled(c.Name), c.Class == collect.Slow})
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = page.Execute(w, v) // the reader is gone if this fails
}

func viewReport(report health.Report) targetView {
	v := targetView{Service: report.Service, Status: report.Status, Reason: string(report.Fault)}
	if !report.At.IsZero() {
		v.Since = report.Since.UTC().Format(time.RFC3339)
	}
	return v
}

func viewTarget(t *collect.Target) targetView {
	v := viewReport(t.Health())
	v.Name = t.Name()
	last := t.Last()
	if last == nil || v.Since == "" {
		return v
	}
	v.Last, v.Took = last.At.UTC().Format(time.RFC3339), last.Took.Round(time.Millisecond/10)
	if !last.Up { // then everything fails for the one reason that stands above
		return v
	}
	v.Server, v.TurnArounds = last.Identity.Product+" "+last.Identity.Text, last.Usage.TurnArounds
	if v.Role = "primary"; last.Identity.Replica {
		v.Role = "replica"
	}
	v.Series = last.Series
	for _, c := range last.Collectors {
		if c.Err != nil {
			v.Failing = append(v.Failing, c)
		} else {
			v.Absent = append(v.Absent, c)
		}
	}
	return v
}
