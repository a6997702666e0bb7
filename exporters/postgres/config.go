package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

const defaultConfigFile = "postgres_exporter.yml"

// backend reads flags, environment and the configuration file.
type backend struct {
	file       *string
	discovery  discovery
	compat     compat
	statements statementFlags
	queries    queries
	write      writeProbe
}

// file is the configuration file. Its auth_modules are those of postgres_exporter, with a list of the targets that
// each may be used for.
type file struct {
	Targets     []source              `yaml:"targets" help:"Servers whose metrics /metrics serves, beside that of the environment."`
	AuthModules map[string]authModule `yaml:"auth_modules" help:"Credentials for /probe, by the name that its parameter auth_module gives."`
	Queries     []string              `yaml:"queries" help:"Files with queries of your own, as --queries.file; relative to this file."`
	Dependents  []health.Dependent    `yaml:"dependents" help:"HTTP services before the servers that /health tells of, too."`
}

// source is one database: a connection string whole, or its parts.
type source struct {
	Service  string        `yaml:"service" help:"Name of the target in /health and service_health."`
	DSN      config.Secret `yaml:"dsn" help:"Connection string whole, as a URL or keywords."`
	URI      config.Secret `yaml:"uri" help:"Where the server is, as host:port/database?options, with user and password beside it."`
	User     config.Secret `yaml:"user" help:"Role to log in as."`
	Password config.Secret `yaml:"password" help:"Its password."`
	Health   *writeProbe   `yaml:"health" help:"What the health check may write; what the flags --health.* say where it is left out."`
}

type authModule struct {
	Type     string            `yaml:"type" help:"How to log in; there is only userpass."`
	UserPass userPass          `yaml:"userpass" help:"The credentials."`
	Options  map[string]string `yaml:"options" help:"Options of the connection, such as sslmode: verify-full."`
	Targets  []string          `yaml:"targets" help:"Where the credentials may go, as host or host:port with * and ?; nowhere without it."`
}

type userPass struct {
	Username string        `yaml:"username" help:"Role to log in as."`
	Password config.Secret `yaml:"password" help:"Its password."`
}

// Flags adds the flags of this exporter.
func (b *backend) Flags(a *kingpin.Application) {
	b.file = a.Flag("config.file", "Configuration file: targets, and the auth_modules of /probe.").Default(defaultConfigFile).String()
	b.discovery.flags(a)
	b.compat.flags(a)
	b.statements.flags(a)
	b.queries.flags(a)
	b.write.flags(a)
}

// Catalogue lists the collectors.
func (b *backend) Catalogue() (collect.Catalogue, error) {
	servers, err := catalogue("", defaultStatements)
	poolers, problem := bouncerCatalogue()
	return append(servers, poolers...), cmp.Or(err, problem)
}

// Load reads everything anew.
func (b *backend) Load(enabled func(string) bool, timeout time.Duration) (*app.Setup, error) {
	var f file
	err := config.ReadYAML(*b.file, &f)
	if err != nil && (*b.file != defaultConfigFile || !errors.Is(err, os.ErrNotExist)) {
		return nil, err
	}
	sources := append(environment(), f.Targets...)
	if len(sources) == 0 && len(f.AuthModules) == 0 {
		return nil, errors.New("no target: set DATA_SOURCE_NAME (such as postgresql://user@host:5432/postgres), or DATA_SOURCE_URI with DATA_SOURCE_USER and DATA_SOURCE_PASS_FILE, or list targets in --config.file")
	}
	if err := b.discovery.check(); err != nil {
		return nil, err
	}
	labels, err := b.compat.constant()
	if err != nil {
		return nil, err
	}
	statements, err := b.statements.options()
	if err != nil {
		return nil, err
	}
	own, warnings, err := b.queries.load(*b.file, f.Queries, *b.compat.legacy)
	if err != nil {
		return nil, err
	}
	l := loader{
		own: own, enabled: enabled, timeout: timeout, labelled: len(sources) > 1, labels: labels,
		discovery: b.discovery, legacy: *b.compat.legacy, statements: statements,
	}
	if err := l.share(); err != nil {
		return nil, err
	}
	setup := &app.Setup{Dependents: f.Dependents, Warnings: warnings}
	for _, s := range sources {
		if s.Health == nil {
			s.Health = &b.write
		}
		target, err := l.target(s)
		if err != nil {
			return nil, err
		}
		setup.Targets = append(setup.Targets, target)
		setup.Warnings = append(setup.Warnings, s.warnings()...)
	}
	setup.Probe, err = l.prober(f.AuthModules)
	return setup, err
}

// environment reads the variables that users of postgres_exporter set: DATA_SOURCE_NAME before all others, files
// before values. PGHOST and the like alone make a target too, as they do for psql.
func environment() []source {
	if names := os.Getenv("DATA_SOURCE_NAME"); names != "" {
		var sources []source
		for _, name := range splitNames(names) {
			sources = append(sources, source{DSN: config.SecretValue(name)})
		}
		return sources
	}
	uri := fileOrValue("DATA_SOURCE_URI")
	if uri.IsZero() {
		if os.Getenv("PGHOST") == "" && os.Getenv("PGSERVICE") == "" {
			return nil
		}
		return []source{{}}
	}
	return []source{{URI: uri, User: fileOrValue("DATA_SOURCE_USER"), Password: fileOrValue("DATA_SOURCE_PASS")}}
}

func fileOrValue(name string) config.Secret {
	if path := os.Getenv(name + "_FILE"); path != "" {
		return config.SecretFile(path)
	}
	return config.SecretValue(os.Getenv(name))
}

// nextName is where one connection string of a list ends and the next begins: a comma alone may belong to a password
// or to a list of hosts.
var nextName = regexp.MustCompile(`,\s*(?:postgres(?:ql)?://|(?:host|port|user|dbname|service|sslmode)\s*=)`)

func splitNames(names string) []string {
	var list []string
	for {
		at := nextName.FindStringIndex(names)
		if at == nil {
			return append(list, names)
		}
		list = append(list, names[:at[0]])
		names = names[at[0]+1:]
	}
}

// connectionString puts the parts together. Secrets are read here, at each connect.
func (s source) connectionString() (string, error) {
	if !s.DSN.IsZero() {
		return s.DSN.Read()
	}
	parts := make([]string, 3)
	for i, part := range []config.Secret{s.URI, s.User, s.Password} {
		var err error
		if parts[i], err = part.Read(); err != nil {
			return "", err
		}
	}
	uri, user, password := parts[0], parts[1], parts[2]
	switch {
	case uri == "":
		return keyValues(user, password), nil
	case user == "" && password == "":
		return "postgresql://" + uri, nil
	}
	return "postgresql://" + url.UserPassword(user, password).String() + "@" + uri, nil
}

// keyValues leaves everything else to PGHOST and its like.
func keyValues(user, password string) string {
	var text string
	if user != "" {
		text += " user='" + quoted.Replace(user) + "'"
	}
	if password != "" {
		text += " password='" + quoted.Replace(password) + "'"
	}
	return text
}

// settings parses the connection string. The library's own error could quote it, so the user gets ours.
func (s source) settings() (*pgconn.Config, error) {
	text, err := s.connectionString()
	if err != nil {
		return nil, err
	}
	parsed, err := pgconn.ParseConfig(text)
	if err != nil {
		return nil, errors.New("the connection string cannot be read: " + parseProblem(err))
	}
	return parsed, nil
}

// parseProblem names what is wrong without quoting what may be secret.
func parseProblem(err error) string {
	text := err.Error()
	for _, known := range []string{"invalid port", "sslmode is invalid", "unable to read CA file", "unable to add CA to cert pool",
		"unable to read sslcert", "unable to read sslkey", "sslrootcert", "failed to read service", "invalid connect_timeout", "target_session_attrs"} {
		if strings.Contains(text, known) {
			return known
		}
	}
	return "it must be a URL such as postgresql://user@host:5432/database?sslmode=verify-full, with special characters of the password written as %XX, or keywords such as host=… user=… dbname=…"
}

func (s source) warnings() []string {
	var all []string
	for _, secret := range []config.Secret{s.DSN, s.Password} {
		if warning := secret.Warning(); warning != "" {
			all = append(all, warning)
		}
	}
	return all
}

// key tells one configuration from another. It holds secrets and is never shown.
func (s source) key() string {
	text, err := s.connectionString()
	return fmt.Sprint(s.Service, "\x00", text, "\x00", err)
}

// loader makes targets for one configuration.
type loader struct {
	enabled  func(string) bool
	timeout  time.Duration
	labelled bool // several targets share a page
	labels   []metric.Label

	discovery  discovery
	legacy     bool
	statements statementOptions
	own        ownTables
	shared     collect.Catalogue // the wanted collectors
	described  *descriptions
}

// target checks a source and makes a target of it.
func (l loader) target(s source) (app.Target, error) {
	parsed, err := s.settings()
	write, problem := s.Health.probes()
	if err = cmp.Or(err, problem); err != nil {
		if s.Service != "" {
			return app.Target{}, fmt.Errorf("target %s: %w", s.Service, err)
		}
		return app.Target{}, err
	}
	spec, err := l.spec(parsed, &driver{settings: s.settings, statement: l.timeout / 2, write: write, shared: l.described})
	switch {
	case s.Service != "":
		spec.Service = s.Service
	case l.labelled: // the name of the kind of server would not tell one from another
		spec.Service = spec.Name
	}
	if l.labelled {
		spec.Labels = append(slices.Clone(l.labels), metric.Label{Name: "target", Value: spec.Name})
	}
	return app.Target{Spec: spec, Key: fmt.Sprint(l.labelled, *s.Health, s.key(), l.own.key)}, err
}

// spec describes a target by its parsed settings.
func (l loader) spec(parsed *pgconn.Config, d *driver) (collect.Spec, error) {
	server := address(parsed)
	if parsed.Database == bouncerDatabase {
		return l.bouncerSpec(server, d)
	}
	database := parsed.Database
	if database == "" {
		database = parsed.User
	}
	own, err := l.own.collectors(server, database, d.statement)
	return collect.Spec{
		Name: server + "/" + database, Service: "postgres", Database: database, DriverType: health.PostgreSQL,
		Driver: d, Collectors: append(l.collectors(server), own...), Members: l.discovery.members(d), Labels: l.labels,
	}, err
}

// share makes the collectors once for all targets: a thousand targets would have the same questions a thousand times.
func (l *loader) share() error {
	all, err := catalogue("", l.statements)
	l.shared, l.described = l.wanted(all), &descriptions{}
	for _, c := range l.shared {
		if !namesServer(c) {
			l.addOldNames(c)
		}
	}
	return err
}

// collectors gives the wanted ones for a server. Those that name it are its own, as far as they do.
func (l loader) collectors(server string) collect.Catalogue {
	all := slices.Clone(l.shared)
	for i, c := range all {
		if namesServer(c) {
			all[i] = c.WithConst(server)
			l.addOldNames(all[i])
		}
	}
	return all
}

// addOldNames does so where they are wanted.
func (l loader) addOldNames(c *collect.Collector) {
	if l.legacy {
		addLegacyNames(c)
	}
}

// wanted leaves the collectors that are switched on.
func (l loader) wanted(all collect.Catalogue) collect.Catalogue {
	return slices.DeleteFunc(all, func(c *collect.Collector) bool {
		asked := c.Name == statementTextsName && l.statements.query && l.enabled("stat_statements")
		return !asked && !l.enabled(c.Name)
	})
}

// address is the server as people write it, as in the server label of established metrics.
func address(parsed *pgconn.Config) string {
	return net.JoinHostPort(parsed.Host, strconv.Itoa(int(parsed.Port)))
}

// prober gives the function behind /probe, or nil where no module lists a target.
func (l loader) prober(modules map[string]authModule) (func(url.Values) (app.Probed, error), error) {
	open := false
	for name, module := range modules {
		if module.Type != "" && module.Type != "userpass" {
			return nil, fmt.Errorf("auth_modules: %s: type must be userpass", name)
		}
		if err := app.CheckPatterns(module.Targets); err != nil {
			return nil, fmt.Errorf("auth_modules: %s: targets: %w", name, err)
		}
		open = open || len(module.Targets) > 0
	}
	if !open {
		return nil, nil
	}
	return func(query url.Values) (app.Probed, error) { return l.probe(modules, query) }, nil
}

// probe reads the target that a query names. It may name host, port and database, and nothing else: options and
// credentials come from the module, and only for the targets that the module lists.
func (l loader) probe(modules map[string]authModule, query url.Values) (app.Probed, error) {
	module, known := modules[query.Get("auth_module")]
	if !known {
		return app.Probed{}, errors.New("auth_module must name one of the configuration's auth_modules")
	}
	host, port, database, err := parseProbeTarget(query.Get("target"))
	if err != nil {
		return app.Probed{}, err
	}
	if !app.Allowed(module.Targets, host, port) {
		return app.Probed{}, app.ErrNotAllowed
	}
	options := url.Values{}
	for key, value := range module.Options {
		options.Set(key, value)
	}
	uri := url.URL{Host: net.JoinHostPort(host, port), Path: "/" + database, RawQuery: options.Encode()}
	s := source{URI: config.SecretValue(strings.TrimPrefix(uri.String(), "//")), User: config.SecretValue(module.UserPass.Username), Password: module.UserPass.Password}
	return app.Probed{Key: query.Get("auth_module") + "\x00" + uri.String(), Describe: func() (collect.Spec, error) { return l.probed(s) }}, nil
}

// probed describes a target of /probe.
func (l loader) probed(s source) (collect.Spec, error) {
	parsed, err := s.settings()
	if err != nil {
		return collect.Spec{}, err
	}
	spec, err := l.spec(parsed, &driver{settings: s.settings, statement: l.timeout / 2, guard: app.GuardAddress, shared: l.described})
	spec.Service = address(parsed)
	return spec, err
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.$-]*$`)

// parseProbeTarget reads host, host:port, host:port/database, with or without postgresql:// before it.
func parseProbeTarget(target string) (host, port, database string, err error) {
	refused := errors.New("target must be host:port or host:port/database, without credentials or options")
	for _, scheme := range []string{"postgresql://", "postgres://"} {
		target = strings.TrimPrefix(target, scheme)
	}
	place, database, _ := strings.Cut(target, "/")
	if host, port, err = net.SplitHostPort(place); err != nil {
		host, port = place, "5432"
	}
	if database == "" {
		database = "postgres"
	}
	number, err := strconv.ParseUint(port, 10, 16)
	isAddress := net.ParseIP(strings.Trim(host, "[]")) != nil
	if err != nil || number == 0 || !plainName.MatchString(database) || !isAddress && !plainName.MatchString(host) {
		return "", "", "", refused
	}
	return strings.Trim(host, "[]"), strconv.FormatUint(number, 10), database, nil
}

var _ app.Backend = (*backend)(nil)
