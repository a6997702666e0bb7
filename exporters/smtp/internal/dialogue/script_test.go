package dialogue

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// script is a server that follows a text, a line for each step:
//
//	S 220 ready        sends a line
//	R "a\x00b"         sends bytes as they are
//	C EHLO             reads a line, which must begin so
//	B                  reads a message up to its dot
//	N 12               reads so many bytes
//	TLS                begins TLS
//	WAIT               says nothing until the client has gone
//	RESET              resets the connection
//
// It is a fake, for what no real server can be made to do. At the end of the text it hangs up.
type script struct {
	t       *testing.T
	tls     *tls.Config
	ended   chan struct{}
	mu      sync.Mutex
	problem error
	heard   []string
}

// serve follows a text for one connection and gives the address.
func serve(t *testing.T, config *tls.Config, text string) (string, *script) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, tls: config, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if err := s.follow(conn, text); err != nil {
			s.mu.Lock()
			s.problem = err
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-s.ended })
	return listener.Addr().String(), s
}

// wait gives what went against the text.
func (s *script) wait() error {
	<-s.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

func (s *script) follow(conn net.Conn, text string) error {
	raw, in := conn, bufio.NewReader(conn)
	for line := range strings.Lines(text) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch verb {
		case "":
		case "S":
			_, err = io.WriteString(conn, rest+"\r\n")
		case "R":
			if rest, err = strconv.Unquote(rest); err == nil {
				_, err = io.WriteString(conn, rest)
			}
		case "C":
			err = s.read(in, rest)
		case "B":
			for got := ""; got != ".\r\n" && err == nil; {
				got, err = in.ReadString('\n')
				s.heard = append(s.heard, got)
			}
		case "N":
			n, _ := strconv.Atoi(rest)
			_, err = io.CopyN(io.Discard, in, int64(n))
		case "TLS":
			secure := tls.Server(conn, s.tls)
			err = secure.Handshake()
			conn = secure
			in = bufio.NewReader(conn)
		case "WAIT":
			_, err = io.Copy(io.Discard, in)
		case "RESET":
			return raw.(*net.TCPConn).SetLinger(0)
		default:
			err = errors.New("what is " + verb)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(line), err)
		}
	}
	return nil
}

func (s *script) read(in *bufio.Reader, want string) error {
	got, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	s.heard = append(s.heard, got)
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\r\n") {
		return fmt.Errorf("the client said %q", got)
	}
	return nil
}

// authority makes certificates for tests.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	var der []byte
	a.key, der = sign(t, template, template, nil)
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	return a
}

func sign(t testing.TB, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// server gives the configuration of a server with a certificate for a name, good between two times from now.
func (a *authority) server(name string, from, to time.Duration) *tls.Config {
	a.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	key, der := sign(a.t, template, a.cert, a.key)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS10}
}

const day = 24 * time.Hour

// good is a server that nothing is wrong with.
func (a *authority) good() *tls.Config { return a.server("mail.test", -time.Hour, 90*day) }

// plan is one for the scripted server that goes as far as can be.
func (a *authority) plan(address string) Plan {
	return Plan{
		Address: address, Hello: "probe.test", TLS: StartTLS, ServerName: "mail.test", Roots: a.pool, MinVersion: tls.VersionTLS12,
		Until: Data, Auth: &Credentials{Username: "user", Password: "hunter2"}, Transcript: true,
		Message: &Message{From: "a@probe.test", To: "b@mail.test", Content: []byte("Subject: x\n\n.hello\n")},
	}
}

// hold holds a dialogue within a second.
func hold(t *testing.T, plan Plan) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r := Run(ctx, plan)
	if r.Took > 1200*time.Millisecond {
		t.Errorf("the dialogue took %s", r.Took)
	}
	return r
}

// said gives the transcript, for messages of tests.
func said(r *Report) string {
	var b strings.Builder
	_ = r.WriteTranscript(&b)
	return b.String()
}
