package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// outputKept is how much of the end of a process's output is remembered.
	outputKept = 1 << 20
	// stopGrace is how long a process may take to end after a signal before a harder one follows.
	stopGrace = 10 * time.Second
)

// ProcessOptions says what StartProcess runs.
type ProcessOptions struct {
	// Path of the program, and its arguments. Arguments are seen by every user
	// of the machine: hand secrets over in files or in Env.
	Path string
	Args []string
	// Env is added to an environment that holds little else, so that a
	// variable set on a developer's machine changes no test.
	Env []string
	// Dir is the working directory; empty means the caller's.
	Dir string

	account     *account
	root        string   // a folder to run in as if it were the whole system; all paths are inside it
	needs       []string // paths that the account must reach
	deathSignal syscall.Signal
	cloneflags  uintptr // namespaces that the process gets for itself
	output      *tail
}

// Process is a running program.
type Process struct {
	cmd    *exec.Cmd
	name   string
	output *tail
	done   chan struct{}
	err    error // how it ended; read only after done is closed
}

// StartProcess starts a program and captures what it prints.
func StartProcess(o ProcessOptions) (*Process, error) {
	p := &Process{name: filepath.Base(o.Path), output: o.output, done: make(chan struct{})}
	if p.output == nil {
		p.output = &tail{max: outputKept}
	}
	p.cmd = exec.Command(o.Path, o.Args...)
	p.cmd.Env = append(keptEnvironment(), o.Env...)
	p.cmd.Dir = o.Dir
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.WaitDelay = time.Second // a grandchild that outlives it may hold its output open
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // Ctrl-C in a terminal is for the demo, which ends its servers in order
		Pdeathsig: syscall.SIGKILL,

		Cloneflags: o.cloneflags,
	}
	if o.deathSignal != 0 {
		p.cmd.SysProcAttr.Pdeathsig = o.deathSignal
	}
	if o.root != "" {
		// Postfix' first process wants to be the first of a session, and cannot become it as the first of a mere group.
		p.cmd.SysProcAttr.Chroot, p.cmd.SysProcAttr.Setsid, p.cmd.SysProcAttr.Setpgid = o.root, true, false
	}
	if o.account != nil {
		o.account.apply(p.cmd, o.needs)
	}
	if err := p.start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// start runs the command from a thread that lives as long as the command does, and no
// longer: the kernel sends the death signal when the thread that forked ends.
func (p *Process) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := keepCapabilities(p.cmd.SysProcAttr)
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	return <-started
}

// keptEnvironment is what programs need to run at all and what the Go tools need for coverage and races.
func keptEnvironment() []string {
	var kept []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR", "GORACE", "GOTRACEBACK"} {
		if value, ok := os.LookupEnv(name); ok {
			kept = append(kept, name+"="+value)
		}
	}
	return kept
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output returns the end of what the process printed, its last MiB at most.
func (p *Process) Output() string { return p.output.String() }

// Written returns how many bytes the process has printed in all.
func (p *Process) Written() int64 {
	p.output.mu.Lock()
	defer p.output.mu.Unlock()
	return p.output.written
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and returns how it ended, as exec.Cmd.Wait does.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%s still runs: %w", p.name, context.Cause(ctx))
	}
}

// Signal sends a signal; a process that has ended gives os.ErrProcessDone.
func (p *Process) Signal(signal syscall.Signal) error { return p.cmd.Process.Signal(signal) }

// Stop sends SIGTERM and waits for the end. A process that does not end in ten
// seconds is killed, and that is an error.
func (p *Process) Stop() error {
	if p.endBy(syscall.SIGTERM) {
		return nil
	}
	p.endBy(syscall.SIGKILL)
	return fmt.Errorf("%s did not end %v after SIGTERM and was killed", p.name, stopGrace)
}

// endBy sends the signal and reports whether the process ended in the time it is given.
func (p *Process) endBy(signal syscall.Signal) bool {
	_ = p.Signal(signal) // the only failure is that it has ended, which the wait below sees
	select {
	case <-p.done:
		return true
	case <-time.After(stopGrace):
		return false
	}
}

// RSS returns the resident memory in bytes.
func (p *Process) RSS() (int64, error) {
	text, err := os.ReadFile(p.proc("statm"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("%s: %q", p.proc("statm"), text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// FDs returns the number of open file descriptors.
func (p *Process) FDs() (int, error) {
	entries, err := os.ReadDir(p.proc("fd"))
	return len(entries), err
}

func (p *Process) proc(file string) string {
	return filepath.Join("/proc", strconv.Itoa(p.PID()), file)
}

// run runs a program to its end and returns an error that holds what it printed.
func run(ctx context.Context, o ProcessOptions) error {
	p, err := StartProcess(o)
	if err != nil {
		return err
	}
	err = p.Wait(ctx)
	if err == nil {
		return nil
	}
	_ = p.Signal(syscall.SIGKILL) // for the case that the context ended first
	<-p.done
	return fmt.Errorf("%s: %w\n%s", p.name, err, p.Output())
}

// until calls ready every 10 ms until it reports true, the process ends or the context does.
func (p *Process) until(ctx context.Context, ready func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended: %w\n%s", p.name, errors.Join(errNotReady, p.err), p.Output())
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w\n%s", p.name, errNotReady, context.Cause(ctx), p.Output())
		}
	}
	return nil
}

var errNotReady = errors.New("it did not become ready")

// tail keeps the end of what is written to it: never more than twice max in memory.
type tail struct {
	max     int
	mu      sync.Mutex
	text    []byte
	written int64
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written += int64(len(p))
	t.text = append(t.text, p...)
	if excess := len(t.text) - t.max; excess > t.max {
		t.text = slices.Delete(t.text, 0, excess)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text[max(0, len(t.text)-t.max):])
}
