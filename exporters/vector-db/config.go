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
	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/canary"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/recall"
)

const defaultConfigFile = "vector_db_exporter.yml"

// settings reads flags, environment and the configuration file.
type settings struct {
	file      string
	url, kind string
	native    string
	filter    filter
	canary    bool
	recall    string
}

// file is the configuration file.
type file struct {
	Targets    []target           `yaml:"targets" help:"Servers whose metrics /metrics serves, beside that of the environment."`
	Modules    map[string]module  `yaml:"auth_modules" help:"How to speak with servers of /probe, by the name that its parameter auth_module gives."`
	Dependents []health.Dependent `yaml:"dependents" help:"HTTP services before the servers that /health tells of, too."`
}

// target is one server.
type target struct {
	Service string `yaml:"service" help:"Name of the target in /health and service_health."`
	URL     string `yaml:"url" help:"Where the server is, without credentials."`
	access  `yaml:",inline"`
	quality `yaml:",inline"`
}

// module is how to speak with the servers that /probe may be asked for.
type module struct {
	Scheme  string   `yaml:"scheme" help:"Scheme of the servers' URLs; the first of the type's without it."`
	Targets []string `yaml:"targets" help:"Where the credentials may go, as host or host:port with * and ?; nowhere without it."`
	access  `yaml:",inline"`
}

// filter chooses the collections that are told of.
type filter struct {
	Include string `yaml:"include" help:"Regular expression for the whole names of the collections to tell of."`
	Exclude string `yaml:"exclude" help:"Regular expression for the whole names of collections to leave out."`
	Max     int    `yaml:"max" help:"Most collections to tell of, the first by name."`
}

const defaultMaxCollections = 1000

// Flags adds the flags of this exporter.
func (s *settings) Flags(a *kingpin.Application) {
	a.Flag("config.file", "Configuration file: targets, and the auth_modules of /probe.").Default(defaultConfigFile).StringVar(&s.file)
	a.Flag("vectordb.url", "URL of the server, such as http://localhost:6333. Credentials do not go here: see VECTORDB_API_KEY and VECTORDB_API_KEY_FILE.").
		Envar("VECTORDB_URL").StringVar(&s.url)
	a.Flag("vectordb.type", "Kind of the server: "+strings.Join(kindNames(), ", ")+". Without it the server is asked.").Envar("VECTORDB_TYPE").StringVar(&s.kind)
	a.Flag("vectordb.native", "Families of the server's own metrics to pass on, separated by commas, such as rest_responses_*,collection_*.").
		Envar("VECTORDB_NATIVE").StringVar(&s.native)
	a.Flag("collections.include", "Regular expression for the whole names of the collections to tell of.").Envar("VECTORDB_COLLECTIONS_INCLUDE").StringVar(&s.filter.Include)
	a.Flag("collections.exclude", "Regular expression for the whole names of collections to leave out.").Envar("VECTORDB_COLLECTIONS_EXCLUDE").StringVar(&s.filter.Exclude)
	a.Flag("collections.max", "Most collections to tell of, the first by name.").Default(strconv.Itoa(defaultMaxCollections)).
		Envar("VECTORDB_COLLECTIONS_MAX").IntVar(&s.filter.Max)
	a.Flag("canary", "For the server of --vectordb.url: each minute write, read, find and delete a vector, in a collection of our own.").Envar("VECTORDB_CANARY").BoolVar(&s.canary)
	a.Flag("recall.collections", "For the server of --vectordb.url: collections, separated by commas, of which to measure each hour how many of the nearest vectors searches find.").
		Envar("VECTORDB_RECALL_COLLECTIONS").StringVar(&s.recall)
}

func kindNames() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// Catalogue lists the collectors.
func (s *settings) Catalogue() (collect.Catalogue, error) {
	work, err := everyQuality().collectors(&driver{})
	return append(catalogue(nil), work...), err
}

// Load reads everything anew.
func (s *settings) Load(enabled func(string) bool, timeout time.Duration) (*app.Setup, error) {
	var f file
	err := config.ReadYAML(s.file, &f)
	if err != nil && (s.file != defaultConfigFile || !errors.Is(err, os.ErrNotExist)) {
		return nil, err
	}
	targets := append(s.environment(), f.Targets...)
	if len(targets) == 0 && len(f.Modules) == 0 {
		return nil, errors.New("no target: set VECTORDB_URL (such as http://localhost:6333) and, where the server wants one, VECTORDB_API_KEY_FILE, or list targets in --config.file")
	}
	l := loader{enabled: enabled, timeout: timeout, filter: s.filter, labelled: len(targets) > 1}
	setup := &app.Setup{Dependents: f.Dependents}
	for _, t := range targets {
		made, err := l.target(t)
		if err != nil {
			return nil, err
		}
		setup.Targets = append(setup.Targets, made)
		setup.Warnings = append(setup.Warnings, t.warnings()...)
	}
	for _, m := range f.Modules {
		setup.Warnings = append(setup.Warnings, m.warnings()...)
	}
	setup.Probe, err = l.prober(f.Modules)
	return setup, err
}

// environment makes the one target that flags and variables describe, if they do.
func (s *settings) environment() []target {
	if s.url == "" {
		return nil
	}
	t := target{URL: s.url, access: access{
		Type: s.kind, APIKey: fromEnvironment("VECTORDB_API_KEY"),
		User: os.Getenv("VECTORDB_USER"), Password: fromEnvironment("VECTORDB_PASSWORD"),
	}}
	t.Native = listed(s.native)
	if s.canary {
		t.Canary = &canarySettings{}
	}
	if names := listed(s.recall); names != nil {
		t.Recall = &recallSettings{}
		for _, name := range names {
			t.Recall.Collections = append(t.Recall.Collections, place{Name: name})
		}
	}
	return []target{t}
}

// fromEnvironment gives the secret that is in a variable, or in the file that the variable NAME_FILE names.
func fromEnvironment(name string) config.Secret {
	if path := os.Getenv(name + "_FILE"); path != "" {
		return config.SecretFile(path)
	}
	return config.SecretValue(os.Getenv(name))
}

// listed reads what is separated by commas.
func listed(text string) []string {
	var all []string
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

// loader makes targets for one configuration.
type loader struct {
	enabled  func(string) bool
	timeout  time.Duration
	filter   filter // where a target has none of its own
	labelled bool   // several targets share a page
}

// target checks a target of the configuration.
func (l loader) target(t target) (app.Target, error) {
	at, err := parseURL(t.URL)
	var spec collect.Spec
	if err == nil {
		spec, err = l.complete(at, t)
	}
	if err != nil {
		if t.Service != "" {
			err = fmt.Errorf("target %s: %w", t.Service, err)
		}
		return app.Target{}, err
	}
	switch {
	case t.Service != "":
		spec.Service = t.Service
	case l.labelled: // the name of the kind of server would not tell one from another
		spec.Service = spec.Name
	}
	if l.labelled {
		spec.Labels = []metric.Label{{Name: "target", Value: spec.Name}}
	}
	return app.Target{Spec: spec, Key: fmt.Sprint(l.labelled, "\x00", t.Service, "\x00", t.URL, "\x00", t.access.key(), "\x00", t.quality.key())}, nil
}

// complete describes a target with what is done beside its scrapes.
func (l loader) complete(at *url.URL, t target) (collect.Spec, error) {
	d := &driver{}
	spec, err := l.spec(at, t.access, d)
	if err != nil {
		return spec, err
	}
	more, err := t.collectors(d)
	for _, c := range more {
		if l.enabled(c.Name) {
			spec.Collectors = append(spec.Collectors, c)
		}
	}
	return spec, err
}

// parseURL reads where a server is. Its errors do not quote it: there may be a password in it by mistake.
func parseURL(text string) (*url.URL, error) {
	at, err := url.Parse(text)
	switch {
	case err != nil || at.Hostname() == "":
		return nil, errors.New("url must look like http://host:port")
	case at.User != nil:
		return nil, errors.New("url may hold no credentials: put them into user and password, api_key or bearer")
	case strings.HasPrefix(at.Scheme, "http") && at.RawQuery != "" || at.Fragment != "":
		return nil, errors.New("url ends with the host, the port or a path")
	}
	return at, nil
}

// spec completes a driver and describes the target that it asks.
func (l loader) spec(at *url.URL, a access, d *driver) (collect.Spec, error) {
	var known bool
	if d.kind, known = findKind(a.Type, at.Scheme); !known {
		return collect.Spec{}, fmt.Errorf("there is no type %q for URLs that begin with %q; the types are %s", a.Type, at.Scheme, strings.Join(kindNames(), ", "))
	}
	chosen := l.filter
	if a.Collections != nil {
		chosen = *a.Collections
	}
	var err error
	if d.wanted, err = chosen.compile(); err == nil {
		err = cmp.Or(a.check(at), checkNative(a.Native))
	}
	d.endpoint, d.patience = a.endpoint(at), l.timeout/4 // twice of it leaves time for the answers
	all := slices.DeleteFunc(catalogue(a.Native), func(c *collect.Collector) bool {
		return !l.enabled(c.Name) || c.Name == "native" && len(a.Native) == 0
	})
	return collect.Spec{Name: called(at), Service: "vector-db", Database: a.Database, Driver: d, Collectors: all}, err
}

// called is the name of the server at a URL.
func called(at *url.URL) string { return at.Host + strings.TrimSuffix(at.Path, "/") }

// compile makes the function that chooses among names, which are sorted.
func (f filter) compile() (func([]string) []string, error) {
	most := cmp.Or(f.Max, defaultMaxCollections)
	include, err := regexp.Compile("^(?:" + f.Include + ")$")
	if err != nil {
		return nil, fmt.Errorf("collections: include is no regular expression: %w", err)
	}
	exclude, err := regexp.Compile("^(?:" + f.Exclude + ")$")
	if err != nil {
		return nil, fmt.Errorf("collections: exclude is no regular expression: %w", err)
	}
	if most < 1 {
		return nil, errors.New("collections: max must be 1 or more")
	}
	return func(names []string) []string {
		var few []string
		for _, name := range names {
			if len(few) < most && (f.Include == "" || include.MatchString(name)) && (f.Exclude == "" || !exclude.MatchString(name)) {
				few = append(few, name)
			}
		}
		return few
	}, nil
}

// prober gives the function behind /probe, or nil where no module lists a target.
func (l loader) prober(modules map[string]module) (func(url.Values) (app.Probed, error), error) {
	open, all := false, map[string]*probed{}
	for name, m := range modules {
		p := &probed{module: m, driver: driver{guard: app.GuardAddress, connections: probedConnections}}
		err := app.CheckPatterns(m.Targets)
		if err == nil {
			p.spec, err = l.spec(m.at("localhost", "1", ""), m.access, &p.driver)
		}
		if err != nil {
			return nil, fmt.Errorf("auth_modules: %s: %w", name, err)
		}
		all[name], open = p, open || len(m.Targets) > 0
	}
	if !open {
		return nil, nil
	}
	return func(query url.Values) (app.Probed, error) { return probe(all, query) }, nil
}

// probed is what all servers of a module have in common: there may be thousands.
type probed struct {
	module
	driver driver
	spec   collect.Spec
}

// target is that of one of them.
func (p *probed) target(at *url.URL) collect.Spec {
	d, spec := p.driver, p.spec
	d.endpoint = p.endpoint(at)
	spec.Name, spec.Service, spec.Driver = called(at), called(at), &d
	return spec
}

// at is the URL of a server that a module may be used for.
func (m module) at(host, port, database string) *url.URL {
	scheme := cmp.Or(m.Scheme, "http")
	for _, k := range kinds() {
		if k.name == m.Type && m.Scheme == "" {
			scheme = k.schemes[0]
		}
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port), Path: database}
}

// probedConnections is how many there are at most to a server that /probe is asked for: there may be thousands of these.
const probedConnections = 2

// probe reads the target that a query names. It may name host, port and database, and nothing else: how to speak with
// it and the credentials come from the module, and only for the targets that the module lists.
func probe(modules map[string]*probed, query url.Values) (app.Probed, error) {
	name := query.Get("auth_module")
	m, known := modules[name]
	if !known {
		return app.Probed{}, errors.New("auth_module must name one of the configuration's auth_modules")
	}
	host, port, database, err := parseProbeTarget(query.Get("target"))
	if err != nil {
		return app.Probed{}, err
	}
	if !app.Allowed(m.Targets, host, port) {
		return app.Probed{}, app.ErrNotAllowed
	}
	at := m.at(host, port, database)
	return app.Probed{Key: name + "\x00" + at.String(), Describe: func() (collect.Spec, error) { return m.target(at), nil }}, nil
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// parseProbeTarget reads host:port or host:port/database.
func parseProbeTarget(text string) (host, port, database string, err error) {
	place, database, _ := strings.Cut(text, "/")
	host, port, err = net.SplitHostPort(place)
	number, problem := strconv.ParseUint(port, 10, 16)
	named := plainName.MatchString(host) || net.ParseIP(host) != nil
	if err != nil || problem != nil || number == 0 || !named || database != "" && !plainName.MatchString(database) {
		return "", "", "", errors.New("target must be host:port, without a scheme, credentials or a path; for PostgreSQL host:port/database")
	}
	return host, strconv.FormatUint(number, 10), database, nil
}

// key tells one access from another. It holds secrets and is never shown.
func (a access) key() string {
	text, err := yaml.Marshal(a)
	parts := []string{fmt.Sprint(string(text), err)}
	for _, secret := range a.secrets() {
		value, err := secret.Read()
		parts = append(parts, fmt.Sprint(value, err))
	}
	return strings.Join(parts, "\x00")
}

// Files tells what the configuration file may hold, and what counts without it.
func (s *settings) Files() []app.File {
	d := recall.Defaults()
	work := quality{
		Canary: &canarySettings{Every: canary.Every, Collection: canary.Collection},
		Recall: &recallSettings{Every: d.Every, K: d.K, Queries: d.Queries, MaxVectors: d.MaxVectors, MaxBytes: d.MaxBytes, MaxTime: d.MaxTime},
	}
	every := access{Collections: &filter{Max: defaultMaxCollections}}
	return []app.File{{Flag: "config.file", Holds: file{
		Targets: []target{{access: every, quality: work}}, Modules: map[string]module{"": {access: every}}, Dependents: health.DefaultDependents(),
	}}}
}

// Environment lists the variables that are no flags: secrets do not belong on a command line.
func (s *settings) Environment() []app.Variable {
	return []app.Variable{
		{Name: "VECTORDB_API_KEY, VECTORDB_API_KEY_FILE", Help: "The key for the server of --vectordb.url, or the file that holds it, which is read anew at each connect."},
		{Name: "VECTORDB_USER", Help: "An account instead of a key."},
		{Name: "VECTORDB_PASSWORD, VECTORDB_PASSWORD_FILE", Help: "Its password, or the file that holds it."},
	}
}

var (
	_ app.Backend       = (*settings)(nil)
	_ app.Configurable  = (*settings)(nil)
	_ app.Environmental = (*settings)(nil)
)
