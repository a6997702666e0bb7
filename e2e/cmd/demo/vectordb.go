package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// startVectorDB starts Chroma, with a canary that writes, finds and deletes vectors of its own.
func startVectorDB(ctx context.Context, dir string) (*pair, error) {
	server, err := servers.StartChroma(ctx)
	if err != nil {
		return nil, err
	}
	say("Chroma runs on %s", server.Addr())
	config := filepath.Join(dir, "vectordb_exporter.yml")
	p := &pair{
		kind: "vector-db", title: "vector database", backend: server,
		up: "vectordb_up", rises: "sum(vectordb_canary_freshness_seconds_count)",
		queries: []string{`vectordb_collection_objects`, `rate(vectordb_canary_operation_duration_seconds_sum[1m])`},
		talk:    "curl " + server.URL() + "/api/v2/version",
		args:    []string{"--config.file=" + config},
	}
	text := fmt.Sprintf("targets:\n- url: %q\n  canary: {every: 5s}\n", server.URL())
	return p, os.WriteFile(config, []byte(text), 0o600)
}
