package mailbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
)

// Account is how to log in to a server of IMAP or POP3.
type Account struct {
	Address    string           // host:port
	TLS        dialogue.TLSMode // NoTLS, StartTLS or Implicit
	ServerName string           // that the certificate must hold
	Roots      *x509.CertPool   // nil: the system's
	Exposed    bool             // the password may be sent without TLS
	Username   string
	Password   func() (string, error) // read at each login
}

func (a *Account) tls() *tls.Config {
	return &tls.Config{ServerName: a.ServerName, RootCAs: a.Roots, MinVersion: tls.VersionTLS12}
}

// wire is a connection that ends with a context alone, whatever deadlines a library sets, and that knows why it broke.
type wire struct {
	net.Conn
	meter collect.Meter

	mu    sync.Mutex
	cause error
}

// dial connects, with TLS where it is implicit.
func (a *Account) dial(ctx context.Context) (*wire, net.Conn, error) {
	if a.TLS == dialogue.NoTLS && !a.Exposed {
		return nil, nil, fault.New(fault.Config, "the password of the mailbox would be sent without TLS")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", a.Address)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Of(err), "connect to the mailbox", err)
	}
	w := new(wire)
	w.Conn = w.meter.Wrap(conn)
	w.meter.Allow(maxAnswers)
	if a.TLS != dialogue.Implicit {
		return w, w, nil
	}
	secure, err := a.secure(ctx, w)
	if err != nil {
		_ = w.Close()
		return nil, nil, err
	}
	return w, secure, nil
}

// secure begins TLS.
func (a *Account) secure(ctx context.Context, w *wire) (net.Conn, error) {
	secure := tls.Client(w, a.tls())
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, w.judge(ctx, fault.Unreachable, "begin TLS with the mailbox", err)
	}
	return secure, nil
}

// Read is net.Conn's, and remembers the first error.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.cause == nil {
			w.cause = err
		}
	}
	return n, err
}

// SetDeadline and the others do nothing: libraries would put their own patience in place of the caller's.
func (*wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (*wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (*wire) SetWriteDeadline(time.Time) error { return nil }

// bind makes the end of the context end whatever is read or written. What it gives ends that.
func (w *wire) bind(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { _ = w.Close() })
}

// judge gives an error its kind: that of what broke the connection if it broke, else the given one. Libraries hide the
// cause in a text.
func (w *wire) judge(ctx context.Context, kind fault.Kind, op string, err error) error {
	if err == nil {
		return nil
	}
	w.mu.Lock()
	cause := w.cause
	w.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		kind = fault.Timeout
	case cause != nil && !errors.Is(cause, net.ErrClosed):
		if kind = fault.Of(cause); kind == fault.Internal {
			kind = fault.Unreachable
		}
	}
	return fault.Wrap(kind, op, err)
}
