package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

const defaultConfigFile = "redis_exporter.yml"

// backend reads flags, environment and the configuration file.
type backend struct {
	file  string
	flags flags
}

// file is the configuration file.
type file struct {
	Targets     []source              `yaml:"targets" help:"Servers whose metrics /metrics serves, beside that of the environment."`
	AuthModules map[string]authModule `yaml:"auth_modules" help:"Credentials for /probe and /scrape, by the name that their parameter auth_module gives."`
	Dependents  []health.Dependent    `yaml:"dependents" help:"HTTP services before the servers that /health tells of, too."`
}

// source is one server.
type source struct {
	Service  string            `yaml:"service" help:"Name of the target in /health and service_health."`
	URI      config.Secret     `yaml:"uri" help:"Where the server is, as in --redis.addr."`
	User     string            `yaml:"user" help:"User to log in as."`
	Password config.Secret     `yaml:"password" help:"Its password."`
	TLS      tlsFiles          `yaml:"tls" help:"What TLS needs beside the address."`
	Renamed  map[string]string `yaml:"renamed_commands" help:"What the server calls commands; \"\" for one that it must not be asked."`
	Health   *writeProbe       `yaml:"health" help:"What the health check may write; what the flags --health.* say where it is left out."`
	Cluster  bool              `yaml:"cluster" help:"Whether keys to check are asked of the nodes of the cluster that have them."`

	timeout    time.Duration
	clientName string
}

// authModule is what a probe logs in with, and where.
type authModule struct {
	UserPass userPass          `yaml:"userpass" help:"The credentials."`
	TLS      tlsFiles          `yaml:"tls" help:"What TLS needs beside the address."`
	Renamed  map[string]string `yaml:"renamed_commands" help:"What the servers call commands; \"\" for one that they must not be asked."`
	Targets  []string          `yaml:"targets" help:"Where the credentials may go, as host or host:port with * and ?; nowhere without it."`
}

type userPass struct {
	Username string        `yaml:"username" help:"User to log in as."`
	Password config.Secret `yaml:"password" help:"Its password."`
}

// Flags adds the flags of this exporter.
func (b *backend) Flags(a *kingpin.Application) {
	a.Flag("config.file", "Configuration file: targets, and the auth_modules of /probe.").
		Default(defaultConfigFile).Envar("REDIS_EXPORTER_CONFIG_FILE").StringVar(&b.file)
	b.flags.add(a)
}

// Catalogue lists the collectors.
func (b *backend) Catalogue() (collect.Catalogue, error) {
	return catalogue(options{namespace: b.flags.namespace, emptyDatabases: true, redactConfig: true, beyond: beyondOptions{sampling: defaultSampling()}})
}

// Load reads everything anew.
func (b *backend) Load(enabled func(string) bool, _ time.Duration) (*app.Setup, error) {
	var f file
	err := config.ReadYAML(b.file, &f)
	if err != nil && (b.file != defaultConfigFile || !errors.Is(err, os.ErrNotExist)) {
		return nil, err
	}
	if err := b.flags.check(); err != nil {
		return nil, err
	}
	o, err := b.flags.options()
	if err != nil {
		return nil, err
	}
	passwords, err := b.flags.passwords()
	if err != nil {
		return nil, err
	}
	l := loader{flags: &b.flags, options: o, enabled: b.flags.enabled(enabled), passwords: passwords}
	if err := l.share(); err != nil {
		return nil, err
	}
	if given, set := os.LookupEnv("REDIS_ADDR"); set && given == "" && b.flags.address == defaultAddress {
		b.flags.address = "" // which the flag's default would hide
	}
	sources := f.Targets
	if b.flags.address != "" && (len(sources) == 0 || b.flags.address != defaultAddress) {
		own := source{URI: config.SecretValue(b.flags.address), User: b.flags.user, Password: config.SecretValue(b.flags.password), TLS: b.flags.tls, Cluster: b.flags.cluster}
		sources = append([]source{own}, sources...)
	}
	l.labelled = len(sources) > 1
	setup := &app.Setup{Dependents: f.Dependents, Warnings: b.flags.warnings()}
	for _, s := range sources {
		target, err := l.target(s)
		if err != nil {
			return nil, err
		}
		setup.Targets = append(setup.Targets, target)
		setup.Warnings = append(setup.Warnings, s.warnings()...)
		if setup.Discover == nil {
			setup.Discover = l.discovery(target.Driver.(*driver))
		}
	}
	setup.Probe, err = l.prober(f.AuthModules)
	return setup, err
}

func (s source) warnings() []string {
	var all []string
	for _, secret := range []config.Secret{s.URI, s.Password} {
		if warning := secret.Warning(); warning != "" {
			all = append(all, warning)
		}
	}
	if s.TLS.SkipVerify {
		all = append(all, "the server's certificate is not verified: whoever is between can read and change what is said")
	}
	return all
}

// loader makes targets for one configuration.
type loader struct {
	flags     *flags
	options   options
	enabled   func(string) bool
	passwords passwordFile
	labelled  bool              // several targets share a page
	shared    collect.Catalogue // the wanted collectors, where targets can have them in common; else nil
}

// target checks a source and makes a target of it.
func (l loader) target(s source) (app.Target, error) {
	if s.Health == nil {
		s.Health = &l.flags.write
	}
	s = l.complete(s)
	_, spec, err := l.spec(s)
	if err != nil && s.Service != "" {
		err = fmt.Errorf("target %s: %w", s.Service, err)
	}
	switch {
	case s.Service != "":
		spec.Service = s.Service
	case l.labelled: // the name of the kind of server would not tell one from another
		spec.Service = spec.Name
	}
	if l.labelled {
		spec.Labels = []metric.Label{{Name: "target", Value: spec.Name}}
	}
	return app.Target{Spec: spec, Key: s.key()}, err
}

// collectors makes those that are wanted.
func (l loader) collectors() (collect.Catalogue, error) {
	all, err := catalogue(l.options)
	return slices.DeleteFunc(all, func(c *collect.Collector) bool { return !l.enabled(c.Name) || l.options.idle(c.Name) }), err
}

// share makes the collectors once for all targets, where none remembers something of its own: a thousand targets would
// have the same names and texts a thousand times.
func (l *loader) share() error {
	all, err := l.collectors()
	if !slices.ContainsFunc(all, func(c *collect.Collector) bool { return !c.Shareable() }) {
		l.shared = all
	}
	return err
}

// complete adds to a source what the flags and the password file say of it.
func (l loader) complete(s source) source {
	s.timeout = l.flags.timeout
	if l.flags.setClientName {
		s.clientName = "redis_exporter"
	}
	if s.Password.IsZero() {
		s.Password = l.passwords.find(s)
	}
	return s
}

// spec describes a target, and gives its driver apart.
func (l loader) spec(s source) (*driver, collect.Spec, error) {
	parsed, err := s.settings()
	if err != nil {
		return nil, collect.Spec{}, err
	}
	write, err := s.Health.probes()
	if err != nil {
		return nil, collect.Spec{}, err
	}
	all := l.shared
	if all == nil {
		if all, err = l.collectors(); err != nil {
			return nil, collect.Spec{}, err
		}
	}
	name := cmp.Or(parsed.found.name, parsed.address)
	if parsed.database > 0 {
		name += "/" + strconv.Itoa(parsed.database)
	}
	d := &driver{settings: s.settings, renamed: l.renamed(s.Renamed), write: write, follow: s.Cluster}
	spec := collect.Spec{
		Name: name, Service: "redis", Database: strconv.Itoa(parsed.database), Driver: d, Collectors: all,
	}
	if l.flags.roleLabel {
		spec.Identified = roleLabel
	}
	return d, spec, nil
}

// roleLabel names the role of a server, as the server does.
func roleLabel(id collect.Identity) []metric.Label {
	role := "master"
	switch {
	case has(id, sentinel):
		role = sentinel
	case id.Replica:
		role = "slave"
	}
	return []metric.Label{{Name: "instance_role", Value: role}}
}

// renamed puts the renamed commands of a target together with that of a flag.
func (l loader) renamed(own map[string]string) map[string]string {
	all := map[string]string{}
	switch command := l.flags.configCommand; command {
	case "CONFIG":
	case "-":
		all["CONFIG"] = ""
	default:
		all["CONFIG"] = command
	}
	for name, known := range own {
		all[strings.ToUpper(name)] = known
	}
	return all
}

// key tells one configuration from another. It holds secrets and is never shown.
func (s source) key() string {
	uri, uriErr := s.URI.Read()
	password, passwordErr := s.Password.Read()
	return fmt.Sprint(s.Service, "\x00", uri, uriErr, "\x00", s.User, "\x00", password, passwordErr, "\x00", s.TLS, s.Renamed, *s.Health, s.Cluster)
}

var _ app.Backend = (*backend)(nil)
