package soak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// subject is an exporter that is watched, and the servers that it watches.
type subject struct {
	name    string // of the binary, without -exporter
	prefix  string // of its metrics
	secrets []string
	lines   []*line

	env, args []string
	process   *servers.Process
	url       string // http://127.0.0.1:port
}

// line is a server with the line over which its exporter reaches it.
type line struct {
	name    string
	target  string       // the value of the label target; "" where the exporter has one target
	proxy   *proxy.Proxy // nil before there is one
	machine machine
	past    timeline
	quiet   quiet
	truths  []*truth
	raise   func(ctx context.Context, value float64) error // gives the first of truths its next value; nil where it stays
}

// machine does to a server what happens to machines. All may be nil for one that only its line happens to.
type machine struct {
	pause  func() error
	resume func()
	kill   func() error // at once, without a word
	stop   func() error
	start  func(ctx context.Context) error
	close  func() error
}

// faults lists what can happen to the line and its server.
func (l *line) faults() []Fault {
	kinds := append([]Fault(nil), lineFaults...)
	if l.machine.pause != nil {
		kinds = append(kinds, Pause, Kill, Restart)
	}
	return kinds
}

// up is the series that says whether the server is.
func (l *line) up(s *subject) string { return s.prefix + "_up" + l.braces() }

// down is how many bytes have come from the server.
func (l *line) down() int64 {
	if l.proxy == nil {
		return 0
	}
	return l.proxy.Stats().Down
}

func (l *line) braces() string {
	if l.target == "" {
		return ""
	}
	return fmt.Sprintf("{target=%q}", l.target)
}

// owns tells whether a series is about this line.
func (l *line) owns(series string) bool { return l.target == "" || label(series, "target") == l.target }

// world is all that a soak runs.
type world struct {
	dir      string
	subjects []*subject
}

var starters = []func(ctx context.Context, dir string) (*subject, error){startPostgres, startRedis, startVectorDB, startSMTP}

// startWorld starts all servers and exporters. What it gives has to be closed, also beside an error.
func startWorld(ctx context.Context, bin string) (*world, error) {
	w := &world{}
	var err error
	if w.dir, err = os.MkdirTemp("", "soak-"); err != nil {
		return w, err
	}
	for _, start := range starters {
		s, err := start(ctx, w.dir)
		if s != nil {
			w.subjects = append(w.subjects, s)
		}
		if err != nil {
			return w, err
		}
		if err := s.start(ctx, bin, w.dir); err != nil {
			return w, err
		}
	}
	return w, nil
}

// start starts the exporter and waits until it listens.
func (s *subject) start(ctx context.Context, bin, dir string) error {
	path, err := filepath.Abs(filepath.Join(bin, s.name+"-exporter"))
	if err != nil {
		return err
	}
	port, err := servers.FreePort()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	s.url = "http://" + address
	s.process, err = servers.StartProcess(servers.ProcessOptions{
		Path: path, Dir: dir, Env: s.env, Args: append([]string{"--web.listen-address=" + address}, s.args...),
	})
	if err != nil {
		return fmt.Errorf("%w; run: make build", err)
	}
	for range 200 {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/healthz", nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(request); err == nil {
			return answer.Body.Close()
		}
		select {
		case <-s.process.Done():
			return fmt.Errorf("the %s exporter has ended:\n%s", s.name, s.process.Output())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("the %s exporter does not listen:\n%s", s.name, s.process.Output())
}

// addLine puts a server behind a proxy.
func (s *subject) addLine(name, address string, m machine) (*line, error) {
	l := &line{name: name, machine: m}
	s.lines = append(s.lines, l)
	var err error
	l.proxy, err = proxy.Start(address)
	return l, err
}

func (w *world) close() error {
	var err error
	for _, s := range w.subjects {
		if s.process != nil {
			err = errors.Join(err, s.process.Stop())
		}
		for _, l := range s.lines {
			if l.proxy != nil {
				l.proxy.Close()
			}
			if l.machine.close != nil {
				err = errors.Join(err, l.machine.close())
			}
		}
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

// process is a server of one process.
type process interface {
	Start(ctx context.Context) error
	Stop() error
	Close() error
	Process() *servers.Process
}

// machineOf is the machine of a server of one process.
func machineOf(p process) machine {
	return machine{
		pause:  func() error { return p.Process().Signal(syscall.SIGSTOP) },
		resume: func() { _ = p.Process().Signal(syscall.SIGCONT) }, // whether it ended meanwhile is seen elsewhere
		kill:   func() error { return end(p, syscall.SIGKILL) },
		stop:   p.Stop, start: p.Start, close: p.Close,
	}
}

// end sends a server the signal of its sudden death, and waits for it.
func end(p process, signal syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	dying := p.Process()
	if err := dying.Signal(signal); err != nil {
		return err
	}
	_ = dying.Wait(ctx) // that it was killed is what it says
	return p.Stop()
}

// secretFile writes a file that only we can read.
func secretFile(dir, name, text string) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(strings.TrimLeft(text, "\n")), 0o600)
}
