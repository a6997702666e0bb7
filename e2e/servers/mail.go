package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// mailRoot is a folder of .cache/mail in which a mail server runs as if it were the whole system: mail servers are many
// programs that start each other under fixed paths and as several users. It needs root.
type mailRoot string

func findMailRoot(name string) (mailRoot, error) {
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%s runs its parts as several users: that needs root", name)
	}
	top, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	root := filepath.Join(top, ".cache", "mail", name)
	if _, err := os.Stat(filepath.Join(root, "etc", "passwd")); err != nil {
		return "", fmt.Errorf("no %s here; run: tools/ensure.sh smtp", name)
	}
	return mailRoot(root), nil
}

// outside returns the path by which the rest of the system knows a path of the root.
func (r mailRoot) outside(path string) string { return filepath.Join(string(r), path) }

// makeFolder makes a folder for one server and returns its path inside the root. The paths of sockets are limited to 107
// bytes, so it is a short one.
func (r mailRoot) makeFolder() (string, error) {
	folder, err := os.MkdirTemp(r.outside("/srv"), "")
	if err != nil {
		return "", err
	}
	return filepath.Join("/srv", filepath.Base(folder)), os.Chmod(folder, 0o755)
}

// account finds a user of the root.
func (r mailRoot) account(name string) (*account, error) {
	text, err := os.ReadFile(r.outside("/etc/passwd"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(line, ":")
		if len(fields) < 4 || fields[0] != name {
			continue
		}
		id, err := strconv.Atoi(fields[2])
		return &account{id, id}, err
	}
	return nil, fmt.Errorf("%s has no user %s", r, name)
}

// mkdir makes a folder, with those above it, and gives it to a user of the root.
func (r mailRoot) mkdir(path, owner string, mode os.FileMode) error {
	outside := r.outside(path)
	return errors.Join(os.MkdirAll(outside, mode), os.Chmod(outside, mode), r.give(path, owner))
}

// give gives what is at a path to a user of the root.
func (r mailRoot) give(path, owner string) error {
	who, err := r.account(owner)
	if err != nil {
		return err
	}
	return who.own(r.outside(path))
}

func (r mailRoot) write(path, text string) error {
	return os.WriteFile(r.outside(path), []byte(text), 0o644)
}

// run runs a program of the root to its end.
func (r mailRoot) run(ctx context.Context, path string, args ...string) error {
	return run(ctx, ProcessOptions{Path: path, Args: args, Dir: "/", root: string(r)})
}

// mailServer is what the mail servers of a root have in common.
type mailServer struct {
	root    mailRoot
	dir     string // inside the root
	process *Process
	ports   map[string]int // by what is spoken there
}

// prepare finds the root, makes the folder with certificates in it and finds ports.
func (s *mailServer) prepare(name string, ports ...string) error {
	var err error
	if s.root, err = findMailRoot(name); err != nil {
		return err
	}
	if s.dir, err = s.root.makeFolder(); err != nil {
		return err
	}
	s.ports = make(map[string]int)
	for _, port := range ports {
		if s.ports[port], err = FreePort(); err != nil {
			return err
		}
	}
	return makeCertificates(s.root.outside(s.dir), nil)
}

// start starts the server and waits until it listens on all ports.
func (s *mailServer) start(ctx context.Context, o ProcessOptions) error {
	o.root, o.Dir = string(s.root), "/"
	var err error
	if s.process, err = StartProcess(o); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return s.process.until(ctx, func() bool {
		for name := range s.ports {
			if !listens(s.addr(name)) {
				return false
			}
		}
		return true
	})
}

func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close() // it was opened to see that it can be
	return true
}

func (s *mailServer) addr(name string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.ports[name]))
}

// CAFile returns the path of the authority whose certificate the server shows: it is for localhost and 127.0.0.1.
func (s *mailServer) CAFile() string { return certificate(s.root.outside(s.dir), "ca.crt") }

// Log returns what the server has written to its log.
func (s *mailServer) Log() string {
	var all strings.Builder
	files, _ := filepath.Glob(s.root.outside(s.dir + "/*log")) // the pattern is a good one
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		all.Write(text)
	}
	return all.String()
}

// Close ends the server and removes all that it has.
func (s *mailServer) Close() error {
	var err error
	if s.process != nil {
		err = s.process.Stop()
	}
	if s.dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(s.root.outside(s.dir)))
}

// closeAfter closes the server at the test's end, and shows its log if the test failed.
func (s *mailServer) closeAfter(tb testing.TB, name string) {
	tb.Cleanup(func() {
		log := s.Log()
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("end of the log of %s:\n%s", name, log[max(0, len(log)-8192):])
		}
	})
}
