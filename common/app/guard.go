package app

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/crypto/bcrypt"
)

// Guard says who may ask for the exporter's pages, all of them, and how they are kept from others on the way. The zero
// value lets everybody in, without TLS.
type Guard struct {
	User     string // "" for no password
	Password string
	Hash     string // of the password, by bcrypt, where the password itself is not known

	Cert, Key  string // files for TLS, read anew at each connection; "" for none
	ClientCA   string // file of the authorities that certificates of clients must be of; "" where they need none
	MinVersion uint16 // of TLS, as crypto/tls has it
}

// Guarded is a Backend with flags of its own for what the file of --web.config.file says otherwise.
type Guarded interface {
	// Guard gives what the flags say. The error is one line that says what to do and holds no secret.
	Guard() (Guard, error)
}

// guard gives what the backend's flags say of who may ask, checked.
func (p *program) guard() (Guard, error) {
	guarded, ok := p.Backend.(Guarded)
	if !ok {
		return Guard{}, nil
	}
	g, err := guarded.Guard()
	switch {
	case err != nil:
		return g, err
	case g == Guard{}:
		return g, nil
	case *p.web.WebConfigFile != "":
		return g, errors.New("TLS and passwords of the exporter's pages are set by --web.config.file or by flags of their own, not by both")
	case g.Cert != "" && p.web.WebSystemdSocket != nil && *p.web.WebSystemdSocket:
		return g, errors.New("with --web.systemd-socket TLS is set by --web.config.file, not by flags of its own")
	}
	return g, g.check()
}

// check reports a hash or files that cannot work.
func (g Guard) check() error {
	if g.Hash != "" {
		if _, err := bcrypt.Cost([]byte(g.Hash)); err != nil { // which could quote it
			return errors.New("the password's hash is not one of bcrypt, such as htpasswd -nB makes")
		}
	}
	if g.Cert == "" {
		return nil
	}
	if g.ClientCA != "" {
		text, err := os.ReadFile(g.ClientCA)
		if err != nil {
			return fmt.Errorf("the authorities of clients' certificates: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return fmt.Errorf("%s holds no certificate", g.ClientCA)
		}
	}
	_, err := g.tls()
	return err
}

// tls reads the files.
func (g Guard) tls() (*tls.Config, error) {
	files := web.TLSConfig{TLSCertPath: g.Cert, TLSKeyPath: g.Key, MinVersion: web.TLSVersion(g.MinVersion), MaxVersion: tls.VersionTLS13}
	if g.ClientCA != "" {
		files.ClientCAs, files.ClientAuth = g.ClientCA, "RequireAndVerifyClientCert"
	}
	config, err := web.ConfigToTLSConfig(&files)
	if err != nil {
		return nil, fmt.Errorf("TLS of the exporter's pages: %w", err)
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	return config, nil
}

// listen serves until the server is shut down.
func (p *program) listen(server *http.Server, g Guard) error {
	if g.Cert == "" {
		return web.ListenAndServe(server, p.web, p.log)
	}
	config, err := g.tls()
	if err != nil {
		return err
	}
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return g.tls() }
	server.TLSConfig = config
	ended := make(chan error, len(*p.web.WebListenAddresses))
	for _, address := range *p.web.WebListenAddresses {
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		defer func() { _ = listener.Close() }() // what is closed already is no matter
		p.log.Info("Listening on", "address", listener.Addr().String(), "tls", true)
		go func() { ended <- server.ServeTLS(listener, "", "") }()
	}
	return <-ended
}

// gate asks for the user and password of a Guard before it lets a request in.
type gate struct {
	user, password [sha256.Size]byte // of which the comparison takes the same time whatever is given
	hash           []byte            // where the password is not known
	seen           atomic.Pointer[[sha256.Size]byte]
	turn           chan struct{} // for bcrypt, which takes a processor for long
	next           http.Handler
}

// protect puts a gate before a handler, where the guard has one.
func (g Guard) protect(next http.Handler) http.Handler {
	if g.User == "" {
		return next
	}
	return &gate{
		user: sha256.Sum256([]byte(g.User)), password: sha256.Sum256([]byte(g.Password)), hash: []byte(g.Hash),
		turn: make(chan struct{}, 1), next: next,
	}
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, password, given := r.BasicAuth()
	user := sha256.Sum256([]byte(name))
	known := given && g.knows(r, password) // also for a wrong user, so that the time does not tell which is wrong
	if !known || subtle.ConstantTimeCompare(user[:], g.user[:]) != 1 {
		w.Header().Set("WWW-Authenticate", `Basic realm="exporter", charset="UTF-8"`)
		http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
		return
	}
	g.next.ServeHTTP(w, r)
}

// knows tells whether a password is the right one. One that bcrypt has found right is known from then on, so that whoever
// guesses, which takes long, does not hold up who knows.
func (g *gate) knows(r *http.Request, password string) bool {
	sum := sha256.Sum256([]byte(password))
	if len(g.hash) == 0 {
		return subtle.ConstantTimeCompare(sum[:], g.password[:]) == 1
	}
	if seen := g.seen.Load(); seen != nil && subtle.ConstantTimeCompare(sum[:], seen[:]) == 1 {
		return true
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-r.Context().Done():
		return false
	}
	if bcrypt.CompareHashAndPassword(g.hash, []byte(password)) != nil {
		return false
	}
	g.seen.Store(&sum)
	return true
}
