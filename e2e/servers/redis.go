package servers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The servers that speak Redis' protocol, as tools/ensure.sh brings them.
const (
	Redis7  = "redis/7"
	Redis8  = "redis/8"
	Valkey8 = "valkey/8"
)

// RedisKinds returns the servers that speak Redis' protocol.
func RedisKinds() []string { return []string{Redis7, Redis8, Valkey8} }

// RedisBin returns the program of a server such as Redis7.
func RedisBin(kind string) (string, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".cache", kind, strings.Split(kind, "/")[0]+"-server")
	if !isProgram(path) {
		return "", fmt.Errorf("no %s here; run: tools/ensure.sh redis", kind)
	}
	return path, nil
}

// RedisOptions says what kind of server to make. The zero value is a Redis 7 on its own, without a password.
type RedisOptions struct {
	Kind     string   // Redis7, Redis8 or Valkey8; empty means Redis7
	Config   []string // lines of redis.conf, after the package's own: the last line for a setting wins
	Password string   // of the user default; empty means none
	TLS      bool     // speak TLS alone, with a certificate that CAFile verifies; client certificates are not asked for
	Initial  [][]any  // commands, run once

	certificates string // a folder with those of another server; empty means new ones
}

// Redis is a Redis or Valkey server on a TCP port of the loopback address: alone, a replica, a node of a cluster or a
// sentinel. It writes nothing to disk unless told to.
//
// The methods that start, stop, pause or resume are for one goroutine at a time; the others may run beside them.
type Redis struct {
	kind, program    string
	dir, config      string
	args             []string // after the configuration file
	port, bus        int      // bus is that of a cluster
	password, caFile string
	log              *tail
	process          *Process // nil while stopped
}

// NewRedis starts a server for a test and closes it at the test's end.
func NewRedis(tb testing.TB, o RedisOptions) *Redis {
	tb.Helper()
	r, err := StartRedis(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	r.closeAfter(tb)
	return r
}

// closeAfter closes the server at the test's end, and shows its log if the test failed.
func (r *Redis) closeAfter(tb testing.TB) {
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			log := r.Log()
			tb.Logf("end of the log of %s on port %d:\n%s", r.kind, r.port, log[max(0, len(log)-4096):])
		}
	})
}

// StartRedis makes a server and starts it. The caller closes it.
func StartRedis(ctx context.Context, o RedisOptions) (*Redis, error) {
	r, err := newRedis(o)
	if err != nil {
		return nil, err
	}
	err = r.Start(ctx)
	for _, command := range o.Initial {
		if err == nil {
			_, err = r.Do(ctx, command...)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", r.kind, err), r.Close())
	}
	return r, nil
}

// newRedis makes the folder of a server that does not run yet.
func newRedis(o RedisOptions) (*Redis, error) {
	r := &Redis{kind: orElse(o.Kind, Redis7), password: o.Password, log: &tail{max: outputKept}}
	var err error
	if r.program, err = RedisBin(r.kind); err != nil {
		return nil, err
	}
	if r.port, err = FreePort(); err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", "redis-"); err != nil {
		return nil, err
	}
	r.config = filepath.Join(r.dir, "redis.conf")
	if o.TLS {
		r.caFile = certificate(r.dir, "ca.crt")
		err = r.certify(o.certificates)
	}
	if err == nil {
		err = r.configure(append(r.lines(), o.Config...))
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// certify makes new certificates, or takes those of another server.
func (r *Redis) certify(others string) error {
	if others == "" {
		return makeCertificates(r.dir, nil)
	}
	return os.CopyFS(certificate(r.dir, ""), os.DirFS(others))
}

// configure writes redis.conf. A sentinel writes to it, too.
func (r *Redis) configure(lines []string) error {
	return os.WriteFile(r.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// lines are what every server gets: small, fast and not durable.
func (r *Redis) lines() []string {
	lines := []string{
		"bind 127.0.0.1", "dir " + r.dir, "save \"\"", "appendonly no", "enable-debug-command yes",
		"repl-diskless-sync-delay 0", "repl-ping-replica-period 1",
	}
	if r.password != "" {
		lines = append(lines, fmt.Sprintf("requirepass %q", r.password), fmt.Sprintf("masterauth %q", r.password))
	}
	if r.caFile == "" {
		return append(lines, fmt.Sprint("port ", r.port))
	}
	return append(lines, "port 0", fmt.Sprint("tls-port ", r.port), "tls-auth-clients no", "tls-replication yes",
		"tls-ca-cert-file "+r.caFile, "tls-cert-file "+certificate(r.dir, "server.crt"), "tls-key-file "+certificate(r.dir, "server.key"))
}

// Start starts a stopped server, with the port and the data it had, and waits until it serves.
func (r *Redis) Start(ctx context.Context) error {
	return r.start(ctx, func(answer error) bool { return answer == nil })
}

// StartLoading starts a stopped server and waits only until it answers at all: that it loads its data, say.
func (r *Redis) StartLoading(ctx context.Context) error {
	return r.start(ctx, func(answer error) bool {
		var said redis.Error
		return answer == nil || errors.As(answer, &said)
	})
}

func (r *Redis) start(ctx context.Context, ready func(answer error) bool) error {
	if r.process != nil {
		return fmt.Errorf("%s on port %d runs already", r.kind, r.port)
	}
	process, err := StartProcess(ProcessOptions{Path: r.program, Args: append([]string{r.config}, r.args...), Dir: r.dir, output: r.log})
	if err != nil {
		return err
	}
	r.process = process
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := process.until(ctx, func() bool {
		conn, err := net.DialTimeout("tcp", r.Addr(), time.Second)
		if err != nil {
			return false // the client would log it
		}
		_ = conn.Close()
		_, err = r.Do(ctx, "PING")
		return ready(err)
	}); err != nil {
		return errors.Join(err, r.Stop())
	}
	return nil
}

// Stop shuts the server down and keeps its port and, where it was told to save it, its data.
func (r *Redis) Stop() error {
	if r.process == nil {
		return nil
	}
	r.Resume()
	process := r.process
	r.process = nil
	return process.Stop()
}

// Kill ends the server as a crash does.
func (r *Redis) Kill() {
	if r.process != nil {
		r.process.endBy(syscall.SIGKILL)
		r.process = nil
	}
}

// Restart stops the server and starts it again.
func (r *Redis) Restart(ctx context.Context) error {
	if err := r.Stop(); err != nil {
		return err
	}
	return r.Start(ctx)
}

// Close stops the server and removes all it has left.
func (r *Redis) Close() error { return errors.Join(r.Stop(), os.RemoveAll(r.dir)) }

// Pause freezes the server, as a machine that hangs does: the kernel still accepts connections and bytes, and nobody
// answers.
func (r *Redis) Pause() error {
	if r.process == nil {
		return fmt.Errorf("%s on port %d does not run", r.kind, r.port)
	}
	return r.process.Signal(syscall.SIGSTOP)
}

// Resume ends Pause.
func (r *Redis) Resume() {
	if r.process != nil {
		_ = r.process.Signal(syscall.SIGCONT) // one that has ended needs no signal
	}
}

// Do runs a command, on a connection of its own, as the user default. Answers are those of RESP2: string, int64,
// []any, nil for what is not there. An answer that is an error is a redis.Error.
func (r *Redis) Do(ctx context.Context, command ...any) (any, error) {
	client := r.client()
	defer client.Close()
	answer, err := client.Do(ctx, command...).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return answer, err
}

// Text is Do for an answer that is text.
func (r *Redis) Text(ctx context.Context, command ...any) (string, error) {
	answer, err := r.Do(ctx, command...)
	text, _ := answer.(string)
	return text, err
}

// Client returns a client with one connection, which closes at the test's end.
func (r *Redis) Client(tb testing.TB) *redis.Client {
	client := r.client()
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// Dial returns a client with one connection, which the caller closes.
func (r *Redis) Dial() *redis.Client { return r.client() }

// client says nothing to the server but what it is asked to.
func (r *Redis) client() *redis.Client {
	o := &redis.Options{
		Addr: r.Addr(), Password: r.password, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 1,
		DialerRetries: 1, DialTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if r.caFile != "" {
		o.TLSConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		authority, _ := os.ReadFile(r.caFile) // without it the handshake fails, which tells as much
		o.TLSConfig.RootCAs.AppendCertsFromPEM(authority)
		if pair, err := tls.LoadX509KeyPair(r.Certificate()); err == nil { // a server may ask for it
			o.TLSConfig.Certificates = []tls.Certificate{pair}
		}
	}
	return redis.NewClient(o)
}

// URL returns the server's address as exporters take it, without its password.
func (r *Redis) URL() string {
	address := url.URL{Scheme: "redis", Host: r.Addr()}
	if r.caFile != "" {
		address.Scheme = "rediss"
	}
	return address.String()
}

// Host returns the address that the server listens on.
func (r *Redis) Host() string { return "127.0.0.1" }

// Port returns the TCP port.
func (r *Redis) Port() int { return r.port }

// Addr returns host:port.
func (r *Redis) Addr() string { return net.JoinHostPort(r.Host(), strconv.Itoa(r.port)) }

// Kind returns what RedisOptions called it.
func (r *Redis) Kind() string { return r.kind }

// Password returns the password of the user default.
func (r *Redis) Password() string { return r.password }

// CAFile returns the file that verifies the server's certificate; empty without TLS.
func (r *Redis) CAFile() string { return r.caFile }

// Certificate returns the files of a certificate that the same authority has signed, and of its key; only with TLS.
func (r *Redis) Certificate() (certificateFile, keyFile string) {
	return certificate(r.dir, "server.crt"), certificate(r.dir, "server.key")
}

// Dir returns the server's folder.
func (r *Redis) Dir() string { return r.dir }

// Log returns the end of the server's log, its last MiB at most, over all its starts.
func (r *Redis) Log() string { return r.log.String() }

// Process returns the running server; nil while it is stopped.
func (r *Redis) Process() *Process { return r.process }
