package servers

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Pause freezes the server with all its backends, as a machine that hangs does: the
// kernel still accepts connections and bytes, and nobody answers.
func (p *Postgres) Pause() error {
	if !p.running() || p.paused != nil {
		return fmt.Errorf("PostgreSQL %s does not run or is paused already", p.version)
	}
	guard, err := newGuard(p.process.PID())
	if err != nil {
		return err
	}
	p.paused = guard
	// The postmaster first: while it is frozen no backend is born.
	if err := p.process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	backends := p.children()
	if err := guard.addBackends(backends); err != nil {
		return err
	}
	signalAll(backends, syscall.SIGSTOP)
	return nil
}

// Resume ends Pause.
func (p *Postgres) Resume() {
	if p.paused == nil {
		return
	}
	p.paused.release()
	p.paused = nil
}

// PauseBackend freezes one backend, as pg_backend_pid() names it.
func (p *Postgres) PauseBackend(pid int) error { return p.signalBackend(pid, syscall.SIGSTOP) }

// ResumeBackend ends PauseBackend.
func (p *Postgres) ResumeBackend(pid int) error { return p.signalBackend(pid, syscall.SIGCONT) }

// signalBackend signals a child of this server and nobody else.
func (p *Postgres) signalBackend(pid int, signal syscall.Signal) error {
	if !slices.Contains(p.children(), pid) {
		return fmt.Errorf("%d is no backend of this server", pid)
	}
	return syscall.Kill(pid, signal)
}

func signalAll(pids []int, signal syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, signal) // one that has just ended needs no signal
	}
}

// children returns the process ids of the server's backends and helpers.
func (p *Postgres) children() []int {
	if !p.running() {
		return nil
	}
	var children []int
	paths, _ := filepath.Glob("/proc/[0-9]*/stat") // fails for a bad pattern only
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if parentOf(string(text)) == p.process.PID() {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			children = append(children, pid)
		}
	}
	return children
}

// parentOf reads the parent's id in the text of /proc/PID/stat: "pid (name) state
// parent …", where the name may hold blanks and brackets.
func parentOf(stat string) int {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// guard continues frozen processes when it is released, and also when this program
// dies: a frozen postmaster would never act on its death signal.
type guard struct {
	command *exec.Cmd
	pipe    io.WriteCloser
}

func newGuard(postmaster int) (*guard, error) {
	// The first line names the backends; a read ends also when the pipe's other end is closed.
	const script = `read -r backends; read -r _; kill -CONT "$1" $backends`
	command := exec.Command("/bin/sh", "-c", script, "sh", strconv.Itoa(postmaster))
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it must outlive a Ctrl-C
	pipe, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &guard{command, pipe}, command.Start()
}

func (g *guard) addBackends(pids []int) error {
	_, err := fmt.Fprintln(g.pipe, strings.Trim(fmt.Sprint(pids), "[]"))
	return err
}

func (g *guard) release() {
	_ = g.pipe.Close()
	_ = g.command.Wait() // fails only when a frozen process has ended
}
