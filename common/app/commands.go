package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// commands adds the subcommands; without one, the exporter serves.
func (p *program) commands(app *kingpin.Application) {
	app.Command("serve", "Serve metrics over HTTP. This is what happens without a command.").Default()
	app.Command("check-config", "Read configuration, environment and flags, and say whether they can work. Connects to nothing.")
	check := app.Command("healthcheck", "Ask a running exporter for its health; for a container's HEALTHCHECK. Exits 0 when it is ok or degraded.")
	p.health.flags(check)
	scrape := app.Command("scrape", "Scrape the configured targets and print the metrics. Exits 1 when one is down.")
	scrape.Flag("once", "Scrape one time; there is no other way.").Default("true").Bool()
	if _, ok := p.Backend.(Narrator); ok {
		p.narrated = scrape.Arg("target", "Instead of the configured targets, look at this one and tell what happened.").String()
	}
	app.Command("doctor", "Say which privileges, extensions or settings the targets lack, and the command that grants each.")
	if backend, ok := p.Backend.(Commander); ok {
		p.own = backend.Commands(app)
	}
	p.page = app.Command("docs", "Print a page of the documentation as Markdown.").Hidden().
		Arg("page", "metrics, or reference: commands, flags, configuration, pages and reasons.").Default("metrics").Enum("metrics", "reference")
}

func (p *program) command(name string) int {
	switch name {
	case "check-config":
		return p.checkConfig()
	case "healthcheck":
		return p.healthcheck()
	case "scrape":
		if narrator, ok := p.Backend.(Narrator); ok && *p.narrated != "" {
			return p.narrate(narrator)
		}
		return p.scrapeOnce()
	case "doctor":
		return p.doctor()
	case "docs":
		return p.docs()
	}
	if own := p.own[name]; own != nil {
		code, err := own(p.stdout, p.stderr)
		if err != nil {
			return p.fail(code, err)
		}
		return code
	}
	return p.serve()
}

func (p *program) print(format string, args ...any) { _, _ = fmt.Fprintf(p.stdout, format, args...) }

func (p *program) checkConfig() int {
	_, err := p.guard()
	if err != nil {
		return p.fail(1, err)
	}
	setup, err := p.load()
	if err == nil && *p.web.WebConfigFile != "" {
		if err = web.Validate(*p.web.WebConfigFile); err != nil {
			err = fmt.Errorf("%s: %w", *p.web.WebConfigFile, err)
		}
	}
	if err != nil {
		return p.fail(1, err)
	}
	p.print("the configuration is good: %d target(s)", len(setup.Targets))
	for _, t := range setup.Targets {
		p.print(", %s (%s)", t.Service, t.Name)
	}
	p.print("\n")
	return 0
}

func (p *program) scrapeOnce() int {
	setup, err := p.load()
	if err != nil {
		return p.fail(1, err)
	}
	if len(setup.Targets) == 0 {
		return p.fail(1, errors.New("no target is configured"))
	}
	targets := newTargets(p.self(), p.log, *p.maxProbed)
	targets.apply(setup)
	defer targets.close()
	ctx, cancel := context.WithTimeout(context.Background(), *p.timeout)
	defer cancel()
	page, down := &metric.Page{}, false
	for _, result := range each(targets.all(), func(k *kept) *collect.Result { return k.Scrape(ctx) }) {
		result.AddTo(page)
		down = down || !result.Up
	}
	if err := page.Encode(p.stdout, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
		return p.fail(1, err)
	}
	if down {
		return 1
	}
	return 0
}

// narrate looks at one target and tells what happened.
func (p *program) narrate(narrator Narrator) int {
	ctx, cancel := context.WithTimeout(context.Background(), *p.timeout)
	defer cancel()
	good, err := narrator.Narrate(ctx, url.Values{"target": {*p.narrated}}, true, p.stdout)
	if err != nil {
		return p.fail(1, err)
	}
	if !good {
		return 1
	}
	return 0
}

// doctor scrapes each target once and says what fails or is missing, and how to mend it.
func (p *program) doctor() int {
	setup, err := p.load()
	if err != nil {
		return p.fail(1, err)
	}
	if len(setup.Targets) == 0 {
		return p.fail(1, errors.New("no target is configured"))
	}
	code := 0
	for _, target := range setup.Targets {
		if !p.examine(target) {
			code = 1
		}
	}
	return code
}

// examine prints what is wrong with one target and tells whether nothing is.
func (p *program) examine(target Target) bool {
	ctx, cancel := context.WithTimeout(context.Background(), *p.timeout)
	defer cancel()
	t := collect.NewTarget(target.Spec, p.self(), p.log)
	defer t.Close()
	result := t.Scrape(ctx)
	p.print("%s (%s)\n", target.Service, target.Name)
	if !result.Up {
		p.print("  down: %s: %v\n", result.Fault, result.Err)
		return false
	}
	p.print("  up: %s %s, %d turn-around(s), %s\n", result.Identity.Product, result.Identity.Text, result.Usage.TurnArounds, result.Took.Round(time.Millisecond))
	findings, err := p.Backend.Examine(ctx, target.Spec)
	if err != nil {
		findings = append(findings, Finding{Problem: "the examination did not finish: " + err.Error()})
	}
	for _, c := range result.Collectors {
		if c.Fault != fault.None {
			findings = append(findings, Finding{Problem: fmt.Sprintf("collector %s fails (%s): %v", c.Name, c.Fault, c.Err)})
		}
	}
	good := true
	for _, f := range findings {
		if f.Note != "" {
			p.print("  note: %s\n", f.Note)
			continue
		}
		good = false
		p.print("  problem: %s\n", f.Problem)
		if f.Remedy != "" {
			p.print("     mend: %s\n", f.Remedy)
		}
	}
	if good {
		p.print("  nothing is missing\n")
	}
	return good
}
