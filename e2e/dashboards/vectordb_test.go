package dashboards

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// startVectorDB starts a PostgreSQL with pgvector and a Chroma, whose recall is measured and which have canaries, and a
// fake Qdrant, which is a cluster, with an exporter for each.
func startVectorDB(t *testing.T) []*harness.Exporter {
	t.Helper()
	postgres := servers.NewPgvector(t, servers.PostgresOptions{Initial: []string{
		"CREATE TABLE docs (id bigint PRIMARY KEY, embedding vector(16))",
		"INSERT INTO docs SELECT n, ARRAY(SELECT random() FROM generate_series(1, 16) WHERE n > 0)::vector FROM generate_series(1, 4000) AS n",
		"CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops)", "ANALYZE docs", "ALTER DATABASE postgres SET enable_seqscan = off",
	}})
	chroma := servers.NewChroma(t)
	fake := qdrant.New(qdrant.Options{Version: "1.16.3", Cluster: true})
	fake.Add("docs", map[string]qdrant.Vector{"": {Size: 4, Distance: "Cosine"}})
	fake.Put("docs", uint64(1), []float32{1, 0, 0, 1})
	cluster := httptest.NewServer(fake)
	t.Cleanup(cluster.Close)
	var exporters []*harness.Exporter
	for _, target := range []string{
		fmt.Sprintf("url: postgres://%s/postgres?sslmode=disable\n  user: postgres\n  password: %s\n  canary: {every: 2s}\n  recall: {collections: [{name: public.docs}], every: 1m}", postgres.Addr(), postgres.Password()),
		fmt.Sprintf("url: %s\n  canary: {every: 2s}", chroma.URL()),
		fmt.Sprintf("url: %s\n  type: qdrant", cluster.URL),
	} {
		config := filepath.Join(t.TempDir(), "vector-db.yml")
		must(t, os.WriteFile(config, []byte("targets:\n- "+target+"\n"), 0o600))
		exporters = append(exporters, harness.Start(t, "vector-db-exporter", nil, "--config.file="+config))
	}
	return exporters
}
