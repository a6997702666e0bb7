package machine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// Exporters are the names of the packages.
func Exporters() []string {
	return []string{"postgres-exporter", "redis-exporter", "smtp-exporter", "vector-db-exporter"}
}

// Packages makes the Debian packages of this architecture, of what make build has left, and gives their folder.
func Packages(t testing.TB, version string) string {
	t.Helper()
	root, err := servers.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	native, err := exec.Command("dpkg", "--print-architecture").Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "packages")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for _, name := range Exporters() {
		program := harness.Binary(t, name)
		command := exec.CommandContext(ctx, filepath.Join(root, "tools", "deb.sh"),
			strings.TrimSuffix(name, "-exporter"), strings.TrimSpace(string(native)), folder)
		command.Env = append(os.Environ(), "PROGRAM="+program, "HOST_PROGRAM="+program, "LICENCES="+filepath.Join(root, "LICENSE"),
			"VERSION="+version, "SOURCE_DATE_EPOCH=1700000000", "PATH="+filepath.Join(root, ".cache", "tools")+":"+os.Getenv("PATH"))
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("tools/deb.sh (run tools/ensure.sh systemd first): %v\n%s", err, out)
		}
	}
	return folder
}
