// Command vector-db-exporter serves the metrics of vector databases to Prometheus, of every kind in the same words.
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
		Name:    "vector-db-exporter",
		Title:   "Vector database",
		Prefix:  "vectordb",
		Program: "vector_db_exporter",
		Env:     "VECTORDB_EXPORTER",
		Backend: &settings{},
	}
}
