package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Chroma is a Chroma server of one node. It knows no accounts.
type Chroma struct {
	dir     string
	port    int
	process *Process
}

// NewChroma starts a server for a test and closes it at the test's end.
func NewChroma(tb testing.TB) *Chroma {
	tb.Helper()
	c, err := StartChroma(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// StartChroma makes a server and starts it. The caller closes it.
func StartChroma(ctx context.Context) (*Chroma, error) {
	c := &Chroma{}
	var err error
	if c.port, err = FreePort(); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "chroma-"); err != nil {
		return nil, err
	}
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Start starts a stopped server, on the port and with the data that it had.
func (c *Chroma) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	command, err := c.command()
	if err != nil {
		return err
	}
	command = append(command, "run", "--path", filepath.Join(c.dir, "data"), "--host", "127.0.0.1", "--port", strconv.Itoa(c.port))
	c.process, err = StartProcess(ProcessOptions{Path: command[0], Args: command[1:], Dir: c.dir})
	if err != nil {
		return err
	}
	return c.process.until(ctx, func() bool { return answers(ctx, c.URL()+"/api/v2/heartbeat") })
}

// command is node with Chroma's program, and before it the loader of the newer C library that tools/ensure.sh brings
// where the system's is too old.
func (c *Chroma) command() ([]string, error) {
	folder, err := cached("chroma")
	if err != nil {
		return nil, err
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, err
	}
	if node, err = filepath.EvalSymlinks(node); err != nil {
		return nil, err
	}
	command := []string{node, filepath.Join(folder, "node_modules", "chromadb", "dist", "cli.mjs")}
	loaders, err := filepath.Glob(filepath.Join(folder, "libc", "usr", "lib", "*-linux-gnu", "ld-linux-*"))
	if len(loaders) > 0 {
		command = append([]string{loaders[0], "--library-path", filepath.Dir(loaders[0])}, command...)
	}
	return command, err
}

// Stop ends the server and keeps its data. It listens to SIGINT alone.
func (c *Chroma) Stop() error {
	if c.process == nil {
		return nil
	}
	process := c.process
	c.process = nil
	if process.endBy(syscall.SIGINT) {
		return nil
	}
	return process.Stop()
}

// Close stops the server and removes all it has left.
func (c *Chroma) Close() error { return errors.Join(c.Stop(), os.RemoveAll(c.dir)) }

// URL returns http://127.0.0.1:port.
func (c *Chroma) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", c.port) }

// Addr returns host:port.
func (c *Chroma) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

// Process returns the running server; nil while it is stopped.
func (c *Chroma) Process() *Process { return c.process }
