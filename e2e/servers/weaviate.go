package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// The keys of every Weaviate server here: of the account that may do all, and of one that may only read.
const (
	WeaviateAdminKey = "weaviate-admin-key"
	WeaviateReadKey  = "weaviate-read-key"
)

// Weaviate is a Weaviate server of one node, without modules. It asks for a key.
//
// Its REST interface listens where it is told to, but the ports of gRPC, of its metrics and of the cluster listen on
// all addresses. So it runs in a network of its own, to which its two ports are forwarded; only root can make one, and
// without root it runs as it is.
type Weaviate struct {
	program string
	dir     string
	port    int
	metrics int
	others  []int // ports that nobody asks
	process *Process
	door    *doorway // nil without root, or while stopped
}

// NewWeaviate starts a server for a test and closes it at the test's end.
func NewWeaviate(tb testing.TB) *Weaviate {
	tb.Helper()
	w, err := StartWeaviate(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := w.Close(); err != nil {
			tb.Error(err)
		}
	})
	return w
}

// StartWeaviate makes a server and starts it. The caller closes it.
func StartWeaviate(ctx context.Context) (*Weaviate, error) {
	program, err := cached("weaviate", "weaviate-server")
	if err != nil {
		return nil, err
	}
	w := &Weaviate{program: program}
	for _, port := range []*int{&w.port, &w.metrics} {
		if *port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	for range 5 {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		w.others = append(w.others, port)
	}
	if w.dir, err = os.MkdirTemp("", "weaviate-"); err != nil {
		return nil, err
	}
	if err := w.Start(ctx); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Start starts a stopped server, on the port and with the data that it had.
func (w *Weaviate) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	o := ProcessOptions{
		Path: w.program,
		Args: []string{"--host=127.0.0.1", "--port=" + strconv.Itoa(w.port), "--scheme=http"},
		Env:  w.environment(), Dir: w.dir,
	}
	alone := os.Geteuid() == 0
	if alone {
		o.Args = append([]string{"-c", `ip link set lo up && exec "$0" "$@"`, o.Path}, o.Args...)
		o.Path, o.cloneflags = "/bin/sh", syscall.CLONE_NEWNET
	}
	var err error
	if w.process, err = StartProcess(o); err != nil {
		return err
	}
	if alone {
		if w.door, err = openDoorway(w.process.PID(), w.port, w.metrics); err != nil {
			return err
		}
	}
	return w.process.until(ctx, func() bool { return answers(ctx, w.URL()+"/v1/.well-known/ready") })
}

func (w *Weaviate) environment() []string {
	port := func(i int) string { return strconv.Itoa(w.others[i]) }
	return []string{
		"PERSISTENCE_DATA_PATH=" + filepath.Join(w.dir, "data"),
		"DEFAULT_VECTORIZER_MODULE=none", "DISABLE_TELEMETRY=true", "LOG_LEVEL=warning", "GOMAXPROCS=2",
		"AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED=false",
		"AUTHENTICATION_APIKEY_ENABLED=true",
		"AUTHENTICATION_APIKEY_ALLOWED_KEYS=" + WeaviateAdminKey + "," + WeaviateReadKey,
		"AUTHENTICATION_APIKEY_USERS=admin,reader",
		"AUTHORIZATION_ADMINLIST_ENABLED=true",
		"AUTHORIZATION_ADMINLIST_USERS=admin",
		"AUTHORIZATION_ADMINLIST_READONLY_USERS=reader",
		"PROMETHEUS_MONITORING_ENABLED=true",
		"PROMETHEUS_MONITORING_PORT=" + strconv.Itoa(w.metrics),
		"CLUSTER_HOSTNAME=node1", "CLUSTER_ADVERTISE_ADDR=127.0.0.1",
		"GRPC_PORT=" + port(0),
		"CLUSTER_GOSSIP_BIND_PORT=" + port(1), "CLUSTER_DATA_BIND_PORT=" + port(2),
		"RAFT_PORT=" + port(3), "RAFT_INTERNAL_RPC_PORT=" + port(4),
		"RAFT_JOIN=node1:" + port(3), "RAFT_BOOTSTRAP_EXPECT=1", "RAFT_BOOTSTRAP_TIMEOUT=60",
	}
}

// Stop ends the server and keeps its data.
func (w *Weaviate) Stop() error {
	if w.door != nil {
		w.door.close()
		w.door = nil
	}
	if w.process == nil {
		return nil
	}
	process := w.process
	w.process = nil
	return process.Stop()
}

// Close stops the server and removes all it has left.
func (w *Weaviate) Close() error { return errors.Join(w.Stop(), os.RemoveAll(w.dir)) }

// URL returns http://127.0.0.1:port of the REST interface.
func (w *Weaviate) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", w.port) }

// MetricsURL returns the address of the server's own metrics.
func (w *Weaviate) MetricsURL() string { return fmt.Sprintf("http://127.0.0.1:%d/metrics", w.metrics) }

// Addr returns host:port of the REST interface.
func (w *Weaviate) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(w.port)) }

// Process returns the running server; nil while it is stopped.
func (w *Weaviate) Process() *Process { return w.process }

// answers tells whether a GET is answered with 200.
func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// cached returns the path of a program that tools/ensure.sh NAME brought into .cache/NAME.
func cached(name string, path ...string) (string, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	program := filepath.Join(append([]string{root, ".cache", name}, path...)...)
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("no %s here; run: tools/ensure.sh %s", name, name)
	}
	return program, nil
}
