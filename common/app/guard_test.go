package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/crypto/bcrypt"
)

func hashOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// Nobody comes in but the user with the password, given as it is or as a hash.
func TestGate(t *testing.T) {
	inside := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "inside") })
	hash := hashOf(t, "p:ä")
	for name, g := range map[string]Guard{"password": {User: "u", Password: "p:ä"}, "hash": {User: "u", Hash: hash}} {
		handler := g.protect(inside)
		for _, test := range []struct {
			user, password string
			want           int
		}{
			{"u", "p:ä", 200}, {"u", "p:ä", 200}, {"u", "p", 401}, {"u", "", 401}, {"U", "p:ä", 401}, {"", "p:ä", 401}, {"", "", 401}, {"u", hash, 401}, {"u", "p:ä", 200},
		} {
			r, w := httptest.NewRequest(http.MethodGet, "/healthz", nil), httptest.NewRecorder()
			r.SetBasicAuth(test.user, test.password)
			handler.ServeHTTP(w, r)
			if w.Code != test.want || strings.Contains(w.Body.String(), "inside") != (test.want == 200) {
				t.Errorf("%s: %q %q: %d %s", name, test.user, test.password, w.Code, w.Body)
			}
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != 401 || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: without a password: %d %v", name, w.Code, w.Header())
		}
	}
	w := httptest.NewRecorder()
	Guard{}.protect(inside).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 200 {
		t.Errorf("without a guard: %d", w.Code)
	}
}

// Who knows the password does not wait for those who guess, and one who guesses and leaves takes no turn.
func TestGateUnderGuesses(t *testing.T) {
	handler, ok := Guard{User: "u", Hash: hashOf(t, "right")}.protect(http.NotFoundHandler()).(*gate)
	if !ok {
		t.Fatal("no gate")
	}
	ask := func(ctx context.Context, password string) int {
		r, w := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil), httptest.NewRecorder()
		r.SetBasicAuth("u", password)
		handler.ServeHTTP(w, r)
		return w.Code
	}
	if code := ask(t.Context(), "right"); code != 404 {
		t.Fatal(code)
	}
	handler.turn <- struct{}{} // a guess takes for ever
	if code := ask(t.Context(), "right"); code != 404 {
		t.Errorf("who knows: %d", code)
	}
	ctx, leave := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer leave()
	if code := ask(ctx, "wrong"); code != 401 {
		t.Errorf("who guesses: %d", code)
	}
}

// authority makes certificates for tests.
type authority struct {
	t    *testing.T
	dir  string
	own  *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.own, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// sign writes NAME.crt and NAME.key.
func (a *authority) sign(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.next++
	template.SerialNumber, template.NotAfter = big.NewInt(a.next), time.Now().Add(time.Hour)
	parent, signer := a.own, a.key
	if parent == nil {
		parent, signer = template, key
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: signed}, name + ".key": {Type: "PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(signed)
	if err != nil {
		a.t.Fatal(err)
	}
	return parsed, key
}

// guarded serves with a guard and gives the address.
func guarded(t *testing.T, g Guard) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	none, socket := "", false
	p := &program{log: slog.New(slog.DiscardHandler), web: &web.FlagConfig{WebListenAddresses: &[]string{address}, WebConfigFile: &none, WebSystemdSocket: &socket}}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: g.protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))}
	ended := make(chan error, 1)
	go func() { ended <- p.listen(server, g) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("it ended with %v", err)
		}
	})
	for range 200 {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return address
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it does not listen")
	return ""
}

// Pages are served by TLS with the certificate that the files hold now, and where an authority of clients is given, to
// those with a certificate of it.
func TestGuardTLS(t *testing.T) {
	a := newAuthority(t)
	server := func() *x509.Certificate { return &x509.Certificate{DNSNames: []string{"exporter.example.com"}} }
	a.sign("server", server())
	a.sign("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	g := Guard{Cert: a.file("server.crt"), Key: a.file("server.key"), ClientCA: a.file("ca.crt"), MinVersion: tls.VersionTLS13}
	if err := g.check(); err != nil {
		t.Fatal(err)
	}
	address := guarded(t, g)
	roots := x509.NewCertPool()
	roots.AddCert(a.own)
	ask := func(newest uint16, certificates ...tls.Certificate) (string, *big.Int, error) {
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{ForceAttemptHTTP2: true, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "exporter.example.com", MaxVersion: newest, Certificates: certificates}}}
		answer, err := client.Get("https://" + address + "/")
		if err != nil {
			return "", nil, err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return string(body), answer.TLS.PeerCertificates[0].SerialNumber, err
	}
	pair, err := tls.LoadX509KeyPair(a.file("client.crt"), a.file("client.key"))
	if err != nil {
		t.Fatal(err)
	}
	body, first, err := ask(0, pair)
	if err != nil || body != "HTTP/2.0" {
		t.Fatalf("%q %v", body, err)
	}
	if _, _, err := ask(0); err == nil {
		t.Error("let in without a certificate")
	}
	if _, _, err := ask(tls.VersionTLS12, pair); err == nil {
		t.Error("let in with TLS 1.2")
	}
	stranger := newAuthority(t)
	stranger.sign("client", &x509.Certificate{})
	other, err := tls.LoadX509KeyPair(stranger.file("client.crt"), stranger.file("client.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ask(0, other); err == nil {
		t.Error("let in with a stranger's certificate")
	}
	a.sign("server", server())
	if _, second, err := ask(0, pair); err != nil || second.Cmp(first) == 0 {
		t.Errorf("the certificate was not read anew: %v %v", second, err)
	}
	ca, err := os.ReadFile(stranger.file("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file("ca.crt"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ask(0, pair); err == nil {
		t.Error("the authority was not read anew")
	}
	if _, _, err := ask(0, other); err != nil {
		t.Errorf("the new authority's: %v", err)
	}
}

// Who connects and says nothing is cut off.
func TestGuardTLSOfSilentClient(t *testing.T) {
	a := newAuthority(t)
	a.sign("server", &x509.Certificate{})
	conn, err := net.Dial("tcp", guarded(t, Guard{Cert: a.file("server.crt"), Key: a.file("server.key")}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// The health check of a guarded exporter on this machine is let in by what guards it; elsewhere nothing of it is told.
func TestHealthcheckOfGuarded(t *testing.T) {
	a := newAuthority(t)
	a.sign("server", &x509.Certificate{DNSNames: []string{"exporter.example.com"}})
	a.sign("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	g := Guard{User: "u", Password: "secret", Cert: a.file("server.crt"), Key: a.file("server.key")}
	asking := Guard{User: "u", Password: "secret", Cert: a.file("server.crt"), Key: a.file("server.key"), ClientCA: a.file("ca.crt")}
	other := newAuthority(t)
	other.sign("server", &x509.Certificate{})
	for name, c := range map[string]struct {
		server, own Guard
		args        []string
		code        int
		want        string
	}{
		"TLS and password":         {g, g, nil, 0, "HTTP/1.1"},
		"another certificate":      {Guard{Cert: other.file("server.crt"), Key: other.file("server.key")}, g, nil, 1, "does not show the certificate"},
		"a hash":                   {Guard{User: "u", Hash: hashOf(t, "secret")}, Guard{User: "u", Hash: hashOf(t, "secret")}, nil, 1, "give --user and --password-file"},
		"a client's certificate":   {asking, asking, []string{"--cert-file=" + a.file("client.crt"), "--key-file=" + a.file("client.key")}, 0, "HTTP/1.1"},
		"without one":              {asking, asking, nil, 1, "certificate required"},
		"a certificate not a file": {g, g, []string{"--cert-file=/nowhere"}, 2, "--cert-file and --key-file"},
	} {
		address := guarded(t, c.server)
		e := Exporter{Name: "thing-exporter", Title: "Things", Prefix: "thing", Program: "thing_exporter", Env: "THING_EXPORTER", Backend: withGuard{guard: c.own}}
		var stdout, stderr bytes.Buffer
		code := e.Run(append([]string{"healthcheck", "--url=http://" + address + "/healthz"}, c.args...), &stdout, &stderr)
		if said := stdout.String() + stderr.String(); code != c.code || !strings.Contains(said, c.want) || strings.Contains(said, "secret") {
			t.Errorf("%s: %d, %q; want %d and %q", name, code, said, c.code, c.want)
		}
	}
	elsewhere, tlsOf, err := (&healthCheck{url: "http://exporter.example.com/health"}).request(t.Context(), g)
	if err != nil || elsewhere.Header.Get("Authorization") != "" || elsewhere.URL.Scheme != "http" || tlsOf.InsecureSkipVerify {
		t.Errorf("%v %v", elsewhere, err)
	}
}

// withGuard is a backend with flags for who may ask.
type withGuard struct {
	explained
	guard Guard
}

func (w withGuard) Guard() (Guard, error) { return w.guard, nil }
