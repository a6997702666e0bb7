package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// refusals maps the beginnings of what servers say instead of an answer, the longer ones first.
var refusals = []struct {
	begins string
	kind   fault.Kind
}{
	{"NOAUTH", fault.Auth},
	{"WRONGPASS", fault.Auth},
	{"ERR AUTH ", fault.Auth}, // a password where the server has none
	{"ERR invalid password", fault.Auth},
	{"ERR Client sent AUTH", fault.Auth},
	{"NOPERM", fault.Denied},
	{"DENIED", fault.Denied}, // protected mode
	{"READONLY", fault.Denied},
	{"LOADING", fault.Busy},
	{"MASTERDOWN", fault.Busy},
	{"BUSY", fault.Busy}, // a script, a group that exists
	{"TRYAGAIN", fault.Busy},
	{"CLUSTERDOWN", fault.Busy},
	{"MISCONF", fault.Busy},
	{"OOM", fault.Busy},
	{"NOREPLICAS", fault.Busy},
	{"ERR max number of clients", fault.Busy},
	{"MOVED", fault.Config}, // a key that another node has
	{"ASK", fault.Config},
	{"CROSSSLOT", fault.Config},
	{"WRONGTYPE", fault.Config},
	{"ERR invalid DB index", fault.Config},
	{"ERR DB index", fault.Config},
	{"ERR unknown", fault.Unsupported},
	{"ERR Unknown", fault.Unsupported},
	{"ERR unsupported", fault.Unsupported},
	{"ERR command not supported", fault.Unsupported},
	{"ERR wrong number of arguments", fault.Unsupported}, // an older form of the command
	{"ERR syntax error", fault.Unsupported},
	{"ERR This instance has cluster support disabled", fault.Unsupported},
	{"unknown command", fault.Unsupported},
}

// classifyRefusal tells the kind of a refusal; what nobody foresaw is a mistake of ours.
func classifyRefusal(text string) fault.Kind {
	for _, known := range refusals {
		if strings.HasPrefix(text, known.begins) {
			return known.kind
		}
	}
	return fault.Internal
}

// Classify tells the kind of an error by what the server said or by what broke below.
func (d *driver) Classify(err error) fault.Kind {
	var known *fault.Error
	var ours refusal
	var netErr net.Error
	var op *net.OpError
	switch {
	case errors.As(err, &known):
		return known.Kind
	case errors.As(err, &ours):
		return classifyRefusal(string(ours))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.Timeout
	case refusedTLS(err), errors.As(err, &op) && op.Op == "remote error": // the server's word on our certificate
		return fault.Auth
	case errors.As(err, new(tls.RecordHeaderError)): // no TLS at that port
		return fault.Config
	case errors.As(err, &netErr) && netErr.Timeout():
		return fault.Timeout
	case netErr != nil, broken(err):
		return fault.Unreachable
	}
	return fault.Malformed
}

// refusedTLS tells whether one side did not accept the other's certificate.
func refusedTLS(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var alert tls.AlertError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &alert)
}

// broken tells whether the connection ended.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// fatal gives an error with which a server says that it will not talk to us at all, or nil.
func fatal(err error) error {
	var ours refusal
	errors.As(err, &ours)
	text := string(ours)
	if classifyRefusal(text) == fault.Auth || strings.HasPrefix(text, "DENIED") || strings.HasPrefix(text, "ERR max number of clients") {
		return err
	}
	return nil
}

// denied tells whether the account lacks the right to a command.
func denied(err error) bool {
	var ours refusal
	return errors.As(err, &ours) && strings.HasPrefix(string(ours), "NOPERM")
}

// answers tells whether a refusal to answer the ping says that the server is there, tells of itself, and cannot serve
// its data yet. Whether it can is what the next step of the health check asks.
func answers(err error) bool {
	var ours refusal
	return errors.As(err, &ours) && (strings.HasPrefix(string(ours), "LOADING") || strings.HasPrefix(string(ours), "MASTERDOWN"))
}

// absence tells whether a refusal says that the server does not have a command, and gives the name of what it lacks:
// the command, or the command with its subcommand.
func absence(err error, name string) (absent bool, what string) {
	var ours refusal
	errors.As(err, &ours)
	text := strings.ToLower(string(ours))
	switch {
	case strings.HasPrefix(text, "err unknown subcommand"):
		return true, name
	case strings.HasPrefix(text, "err unknown command"), strings.HasPrefix(text, "unknown command"):
		what, _, _ = strings.Cut(name, " ")
		return true, what
	}
	return false, ""
}

// Features of an identity that are no modules.
const (
	standalone     = "standalone"
	cluster        = "cluster"
	sentinel       = "sentinel"
	noDatabaseSize = "no right to DBSIZE"
)

// has tells whether a server has a feature: a mode, or a module as "module:NAME".
func has(id collect.Identity, feature string) bool {
	_, has := id.Features[feature]
	return has
}
