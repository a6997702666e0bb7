// Command redis-exporter serves the metrics of Redis and Valkey servers, clusters and sentinels to Prometheus.
package main

import (
	"os"

	goredis "github.com/redis/go-redis/v9"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
)

func main() {
	goredis.SetLogger(silence{})
	os.Exit(exporter().Main())
}

func exporter() app.Exporter {
	return app.Exporter{
		Name:    "redis-exporter",
		Title:   "Redis",
		Prefix:  "redis",
		Program: "redis_exporter",
		Env:     "REDIS_EXPORTER",
		Backend: &backend{},
	}
}
