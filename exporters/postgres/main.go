// Command postgres-exporter serves the metrics of PostgreSQL servers to Prometheus.
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
		Name:    "postgres-exporter",
		Title:   "PostgreSQL",
		Prefix:  "pg",
		Program: "postgres_exporter",
		Env:     "PG_EXPORTER",
		Aliases: map[string]string{
			"exporter_collector_success":          "pg_scrape_collector_success",
			"exporter_collector_duration_seconds": "pg_scrape_collector_duration_seconds",
		},
		Members: app.Members{Noun: "database", Label: "datname"},
		Backend: &backend{},
	}
}
