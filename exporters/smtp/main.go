// Command smtp-exporter probes mail servers and serves what it finds to Prometheus.
package main

import (
	"os"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
)

func main() {
	os.Exit(exporter().Main())
}

func exporter() app.Exporter {
	return app.Exporter{
		Name:    "smtp-exporter",
		Title:   "SMTP",
		Prefix:  "smtp",
		Program: "smtp_exporter",
		Env:     "SMTP_EXPORTER",
		Backend: &backend{},
	}
}
