package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// infoAll is the question that many collectors have. It is sent once in a batch.
var infoAll = []string{"INFO", "ALL"}

// askInfo asks for all that a server says of itself, but for its modules.
func askInfo(collect.Identity) []collect.Question { return []collect.Question{ask(infoAll...)} }

// info is what a server says of itself.
type info struct {
	fields   map[string]string // of all sections but those of many lines
	sections map[string][]infoLine
}

type infoLine struct{ field, text string }

// parseInfo reads lines "field:text" below headings "# Section".
func parseInfo(text string) *info {
	usual := min(strings.Count(text, "\n")+1, usualFields)
	i := &info{fields: make(map[string]string, usual), sections: map[string][]infoLine{}}
	section, lines := "", make([]infoLine, 0, usual)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if heading, ok := strings.CutPrefix(line, "# "); ok {
			i.take(section, lines)
			section, lines = strings.ToLower(heading), lines[len(lines):]
			continue
		}
		field, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		lines = append(lines, infoLine{field, value})
		if !manyLines(section) {
			i.fields[field] = value
		}
	}
	i.take(section, lines)
	return i
}

// usualFields is how many a server of today tells of itself.
const usualFields = 300

// take keeps the lines of a section, mostly as they are: a heading hardly ever comes twice.
func (i *info) take(section string, lines []infoLine) {
	lines = slices.Clip(lines)
	if before := i.sections[section]; len(before) > 0 {
		lines = append(before, lines...)
	}
	i.sections[section] = lines
}

// manyLines tells whether a section's lines are rows rather than fields.
func manyLines(section string) bool {
	switch section {
	case "commandstats", "latencystats", "errorstats", "keysizes":
		return true
	}
	return false
}

// Text gives a field, "" where there is none.
func (i *info) Text(field string) string { return i.fields[field] }

// Number gives a field that is a number.
func (i *info) Number(field string) (float64, bool) { return infoNumber(i.fields[field]) }

// Section gives the lines of a section, by its heading in small letters.
func (i *info) Section(name string) []infoLine { return i.sections[name] }

// infoNumber reads a number as INFO writes them: also with ok and err, true and false, and a percent sign.
func infoNumber(text string) (float64, bool) {
	switch text {
	case "ok", "true", "yes":
		return 1, true
	case "err", "fail", "false", "no":
		return 0, true
	}
	return parseNumber(strings.TrimSuffix(text, "%"))
}

// infoPairs reads "a=1,b=2" into a function that gives the text of a name.
func infoPairs(text string) func(name string) string {
	return func(name string) string {
		for pair := range strings.SplitSeq(text, ",") {
			if key, value, ok := strings.Cut(pair, "="); ok && key == name {
				return value
			}
		}
		return ""
	}
}

// products are the fields that tell which server it is, with the product's name. All tell a redis_version too, of the
// Redis that they are compatible with.
var products = []struct{ field, product string }{
	{"valkey_version", "Valkey"},
	{"dragonfly_version", "Dragonfly"},
	{"garnet_version", "Garnet"},
	{"kvrocks_version", "Kvrocks"},
	{"tile38_version", "Tile38"},
	{"redis_version", "Redis"},
}

// identified takes what a server says of itself as its identity. What it does not say is kept.
func (c *conn) identified(i *info) {
	id := collect.Identity{Product: "Redis", Features: map[string]string{}}
	if has(c.id, noDatabaseSize) {
		id.Features[noDatabaseSize] = ""
	}
	for _, p := range products {
		if text := i.Text(p.field); text != "" {
			id.Product, id.Text = p.product, strings.Clone(text)
			break
		}
	}
	if i.Text("mvcc_depth") != "" { // which KeyDB alone has; it gives its own version as redis_version
		id.Product = "KeyDB"
	}
	id.Version = versionNumber(id.Text)
	id.Replica = i.Text("role") == "slave"
	for _, field := range []string{"redis_mode", "server_mode", "valkey_mode"} {
		if mode := i.Text(field); mode != "" {
			id.Features[strings.Clone(mode)] = ""
		}
	}
	if i.Text("cluster_enabled") == "1" {
		id.Features[cluster] = ""
	}
	for _, line := range i.Section("modules") {
		if pair := infoPairs(line.text); line.field == "module" {
			id.Features["module:"+pair("name")] = strings.Clone(pair("ver"))
		}
	}
	c.id = id
}

// versionNumber makes 70015 of 7.0.15, with what may be before and after it: df-v1.21.2, 8.0.0-rc1.
func versionNumber(text string) int {
	if at := strings.IndexAny(text, "0123456789"); at > 0 {
		text = text[at:]
	}
	number, parts := 0, strings.SplitN(text, ".", 3)
	for at := range 3 {
		number *= 100
		if at < len(parts) {
			number += min(leadingNumber(parts[at]), 99)
		}
	}
	return number
}

// leadingNumber reads digits up to the first other sign.
func leadingNumber(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		text = text[:end]
	}
	n, _ := strconv.Atoi(text) // nothing is 0
	return n
}
