package platform

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hurry is the factor by which everything is sooner than on the platform: the intervals of scrapes and of looks at
// services, and what alerts wait (for). Fifteen seconds become one, a minute becomes four seconds.
const hurry = 15

// files are the examples of deploy/platform with the addresses of this test in them.
type files struct {
	dir       string
	addresses map[string]string // what stands in the examples, and what it is here
}

// file writes an example into the test's folder and gives its path. Nothing but its addresses and durations is changed,
// and no address is left as it is.
func (f files) file(t *testing.T, path string) string {
	t.Helper()
	text := read(t, path)
	var pairs []string
	for name, address := range f.addresses {
		pairs = append(pairs, name, address)
	}
	text = hasten(strings.NewReplacer(pairs...).Replace(text), `(\w+: )`)
	if left := regexp.MustCompile(`[a-z-]*[a-z]:\d{2,}|/run/secrets/.*`).FindAllString(text, -1); left != nil {
		t.Fatalf("%s names %v, and the test has no such servers or secrets", path, left)
	}
	filled := filepath.Join(f.dir, filepath.Base(path))
	must(t, os.WriteFile(filled, []byte(text), 0o600))
	return filled
}

// rules writes all rules into the folder from which the example of Prometheus reads them.
func (f files) rules(t *testing.T) {
	t.Helper()
	paths, err := filepath.Glob("../../alerts/*.yml")
	must(t, err)
	if len(paths) == 0 {
		t.Fatal("no rules")
	}
	must(t, os.Mkdir(filepath.Join(f.dir, "rules"), 0o700))
	for _, path := range paths {
		text := hasten(read(t, path), `(\bfor: )`)
		must(t, os.WriteFile(filepath.Join(f.dir, "rules", filepath.Base(path)), []byte(text), 0o600))
	}
}

// targets writes the servers of the fleets into the folder from which the example of Prometheus reads them.
func (f files) targets(t *testing.T) {
	t.Helper()
	dir := filepath.Join(f.dir, "targets")
	must(t, os.Mkdir(dir, 0o700))
	for _, name := range []string{"postgres.yml", "smtp.yml"} {
		must(t, os.Rename(f.file(t, "../../deploy/platform/targets/"+name), filepath.Join(dir, name)))
	}
}

// hasten shortens the durations that stand behind a key.
func hasten(text, key string) string {
	return regexp.MustCompile(key+`(\d+)([smh])\b`).ReplaceAllStringFunc(text, func(found string) string {
		key, value, _ := strings.Cut(found, " ")
		d, err := time.ParseDuration(value)
		if err != nil {
			return found
		}
		return fmt.Sprintf("%s %dms", key, (d / hurry).Milliseconds())
	})
}

// environment reads a file of NAME=VALUE.
func environment(t *testing.T, path string) []string {
	t.Helper()
	var all []string
	lines := bufio.NewScanner(strings.NewReader(read(t, path)))
	for lines.Scan() {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// row is the query of the dashboard Backend health that draws a row for each service, with All for its variables.
func row(t *testing.T) string {
	t.Helper()
	text := read(t, "../../dashboards/backend-health.json")
	query := regexp.MustCompile(`"expr": ("sum by \(service, [^\n]*service_health\{[^\n]*")`).FindStringSubmatch(text)
	if query == nil {
		t.Fatal("the dashboard has no table of services")
	}
	expr, err := strconv.Unquote(query[1])
	must(t, err)
	return regexp.MustCompile(`\$\w+`).ReplaceAllString(expr, ".+")
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
