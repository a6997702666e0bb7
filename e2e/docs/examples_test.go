package docs

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// exporters have documents of their own, whose YAML is their configuration. In other documents the first line says
// whose it is: # redis_exporter.yml.
var exporters = map[string]string{
	"docs/postgres.md": "postgres", "docs/custom-queries.md": "postgres", "docs/redis.md": "redis", "docs/smtp.md": "smtp",
	"docs/smtp-round-trips.md": "smtp", "docs/vector-db.md": "vector-db",
}

// minimal is a target for examples that show only what a target may have.
var minimal = map[string]string{
	"postgres": "targets:\n  - uri: db.example.com:5432/postgres\n", "redis": "targets:\n  - uri: redis://localhost:6379\n",
	"vector-db": "targets:\n  - url: http://localhost:8000\n", "smtp": "targets:\n  - target: localhost\n",
}

// environment that examples take their secrets from.
var environment = []string{
	"DATA_SOURCE_NAME=postgresql://localhost:5432/postgres", "STUDIO_KEY=k", "PROXY_TOKEN=k", "PROBE_PASSWORD=k", "INBOX_PASSWORD=k", "ROUND_TRIP_SECRET=sixteen characters",
}

// checkExamples reads the configuration, the expressions and the like that a document shows with the programs that they
// are for.
func (w *world) checkExamples(t *testing.T, d *document) {
	t.Helper()
	for _, b := range d.blocks {
		var err error
		switch b.language {
		case "promql":
			err = checkExpressions(b.code)
		case "yaml":
			err = w.checkYAML(t, d, b)
		}
		if err != nil {
			t.Errorf("%s:%d: %v", d.path, b.line, err)
		}
	}
}

// checkExpressions parses expressions: one, or one in each paragraph.
func checkExpressions(code string) error {
	for part := range strings.SplitSeq(code, "\n\n") {
		if _, err := parser.NewParser(parser.Options{}).ParseExpr(part); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) checkYAML(t *testing.T, d *document, b block) error {
	t.Helper()
	code := b.code
	if strings.HasPrefix(strings.TrimSpace(code), "- job_name:") {
		code = "scrape_configs:\n" + code
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "example.yml")
	certificate, key := w.ca.pair()
	must(t, os.WriteFile(folder+"/client.pem", []byte(certificate), 0o600))
	must(t, os.WriteFile(folder+"/client.key", []byte(key), 0o600))
	if err := parses(code); err != nil {
		return err
	}
	exporter := exporters[d.path]
	if named := regexp.MustCompile(`^# (postgres|redis|vector_db|smtp)_exporter.yml`).FindStringSubmatch(code); named != nil {
		exporter = strings.ReplaceAll(named[1], "_", "-")
	}
	has := func(key string) bool { return regexp.MustCompile(`(?m)^` + key + `:`).MatchString(code) }
	switch {
	case has("scrape_configs") || has("rule_files"):
		return check(file, withoutKubernetes(t, code), tool(t, "promtool"), "check", "config", "--syntax-only", file)
	case has("groups"):
		return check(file, code, tool(t, "promtool"), "check", "rules", file)
	case has("tls_server_config") || has("basic_auth_users"):
		return check(file, code, w.root+"/bin/smtp-exporter", "check-config", "--web.config.file="+file)
	case has("tables"):
		return check(file, code, w.root+"/bin/postgres-exporter", "check-config", "--queries.file="+file)
	case exporter != "":
		if strings.HasPrefix(code, "  ") {
			code = minimal[exporter] + code
		}
		return check(file, code, w.root+"/bin/"+exporter+"-exporter", "check-config", "--config.file="+file)
	}
	return nil // of another program; that it is YAML is all that is known here
}

// withoutKubernetes leaves out the discovery of Kubernetes' pods and services, which Debian's promtool does not know.
func withoutKubernetes(t *testing.T, code string) string {
	t.Helper()
	if !strings.Contains(code, "kubernetes_sd_configs") {
		return code
	}
	var config struct {
		Jobs []map[string]any `yaml:"scrape_configs"`
	}
	must(t, yaml.Unmarshal([]byte(code), &config))
	for _, job := range config.Jobs {
		delete(job, "kubernetes_sd_configs")
	}
	text, err := yaml.Marshal(map[string]any{"scrape_configs": config.Jobs})
	must(t, err)
	return string(text)
}

func parses(code string) error {
	decoder := yaml.NewDecoder(strings.NewReader(code))
	for {
		var value any
		if err := decoder.Decode(&value); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// check writes an example to a file and has a program read it.
func check(file, code, program string, args ...string) error {
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		return err
	}
	command := exec.Command(program, args...)
	command.Dir = filepath.Dir(file)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environment...)
	out, err := command.CombinedOutput()
	if err != nil {
		return errors.New(string(out))
	}
	return nil
}

// tool finds prometheus or promtool.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := servers.Tool(name)
	must(t, err)
	return path
}
