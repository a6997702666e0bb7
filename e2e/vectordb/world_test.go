// Package vectordb tests the exporter's binary against real vector databases.
package vectordb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

// start runs the exporter with a configuration.
func start(t *testing.T, yaml string) *harness.Exporter {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yml")
	must(t, os.WriteFile(file, []byte(yaml), 0o600))
	e := harness.Start(t, "vector-db-exporter", nil, "--config.file="+file)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output of the exporter:\n%s", e.Output())
		}
	})
	return e
}

// about gives the samples of a page that have one of the words in them.
func about(page string, words ...string) string {
	var some strings.Builder
	for line := range strings.Lines(page) {
		for _, word := range words {
			if !strings.HasPrefix(line, "#") && strings.Contains(line, word) {
				some.WriteString(line)
				break
			}
		}
	}
	return some.String()
}
