package dialogue

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// Reason is why a dialogue ended early. Its text is the value of reason labels.
type Reason string

// The reasons. Each can come in the phases that its comment names, those without one in every phase.
const (
	NoReason        Reason = ""
	NotResolved     Reason = "not_resolved"     // dns: the name has no address, or is none
	NotAllowed      Reason = "not_allowed"      // connect: the address is one that probes must not reach
	Refused         Reason = "refused"          // connect
	Unreachable     Reason = "unreachable"      // connect: no route, no such socket
	Timeout         Reason = "timeout"          // no answer in time
	Reset           Reason = "reset"            // the connection was reset
	Closed          Reason = "closed"           // the server hung up
	BadReply        Reason = "bad_reply"        // what came is no reply of SMTP, or none that was asked for
	ReplyTooLarge   Reason = "reply_too_large"  // a reply that does not end
	Unavailable     Reason = "unavailable"      // 421: the server closes, mostly for a while
	Temporary       Reason = "temporary"        // another 4xx
	Rejected        Reason = "rejected"         // a 5xx
	UnexpectedCode  Reason = "unexpected_code"  // none of the codes that were wanted
	NoExtension     Reason = "no_extension"     // ehlo, mail: an extension that is needed is not offered
	NoSTARTTLS      Reason = "no_starttls"      // starttls: not offered
	STARTTLSHidden  Reason = "starttls_hidden"  // starttls: something on the way has overwritten the offer
	EarlyData       Reason = "early_data"       // starttls: the server, or somebody else, speaks before TLS has begun
	NoTLSSpoken     Reason = "no_tls"           // tls: what came is not TLS
	Handshake       Reason = "handshake"        // tls: any other failure of the handshake
	TLSVersion      Reason = "tls_version"      // tls: only versions that are too old
	Expired         Reason = "expired"          // tls: a certificate of the chain has ended
	NotYetValid     Reason = "not_yet_valid"    // tls
	ExpiresSoon     Reason = "expires_soon"     // tls: sooner than wanted
	WrongName       Reason = "wrong_name"       // tls: the certificate is for another name
	UnknownCA       Reason = "unknown_ca"       // tls
	BadCertificate  Reason = "bad_certificate"  // tls: any other reason for which it does not verify
	NoAuth          Reason = "no_auth"          // auth: no mechanism that we can use is offered
	ExposedPassword Reason = "exposed_password" // auth: not sent, as the connection is not safe
	AuthRejected    Reason = "auth_rejected"    // auth
	SenderRejected  Reason = "sender_rejected"  // mail
	TooLarge        Reason = "too_large"        // mail, data: the message
	Greylisted      Reason = "greylisted"       // mail, rcpt, data: 450 or 451, to be tried again later
	RcptRejected    Reason = "rcpt_rejected"    // rcpt
	RelayDenied     Reason = "relay_denied"     // rcpt: the server takes no mail for this domain from us
	RelayOpen       Reason = "relay_open"       // rcpt: the server would take mail for a foreign domain
	DataRejected    Reason = "data_rejected"    // data
	Misconfigured   Reason = "config"           // the plan cannot be carried out
	Internal        Reason = "internal"         // our mistake
)

// Reasons lists all reasons in the order of the documentation.
func Reasons() []Reason {
	return []Reason{NotResolved, NotAllowed, Refused, Unreachable, Timeout, Reset, Closed, BadReply, ReplyTooLarge, Unavailable,
		Temporary, Rejected, UnexpectedCode, NoExtension, NoSTARTTLS, STARTTLSHidden, EarlyData, NoTLSSpoken, Handshake, TLSVersion,
		Expired, NotYetValid, ExpiresSoon, WrongName, UnknownCA, BadCertificate, NoAuth, ExposedPassword, AuthRejected,
		SenderRejected, TooLarge, Greylisted, RcptRejected, RelayDenied, RelayOpen, DataRejected, Misconfigured, Internal}
}

// Report is what a dialogue found.
type Report struct {
	Begun time.Time
	Took  time.Duration // up to the verdict; the Quit after it is not counted
	Steps []Step        // the phases that were reached, in order

	// Failure is why the dialogue ended early; nil where the server did all that was wanted. A Quit without a proper
	// answer is told in Farewell alone: what the dialogue was for is done by then.
	Failure  *Failure
	Farewell *Failure

	BareLF bool   // lines of replies ended without the CR that belongs there
	Banner string // the first line of it, fit to be shown; never for a label
	Hello  *Hello // the last answer to EHLO, nil before the first
	TLS    *Secure
	Relay  int  // the code for the address of the relay test, 0 where it did not come to that
	Sent   bool // the server has taken responsibility for the message
	Unsure bool // the message was sent whole, and no answer came: the server may have it or not

	TurnArounds     int64 // times that we waited for the server after having spoken, up to the verdict
	BytesReceived   int64
	BytesSent       int64
	LocalAddress    string
	RemoteAddress   string
	Transcript      []Line
	TranscriptEnded bool // the rest was left out
}

// OK tells whether the server did all that was wanted.
func (r *Report) OK() bool { return r.Failure == nil }

// Step finds a phase that was reached.
func (r *Report) Step(phase Phase) (Step, bool) {
	for _, s := range r.Steps {
		if s.Phase == phase {
			return s, true
		}
	}
	return Step{}, false
}

// Step is one phase that was reached. Where commands travel together, the time of one is that since the answer before.
// A second EHLO, after TLS has begun, adds to the first.
type Step struct {
	Phase    Phase
	Took     time.Duration
	OK       bool
	Code     int      // of the last reply, 0 where there was none
	Enhanced Enhanced // of the last reply
	Spared   bool     // nothing was said in it: what it tells is what the server said to an earlier login
}

// Enhanced is a status code by RFC 3463, such as 4.7.1. Its class is 0 where the server gave none.
type Enhanced struct{ Class, Subject, Detail int }

// Failure is where and why a dialogue ended. Err is for people alone: it may hold the server's words.
type Failure struct {
	Phase  Phase
	Reason Reason
	Code   int // of the reply, 0 where none came
	Err    error
}

// String says it in words. It may hold the server's.
func (f *Failure) String() string {
	return string(f.Phase) + ": " + string(f.Reason) + ": " + f.Err.Error()
}

// Hello is what a server says of itself in its answer to EHLO.
type Hello struct {
	Extensions []string // keywords in upper case, sorted
	Size       int64    // the limit of a message in bytes; 0: none is told
	Auth       []string // mechanisms in upper case, sorted
	Protected  bool     // it was said within TLS
	parameters map[string]string
}

// Offers tells whether an extension is offered.
func (h *Hello) Offers(extension string) bool {
	if h == nil {
		return false
	}
	_, offered := h.parameters[extension]
	return offered
}

// Secure is what is known of TLS. It is there for a certificate that does not verify, too.
type Secure struct {
	State    tls.ConnectionState // the chain as the server sent it, leaf first, is in PeerCertificates
	Chains   [][]*x509.Certificate
	Verified bool
	Problem  Reason // why it does not verify
	Stapled  bool   // an OCSP answer came with the certificate
}

// Line is one line of a transcript. Secrets are masked, bytes that are no text are replaced, and long ones are cut.
type Line struct {
	At   time.Duration // since the begin
	From byte          // 'C' the client, 'S' the server, '*' neither: what happened
	Text string
}
