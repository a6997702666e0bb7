// Package smtp is a fake mail server for tests: it says, word for word, what a test has it say, which no real server
// can be made to do.
package smtp

import (
	"bufio"
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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server follows a text, a line for each step:
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
// At the end of the text it hangs up.
type Server struct {
	Addr    string // host:port
	tls     *tls.Config
	ended   chan struct{}
	mu      sync.Mutex
	problem error
	heard   []string // lines of the client
}

// Follow speaks with one client as a text says, for servers of many. It hangs up at the end of the text.
func Follow(conn net.Conn, config *tls.Config, text string) error {
	defer conn.Close()
	return (&Server{tls: config}).follow(conn, text)
}

// Serve starts a server that follows a text with every client, ends it with the test and gives its address.
func Serve(t testing.TB, config *tls.Config, text string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = Follow(conn, config, text) }()
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// New starts a server that follows a text for one connection, and ends it with the test.
func New(t testing.TB, config *tls.Config, text string) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{tls: config, ended: make(chan struct{})}
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
	s.Addr = listener.Addr().String()
	return s
}

// Heard gives the lines that the client has sent.
func (s *Server) Heard() []string {
	<-s.ended
	return s.heard
}

// Wait waits for the end and gives what went against the text.
func (s *Server) Wait() error {
	<-s.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}

func (s *Server) follow(conn net.Conn, text string) error {
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

func (s *Server) read(in *bufio.Reader, want string) error {
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

// Authority makes certificates for tests.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	Pool *x509.CertPool
}

// NewAuthority makes an authority.
func NewAuthority() *Authority {
	a := &Authority{Pool: x509.NewCertPool()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	var der []byte
	a.key, der = sign(template, template, nil)
	a.cert, _ = x509.ParseCertificate(der)
	a.Pool.AddCert(a.cert)
	return a
}

// PEM gives the authority's certificate as a file holds it.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func sign(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		panic(err)
	}
	return key, der
}

// Server gives the configuration of a server with a certificate for a name, good between two times from now.
func (a *Authority) Server(name string, from, to time.Duration) *tls.Config {
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	key, der := sign(template, a.cert, a.key)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS10}
}

// Day is how long certificates are counted in.
const Day = 24 * time.Hour

// Good is a server that nothing is wrong with.
func (a *Authority) Good() *tls.Config { return a.Server("mail.test", -time.Hour, 90*Day) }
