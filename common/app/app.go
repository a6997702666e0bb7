// Package app is what the exporters have in common as programs: flags, log, HTTP routes, signals and subcommands.
//
// An exporter is a catalogue, a driver and a main that hands an Exporter to Main.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	logflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	webflag "github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
)

// DefaultAddress is where every exporter of the suite listens unless told otherwise.
const DefaultAddress = ":9091"

// Exporter describes one exporter to Main.
type Exporter struct {
	Name    string            // of the binary: postgres-exporter
	Title   string            // of the kind of backend: PostgreSQL
	Prefix  string            // of its metrics: pg
	Program string            // in established metrics of the program: postgres_exporter
	Env     string            // before the names of environment variables: PG_EXPORTER
	Aliases map[string]string // see collect.NewSelf
	Probes  []string          // paths beside /probe that established scrape configurations use for it
	Finds   string            // path at which targets are found for Prometheus, "" for none
	Members Members           // what the targets' members are called, where they have some
	Backend Backend
}

// Members names the parts of a target that are asked over connections of their own: a noun for metrics' names, and the
// label that tells them apart.
type Members struct{ Noun, Label string }

// self declares what the exporter says of its own work.
func (e Exporter) self() *collect.Self {
	self := collect.NewSelf(e.Prefix, e.Aliases)
	if e.Members != (Members{}) {
		self.DeclareMembers(e.Prefix, e.Members.Noun, e.Members.Label)
	}
	return self
}

// Backend is what differs from one exporter to another.
type Backend interface {
	// Catalogue lists the collectors that there are.
	Catalogue() (collect.Catalogue, error)
	// Flags adds the backend's own flags.
	Flags(*kingpin.Application)
	// Load reads configuration, environment and flags, at the start and at each reload. Enabled names the collectors
	// that are switched on; timeout is the longest time of a scrape. The error is one line that says what to do and holds no secret.
	Load(enabled func(collector string) bool, timeout time.Duration) (*Setup, error)
	// Examine finds what a target lacks for the enabled collectors, for the doctor subcommand.
	Examine(ctx context.Context, target collect.Spec) ([]Finding, error)
}

// Commander is a Backend with subcommands of its own.
type Commander interface {
	// Commands adds the subcommands and gives what each of them does, by name.
	Commands(*kingpin.Application) map[string]Command
}

// Narrator is a Backend that can tell a person of one look at a target, whether the configuration names it or not: at
// /probe with debug=true, and for `scrape TARGET`.
type Narrator interface {
	// Narrate looks at the target that a query names, as /probe does, and writes what happened, without secrets. What a
	// caller of /probe may ask for is checked unless he is trusted. It tells whether all went well.
	Narrate(ctx context.Context, query url.Values, trusted bool, to io.Writer) (good bool, err error)
}

// Configurable is a Backend with files of configuration, for the reference.
type Configurable interface {
	// Files gives what each file may hold.
	Files() []File
}

// File is a file of configuration. Holds is a struct as config.Keys takes it.
type File struct {
	Flag  string // that names it: config.file
	Holds any
}

// Environmental is a Backend that reads variables of the environment which are no flags, for the reference.
type Environmental interface {
	Environment() []Variable
}

// Namespaced is a Backend whose metrics' names may begin with another word than the Prefix, as a flag says.
type Namespaced interface {
	// Namespace gives the word, once the flags are read; the catalogue then has its families under names that begin with it.
	Namespace() (string, error)
}

// Variable is a variable of the environment, or several of one meaning separated by commas.
type Variable struct {
	Name string
	Help string
}

// Command carries out a subcommand and gives the exit code of the process.
type Command func(stdout, stderr io.Writer) (int, error)

// Setup is a configuration as it came out of Load.
type Setup struct {
	Targets    []Target
	Dependents []health.Dependent                           // HTTP services that are watched beside the targets
	Probe      func(query url.Values) (Probed, error)       // nil where nothing allows /probe
	Discover   func(context.Context) ([]TargetGroup, error) // nil where there is nothing to find
	Warnings   []string
}

// Target is a target with a key that changes when anything of its configuration does, so that a reload leaves the
// others alone. The key may hold secrets and is never shown.
type Target struct {
	collect.Spec
	Key string
}

// Probed is a target that /probe is asked for. Each request names it anew, and mostly it is one that is kept: it is
// described only where it is not.
type Probed struct {
	Key      string // as that of a Target
	Describe func() (collect.Spec, error)
}

// TargetGroup is what Prometheus' http_sd_configs take: targets with labels of their own.
type TargetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// Finding is something that a target lacks, and the command that mends it; or only a Note, of what a user may want to
// know and need not mend, such as what is switched off.
type Finding struct {
	Problem string
	Remedy  string
	Note    string
}

// program is an exporter with its flags read.
type program struct {
	Exporter
	stdout, stderr io.Writer
	kingpin        *kingpin.Application
	catalogue      collect.Catalogue
	log            *slog.Logger

	web           *web.FlagConfig
	telemetryPath *string
	timeout       *time.Duration
	maxProbed     *int
	collectors    map[string]*bool
	logConfig     *promslog.Config
	health        healthCheck
	narrated      *string            // the target of `scrape TARGET`
	page          *string            // of the documentation
	own           map[string]Command // the backend's subcommands
}

// Main runs the exporter with the arguments of the process and returns its exit code: 0, 1 where something does not
// work, 2 where the arguments are wrong.
func (e Exporter) Main() int {
	log.SetOutput(io.Discard) // where net/http quotes what peers send unasked
	return e.Run(os.Args[1:], os.Stdout, os.Stderr)
}

// Run is Main with everything given.
func (e Exporter) Run(args []string, stdout, stderr io.Writer) int {
	p := &program{Exporter: e, stdout: stdout, stderr: stderr}
	app, err := p.flags()
	if err != nil {
		return p.fail(1, err)
	}
	p.kingpin = app
	done := false // kingpin has answered --help or --version
	app.Terminate(func(int) { done = true })
	command, err := app.Parse(args)
	if done {
		return 0
	}
	if err != nil {
		return p.fail(2, fmt.Errorf("%w; see %s --help", err, e.Name))
	}
	if *p.timeout <= 0 {
		return p.fail(2, errors.New("--collection-timeout must be longer than nothing, such as 10s"))
	}
	if *p.maxProbed < 1 {
		return p.fail(2, errors.New("--probe.max-targets must be above 0"))
	}
	if err := p.rename(); err != nil {
		return p.fail(2, err)
	}
	p.logConfig.Writer = stderr
	p.log = promslog.New(p.logConfig)
	return p.command(command)
}

// rename gives the exporter's own metrics, and those of the catalogue, the names that the flags say.
func (p *program) rename() error {
	backend, ok := p.Backend.(Namespaced)
	if !ok {
		return nil
	}
	name, err := backend.Namespace()
	if err != nil || name == p.Prefix {
		return err
	}
	if rest, ok := strings.CutPrefix(p.Program, p.Prefix+"_"); ok {
		p.Program = name + "_" + rest
	}
	p.Prefix = name
	p.catalogue, err = p.Backend.Catalogue()
	return err
}

// fail prints an error on one line.
func (p *program) fail(code int, err error) int {
	_, _ = fmt.Fprintf(p.stderr, "%s: %s\n", p.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	return code
}

func (p *program) flags() (*kingpin.Application, error) {
	app := kingpin.New(p.Name, p.Title+" metrics for Prometheus.")
	app.UsageWriter(p.stdout).ErrorWriter(p.stderr)
	app.Version(version.Print(p.Name))
	app.HelpFlag.Short('h')
	p.web = webflag.AddFlags(app, DefaultAddress)
	p.telemetryPath = app.Flag("web.telemetry-path", "Path under which to expose metrics.").
		Default("/metrics").Envar(p.Env + "_WEB_TELEMETRY_PATH").String()
	p.timeout = app.Flag("collection-timeout", "Longest time that a scrape may take. Prometheus' own timeout, less a margin, holds where it is shorter.").
		Default("10s").Envar(p.Env + "_COLLECTION_TIMEOUT").Duration()
	p.maxProbed = app.Flag("probe.max-targets", "Targets that /probe may be asked for at the same time, and that keep their connections from one probe to the next.").
		Default("1000").Envar(p.Env + "_PROBE_MAX_TARGETS").Int()
	p.Backend.Flags(app)
	catalogue, err := p.Backend.Catalogue()
	if err == nil {
		err = catalogue.Check()
	}
	if err != nil {
		return nil, err
	}
	p.catalogue, p.collectors = catalogue, map[string]*bool{}
	for _, c := range catalogue {
		p.collectors[c.Name] = app.Flag("collector."+c.Name, c.Help+" (default: "+word(!c.Off)+")").Default(strconv.FormatBool(!c.Off)).Bool()
	}
	p.logConfig = &promslog.Config{}
	logflag.AddFlags(app, p.logConfig)
	p.commands(app)
	return app, nil
}

func word(on bool) string {
	if on {
		return "enabled"
	}
	return "disabled"
}

// enabled tells whether a collector is switched on.
func (p *program) enabled(name string) bool {
	on := p.collectors[name]
	return on != nil && *on
}

// check reports dependents that cannot work, and services of one name.
func (s *Setup) check() error {
	if err := health.CheckDependents(s.Dependents); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, t := range s.Targets {
		if seen[t.Service] {
			return fmt.Errorf("two targets have the service name %q: give each its own", t.Service)
		}
		seen[t.Service] = true
	}
	for _, d := range s.Dependents {
		if seen[d.Name] {
			return fmt.Errorf("dependents: the name %q is that of another service: give each its own", d.Name)
		}
		seen[d.Name] = true
	}
	return nil
}

// load reads the configuration and says aloud what is unsafe about it.
func (p *program) load() (*Setup, error) {
	setup, err := p.Backend.Load(p.enabled, *p.timeout)
	if err != nil {
		return nil, err
	}
	if err := setup.check(); err != nil {
		return nil, err
	}
	for _, d := range setup.Dependents {
		setup.Warnings = append(setup.Warnings, d.Warnings()...)
	}
	for _, warning := range setup.Warnings {
		p.log.Warn(warning)
	}
	return setup, nil
}
