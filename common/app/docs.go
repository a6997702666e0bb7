package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// docs prints a page of the documentation.
func (p *program) docs() int {
	if *p.page == "metrics" {
		p.print("%s", p.Docs(p.catalogue))
		return 0
	}
	text, err := p.reference()
	if err != nil {
		return p.fail(1, err)
	}
	p.print("%s", text)
	return 0
}

// Docs writes the reference of an exporter's collectors and metrics from its catalogue.
func (e Exporter) Docs(catalogue collect.Catalogue) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Metrics of %s\n\nDerived from the catalogue: do not edit, run `make docs`.\n", e.Name)
	for _, c := range catalogue {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\nSwitched with `--[no-]collector.%s`, %s by default.%s\n\n", c.Name, c.Help, c.Name, word(!c.Off), conditions(c))
		writeFamilies(&b, c.Families)
	}
	fmt.Fprintf(&b, "\n## Health and the exporter itself\n\n")
	writeFamilies(&b, e.self().Families())
	return b.String()
}

func conditions(c *collect.Collector) string {
	var text string
	if c.Needs.Feature != "" {
		text += " Needs " + c.Needs.Feature + "."
	}
	if c.Needs.Primary {
		text += " Asked of a primary only."
	}
	if c.Needs.Replica {
		text += " Asked of a replica only."
	}
	if c.Class == collect.Slow {
		text += fmt.Sprintf(" Slow: asked in the background every %s.", c.Every)
	}
	return text
}

func writeFamilies(b *strings.Builder, families []*metric.Family) {
	b.WriteString("| metric | type | labels | unit | meaning |\n| --- | --- | --- | --- | --- |\n")
	for _, f := range families {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", f.Name, f.Type, quoted(f.Labels), f.BaseUnit(), cell(f.Help))
	}
}

// cell writes a text so that it stays within its cell of a table.
func cell(text string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text) }

func quoted(labels []string) string {
	labels = slices.Clone(labels)
	for i := range labels {
		labels[i] = "`" + labels[i] + "`"
	}
	return strings.Join(labels, ", ")
}
