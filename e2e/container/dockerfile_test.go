package container

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestDockerfile does what the stage build of the Dockerfile does, without the image of the compiler, which is not fetched
// here: in a folder that holds what .dockerignore lets through, it runs the command of the stage.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text := read(t, "Dockerfile")
	want := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "go.work"))[1]
	if got := regexp.MustCompile(`(?m)^ARG GO_VERSION=(\S+)$`).FindStringSubmatch(text); got == nil || got[1] != want {
		t.Errorf("the Dockerfile takes Go %v, the modules want %s", got, want)
	}
	run := regexp.MustCompile(`(?s)\nRUN (?:--mount=\S+ )*\\\n(.*?[^\\])\n\n`).FindStringSubmatch(text)
	if run == nil {
		t.Fatal("the Dockerfile runs nothing")
	}
	dir := t.TempDir()
	for _, path := range let(t) {
		for _, found := range glob(t, path) {
			relative, err := filepath.Rel(root(t), found)
			check(t, err)
			check(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(relative)), 0o755))
			must(t, nil, "cp", "--recursive", found, filepath.Join(dir, relative))
		}
	}
	check(t, os.RemoveAll(filepath.Join(dir, "bin")))
	script := "set -e; cd " + dir + "; " + strings.ReplaceAll(run[1], "\\\n", "")
	env := []string{"EXPORTER=smtp", "VERSION=7.8.9", "REVISION=of-the-test", "TARGETOS=linux", "TARGETARCH=" + runtime.GOARCH}
	must(t, env, "sh", "-c", script)
	if out := must(t, nil, "go", "version", "-m", filepath.Join(dir, "bin/image/smtp/exporter")); !strings.Contains(out, "GOARCH="+runtime.GOARCH) || !strings.Contains(out, "CGO_ENABLED=0") {
		t.Errorf("built was %s", out)
	}
	checkLicences(t, filepath.Join(dir, "bin/image/smtp"))
	program, err := os.ReadFile(filepath.Join(dir, "bin/image/smtp/exporter"))
	check(t, err)
	for _, stamp := range []string{"7.8.9", "of-the-test"} {
		if !strings.Contains(string(program), stamp) {
			t.Errorf("%s is not stamped into the program", stamp)
		}
	}
}

// let gives the patterns that .dockerignore lets through; all else it keeps out.
func let(t *testing.T) []string {
	t.Helper()
	var patterns []string
	for line := range strings.Lines(read(t, ".dockerignore")) {
		if pattern, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			patterns = append(patterns, pattern)
		}
	}
	return patterns
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root(t), pattern))
	check(t, err)
	return found
}
