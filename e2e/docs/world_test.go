package docs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// secret is every password and key of the world.
const secret = "what-nobody-guesses"

// world is what the documents' examples find: servers under the names and ports that they use, secrets in /run/secrets,
// certificates of an authority that everybody trusts. It lives in a network, a mount and a process namespace of its own,
// where /etc and /run are copies in memory.
type world struct {
	root string // of the repository
	dir  string
	ca   *authority
	pg   *servers.Postgres

	kubeconfig string // of a cluster, while a document needs one
}

// names of the examples that lead to the loopback address, beside those of tlsNames.
const names = `127.0.0.1 localhost db.example.com db1.example.com db7.db.example.com db8.db.example.com mail.example.com
127.0.0.1 mail.example.org mail1.example.org mail2.example.org queue-1.example.com chroma.example.com db.example.net
127.0.0.2 cache.example.com a.cache.example.com b.cache.example.com
127.0.0.3 qdrant.example.com q7.qdrant.example.com
`

func newWorld(t *testing.T) *world {
	t.Helper()
	path, err := servers.RepositoryRoot()
	must(t, err)
	w := &world{root: path, dir: t.TempDir(), ca: newAuthority(t)}
	seclude(t)
	w.furnish(t)
	w.startPostgres(t)
	w.startRedis(t)
	w.startMail(t)
	forward(t, "127.0.0.1:8000", servers.NewChroma(t).Addr(), nil)
	vectors := httptest.NewServer(qdrant.New(qdrant.Options{Version: "1.16.0", Key: secret}))
	t.Cleanup(vectors.Close)
	forward(t, "127.0.0.3:6333", vectors.Listener.Addr().String(), w.ca.config())
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// seclude puts copies in memory in the place of /etc and /run, and brings the loopback interface up. This process has
// namespaces of its own, so nobody else sees it.
func seclude(t *testing.T) {
	t.Helper()
	etc := t.TempDir()
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("proc", "/proc", "proc", 0, ""))
	must(t, unix.Mount("etc", etc, "tmpfs", 0, "size=256m,mode=755"))
	if out, err := exec.Command("cp", "-a", "/etc/.", etc).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, unix.Mount(etc, "/etc", "", unix.MS_BIND, ""))
	must(t, unix.Unmount(etc, 0)) // it stays at /etc
	must(t, unix.Mount("run", "/run", "tmpfs", 0, "size=64m,mode=755"))
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	must(t, err)
	defer unix.Close(socket)
	loopback, err := unix.NewIfreq("lo")
	must(t, err)
	loopback.SetUint16(unix.IFF_UP)
	must(t, unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback))
}

// furnish writes the files that the documents take for given, with their secrets.
func (w *world) furnish(t *testing.T) {
	t.Helper()
	certificate, key := w.ca.pair()
	for path, text := range map[string]string{
		"/etc/hosts":                          names,
		"/etc/resolv.conf":                    "nameserver 127.0.0.1\n", // nobody answers, which is told at once
		"/etc/backend-exporters/ca.pem":       w.ca.pem,
		"/etc/backend-exporters/tls.pem":      certificate,
		"/etc/backend-exporters/tls.key":      key,
		"/etc/ssl/our-ca.pem":                 w.ca.pem,
		"/etc/ssl/own-ca.pem":                 w.ca.pem,
		"/etc/ssl/own.pem":                    w.ca.pem,
		"/etc/postgres_exporter/app.yml":      "tables: [{name: app_one, help: One., query: 'SELECT 1 AS one', columns: [{value: one, help: One.}]}]\n",
		"/etc/postgres_exporter/more/two.yml": "tables: [{name: app_two, help: Two., query: 'SELECT 2 AS two', columns: [{value: two, help: Two.}]}]\n",
		"/run/secrets/redis.json":             fmt.Sprintf(`{"rediss://monitor@cache.example.com:6379": %q, "redis://monitor@localhost:6379": %[1]q}`, secret),
		"/run/secrets/db2-dsn":                "postgresql://monitor:" + secret + "@db.example.com:5432/postgres",
		w.dir + "/queries.yaml":               "app_one:\n  query: SELECT 1 AS one\n  metrics:\n    - one: {usage: GAUGE, description: One.}\n",
	} {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	for _, kind := range []string{"postgres", "redis", "vector-db", "smtp"} {
		must(t, os.MkdirAll("/etc/"+kind+"-exporter", 0o755)) // as the package leaves it
	}
	for _, name := range []string{"monitor", "db1", "fleet", "cache", "qdrant", "probe", "studio", "chroma", "inbox"} {
		must(t, os.WriteFile("/run/secrets/"+name, []byte(secret+"\n"), 0o600))
	}
}

// environment is what a shell of the world has, beside PATH.
func (w *world) environment() []string {
	return []string{
		"HOME=" + w.dir, "SSL_CERT_FILE=/etc/backend-exporters/ca.pem", "SERVING=" + w.dir + "/serving", "PAGER=cat",
		"SECRET=" + secret, "ADMIN_PASSWORD=" + w.pg.Password(), "ADMIN_PORT=" + fmt.Sprint(w.pg.Port()), "REPOSITORY=" + w.root,
		"KUBECONFIG=" + w.kubeconfig,
	}
}

func (w *world) startPostgres(t *testing.T) {
	t.Helper()
	w.pg = servers.NewPostgres(t, servers.PostgresOptions{
		TLS: true, Settings: map[string]string{"track_io_timing": "on"}, Initial: []string{"CREATE DATABASE app", "CREATE EXTENSION pg_stat_statements"},
	})
	w.certify(t, w.pg.CAFile())
	must(t, w.pg.Exec(t.Context(), "postgres", "SELECT pg_reload_conf()"))
	forward(t, "127.0.0.1:5432", w.pg.Addr(), nil)
}

// startRedis starts one server that speaks without TLS at localhost and with it elsewhere.
func (w *world) startRedis(t *testing.T) {
	t.Helper()
	r := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis8, Initial: [][]any{
		{"ACL", "SETUSER", "monitor", "on", ">" + secret, "~*", "&*", "+@all"},
		{"SET", "counter", "1"}, {"CONFIG", "SET", "latency-monitor-threshold", "100"},
	}})
	forward(t, "127.0.0.1:6379", r.Addr(), nil)
	forward(t, "127.0.0.2:6379", r.Addr(), w.ca.config())
}

func (w *world) startMail(t *testing.T) {
	t.Helper()
	p := servers.NewPostfix(t, servers.PostfixOptions{
		Routes: map[string]string{"example.org": "maildir", "example.com": "maildir"}, Auth: servers.NewDovecot(t),
	})
	w.certify(t, p.CAFile()) // its programs for connections start anew and read it
	forward(t, "127.0.0.1:25", p.Addr(), nil)
	forward(t, "127.0.0.1:587", p.SubmissionAddr(), nil)
	forward(t, "127.0.0.1:465", p.SMTPSAddr(), nil)
	hog := servers.NewMailHog(t)
	forward(t, "127.0.0.1:1025", hog.SMTPAddr(), nil)
	forward(t, "127.0.0.1:8025", strings.TrimPrefix(hog.URL(), "http://"), nil)
}

// certify puts the world's certificate in the place of a server's own, which is for localhost alone.
func (w *world) certify(t *testing.T, caFile string) {
	t.Helper()
	certificate, key := w.ca.pair()
	folder := filepath.Dir(caFile)
	must(t, os.WriteFile(filepath.Join(folder, "server.crt"), []byte(certificate), 0o600)) // owner and mode stay
	must(t, os.WriteFile(filepath.Join(folder, "server.key"), []byte(key), 0o600))
}

// authority signs one certificate for all names of the examples.
type authority struct {
	pem  string
	leaf tls.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of the examples"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signed, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	must(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "monitor"}, NotBefore: ca.NotBefore, NotAfter: time.Now().Add(90 * 24 * time.Hour),
		DNSNames:    []string{"localhost", "*.example.com", "*.example.org", "*.db.example.com", "*.cache.example.com", "*.qdrant.example.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	ours, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, ours.Public(), key)
	must(t, err)
	return &authority{
		pem:  string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})),
		leaf: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: ours},
	}
}

func (a *authority) config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.leaf}, MinVersion: tls.VersionTLS12}
}

// pair is the certificate with its key, in PEM.
func (a *authority) pair() (certificate, key string) {
	encoded, err := x509.MarshalPKCS8PrivateKey(a.leaf.PrivateKey)
	if err != nil {
		panic(err) // a key that we have made can be written
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.leaf.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}

// forward takes connections at an address of the examples to the server behind it; with a configuration, out of TLS.
func forward(t *testing.T, from, to string, config *tls.Config) {
	t.Helper()
	listener, err := net.Listen("tcp", from)
	must(t, err)
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	accept(t, listener, func(outside net.Conn) { join(outside, to) })
}

// accept serves each connection that comes, until the test ends.
func accept(t *testing.T, listener net.Listener, serve func(net.Conn)) {
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
}

func join(outside net.Conn, to string) {
	defer outside.Close()
	inside, err := net.DialTimeout("tcp", to, 5*time.Second)
	if err != nil {
		return // the client sees a server that hangs up
	}
	defer inside.Close()
	ended := make(chan error, 2)
	for _, pair := range [][2]net.Conn{{outside, inside}, {inside, outside}} {
		go func() {
			_, err := io.Copy(pair[0], pair[1])
			if half, ok := pair[0].(interface{ CloseWrite() error }); ok {
				err = errors.Join(err, half.CloseWrite())
			}
			ended <- err
		}()
	}
	<-ended
	<-ended
}
