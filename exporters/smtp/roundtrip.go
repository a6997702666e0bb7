package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

// What holds where the configuration says nothing.
const (
	defaultEvery     = time.Minute
	defaultLostAfter = 10 * time.Minute
	defaultInFlight  = 10
	shortestEvery    = time.Second
	mostInFlight     = 100
)

// roundTrip sends messages through a target, as its module says, and looks for them where they should arrive.
type roundTrip struct {
	From      string        `yaml:"from" help:"Sender in the header, whose domain is that of the Message-ID."`
	Bounces   string        `yaml:"bounces" help:"Who gets what cannot be delivered; nobody without it, by the null sender."`
	To        string        `yaml:"to" help:"Recipient of the messages."`
	Every     time.Duration `yaml:"every" help:"How often a message is sent."`
	LostAfter time.Duration `yaml:"lost_after" help:"Time after which a message counts as lost."`
	InFlight  int           `yaml:"in_flight" help:"How many messages may be under way."`
	Secret    config.Secret `yaml:"secret" help:"Secret that signs the messages, so that no others are taken for ours."`
	Mailbox   struct {      // one of them
		IMAP    *accountConfig `yaml:"imap" help:"A mailbox that is read by IMAP."`
		POP3    *accountConfig `yaml:"pop3" help:"A mailbox that is read by POP3."`
		Maildir *maildirConfig `yaml:"maildir" help:"A Maildir on this host."`
		Mailpit *apiConfig     `yaml:"mailpit" help:"A Mailpit, by its API."`
		MailHog *apiConfig     `yaml:"mailhog" help:"A MailHog, by its API."`
	} `yaml:"mailbox" help:"Where the messages arrive: one of these."`

	key string // read from Secret
}

// trust says whose certificates are good.
type trust struct {
	CAFile     string `yaml:"ca_file" help:"Certificates of the authorities that the server's must be of; those of the system without it."`
	ServerName string `yaml:"server_name" help:"Name that the server's certificate must have; the host of the address without it."`
}

type accountConfig struct {
	Address   string           `yaml:"address" help:"Server of the mailbox, as host or host:port."`
	TLS       dialogue.TLSMode `yaml:"tls" help:"implicit, starttls or none."`
	TLSConfig trust            `yaml:"tls_config" help:"Whose certificates are good."`
	Username  string           `yaml:"username" help:"User to log in as."`
	Password  config.Secret    `yaml:"password" help:"Its password."`
	Folders   []string         `yaml:"folders" help:"Folders to look in; INBOX without it. POP3 has none."`
	Exposed   bool             `yaml:"send_password_where_others_can_steal_it" help:"Whether to send the password without verified TLS."`

	roots *x509.CertPool
}

type maildirConfig struct {
	Path    string   `yaml:"path" help:"Path of the Maildir."`
	Folders []string `yaml:"folders" help:"Folders below it to look in, too."`
}

type apiConfig struct {
	URL       string        `yaml:"url" help:"Where the API is."`
	TLSConfig trust         `yaml:"tls_config" help:"Whose certificates are good."`
	Username  string        `yaml:"username" help:"User, where the API wants one."`
	Password  config.Secret `yaml:"password" help:"Its password."`

	roots *x509.CertPool
}

// prepare fills in what the configuration leaves out and reports what cannot work.
func (r *roundTrip) prepare(m *module) error {
	r.Every, r.LostAfter = cmp.Or(r.Every, defaultEvery), cmp.Or(r.LostAfter, defaultLostAfter)
	r.InFlight = cmp.Or(r.InFlight, defaultInFlight)
	var err error
	if r.key, err = r.Secret.Read(); err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	switch {
	case m.MX:
		return errors.New("messages cannot be sent to all hosts of a domain: use a module without mx")
	case r.Every < shortestEvery:
		return fmt.Errorf("every must be %v or longer", shortestEvery)
	case r.LostAfter < shortestEvery:
		return fmt.Errorf("lost_after must be %v or longer", shortestEvery)
	case r.InFlight < 1 || r.InFlight > mostInFlight:
		return fmt.Errorf("in_flight must be from 1 to %d", mostInFlight)
	}
	if _, err := mark.NewSigner(r.key, "", ""); err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	for _, address := range []string{r.From, r.To, cmp.Or(r.Bounces, r.From)} {
		if err := dialogue.CheckAddress(address); err != nil {
			return err
		}
	}
	return r.prepareMailbox()
}

func (r *roundTrip) prepareMailbox() error {
	b, given := &r.Mailbox, 0
	var err error
	if b.IMAP != nil {
		given, err = given+1, errors.Join(err, b.IMAP.prepare("993", "143"))
	}
	if b.POP3 != nil {
		given, err = given+1, errors.Join(err, b.POP3.prepare("995", "110"))
		if len(b.POP3.Folders) > 0 {
			err = errors.Join(err, errors.New("pop3 has no folders"))
		}
	}
	if b.Maildir != nil {
		if given++; b.Maildir.Path == "" {
			err = errors.Join(err, errors.New("maildir: path is missing"))
		}
	}
	for _, catcher := range []*apiConfig{b.Mailpit, b.MailHog} {
		if catcher != nil {
			given, err = given+1, errors.Join(err, catcher.prepare())
		}
	}
	if given != 1 {
		return errors.New("mailbox must be one of imap, pop3, maildir, mailpit, mailhog")
	}
	if err != nil {
		return fmt.Errorf("mailbox: %w", err)
	}
	return nil
}

// prepare takes the ports for TLS from the first byte, and without.
func (a *accountConfig) prepare(implicit, plain string) (err error) {
	a.TLS = cmp.Or(a.TLS, dialogue.Implicit)
	host, port, problem := net.SplitHostPort(a.Address)
	if problem != nil {
		host, port = a.Address, plain
		if a.TLS == dialogue.Implicit {
			port = implicit
		}
	}
	a.Address = net.JoinHostPort(host, port)
	a.TLSConfig.ServerName = cmp.Or(a.TLSConfig.ServerName, host)
	switch {
	case !isHost(host) || !isPort(port):
		return errors.New("address must be host or host:port")
	case a.TLS != dialogue.Implicit && a.TLS != dialogue.StartTLS && a.TLS != dialogue.NoTLS:
		return errors.New("tls must be implicit, starttls or none")
	case a.Username == "" || a.Password.IsZero():
		return errors.New("username and password must both be given")
	case a.TLS == dialogue.NoTLS && !a.Exposed:
		return errors.New("without tls the password is sent where others can steal it")
	}
	a.roots, err = a.TLSConfig.roots()
	return err
}

func (a *apiConfig) prepare() (err error) {
	at, problem := url.Parse(a.URL)
	switch {
	case problem != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" || at.User != nil || at.RawQuery != "":
		return errors.New("url must be http://host:port or https://host:port, without a user")
	case (a.Username == "") != a.Password.IsZero():
		return errors.New("username and password must both be given, or none")
	}
	a.roots, err = a.TLSConfig.roots()
	return err
}

// roots reads ca_file; nil stands for the system's.
func (t trust) roots() (*x509.CertPool, error) {
	if t.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca_file holds no certificate")
	}
	return pool, nil
}

// secrets lists all, for their warnings and to see whether one has changed.
func (r *roundTrip) secrets() []config.Secret {
	all := []config.Secret{r.Secret}
	for _, account := range []*accountConfig{r.Mailbox.IMAP, r.Mailbox.POP3} {
		if account != nil {
			all = append(all, account.Password)
		}
	}
	for _, catcher := range []*apiConfig{r.Mailbox.Mailpit, r.Mailbox.MailHog} {
		if catcher != nil {
			all = append(all, catcher.Password)
		}
	}
	return all
}

// warnings says what is unsafe about the target.
func (s source) warnings() (all []string) {
	if s.RoundTrip == nil {
		return nil
	}
	for _, secret := range s.RoundTrip.secrets() {
		if warning := secret.Warning(); warning != "" {
			all = append(all, warning)
		}
	}
	for _, account := range []*accountConfig{s.RoundTrip.Mailbox.IMAP, s.RoundTrip.Mailbox.POP3} {
		if account != nil && account.TLS == dialogue.NoTLS {
			all = append(all, "target "+s.Target+": the password of the mailbox is sent where others can steal it, as the configuration asks")
		}
	}
	return all
}

// key tells one configuration of a target from another. It may hold secrets.
func (s source) key() string {
	text, _ := yaml.Marshal(s)
	parts := []string{string(text)}
	if s.RoundTrip != nil {
		for _, secret := range s.RoundTrip.secrets() {
			value, _ := secret.Read() // what cannot be read is told when it is needed
			parts = append(parts, value)
		}
	}
	return strings.Join(parts, "\x00")
}
