// Package container builds the images of the exporters and runs them, and checks compose.yaml with the files that it
// mounts. Images are built by buildah from no other image, and run by runc, so that neither a registry nor a daemon is
// needed; both want root.
package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// exporters are what there is an image of.
var exporters = []string{"postgres", "redis", "smtp", "vector-db"}

// outcome is what a command came to.
type outcome struct {
	code   int
	output string // both streams
}

// command runs a program in the repository's root, with a bound on its time.
func command(t *testing.T, env []string, name string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 90*time.Second)
	defer cancel()
	var output bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env, c.Stdout, c.Stderr, c.WaitDelay = root(t), append(os.Environ(), env...), &output, &output, time.Second
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), errors.Join(err, ctx.Err()), &output)
	}
	return outcome{c.ProcessState.ExitCode(), output.String()}
}

// must runs a program that has to succeed.
func must(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	o := command(t, env, name, args...)
	if o.code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), o.code, o.output)
	}
	return o.output
}

func root(t *testing.T) string {
	t.Helper()
	path, err := servers.RepositoryRoot()
	check(t, err)
	return path
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root(t)}, parts...)...))
	check(t, err)
	return string(text)
}

// store is where buildah keeps images: a folder of the test's own, so that what is on the machine is left alone.
type store struct{ env []string }

func newStore(t *testing.T) store {
	t.Helper()
	for _, tool := range []string{"buildah", "runc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: run tools/ensure.sh container as root, or install the Debian packages buildah and runc", err)
		}
	}
	if os.Getuid() != 0 {
		t.Fatal("images are built and run as root here: run this test as root, or in a user namespace in which you are (unshare -r -m)")
	}
	dir, err := os.MkdirTemp("", "container-test-")
	check(t, err)
	config := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(dir, "images"), filepath.Join(dir, "run"))
	check(t, os.WriteFile(filepath.Join(dir, "storage.conf"), []byte(config), 0o600))
	s := store{env: []string{"CONTAINERS_STORAGE_CONF=" + filepath.Join(dir, "storage.conf"), "CONTAINER_TOOL=buildah", "BUILDAH_ISOLATION=chroot"}}
	t.Cleanup(func() {
		must(t, s.env, "buildah", "rm", "--all")
		check(t, os.RemoveAll(dir))
	})
	return s
}

func (s store) build(t *testing.T, exporters ...string) {
	t.Helper()
	must(t, s.env, "tools/containers.sh", append([]string{version(t), "of-the-test"}, exporters...)...)
}

func version(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(read(t, "VERSION"))
}

func image(t *testing.T, exporter string) string {
	t.Helper()
	return "localhost/backend-exporters/" + exporter + "-exporter:" + version(t)
}

// picture is what an image says of itself.
type picture struct {
	Docker struct {
		Config struct {
			User, WorkingDir string
			Env              []string
			Cmd, Entrypoint  []string
			Labels           map[string]string
			ExposedPorts     map[string]any
			Volumes          map[string]any
			Healthcheck      struct {
				Test              []string
				Interval, Timeout time.Duration
			}
		} `json:"config"`
		RootFS struct {
			Layers []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
}

func (s store) inspect(t *testing.T, exporter string) picture {
	t.Helper()
	var p picture
	check(t, json.Unmarshal([]byte(must(t, s.env, "buildah", "inspect", "--type", "image", image(t, exporter))), &p))
	return p
}

// unpack gives a folder with what is in an image.
func (s store) unpack(t *testing.T, exporter string) string {
	t.Helper()
	name := lastLine(must(t, s.env, "buildah", "from", "--pull-never", image(t, exporter)))
	return lastLine(must(t, s.env, "buildah", "mount", name))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// tool finds promtool or amtool.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := servers.Tool(name)
	check(t, err)
	return path
}
