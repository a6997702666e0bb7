// Package dialogue holds one SMTP or LMTP dialogue with one server: as far as a Plan says, with a time, a code and, where
// it ends early, a reason for each phase.
//
// Commands travel together where the server offers PIPELINING, and a message without a further turn-around where it
// offers CHUNKING. Everything that a server sends is bounded in size and in time, and what it says is never trusted:
// an answer that was not asked for ends the dialogue.
package dialogue

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Phase is one step of a dialogue. Its text is the value of phase labels.
type Phase string

// The phases, in the order in which a dialogue comes to them; TLS comes before Banner where it is implicit. DNS is
// never one of a Dialogue's own: whoever looks up the address adds it.
const (
	DNS      Phase = "dns"
	Connect  Phase = "connect"
	TLS      Phase = "tls"
	Banner   Phase = "banner"
	EHLO     Phase = "ehlo"
	STARTTLS Phase = "starttls"
	Auth     Phase = "auth"
	Mail     Phase = "mail"
	Rcpt     Phase = "rcpt"
	Data     Phase = "data" // the command, the message and its answer
	Quit     Phase = "quit"
)

// Phases lists all phases in order.
func Phases() []Phase {
	return []Phase{DNS, Connect, TLS, Banner, EHLO, STARTTLS, Auth, Mail, Rcpt, Data, Quit}
}

// TLSMode says how a dialogue comes to TLS.
type TLSMode string

// The modes.
const (
	NoTLS         TLSMode = "none"
	Opportunistic TLSMode = "opportunistic" // STARTTLS where it is offered
	StartTLS      TLSMode = "starttls"      // STARTTLS, which must be offered
	Implicit      TLSMode = "implicit"      // TLS from the first byte
)

// Plan says what to do in a dialogue, and what to require of the server. The zero value of a field asks for nothing.
type Plan struct {
	Network string // "tcp" (also where empty) or "unix"
	Address string // IP:port, or the path of a socket
	// Dial opens the connection; net.Dialer's DialContext where it is nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ProxyHeader is the version of the PROXY protocol header to begin with: 1, 2, or 0 for none.
	ProxyHeader byte

	LMTP  bool
	Hello string // the name to greet with

	TLS        TLSMode
	ServerName string         // that the certificate must hold; also sent as SNI unless it is an address
	Roots      *x509.CertPool // nil: the system's
	Client     *tls.Certificate
	MinVersion uint16 // of TLS; a server that speaks only older ones is told apart from one that speaks none
	// Unverified goes on where the certificate does not verify. What is wrong with it is reported all the same.
	Unverified bool
	// MinValidity is how long the certificates must still be valid.
	MinValidity time.Duration

	Until      Phase           // the last phase before Quit: Connect to Data
	Extensions []string        // that the server must offer in its last answer to EHLO
	Codes      map[Phase][]int // that the answer of a phase must have, where the usual ones are not wanted
	Auth       *Credentials    // for Auth
	Relay      string          // an address of a foreign domain for which the server must refuse mail, before Mail; it gets none
	Message    *Message        // for Mail, Rcpt and Data
	Timeouts   map[Phase]time.Duration
	Transcript bool // keep what was said
}

// Credentials are what to log in with. They are sent over TLS that was verified only, unless Exposed allows otherwise.
type Credentials struct {
	Username, Password string
	Mechanisms         []string // in the order of preference; nil: PLAIN, LOGIN
	Exposed            bool
	// Spared has them not sent, and told as refused: the server has refused them often enough.
	Spared bool
}

// Message is a mail to one recipient. The null sender is the empty From.
type Message struct {
	From, To string
	Content  []byte // header and body; line ends are made CRLF
}

// maxAddress is the length of an address that a server must take (RFC 5321, 4.5.3.1.3).
const maxAddress = 254

// Check reports a plan that cannot be carried out, or that would let a parameter of it pass for a command.
func (p *Plan) Check() error {
	switch p.TLS {
	case NoTLS, Opportunistic, StartTLS, Implicit:
	default:
		return fmt.Errorf("%q is no mode of TLS", p.TLS)
	}
	if at := slices.Index(Phases(), p.Until); at < 1 || p.Until == Quit {
		return fmt.Errorf("a dialogue cannot end with %q", p.Until)
	}
	if p.Until == TLS && p.TLS != Implicit {
		return errors.New("a dialogue that ends with TLS must begin with it: STARTTLS is its own phase")
	}
	if p.Hello == "" || strings.ContainsFunc(p.Hello, notOfHost) {
		return errors.New("the name to greet with must be a host name")
	}
	if p.ProxyHeader > 2 {
		return errors.New("the PROXY protocol has the versions 1 and 2")
	}
	if p.Until == Auth && p.Auth == nil {
		return errors.New("there are no credentials to log in with")
	}
	if p.goesTo(Mail) && p.Message == nil && (p.Relay == "" || p.goesTo(Data)) {
		return errors.New("there is no message to send")
	}
	return p.checkAddresses()
}

func (p *Plan) checkAddresses() error {
	if p.Relay != "" {
		if err := CheckAddress(p.Relay); err != nil {
			return err
		}
	}
	if p.Message == nil {
		return nil
	}
	if p.Message.From != "" {
		if err := CheckAddress(p.Message.From); err != nil {
			return err
		}
	}
	return CheckAddress(p.Message.To)
}

// CheckAddress reports what is no plain mail address: neither quoted parts nor source routes are taken, so that no
// address can end a command or begin another.
func CheckAddress(address string) error {
	local, domain, _ := strings.Cut(address, "@")
	if local == "" || domain == "" || !harmless(address) || len(address) > maxAddress || strings.Contains(domain, "@") {
		return fmt.Errorf("%q is no mail address such as user@example.org", address)
	}
	return nil
}

// notOfHost tells what cannot be in the name of a host or in an address in brackets.
func notOfHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._:[]", r)
}

// harmless tells whether a text can stand as one word of a command.
func harmless(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == 0xfffd || strings.ContainsRune(`<>"\(),;`, r)
	})
}

// goesTo tells whether the dialogue is to come to a phase.
func (p *Plan) goesTo(phase Phase) bool {
	all := Phases()
	return slices.Index(all, phase) <= slices.Index(all, p.Until)
}
