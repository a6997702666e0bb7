package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dnscheck"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/lockout"
)

const (
	defaultConfigFile = "smtp_exporter.yml"
	defaultModule     = "smtp"
)

// backend reads flags, environment and the configuration file.
type backend struct {
	file   *string
	target *string
	module *string
	allow  *[]string

	logins lockout.Guard // outlives a reload
	crowd  crowd         // likewise
}

// file is the configuration file.
type file struct {
	Modules    map[string]*module `yaml:"modules" help:"How to probe servers, by name; beside smtp, smtp_starttls, smtps and submission, or in their place."`
	Targets    []source           `yaml:"targets" help:"Servers whose metrics /metrics serves, beside that of --target."`
	Probe      allowed            `yaml:"probe" help:"What /probe may reach with modules that name nothing themselves and have no credentials."`
	Resolver   string             `yaml:"resolver" help:"DNS server to ask, as host:port; those of the system without it."`
	Dependents []health.Dependent `yaml:"dependents" help:"HTTP services before the servers that /health tells of, too."`
}

// source is one server that /metrics tells of.
type source struct {
	Target  string `yaml:"target" help:"The server, as host, host:port or unix:/path; a domain where the module has mx."`
	Module  string `yaml:"module" help:"How it is probed."`
	Service string `yaml:"service" help:"Name of the target in /health and service_health."`

	RoundTrip *roundTrip  `yaml:"round_trip" help:"Sends messages through the target and looks for them where they should arrive; off without it."`
	Queue     *queuePlace `yaml:"queue" help:"Where the queue of the target can be read on this host."`
}

// Flags adds the flags of this exporter.
func (b *backend) Flags(a *kingpin.Application) {
	b.file = a.Flag("config.file", "Configuration file: modules, targets, and what /probe may reach.").Default(defaultConfigFile).String()
	b.target = a.Flag("target", "A server to tell of on /metrics, as host or host:port, beside those of the configuration file.").
		Envar("SMTP_EXPORTER_TARGET").String()
	b.module = a.Flag("module", "The module for --target, and for `scrape HOST`.").Default(defaultModule).Envar("SMTP_EXPORTER_MODULE").String()
	b.allow = a.Flag("probe.allow", "A target that /probe may reach with modules that name none themselves, as host or host:port, with * and ?; repeatable. Without one it reaches none.").
		Envar("SMTP_EXPORTER_PROBE_ALLOW").Strings()
}

// Catalogue lists the collectors.
func (b *backend) Catalogue() (collect.Catalogue, error) {
	return append(catalogue(), (&driver{}).dnsCollector(), queueCollector(nil), deliveryCollector(nil)), nil
}

// Load reads everything anew.
func (b *backend) Load(enabled func(string) bool, timeout time.Duration) (*app.Setup, error) {
	l, err := b.read()
	if err != nil {
		return nil, err
	}
	l.enabled, l.timeout = enabled, timeout
	setup := &app.Setup{Dependents: l.file.Dependents, Warnings: l.warnings()}
	sources := l.file.Targets
	if *b.target != "" {
		sources = append([]source{{Target: *b.target, Module: *b.module}}, sources...)
	}
	if len(sources) == 0 && !l.open() {
		return nil, errors.New("no target: set SMTP_EXPORTER_TARGET or --target (such as mail.example.org:25), or list targets in --config.file, or allow some to /probe with --probe.allow")
	}
	for _, s := range sources {
		target, err := l.static(s, len(sources) > 1)
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", s.Target, err)
		}
		setup.Targets = append(setup.Targets, target)
	}
	if l.open() {
		setup.Probe = l.probe
	}
	return setup, nil
}

// read gives the configuration with its modules checked.
func (b *backend) read() (*loader, error) {
	l := &loader{modules: defaultModules(), logins: &b.logins, crowd: &b.crowd}
	err := config.ReadYAML(*b.file, &l.file)
	if err != nil && (*b.file != defaultConfigFile || !errors.Is(err, os.ErrNotExist)) {
		return nil, err
	}
	if l.names, err = resolver(l.file.Resolver); err != nil {
		return nil, err
	}
	l.records = dnscheck.NewResolver(slices.DeleteFunc([]string{l.file.Resolver}, func(server string) bool { return server == "" })...)
	l.file.Probe.Targets = append(l.file.Probe.Targets, *b.allow...)
	if err := l.file.Probe.check(); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	for name, m := range l.file.Modules {
		if m == nil {
			return nil, fmt.Errorf("modules: %s: it is empty", name)
		}
		l.modules[name] = m
	}
	for name, m := range l.modules {
		m.name = name
		if err := m.prepare(); err != nil {
			return nil, fmt.Errorf("modules: %s: %w", name, err)
		}
	}
	return l, nil
}

// loader makes targets for one configuration.
type loader struct {
	file    file
	modules map[string]*module
	names   *net.Resolver
	records *dnscheck.Resolver
	logins  *lockout.Guard
	crowd   *crowd
	enabled func(string) bool
	timeout time.Duration
}

// warnings says what is unsafe, in the order of the names.
func (l *loader) warnings() []string {
	var all []string
	for _, m := range l.modules {
		all = append(all, m.warnings()...)
	}
	for _, s := range l.file.Targets {
		all = append(all, s.warnings()...)
	}
	slices.Sort(all)
	return all
}

// known gives a module by its name.
func (l *loader) known(name string) (*module, error) {
	m := l.modules[cmp.Or(name, defaultModule)]
	if m == nil {
		return nil, errors.New("module must name one of the configuration's modules, or one of smtp, smtp_starttls, smtps, submission")
	}
	return m, nil
}

// static makes a target for /metrics.
func (l *loader) static(s source, labelled bool) (app.Target, error) {
	m, err := l.known(s.Module)
	if err != nil {
		return app.Target{}, err
	}
	p, err := parsePlace(s.Target, m, true)
	if err != nil {
		return app.Target{}, err
	}
	d := l.driver(m, p)
	d.history = newHistory()
	all := d.collectors()
	if s.Queue != nil {
		if d.queue, err = s.Queue.source(); err != nil {
			return app.Target{}, fmt.Errorf("queue: %w", err)
		}
		all = append(all, queueCollector(d.queue))
	}
	if s.RoundTrip != nil {
		if d.delivery, err = s.RoundTrip.start(d, s.Service); err != nil {
			return app.Target{}, fmt.Errorf("round_trip: %w", err)
		}
		all = append(all, deliveryCollector(d.delivery))
	}
	spec := collect.Spec{
		Name: p.String() + " " + m.name, Service: cmp.Or(s.Service, "smtp"), Database: p.host, Driver: d,
		Collectors: l.wanted(all, "blackbox"),
	}
	if labelled {
		spec.Labels = []metric.Label{{Name: "target", Value: p.String()}, {Name: "module", Value: m.name}}
		spec.Service = cmp.Or(s.Service, spec.Name)
	}
	return app.Target{Spec: spec, Key: fmt.Sprint("static\x00", labelled, l.file.Resolver, s.key(), "\x00", m.key())}, nil
}

// driver makes one for a module and a place.
func (l *loader) driver(m *module, p place) *driver {
	return &driver{module: m, place: p, names: l.names, records: l.records, logins: l.logins, crowd: l.crowd}
}

// wanted leaves the collectors that are switched on, without some.
func (l *loader) wanted(all collect.Catalogue, without ...string) collect.Catalogue {
	return slices.DeleteFunc(all, func(c *collect.Collector) bool { return !l.enabled(c.Name) || slices.Contains(without, c.Name) })
}

// open tells whether /probe may reach anything.
func (l *loader) open() bool {
	if !l.file.Probe.empty() {
		return true
	}
	for _, m := range l.modules {
		if !m.Probe.empty() {
			return true
		}
	}
	return false
}

// probe reads the target that a query names. It may name a module and a host with a port, and nothing else.
func (l *loader) probe(query url.Values) (app.Probed, error) {
	m, err := l.known(query.Get("module"))
	if err != nil {
		return app.Probed{}, err
	}
	p, err := parsePlace(query.Get("target"), m, false)
	if err != nil {
		return app.Probed{}, err
	}
	guard := l.allowance(m)
	if !guard.allowsName(p) {
		return app.Probed{}, app.ErrNotAllowed
	}
	return app.Probed{Key: "probe\x00" + l.file.Resolver + "\x00" + p.String() + "\x00" + m.key(), Describe: func() (collect.Spec, error) {
		d := l.driver(m, p)
		d.guard = guard
		return collect.Spec{
			Name: p.String() + " " + m.name, Service: p.String(), Database: p.host, Driver: d, Collectors: l.wanted(d.collectors()),
		}, nil
	}}, nil
}

// allowance is what a module may be used for by /probe: what it says itself, else what holds for all. Credentials go
// only where their own module says.
func (l *loader) allowance(m *module) *allowed {
	if !m.Probe.empty() || m.Auth != nil {
		return &m.Probe
	}
	return &l.file.Probe
}

// place is where a server is.
type place struct {
	network string // "tcp" or "unix"
	host    string // or the path of a socket
	port    string
}

func (p place) String() string {
	if p.network == "unix" {
		return "unix:" + p.host
	}
	return net.JoinHostPort(p.host, p.port)
}

// parsePlace reads host, host:port or, where it is trusted, unix:/path.
func parsePlace(text string, m *module, trusted bool) (place, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok && trusted && strings.HasPrefix(path, "/") && !m.MX {
		return place{"unix", path, ""}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.Trim(text, "[]"), m.Port
	}
	if !isPort(port) || !isHost(host) {
		return place{}, errors.New("a target must be host or host:port, without a user, a path or options")
	}
	return place{"tcp", strings.ToLower(host), port}, nil
}

var _ app.Backend = (*backend)(nil)

// Files tells what the configuration file may hold, and what counts without it.
func (b *backend) Files() []app.File {
	account := accountConfig{TLS: dialogue.Implicit}
	mail := &roundTrip{Every: defaultEvery, LostAfter: defaultLostAfter, InFlight: defaultInFlight}
	mail.Mailbox.IMAP, mail.Mailbox.POP3 = &account, &account
	return []app.File{{Flag: "config.file", Holds: file{
		Modules:    map[string]*module{"": documentedModule()},
		Targets:    []source{{Module: defaultModule, RoundTrip: mail}},
		Dependents: health.DefaultDependents(),
	}}}
}

// documentedModule is an empty module as prepare completes it, without what differs from host to host.
func documentedModule() *module {
	fallback := true
	m := &module{DNS: &dnsChecks{}, Fallback: &fallback}
	_ = m.prepare() // an empty one is good, as a test holds
	m.Hello, m.Until, m.DNS.Checks = "", "", nil
	return m
}

var _ app.Configurable = (*backend)(nil)
