package postgres

import (
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

const exporterName = "postgres-exporter"

// exporter is a running postgres-exporter, the binary that users run.
type exporter struct{ *harness.Exporter }

// page is an answer of the exporter.
type page = harness.Page

// start runs the exporter with an environment and arguments and waits until it listens.
func start(t testing.TB, env []string, args ...string) *exporter {
	t.Helper()
	return &exporter{harness.Start(t, exporterName, env, args...)}
}

// forDatabase runs the exporter for one database.
func forDatabase(t testing.TB, dsn string, args ...string) *exporter {
	t.Helper()
	return start(t, []string{"DATA_SOURCE_NAME=" + dsn}, args...)
}
