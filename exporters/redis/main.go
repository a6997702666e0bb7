// Command redis-exporter serves the metrics of Redis and Valkey servers, clusters and sentinels to Prometheus.
package main

import (
	"fmt"
	"os"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
)

func main() {
	if err := checkEnvironment(); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", exporter().Name, err)
		os.Exit(2)
	}
	os.Exit(exporter().Run(peerArguments(os.Args[1:]), os.Stdout, os.Stderr))
}

func exporter() app.Exporter {
	return app.Exporter{
		Name:    "redis-exporter",
		Title:   "Redis",
		Prefix:  "redis",
		Program: "redis_exporter",
		Env:     "REDIS_EXPORTER",
		Probes:  []string{"/scrape"},
		Finds:   "/discover-cluster-nodes",
		Backend: &backend{},
	}
}
