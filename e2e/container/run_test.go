package container

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// setup is how a container is run. It always has a root that cannot be written to, no capability, and no way to get any.
type setup struct {
	root    string // what is in the image
	user    int
	groups  []int // besides the user's own
	args    []string
	env     []string
	mounts  map[string]string // files, by where they are seen in the container
	network string            // "host", or "" for a network of its own, of the loopback address alone
}

// bundle writes what runc reads.
func (s setup) bundle(t *testing.T) string {
	t.Helper()
	type object = map[string]any
	readOnly := []string{"bind", "ro", "nosuid", "nodev"}
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755"}},
	}
	for inside, outside := range s.mounts {
		mounts = append(mounts, object{"destination": inside, "type": "bind", "source": outside, "options": readOnly})
	}
	namespaces := []object{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}
	if s.network != "host" {
		namespaces = append(namespaces, object{"type": "network"})
	}
	config, err := json.Marshal(object{
		"ociVersion": "1.0.2", "hostname": "test",
		"root": object{"path": s.root, "readonly": true},
		"process": object{
			"args": s.args, "env": s.env, "cwd": "/", "noNewPrivileges": true, "capabilities": object{},
			"user": object{"uid": s.user, "gid": s.user, "additionalGids": s.groups},
		},
		"mounts": mounts,
		"linux":  object{"namespaces": namespaces},
	})
	check(t, err)
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600))
	return dir
}

// running is a container.
type running struct {
	t       *testing.T
	id      string
	state   string // the folder in which runc remembers it
	process *servers.Process
}

// start runs a container and ends it with the test.
func (s setup) start(t *testing.T) *running {
	t.Helper()
	r := &running{t: t, id: "exporter-test-" + rand.Text()[:12], state: t.TempDir()}
	var err error
	r.process, err = servers.StartProcess(servers.ProcessOptions{Path: "runc", Args: []string{"--root", r.state, "run", "--bundle", s.bundle(t), r.id}})
	check(t, err)
	t.Cleanup(func() {
		must(t, nil, "runc", "--root", r.state, "delete", "--force", r.id)
		_ = r.process.Stop() // it has ended with its container
	})
	return r
}

// ended waits until the container has ended by itself, and gives how.
func (r *running) ended() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), 20*time.Second)
	defer cancel()
	return r.process.Wait(ctx)
}

// exec runs a command in the container, as Docker does for a health check.
func (r *running) exec(args ...string) outcome {
	r.t.Helper()
	return command(r.t, nil, "runc", append([]string{"--root", r.state, "exec", r.id}, args...)...)
}

func (r *running) signal(name string) {
	r.t.Helper()
	must(r.t, nil, "runc", "--root", r.state, "kill", r.id, name)
}

// listens waits until a command in the container succeeds, and gives what it printed.
func (r *running) listens(args ...string) string {
	r.t.Helper()
	var last outcome
	harness.Eventually(r.t, 20*time.Second, "the container answers", func() error {
		if last = r.exec(args...); last.code != 0 {
			return fmt.Errorf("exit code %d: %s\nthe container: %s", last.code, last.output, r.process.Output())
		}
		return nil
	})
	return last.output
}
