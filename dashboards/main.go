// Command dashboards writes the suite's Grafana dashboards as JSON into the folder that it is run in.
package main

import (
	"fmt"
	"os"

	"github.com/alfred-agent-platform/backend-exporters/dashboards/board"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

// boards are all dashboards, by the name of their file.
func boards() map[string]board.Board {
	return map[string]board.Board{
		"backend-health":    backendHealth,
		"exporters":         exporters,
		"postgres-overview": postgresOverview,
		"postgres-queries":  postgresQueries,
		"redis":             redisOverview,
		"smtp":              smtpOverview,
		"vector-databases":  vectorOverview,
	}
}

func run() error {
	for name, b := range boards() {
		text, err := b.JSON()
		if err != nil {
			return err
		}
		if err := os.WriteFile(name+".json", text, 0o644); err != nil { //nolint:gosec // a dashboard is no secret
			return err
		}
	}
	return nil
}
