package docs

import (
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// kinds are the exporters, by the names of their pages.
func kinds() []string { return []string{"postgres", "redis", "smtp", "vector-db"} }

// known is what the code has names for.
type known struct {
	flags     map[string]map[string]bool // by kind of exporter; with the dashes
	variables map[string]bool
	families  map[string]bool // those that end with * stand for all that begin so
	alerts    map[string]bool
	targets   map[string]bool // of make
	words     map[string]bool // of the sources: names of the servers' own things, such as pg_monitor
	files     []string
}

var (
	flagSpan     = regexp.MustCompile("`(--[^`]*)`")
	variableSpan = regexp.MustCompile("`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)`")
	familyCell   = regexp.MustCompile("(?m)^\\| `([a-z_0-9*]+)` \\| (gauge|counter|histogram|summary|unknown|untyped)")
	alertLine    = regexp.MustCompile(`(?m)^ *- alert: (\w+)`)
	targetLine   = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
	word         = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)
)

// learn reads the derived pages, which are as the code is, and the sources.
func learn(t *testing.T) known {
	t.Helper()
	files, err := repositoryFiles()
	if err != nil {
		t.Fatal(err)
	}
	k := known{flags: map[string]map[string]bool{}, variables: map[string]bool{}, families: map[string]bool{}, alerts: map[string]bool{},
		targets: map[string]bool{}, words: map[string]bool{}, files: files}
	for _, kind := range kinds() {
		reference := content(t, "docs/reference-"+kind+".md")
		k.flags[kind] = flagsOf(reference)
		addAll(k.variables, variableSpan, reference)
		addAll(k.families, familyCell, content(t, "docs/metrics-"+kind+".md"))
		if len(k.flags[kind]) < 20 {
			t.Fatalf("%s has %d flags: its reference is not read", kind, len(k.flags[kind]))
		}
	}
	for _, file := range files {
		switch {
		case strings.HasPrefix(file, "alerts/") && path.Ext(file) == ".yml" && path.Dir(file) == "alerts":
			addAll(k.alerts, alertLine, content(t, file))
		case file == "Makefile":
			addAll(k.targets, targetLine, content(t, file))
		case slices.Contains([]string{".go", ".sql", ".yml", ".yaml", ".sh", ".json", ".service"}, path.Ext(file)) && !strings.HasPrefix(file, "e2e/docs/"):
			for _, w := range word.FindAllString(content(t, file), -1) {
				k.words[w] = true
			}
		}
	}
	for _, set := range []map[string]bool{k.variables, k.families, k.alerts, k.targets} {
		if len(set) < 10 {
			t.Fatalf("only these names were found: %v", slices.Sorted(maps.Keys(set)))
		}
	}
	return k
}

func addAll(to map[string]bool, pattern *regexp.Regexp, text string) {
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		to[match[1]] = true
	}
}

// flagsOf gives the flags of a reference as they may be written: `--[no-]x` in both ways, `--x=…` without its value. Those
// of commands stand in brackets.
func flagsOf(reference string) map[string]bool {
	flags := map[string]bool{}
	add := func(form string) {
		name, _, _ := strings.Cut(form, "=")
		if rest, ok := strings.CutPrefix(name, "--[no-]"); ok {
			flags["--no-"+rest] = true
			name = "--" + rest
		}
		flags[name] = true
	}
	for _, match := range flagSpan.FindAllStringSubmatch(reference, -1) {
		add(match[1])
	}
	for _, match := range regexp.MustCompile(`\[(--(?:\[no-\])?[a-z-]+)`).FindAllStringSubmatch(reference, -1) {
		add(match[1])
	}
	return flags
}

// foreign are names that belong to others, each with whose it is. A document may speak of them.
func foreign() map[string]string {
	return map[string]string{
		"--disable-default-metrics":  "postgres_exporter",
		"--disable-settings-metrics": "postgres_exporter",
		"--metric-prefix":            "postgres_exporter",
		"--dumpmaps":                 "postgres_exporter",
		"pg_cancel_backend(pid)":     "PostgreSQL",
		"pg_file_settings":           "PostgreSQL",
	}
}

// No document names a flag, variable, metric, alert, target of make or file that is not there.
func TestNamesExist(t *testing.T) {
	k, others := learn(t), foreign()
	used := map[string]bool{}
	for _, d := range documents(t) {
		if isDerived(d.path) || strings.HasSuffix(d.path, "differences.md") || d.path == "CHANGELOG.md" {
			continue // derived from the code; or of what others have, or had once
		}
		for _, s := range d.spans {
			problem := k.problem(d.path, s.text)
			if _, known := others[s.text]; known && problem != "" {
				used[s.text] = true
				continue
			}
			if problem != "" {
				t.Errorf("%s:%d: `%s`: %s", d.path, s.line, s.text, problem)
			}
		}
		for _, b := range d.blocks {
			for _, match := range makeCall.FindAllStringSubmatch(b.code, -1) {
				if !k.targets[match[1]] {
					t.Errorf("%s:%d: make has no target %s", d.path, b.line, match[1])
				}
			}
		}
	}
	for name := range others {
		if !used[name] {
			t.Errorf("the exception %s is not needed", name)
		}
	}
}

func isDerived(file string) bool {
	return strings.HasPrefix(file, "docs/metrics-") || strings.HasPrefix(file, "docs/reference-")
}

var (
	makeCall     = regexp.MustCompile(`(?m)^(?:sudo )?make ([a-z][a-z-]*)`)
	flagName     = regexp.MustCompile(`^--[A-Za-z][A-Za-z0-9._-]*`)
	variableName = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$`)
	metricName   = regexp.MustCompile(`^(?:pg|redis|vectordb|smtp|service_health)_[a-z0-9_]+`)
	alertName    = regexp.MustCompile(`^(?:Postgres|Redis|SMTP|VectorDB|Service|Exporter|Database|Disk|Platform)[A-Z]\w+$`)
	filePath     = regexp.MustCompile(`^(?:docs|tools|common|exporters|e2e|deploy|alerts|dashboards|charts|\.github)/[\w./*-]*$`)
)

// problem says what is wrong with the name that a span holds, or "".
func (k known) problem(document, text string) string {
	switch {
	case flagName.MatchString(text):
		return k.flagProblem(document, text)
	case variableName.MatchString(text) && !k.variables[text] && !k.words[text]:
		return "no variable has this name"
	case alertName.MatchString(text) && !k.alerts[text] && !k.words[text]:
		return "no alert has this name"
	case metricName.MatchString(text):
		return k.metricProblem(metricName.FindString(text), strings.TrimPrefix(text, metricName.FindString(text)))
	case makeCall.MatchString(text) && !k.targets[makeCall.FindStringSubmatch(text)[1]]:
		return "make has no such target"
	case filePath.MatchString(text):
		return k.fileProblem(text)
	}
	return ""
}

// flagProblem looks for a flag among those of the document's exporter, or of all. What ends in the midst stands for all
// that begin so: --health.*, --collector.NAME.
func (k known) flagProblem(document, text string) string {
	name := flagName.FindString(text)
	open := strings.HasPrefix(text[len(name):], "*") || strings.HasPrefix(text[len(name):], "…") || strings.HasSuffix(name, ".") || strings.HasSuffix(name, "NAME")
	name = strings.TrimSuffix(name, "NAME")
	for _, kind := range kinds() {
		if own := kindOf(document); own != "" && own != kind {
			continue
		}
		for flag := range k.flags[kind] {
			if flag == name || open && strings.HasPrefix(flag, name) {
				return ""
			}
		}
	}
	return "no exporter that the document is about has this flag"
}

// kindOf tells of which exporter alone a document is, "" for several.
func kindOf(document string) string {
	switch document {
	case "docs/postgres.md", "docs/custom-queries.md", "docs/moving-from-postgres_exporter.md":
		return "postgres"
	case "docs/redis.md", "docs/moving-from-redis_exporter.md":
		return "redis"
	case "docs/smtp.md", "docs/smtp-round-trips.md", "docs/moving-from-blackbox_exporter.md":
		return "smtp"
	case "docs/vector-db.md":
		return "vector-db"
	}
	return ""
}

// metricProblem looks for a metric among the families, and for a thing of a server in the sources.
func (k known) metricProblem(name, rest string) string {
	base := name
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		base = strings.TrimSuffix(base, suffix)
	}
	if k.families[name] || k.families[base] || k.words[name] {
		return ""
	}
	begins := strings.HasPrefix(rest, "*") || strings.HasPrefix(rest, "…") || strings.HasPrefix(rest, "<")
	for family := range k.families {
		start, open := strings.CutSuffix(family, "*")
		if open && strings.HasPrefix(name, start) || begins && strings.HasPrefix(family, name) {
			return ""
		}
	}
	return "no metric, and nothing of a server that the code knows, has this name"
}

func (k known) fileProblem(name string) string {
	name = strings.TrimSuffix(name, "/")
	if strings.Contains(name, "NAME") {
		return ""
	}
	for _, file := range k.files {
		for at := file; at != "."; at = path.Dir(at) {
			if match, err := path.Match(name, at); err == nil && match {
				return ""
			}
		}
	}
	return "there is no such file"
}

// What an exporter reads of its environment stands in its reference.
func TestVariablesAreInTheReference(t *testing.T) {
	read := regexp.MustCompile(`(Getenv|LookupEnv|fileOrValue|fromEnvironment)\("([A-Z][A-Z0-9_]*)"\)`)
	found := 0
	for _, kind := range kinds() {
		variables := map[string]bool{}
		addAll(variables, variableSpan, content(t, "docs/reference-"+kind+".md"))
		files, err := filepath.Glob(filepath.Join(root, "exporters", kind, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", kind, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			file, _ = filepath.Rel(root, file)
			for _, match := range read.FindAllStringSubmatch(content(t, file), -1) {
				names := []string{match[2]}
				if strings.HasPrefix(match[1], "f") { // a file may hold it as well
					names = append(names, match[2]+"_FILE")
				}
				for _, name := range names {
					found++
					if !variables[name] {
						t.Errorf("%s reads %s, of which docs/reference-%s.md does not know: see Environment", file, name, kind)
					}
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("%d variables: the sources are not read", found)
	}
}
