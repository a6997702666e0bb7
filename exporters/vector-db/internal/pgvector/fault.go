package pgvector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// sqlStates maps conditions, and where a whole class means the same, their first two characters.
var sqlStates = map[string]fault.Kind{
	"08":    fault.Unreachable,
	"0A000": fault.Unsupported,
	"25006": fault.Busy, // read only: a replica
	"28":    fault.Auth,
	"3D000": fault.Config, // no such database
	"40":    fault.Busy,
	"42501": fault.Denied,
	"42P01": fault.Unsupported, // no such table, function, column, type or setting
	"42883": fault.Unsupported,
	"42703": fault.Unsupported,
	"42704": fault.Unsupported,
	"53":    fault.Busy, // no connection slot, no memory, no disk
	"54":    fault.Limited,
	"55":    fault.Busy,    // lock_timeout; in use
	"57014": fault.Timeout, // statement_timeout, or a cancel
	"57":    fault.Unreachable,
	"58":    fault.Unreachable, // the server cannot read or write its own files
}

// classify tells the kind of an error by its SQLSTATE or by what broke below.
func classify(err error) fault.Kind {
	var known *fault.Error
	var answer *pgconn.PgError
	var tooLong *pgproto3.ExceededMaxBodyLenErr
	var tlsErr *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var netErr net.Error
	switch {
	case errors.As(err, &known):
		return known.Kind
	case errors.As(err, &answer):
		if kind, ok := sqlStates[answer.Code]; ok {
			return kind
		}
		if kind, ok := sqlStates[answer.Code[:min(2, len(answer.Code))]]; ok {
			return kind
		}
		return fault.Internal
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.Timeout
	case errors.As(err, &tooLong):
		return fault.Limited
	case strings.Contains(err.Error(), "server refused TLS connection"): // which has no type
		return fault.Config
	case errors.As(err, &tlsErr), errors.As(err, &authority):
		return fault.Auth
	case errors.As(err, &netErr) && netErr.Timeout():
		return fault.Timeout
	case errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, pgconn.ErrConnClosed):
		return fault.Unreachable
	}
	return fault.Malformed
}

// stateError is an answer of the server without its words, which may quote what is nobody else's.
type stateError struct{ code string }

func (s stateError) Error() string { return "SQLSTATE " + s.code }

// withoutWords keeps of a server's answer its SQLSTATE.
func withoutWords(err error) error {
	if code := state(err); code != "" {
		return stateError{code}
	}
	return err
}

// state gives the SQLSTATE of an error, or "".
func state(err error) string {
	var answer *pgconn.PgError
	var known stateError
	switch {
	case errors.As(err, &known):
		return known.code
	case errors.As(err, &answer):
		return answer.Code
	}
	return ""
}
