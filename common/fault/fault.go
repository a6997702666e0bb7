// Package fault is the closed set of ways in which asking a backend can fail.
//
// An error is classified once, where it leaves the wire, by the driver that knows the protocol (SQLSTATE, RESP
// prefix, HTTP status, SMTP code). Everything above works with the kind: it is the reason label of a metric, it
// decides the level of a log line and the health of a service. An error's text never becomes a label.
package fault

import (
	"context"
	"errors"
	"io"
	"net"
)

// Kind is one way to fail. Its text is the value of reason labels.
type Kind string

// The kinds. Unsupported is no failure: the server is too old or lacks an extension.
const (
	None        Kind = ""
	Unreachable Kind = "unreachable" // no connection, or it broke
	Auth        Kind = "auth"        // the credentials were refused
	Denied      Kind = "denied"      // logged in, but lacking a privilege
	Unsupported Kind = "unsupported" // this server cannot answer this
	Timeout     Kind = "timeout"     // no answer in time
	Busy        Kind = "busy"        // a lock, a slot or an earlier run is in the way
	Malformed   Kind = "malformed"   // an answer that cannot be read
	Limited     Kind = "limited"     // an answer larger than the limits
	Config      Kind = "config"      // what the user configured cannot work
	Internal    Kind = "internal"    // our mistake, a caught panic among them
)

// Kinds lists every kind that can be a reason label, in the order of the documentation.
func Kinds() []Kind {
	return []Kind{Unreachable, Auth, Denied, Unsupported, Timeout, Busy, Malformed, Limited, Config, Internal}
}

// Meaning says in a few words what a kind means, for documentation.
func (k Kind) Meaning() string {
	switch k {
	case Unreachable:
		return "No connection, or it broke."
	case Auth:
		return "The server refused the credentials, or its certificate does not convince."
	case Denied:
		return "Logged in, but lacking a privilege: `doctor` says which."
	case Unsupported:
		return "This server is too old for it or lacks an extension. That is no failure."
	case Timeout:
		return "No answer in time."
	case Busy:
		return "A lock, a slot or an earlier run is in the way."
	case Malformed:
		return "An answer that cannot be read."
	case Limited:
		return "An answer larger than the limits."
	case Config:
		return "What is configured cannot work, such as a name that the server does not know, or a secret file that is not there."
	case Internal:
		return "Our mistake: please report it."
	}
	return ""
}

// Error is an error with its kind. Op says what was being done, in words a person understands.
type Error struct {
	Kind Kind
	Op   string
	Err  error
}

// Error gives the operation and the cause; the kind is left to the reader of the field.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Op
	case e.Op == "":
		return e.Err.Error()
	}
	return e.Op + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of a kind that has no cause below it.
func New(kind Kind, op string) error { return &Error{Kind: kind, Op: op} }

// Wrap gives err a kind. An error that already has one keeps it, so that only the innermost classification counts;
// one for which the kind is None is judged as by Of, since an error is never a success.
func Wrap(kind Kind, op string, err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if kind == None || errors.As(err, &known) && known.Kind != None {
		kind = Of(err)
	}
	return &Error{Kind: kind, Op: op, Err: err}
}

// Of tells the kind of err: None for nil only, that of the wrapped Error if there is one, Timeout for a deadline,
// Unreachable for any other network error, and Internal for what nobody classified.
func Of(err error) Kind {
	if err == nil {
		return None
	}
	var known *Error
	var netErr net.Error
	switch {
	case errors.As(err, &known) && known.Kind != None:
		return known.Kind
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Timeout
	case errors.As(err, &netErr):
		if netErr.Timeout() {
			return Timeout
		}
		return Unreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Unreachable
	}
	return Internal
}
