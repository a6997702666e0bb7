package systemd

import (
	"bytes"
	"context"
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

// machine is a Debian with a systemd of its own as process 1, on this machine's kernel and network.
type machine struct {
	t       testing.TB
	unshare *servers.Process
	init    int // process id of its process 1, seen from here
}

// boot starts a machine that has a folder of packages under /packages, and ends it with the test.
func boot(t testing.TB, packages string) *machine {
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
	script, err := filepath.Abs("testdata/boot.sh")
	if err != nil {
		t.Fatal(err)
	}
	// The group is joined by the shell, so that nothing of the machine runs outside it.
	m := &machine{t: t}
	m.unshare, err = servers.StartProcess(servers.ProcessOptions{Path: "/bin/sh", Args: []string{"-c",
		`echo $$ >"$0/cgroup.procs" && exec unshare --mount --uts --ipc --pid --cgroup --fork --kill-child "$@"`,
		controlGroup(t), script, lower, work}})
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
func (m *machine) up() error {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.unshare.PID()))
	if err != nil {
		return fmt.Errorf("%w\n%s", err, m.unshare.Output())
	}
	if m.init, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
		return fmt.Errorf("%w\n%s", err, m.unshare.Output())
	}
	if _, err := os.Stat(m.path("/packages")); err != nil {
		return err
	}
	out, err := m.try("", "systemctl", "is-system-running")
	if err != nil {
		return fmt.Errorf("%s%w\n%s", out, err, m.unshare.Output())
	}
	return nil
}

// path is where the test finds a file of the machine.
func (m *machine) path(file string) string { return fmt.Sprintf("/proc/%d/root%s", m.init, file) }

// write makes a file in the machine.
func (m *machine) write(file string, mode os.FileMode, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(file)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(file), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

// missing tells whether there is no such file in the machine.
func (m *machine) missing(file string) bool {
	_, err := os.Lstat(m.path(file))
	return errors.Is(err, fs.ErrNotExist)
}

// try runs a command in the machine and gives what it printed.
func (m *machine) try(input string, command ...string) (string, error) {
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

// run is try for a command that must succeed.
func (m *machine) run(command ...string) string {
	m.t.Helper()
	out, err := m.try("", command...)
	if err != nil {
		log, _ := m.try("", "journalctl", "--no-pager", "-n", "30")
		m.t.Fatalf("%s: %v\n%s\n%s", strings.Join(command, " "), err, out, log)
	}
	return out
}

// property gives a property of a unit.
func (m *machine) property(unit, name string) string {
	m.t.Helper()
	return strings.TrimSpace(m.run("systemctl", "show", "--value", "-p", name, unit))
}

// main gives the process id of a service's main process, as seen from here: its control group tells.
func (m *machine) main(service string) int {
	m.t.Helper()
	inside := m.property(service, "MainPID")
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
	m.t.Fatalf("%s: process %q of the machine is not found", service, inside)
	return 0
}

// has tells whether a process is one of the machine's.
func (m *machine) has(pid int) bool {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	ours, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", m.init))
	return err == nil && err2 == nil && theirs == ours
}
