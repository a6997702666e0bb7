package dialogue

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// judgeReply says why a reply is not what was wanted in its phase.
func judgeReply(phase Phase, r reply) Reason {
	text := strings.ToLower(r.String())
	switch {
	case r.code < 400:
		return UnexpectedCode
	case r.code == 421:
		return Unavailable
	case phase == Rcpt && strings.Contains(text, "relay"):
		return RelayDenied
	case (phase == Mail || phase == Data) && tooLarge(r):
		return TooLarge
	case (phase == Mail || phase == Rcpt || phase == Data) && greylisted(r, text):
		return Greylisted
	case r.code < 500:
		return Temporary
	}
	switch phase {
	case Auth:
		return AuthRejected
	case Mail:
		return SenderRejected
	case Rcpt:
		return RcptRejected
	case Data:
		return DataRejected
	}
	return Rejected
}

// tooLarge knows the codes of RFC 1870 and RFC 3463.
func tooLarge(r reply) bool {
	e := r.enhanced
	return r.code == 552 && e.Subject != 2 || e.Class == 5 && (e.Subject == 3 && e.Detail == 4 || e.Subject == 2 && e.Detail == 3)
}

// greylisted tells a server that wants us to come again from one that has a trouble of its own. There is no code for it
// alone: servers say 450 or 451, with 4.7.1, with 4.2.0 or with no status at all.
func greylisted(r reply, text string) bool {
	if r.code != 450 && r.code != 451 {
		return false
	}
	e := r.enhanced
	return e.Class == 0 || e.Subject == 7 || e.Subject == 2 && e.Detail == 0 ||
		strings.Contains(text, "greylist") || strings.Contains(text, "graylist")
}

// judgeError says why the network, or what came over it, ended a dialogue.
func judgeError(err error) Reason {
	var guarded *fault.Error
	var timeout net.Error
	switch {
	case errors.Is(err, errNoReply):
		return BadReply
	case errors.Is(err, errTooLarge):
		return ReplyTooLarge
	case errors.As(err, &guarded) && guarded.Kind == fault.Denied:
		return NotAllowed
	case isAlert(err):
		return Handshake
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), errors.As(err, &timeout) && timeout.Timeout():
		return Timeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Reset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Closed
	}
	return Unreachable
}

// judgeHandshake says why TLS did not begin. The library gives an alert of the peer no type, but its own words.
func judgeHandshake(err error) Reason {
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		return NoTLSSpoken
	case strings.Contains(err.Error(), "protocol version"):
		return TLSVersion
	}
	if reason := judgeError(err); reason != Unreachable {
		return reason
	}
	return Handshake
}

// isAlert tells whether one side has ended TLS by an alert.
func isAlert(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && (network.Op == "remote error" || network.Op == "local error")
}

// verify checks the server's certificates as any client does, and says why they do not verify.
func verify(state tls.ConnectionState, plan *Plan, now time.Time) (chains [][]*x509.Certificate, problem Reason, err error) {
	if len(state.PeerCertificates) == 0 {
		return nil, BadCertificate, errors.New("the server has no certificate")
	}
	leaf, options := state.PeerCertificates[0], x509.VerifyOptions{
		DNSName: plan.ServerName, Roots: plan.Roots, CurrentTime: now, Intermediates: x509.NewCertPool(),
	}
	for _, intermediate := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	chains, err = leaf.Verify(options)
	return chains, judgeCertificate(err, now), err
}

func judgeCertificate(err error, now time.Time) Reason {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	switch {
	case err == nil:
		return NoReason
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		return NotYetValid
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Expired
	case errors.As(err, &name):
		return WrongName
	case errors.As(err, &authority):
		return UnknownCA
	}
	return BadCertificate
}

// Earliest gives the end of the validity of the certificate that ends first, among all that the server sent.
func (s *Secure) Earliest() time.Time {
	var earliest time.Time
	for _, certificate := range s.State.PeerCertificates {
		if earliest.IsZero() || certificate.NotAfter.Before(earliest) {
			earliest = certificate.NotAfter
		}
	}
	return earliest
}
