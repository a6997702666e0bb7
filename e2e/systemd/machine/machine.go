// Package machine is a small Debian with a systemd of its own, in which tests install packages and run commands.
package machine

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// commandLimit bounds one command in the machine.
const commandLimit = 60 * time.Second

// bootScript becomes the machine's process 1 in the end.
//
//go:embed boot.sh
var bootScript string

// Machine is a Debian with a systemd of its own as process 1, on this machine's kernel and in the network of the test.
type Machine struct {
	T       testing.TB // the test that fails where something goes wrong; a subtest may put itself here
	unshare *servers.Process
	init    int // process id of its process 1, seen from here
}

// Boot starts a machine that has a folder of packages under /packages, and ends it with the test.
func Boot(t testing.TB, packages string) *Machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("booting systemd in namespaces needs root")
	}
	root, err := servers.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	lower := filepath.Join(root, ".cache", "systemd", "root")
	if _, err := os.Stat(lower); err != nil {
		t.Fatalf("run tools/ensure.sh systemd first: %v", err)
	}
	work := t.TempDir()
	if err := os.Rename(packages, filepath.Join(work, "packages")); err != nil {
		t.Fatal(err)
	}
	// The group is joined by the shell, so that nothing of the machine runs outside it.
	m := &Machine{T: t}
	m.unshare, err = servers.StartProcess(servers.ProcessOptions{Path: "/bin/sh", Args: []string{"-c",
		`echo $$ >"$0/cgroup.procs" && exec unshare --mount --uts --ipc --pid --cgroup --fork --kill-child /bin/sh -c "$@"`,
		controlGroup(t), bootScript, "boot.sh", lower, work}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.unshare.Signal(syscall.SIGKILL) // process 1 dies with it, and all others with process 1
		<-m.unshare.Done()
	})
	harness.Eventually(t, commandLimit, "systemd is up", m.up)
	return m
}

// controlGroup makes a control group for the machine and removes it after the test, with those that systemd made in it.
func controlGroup(t testing.TB) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[2] != "cgroup2" {
			continue
		}
		group, err := os.MkdirTemp(fields[1], "exporters-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			harness.Eventually(t, 10*time.Second, "the control group is empty", func() error { return removeGroups(group) })
		})
		return group
	}
	t.Fatal("no cgroup2 is mounted, which systemd needs: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
	return ""
}

func removeGroups(group string) error {
	var all []string
	err := filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			all = append(all, path)
		}
		return err
	})
	for _, path := range slices.Backward(all) {
		err = errors.Join(err, syscall.Rmdir(path))
	}
	return err
}

// up reports whether the machine has booted.
func (m *Machine) up() error {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.unshare.PID()))
	if err != nil {
		return fmt.Errorf("%w\n%s", err, m.unshare.Output())
	}
	if m.init, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
		return fmt.Errorf("%w\n%s", err, m.unshare.Output())
	}
	if _, err := os.Stat(m.Path("/packages")); err != nil {
		return err
	}
	out, err := m.Try("", "systemctl", "is-system-running")
	if err != nil {
		return fmt.Errorf("%s%w\n%s", out, err, m.unshare.Output())
	}
	return nil
}

// Path is where the test finds a file of the machine.
func (m *Machine) Path(file string) string { return fmt.Sprintf("/proc/%d/root%s", m.init, file) }

// Write makes a file in the machine.
func (m *Machine) Write(file string, mode os.FileMode, text string) {
	m.T.Helper()
	if err := os.MkdirAll(filepath.Dir(m.Path(file)), 0o755); err != nil {
		m.T.Fatal(err)
	}
	if err := os.WriteFile(m.Path(file), []byte(text), mode); err != nil {
		m.T.Fatal(err)
	}
}

// Missing tells whether there is no such file in the machine.
func (m *Machine) Missing(file string) bool {
	_, err := os.Lstat(m.Path(file))
	return errors.Is(err, fs.ErrNotExist)
}

// Try runs a command in the machine, with that input, and gives what it printed.
func (m *Machine) Try(input string, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	enter := []string{"--target", strconv.Itoa(m.init), "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd"}
	inside := exec.CommandContext(ctx, "nsenter", append(append(enter, "--"), command...)...)
	inside.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_COLORS=0"}
	inside.WaitDelay = time.Second
	inside.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	inside.Stdout, inside.Stderr = &out, &out
	err := inside.Run()
	return out.String(), err
}

// Run is Try for a command that must succeed.
func (m *Machine) Run(command ...string) string {
	m.T.Helper()
	out, err := m.Try("", command...)
	if err != nil {
		log, _ := m.Try("", "journalctl", "--no-pager", "-n", "30")
		m.T.Fatalf("%s: %v\n%s\n%s", strings.Join(command, " "), err, out, log)
	}
	return out
}

// Property gives a property of a unit.
func (m *Machine) Property(unit, name string) string {
	m.T.Helper()
	return strings.TrimSpace(m.Run("systemctl", "show", "--value", "-p", name, unit))
}

// Main gives the process id of a service's main process, as seen from here: its control group tells.
func (m *Machine) Main(service string) int {
	m.T.Helper()
	inside := m.Property(service, "MainPID")
	stats, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), "\t"+inside+"\n") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && filepath.Base(program)+".service" == service && m.has(pid) {
			return pid
		}
	}
	m.T.Fatalf("%s: process %q of the machine is not found", service, inside)
	return 0
}

// has tells whether a process is one of the machine's.
func (m *Machine) has(pid int) bool {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	ours, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", m.init))
	return err == nil && err2 == nil && theirs == ours
}
