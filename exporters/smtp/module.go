package main

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
)

// module says how to probe a server. The keys that blackbox_exporter has too are named as there.
type module struct {
	Protocol string                           `yaml:"protocol" help:"smtp or lmtp."`
	Port     string                           `yaml:"port" help:"Port where the target names none; for lmtp 24."`
	MX       bool                             `yaml:"mx" help:"Whether the target is a domain, each of whose MX hosts is probed."`
	Timeout  time.Duration                    `yaml:"timeout" help:"Longest time that the probe may take."`
	Timeouts map[dialogue.Phase]time.Duration `yaml:"timeouts" key:"PHASE" help:"Longest times of single phases."`

	PreferredIP string     `yaml:"preferred_ip_protocol" help:"ip4 or ip6: which address of a name is taken."`
	Fallback    *bool      `yaml:"ip_protocol_fallback" help:"Whether to take an address of the other family where there is none of the preferred one."`
	SourceIP    netip.Addr `yaml:"-"`
	Source      string     `yaml:"source_ip_address" help:"Address to connect from."`
	ProxyHeader byte       `yaml:"proxy_protocol" help:"Version of the PROXY protocol whose header is sent first: 1 or 2."`

	Hello     string           `yaml:"hello" help:"Name to greet with; that of this host without it."`
	Until     dialogue.Phase   `yaml:"until" help:"Last phase of the probe: connect, tls, banner, ehlo, starttls, auth, mail, rcpt or data; as far as the other keys make sense of without it."`
	TLS       dialogue.TLSMode `yaml:"tls" help:"none, opportunistic, starttls or implicit."`
	TLSConfig tlsConfig        `yaml:"tls_config" help:"What TLS needs beside the target."`
	Auth      *auth            `yaml:"auth" help:"Logs in, over TLS that verifies."`
	Message   *message         `yaml:"message" help:"The message of a probe that goes as far as mail, rcpt or data."`
	RelayTest string           `yaml:"relay_test" help:"Foreign address that the server must refuse as a recipient; nothing is sent there."`
	Require   require          `yaml:"require" help:"What the server must have beside answering."`
	DNS       *dnsChecks       `yaml:"dns" help:"Looks at the target's records in DNS; off without it."`
	Probe     allowed          `yaml:"probe" help:"What /probe may reach with this module."`

	name  string
	print string // what tells it from others
	roots *x509.CertPool
	pair  *tls.Certificate
}

// tlsConfig has the keys of the same name in Prometheus' configuration.
type tlsConfig struct {
	CAFile     string `yaml:"ca_file" help:"Certificates of the authorities that the server's must be of; those of the system without it."`
	CertFile   string `yaml:"cert_file" help:"Certificate that is shown to the server."`
	KeyFile    string `yaml:"key_file" help:"Key of that certificate."`
	ServerName string `yaml:"server_name" help:"Name that the server's certificate must have; the target's without it."`
	Insecure   bool   `yaml:"insecure_skip_verify" help:"Whether to go on where the certificate does not verify; it is looked at all the same."`
	MinVersion string `yaml:"min_version" help:"Oldest version of TLS that is good: TLS10, TLS11, TLS12 or TLS13; TLS12 without it."`
}

type auth struct {
	Username   string        `yaml:"username" help:"User to log in as."`
	Password   config.Secret `yaml:"password" help:"Its password."`
	Mechanisms []string      `yaml:"mechanisms" help:"PLAIN, LOGIN, XOAUTH2 or OAUTHBEARER: those that may be used."`
	Exposed    bool          `yaml:"send_password_where_others_can_steal_it" help:"Whether to send the password without verified TLS."`
}

// message is the mail of a probe that goes as far as mail, rcpt or data.
type message struct {
	From string `yaml:"from" help:"Sender; the null sender without it."`
	To   string `yaml:"to" help:"Recipient."`
	Size int    `yaml:"size" help:"Size in bytes that the message is filled up to."`
}

// require is what a server must have beside answering.
type require struct {
	Extensions  []string                 `yaml:"extensions" help:"Extensions that the server must offer."`
	Codes       map[dialogue.Phase][]int `yaml:"codes" key:"PHASE" help:"Codes that the reply may have, in place of the usual ones."`
	MinValidity time.Duration            `yaml:"min_validity" help:"How long the certificates must still be valid."`
}

const (
	defaultTimeout = 5 * time.Second
	maxMessage     = 10 << 20
)

// defaultModules are there without any configuration. One of the same name in the configuration takes its place.
func defaultModules() map[string]*module {
	return map[string]*module{
		"smtp":          {Until: dialogue.EHLO, TLS: dialogue.NoTLS},
		"smtp_starttls": {Until: dialogue.STARTTLS, TLS: dialogue.StartTLS},
		"smtps":         {Until: dialogue.EHLO, TLS: dialogue.Implicit, Port: "465"},
		"submission": {Until: dialogue.STARTTLS, TLS: dialogue.StartTLS, Port: "587",
			Require: require{Extensions: []string{"AUTH"}}},
	}
}

// prepare fills in what the configuration leaves out and reports what cannot work.
func (m *module) prepare() error {
	m.Protocol = cmp.Or(m.Protocol, "smtp")
	m.Port = cmp.Or(m.Port, map[bool]string{true: "24", false: "25"}[m.Protocol == "lmtp"])
	m.Timeout = cmp.Or(m.Timeout, defaultTimeout)
	m.PreferredIP = cmp.Or(m.PreferredIP, "ip6")
	m.TLS = cmp.Or(m.TLS, dialogue.Opportunistic)
	m.Until = cmp.Or(m.Until, m.farthest())
	if m.Hello == "" {
		m.Hello = ownName()
	}
	for i, extension := range m.Require.Extensions {
		m.Require.Extensions[i] = strings.ToUpper(extension)
	}
	switch {
	case m.Protocol != "smtp" && m.Protocol != "lmtp":
		return errors.New("protocol must be smtp or lmtp")
	case m.PreferredIP != "ip4" && m.PreferredIP != "ip6":
		return errors.New("preferred_ip_protocol must be ip4 or ip6")
	case !isPort(m.Port):
		return errors.New("port must be a number from 1 to 65535")
	case m.Timeout < 0:
		return errors.New("timeout must be longer than nothing")
	case m.MX && m.Auth != nil:
		return errors.New("credentials cannot go to whatever hosts a domain names: mx and auth exclude each other")
	}
	if err := m.Probe.check(); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if err := m.preparePhases(); err != nil {
		return err
	}
	if err := m.prepareTLS(); err != nil {
		return fmt.Errorf("tls_config: %w", err)
	}
	if m.DNS != nil {
		if err := m.DNS.prepare(m); err != nil {
			return fmt.Errorf("dns: %w", err)
		}
	}
	return m.prepareParts()
}

// farthest is as far as the module's other keys make sense of.
func (m *module) farthest() dialogue.Phase {
	switch {
	case m.Message != nil:
		return dialogue.Data
	case m.RelayTest != "":
		return dialogue.Rcpt
	case m.Auth != nil:
		return dialogue.Auth
	}
	return dialogue.STARTTLS
}

func (m *module) preparePhases() error {
	for phase := range m.Timeouts {
		if !slices.Contains(dialogue.Phases(), phase) {
			return fmt.Errorf("timeouts: %q is no phase", phase)
		}
	}
	for phase := range m.Require.Codes {
		if at := slices.Index(dialogue.Phases(), phase); at < slices.Index(dialogue.Phases(), dialogue.Banner) {
			return fmt.Errorf("require: codes: %q is no phase that a reply ends", phase)
		}
	}
	return nil
}

// tlsVersions are written as in Prometheus' configuration.
var tlsVersions = map[string]uint16{"": tls.VersionTLS12, "TLS10": tls.VersionTLS10, "TLS11": tls.VersionTLS11, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13}

func (m *module) prepareTLS() error {
	c := m.TLSConfig
	if _, known := tlsVersions[c.MinVersion]; !known {
		return errors.New("min_version must be TLS10, TLS11, TLS12 or TLS13")
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return fmt.Errorf("cannot read ca_file: %w", err)
		}
		m.roots = x509.NewCertPool()
		if !m.roots.AppendCertsFromPEM(pem) {
			return errors.New("ca_file holds no certificate")
		}
	}
	if c.CertFile != "" || c.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return errors.New("cert_file and key_file are no pair of a certificate and its key")
		}
		m.pair = &pair
	}
	return nil
}

// prepareParts checks what only a plan can tell.
func (m *module) prepareParts() error {
	if m.Source != "" {
		var err error
		if m.SourceIP, err = netip.ParseAddr(m.Source); err != nil {
			return errors.New("source_ip_address must be an address")
		}
	}
	if m.Auth != nil {
		for _, mechanism := range m.Auth.Mechanisms {
			if !slices.Contains(dialogue.Mechanisms(), mechanism) {
				return fmt.Errorf("auth: mechanisms: %q is none of %s", mechanism, strings.Join(dialogue.Mechanisms(), ", "))
			}
		}
		if m.Auth.Username == "" || m.Auth.Password.IsZero() {
			return errors.New("auth: username and password must both be given")
		}
	}
	if m.Message != nil && (m.Message.Size < 0 || m.Message.Size > maxMessage) {
		return fmt.Errorf("message: size must be at most %d bytes", maxMessage)
	}
	m.print = m.fingerprint()
	plan := m.plan()
	if m.Auth != nil {
		plan.Auth = &dialogue.Credentials{}
	}
	return plan.Check()
}

// plan gives the dialogue of the module, without what differs from server to server and from time to time.
func (m *module) plan() dialogue.Plan {
	p := dialogue.Plan{
		ProxyHeader: m.ProxyHeader, LMTP: m.Protocol == "lmtp", Hello: m.Hello,
		TLS: m.TLS, ServerName: m.TLSConfig.ServerName, Roots: m.roots, Client: m.pair, MinVersion: tlsVersions[m.TLSConfig.MinVersion],
		Unverified: m.TLSConfig.Insecure || m.TLS == dialogue.Opportunistic, MinValidity: m.Require.MinValidity,
		Until: m.Until, Extensions: m.Require.Extensions, Codes: m.Require.Codes, Relay: m.RelayTest, Timeouts: m.Timeouts,
	}
	if m.Message != nil {
		p.Message = &dialogue.Message{From: m.Message.From, To: m.Message.To}
	}
	return p
}

// warnings says what is unsafe about the module.
func (m *module) warnings() []string {
	if m.Auth == nil {
		return nil
	}
	var all []string
	if warning := m.Auth.Password.Warning(); warning != "" {
		all = append(all, warning)
	}
	if m.Auth.Exposed {
		all = append(all, "module "+m.name+": the password is sent where others can steal it, as the configuration asks")
	}
	return all
}

// key tells one configuration of a module from another. It may hold a secret.
func (m *module) key() string {
	var secret string
	if m.Auth != nil {
		secret, _ = m.Auth.Password.Read() // what cannot be read is told at each probe
	}
	return m.print + "\x00" + secret
}

// fingerprint tells one configuration of the module from another, but for its secret. Certificates count by what their
// files hold.
func (m *module) fingerprint() string {
	text, err := yaml.Marshal(m)
	hash := sha256.New()
	_, _ = fmt.Fprint(hash, m.name, "\x00", string(text), err) // a hash never fails
	for _, path := range []string{m.TLSConfig.CAFile, m.TLSConfig.CertFile, m.TLSConfig.KeyFile} {
		content, err := os.ReadFile(path) // what cannot be read was reported, or is not named
		_, _ = fmt.Fprint(hash, len(content), string(content), err)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// ownName is the name of this host if it can be one to greet with.
func ownName() string {
	name, err := os.Hostname()
	if err != nil || !isHost(name) {
		return "localhost.localdomain"
	}
	return name
}
