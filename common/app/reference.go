package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// reference writes what there is to know of the exporter beside its metrics: from the commands and flags as they are
// parsed, the structs that configuration is read into, the routes that are served and the kinds of faults.
func (p *program) reference() (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Reference of %s\n\nDerived from the code: do not edit, run `make docs`.\n", p.Name)
	model := p.kingpin.Model()
	writeCommands(&b, p.Name, model)
	p.writeFlags(&b, model)
	if environmental, ok := p.Backend.(Environmental); ok {
		writeEnvironment(&b, environmental.Environment())
	}
	if configurable, ok := p.Backend.(Configurable); ok {
		for _, file := range configurable.Files() {
			if err := writeFile(&b, file); err != nil {
				return "", err
			}
		}
	}
	p.writeRoutes(&b)
	writeReasons(&b)
	return b.String(), nil
}

// writeTable begins a section that is a table.
func writeTable(b *strings.Builder, title, before string, columns ...string) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if before != "" {
		fmt.Fprintf(b, "%s\n\n", before)
	}
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
}

func writeRow(b *strings.Builder, cells ...string) {
	for _, text := range cells {
		b.WriteString("|")
		if text != "" {
			b.WriteString(" " + cell(text))
		}
		b.WriteString(" ")
	}
	b.WriteString("|\n")
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func writeCommands(b *strings.Builder, name string, model *kingpin.ApplicationModel) {
	writeTable(b, "Commands", "The exit code is 0, 1 where something does not work, or 2 where the arguments are wrong.", "command", "what it does")
	for _, c := range model.FlattenedCommands() {
		if c.Hidden || c.Name == "help" {
			continue
		}
		call, notes := []string{name, c.FullCommand}, []string{c.Help}
		for _, f := range c.Flags {
			if !f.Hidden {
				call = append(call, "["+flagForm(f)+"]")
				notes = append(notes, fmt.Sprintf("`--%s`: %s", f.Name, f.Help))
			}
		}
		for _, a := range c.Args {
			call = append(call, argumentForm(a))
			notes = append(notes, fmt.Sprintf("`%s`: %s", strings.ToUpper(a.Name), a.Help))
		}
		writeRow(b, code(strings.Join(call, " ")), strings.Join(notes, " "))
	}
}

func argumentForm(a *kingpin.ArgModel) string {
	if a.Required {
		return strings.ToUpper(a.Name)
	}
	return "[" + strings.ToUpper(a.Name) + "]"
}

// flagForm is a flag as one writes it.
func flagForm(f *kingpin.FlagModel) string {
	switch {
	case f.Name == "help" || f.Name == "version":
		return "--" + f.Name
	case f.IsBoolFlag():
		return "--[no-]" + f.Name
	}
	return "--" + f.Name + "=…"
}

// flagGroups divides the flags by their names. A flag belongs to the first group that has it; the page shows the last group
// first.
func (p *program) flagGroups() []flagGroup {
	begins := func(starts ...string) func(*kingpin.FlagModel) bool {
		return func(f *kingpin.FlagModel) bool {
			return slices.ContainsFunc(starts, func(start string) bool { return strings.HasPrefix(f.Name, start) })
		}
	}
	return []flagGroup{
		{"", func(f *kingpin.FlagModel) bool { return f.Hidden && isParsers(f.Name) }},
		{"Flags for users of other exporters", func(f *kingpin.FlagModel) bool { return f.Hidden }},
		{"Flags of its pages and log", begins("web.", "log.", "help", "version", "collection-timeout", "probe.max-targets")},
		{"Flags of collectors", begins("collector.")},
		{"Flags of " + p.Title, begins("")},
	}
}

type flagGroup struct {
	title string // "" for flags that are not shown
	has   func(*kingpin.FlagModel) bool
}

// isParsers tells whether a flag is the parser's own, for shells and the like.
func isParsers(name string) bool {
	return strings.HasPrefix(name, "help-") || strings.HasPrefix(name, "completion-")
}

func (p *program) writeFlags(b *strings.Builder, model *kingpin.ApplicationModel) {
	groups := p.flagGroups()
	in := make([][]*kingpin.FlagModel, len(groups))
	for _, f := range model.Flags {
		at := slices.IndexFunc(groups, func(g flagGroup) bool { return g.has(f) })
		in[at] = append(in[at], f)
	}
	for at, group := range slices.Backward(groups) {
		if group.title == "" || len(in[at]) == 0 {
			continue
		}
		writeTable(b, group.title, "", "flag", "default", "variable", "what it is for")
		for _, f := range in[at] {
			help := strings.TrimSuffix(strings.TrimSuffix(f.Help, " (default: enabled)"), " (default: disabled)") // there is a column for it
			writeRow(b, code(flagForm(f)), code(strings.Join(f.Default, ", ")), code(f.Envar), help)
		}
	}
}

func writeEnvironment(b *strings.Builder, variables []Variable) {
	writeTable(b, "Environment", "Beside the variables that stand for flags:", "variable", "what it holds")
	for _, v := range variables {
		writeRow(b, quoted(strings.Split(v.Name, ", ")), v.Help)
	}
}

func writeFile(b *strings.Builder, file File) error {
	keys, err := config.Keys(file.Holds)
	if err != nil {
		return err
	}
	writeTable(b, "The file of --"+file.Flag, "YAML. `[]` stands for each element of a list, a word in capitals for a name of your own. A secret is a text, or "+
		"`{file: PATH}`, or `{env: NAME}`. No key is needed where nothing else says so; one that is not listed here is an error.",
		"key", "type", "default", "what it is for")
	for _, k := range keys {
		writeRow(b, code(k.Path), k.Type, code(k.Default), k.Help)
	}
	return nil
}

func (p *program) writeRoutes(b *strings.Builder) {
	writeTable(b, "Pages", "", "method", "path", "what it gives")
	for _, r := range newServer(p, &Setup{}).routes() {
		writeRow(b, strings.ReplaceAll(r.methods, " ", ", "), code(strings.TrimSuffix(r.path, "{$}")), r.help)
	}
}

func writeReasons(b *strings.Builder) {
	writeTable(b, "Reasons", "What labels named `reason` say of a collector or target that failed. The text of an error is in the log alone.", "reason", "what it means")
	for _, kind := range fault.Kinds() {
		writeRow(b, code(string(kind)), kind.Meaning())
	}
}
