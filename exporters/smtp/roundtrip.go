package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mailbox"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/roundtrip"
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
	From      string        `yaml:"from"`    // of the header, and the domain of the Message-ID
	Bounces   string        `yaml:"bounces"` // who gets what cannot be delivered; nobody, by the null sender
	To        string        `yaml:"to"`
	Every     time.Duration `yaml:"every"`
	LostAfter time.Duration `yaml:"lost_after"`
	InFlight  int           `yaml:"in_flight"` // how many messages may be under way
	Secret    config.Secret `yaml:"secret"`    // that signs the messages, so that no others are taken for ours
	Mailbox   struct {      // one of them
		IMAP    *accountConfig `yaml:"imap"`
		POP3    *accountConfig `yaml:"pop3"`
		Maildir *maildirConfig `yaml:"maildir"`
		Mailpit *apiConfig     `yaml:"mailpit"`
		MailHog *apiConfig     `yaml:"mailhog"`
	} `yaml:"mailbox"`

	key string // read from Secret
}

// trust says whose certificates are good.
type trust struct {
	CAFile     string `yaml:"ca_file"`
	ServerName string `yaml:"server_name"`
}

type accountConfig struct {
	Address   string           `yaml:"address"` // host, or host:port
	TLS       dialogue.TLSMode `yaml:"tls"`     // implicit, starttls or none
	TLSConfig trust            `yaml:"tls_config"`
	Username  string           `yaml:"username"`
	Password  config.Secret    `yaml:"password"`
	Folders   []string         `yaml:"folders"` // of IMAP, to look in
	Exposed   bool             `yaml:"send_password_where_others_can_steal_it"`

	roots *x509.CertPool
}

type maildirConfig struct {
	Path    string   `yaml:"path"`
	Folders []string `yaml:"folders"`
}

type apiConfig struct {
	URL       string        `yaml:"url"`
	TLSConfig trust         `yaml:"tls_config"`
	Username  string        `yaml:"username"`
	Password  config.Secret `yaml:"password"`

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
	key := string(text)
	if s.RoundTrip != nil {
		for _, secret := range s.RoundTrip.secrets() {
			value, _ := secret.Read() // what cannot be read is told when it is needed
			key += "\x00" + value
		}
	}
	return key
}

// start gives the round trip of a target, which goes on when the target is served.
func (r *roundTrip) start(d *driver) (*roundtrip.Trip, error) {
	if err := r.prepare(d.module); err != nil {
		return nil, err
	}
	marks, err := mark.NewSigner(r.key, d.place.String()+"\x00"+r.From+"\x00"+r.To, ownName())
	if err != nil {
		return nil, err
	}
	return roundtrip.New(roundtrip.Config{
		Marks: marks, Box: r.box(marks), Every: r.Every, LostAfter: r.LostAfter, InFlight: r.InFlight,
		Send: func(ctx context.Context, token mark.Token) roundtrip.Sent {
			report := d.deliver(ctx, dialogue.Message{From: r.Bounces, To: r.To, Content: mark.Message(token, r.From, r.To)})
			sent := roundtrip.Sent{Accepted: report.Sent}
			if !sent.Accepted && report.Failure != nil {
				sent.Phase, sent.Reason = string(report.Failure.Phase), string(report.Failure.Reason)
			}
			return sent
		},
	}), nil
}

func (r *roundTrip) box(marks *mark.Signer) mailbox.Box {
	b := r.Mailbox
	switch {
	case b.IMAP != nil:
		return &mailbox.IMAP{Account: b.IMAP.account(), Folders: b.IMAP.Folders, Marks: marks}
	case b.POP3 != nil:
		return &mailbox.POP3{Account: b.POP3.account(), Marks: marks}
	case b.Maildir != nil:
		return &mailbox.Maildir{Path: b.Maildir.Path, Folders: b.Maildir.Folders, Marks: marks}
	case b.Mailpit != nil:
		return &mailbox.Mailpit{API: b.Mailpit.api(), Marks: marks}
	}
	return &mailbox.MailHog{API: b.MailHog.api(), Marks: marks}
}

func (a *accountConfig) account() mailbox.Account {
	return mailbox.Account{
		Address: a.Address, TLS: a.TLS, ServerName: a.TLSConfig.ServerName, Roots: a.roots, Exposed: a.Exposed,
		Username: a.Username, Password: a.Password.Read,
	}
}

func (a *apiConfig) api() mailbox.API {
	api := mailbox.API{URL: a.URL, ServerName: a.TLSConfig.ServerName, Roots: a.roots, Username: a.Username}
	if a.Username != "" {
		api.Password = a.Password.Read
	}
	return api
}

// deliver hands a message over, as the module says.
func (d *driver) deliver(ctx context.Context, message dialogue.Message) *dialogue.Report {
	ctx, cancel := context.WithTimeout(ctx, d.module.Timeout)
	defer cancel()
	begun := time.Now()
	plan, err := d.module.planFor(d.place.host, begun)
	plan.Network, plan.Address = d.place.network, d.place.host
	if err == nil && d.place.network == "tcp" {
		address, problem := d.resolve(ctx, d.place.host)
		plan.Address, err = net.JoinHostPort(address.String(), d.place.port), problem
	}
	if err != nil {
		return unresolved(begun, err)
	}
	plan.Until, plan.Relay, plan.Message = dialogue.Data, "", &message
	return dialogue.Run(ctx, plan)
}

// deliveryFamilies are the metrics of round trips.
type deliveryFamilies struct {
	accepted, refused, skipped        *metric.Family
	delivered, late, lost, duplicates *metric.Family
	inFlight, oldest                  *metric.Family
	times, took, arrived              *metric.Family
	hops, folder, verdict             *metric.Family
	readable, blind, removed, present *metric.Family
	all                               []*metric.Family
}

// deliveries declares them once.
var deliveries = declareDeliveries()

func declareDeliveries() *deliveryFamilies {
	f := &deliveryFamilies{}
	add := func(kind metric.Type, name, help string, labels ...string) *metric.Family {
		family := &metric.Family{Name: "smtp_delivery_" + name, Help: help, Type: kind, Labels: labels}
		f.all = append(f.all, family)
		return family
	}
	f.accepted = add(metric.Counter, "accepted_total", "Messages that the server has taken.")
	f.refused = add(metric.Counter, "refused_total", "Messages that could not be handed over, by the phase in which and the reason for which.", "phase", "reason")
	f.skipped = add(metric.Counter, "skipped_total", "Messages that were not sent because as many as allowed were still under way.")
	f.delivered = add(metric.Counter, "delivered_total", "Messages that arrived.")
	f.lost = add(metric.Counter, "lost_total", "Messages that were taken and did not arrive in the time after which they count as lost. Nothing is lost while the mailbox cannot be read.")
	f.late = add(metric.Counter, "late_total", "Messages that arrived after they had been counted as lost.")
	f.duplicates = add(metric.Counter, "duplicates_total", "Further copies of messages that had arrived.")
	f.inFlight = add(metric.Gauge, "in_flight", "Messages under way.")
	f.oldest = add(metric.Gauge, "oldest_seconds", "Time since the oldest message under way was taken by the server; absent where none is.")
	f.times = add(metric.Histogram, "seconds", "Time from when the server has taken a message to when it is seen in the mailbox, for those that could be seen arriving.")
	f.took = add(metric.Gauge, "last_duration_seconds", "The same of the last message; absent where nobody could see it arrive.")
	f.arrived = add(metric.Gauge, "last_timestamp_seconds", "When the last message arrived, in Unix seconds; absent before the first.")
	f.hops = add(metric.Gauge, "hops", "Servers that the last message went through, by its Received fields.")
	f.folder = add(metric.Gauge, "folder_info", "The folder in which the last message arrived.", "folder")
	f.verdict = add(metric.Gauge, "authentication_info", "What the receiving server has found of the last message's sender, by its Authentication-Results.", "check", "result")
	f.readable = add(metric.Gauge, "mailbox_up", "Whether the mailbox could be read when it was looked into last (1) or not (0).")
	f.blind = add(metric.Counter, "mailbox_failures_total", "Attempts to read the mailbox that failed, by reason.", "reason")
	f.removed = add(metric.Counter, "removed_total", "Messages of round trips that were removed from the mailbox, leftovers of earlier runs among them.")
	f.present = add(metric.Gauge, "mailbox_messages", "Messages of round trips that are left in the mailbox, such as those of other exporters.")
	return f
}

// deliveryCollector tells of a round trip; nil stands for one that only its description is wanted of.
func deliveryCollector(trip *roundtrip.Trip) *collect.Collector {
	c := &collect.Collector{
		Name: "delivery", Help: "Round trips: whether mail arrives that the server takes.", Families: deliveries.all,
		Run: func(_ context.Context, _ collect.Conn, out *metric.Batch) error {
			tellDelivery(trip.State(), out)
			return nil
		},
	}
	if trip != nil {
		c.Background = trip.Run
	}
	return c
}

func tellDelivery(s roundtrip.State, out *metric.Batch) {
	out.Add(deliveries.accepted, float64(s.Accepted))
	for why, n := range s.Refused {
		out.Add(deliveries.refused, float64(n), why.Phase, why.Reason)
	}
	out.Add(deliveries.skipped, float64(s.Skipped))
	out.Add(deliveries.delivered, float64(s.Delivered))
	out.Add(deliveries.lost, float64(s.Lost))
	out.Add(deliveries.late, float64(s.Late))
	out.Add(deliveries.duplicates, float64(s.Duplicates))
	out.Add(deliveries.inFlight, float64(s.InFlight))
	if s.Oldest > 0 {
		out.Add(deliveries.oldest, s.Oldest.Seconds())
	}
	out.AddHistogram(deliveries.times, s.Times)
	if s.Last != nil {
		tellArrival(s.Last, out)
	}
	if s.Known {
		out.Add(deliveries.readable, metric.Truth(s.Readable))
	}
	if s.Readable {
		out.Add(deliveries.present, float64(s.Present))
	}
	for reason, n := range s.Blind {
		out.Add(deliveries.blind, float64(n), string(reason))
	}
	out.Add(deliveries.removed, float64(s.Removed))
}

func tellArrival(a *roundtrip.Arrival, out *metric.Batch) {
	if a.Took > 0 {
		out.Add(deliveries.took, a.Took.Seconds())
	}
	out.Add(deliveries.arrived, float64(a.At.UnixMilli())/1e3)
	out.Add(deliveries.hops, float64(a.Hops()))
	if a.Folder != "" {
		out.Add(deliveries.folder, 1, a.Folder)
	}
	for check, verdict := range a.Authentication() {
		out.Add(deliveries.verdict, 1, check, verdict)
	}
}

// judgeDelivery gives what the health check is told: nothing before there is anything to tell, else whether mail arrives.
func judgeDelivery(s roundtrip.State) (known bool, err error) {
	switch {
	case s.Known && !s.Readable:
		return true, fault.New(s.Problem, "the mailbox of the round trip cannot be read")
	case s.LastLost:
		return true, fault.New(fault.Timeout, "mail that the server took did not arrive")
	}
	return s.Last != nil, nil
}
