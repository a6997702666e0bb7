package container

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// nine are the platform's services; the label platform_service, and the names that exporters give, say the same.
var nine = []string{
	"db-api", "db-admin", "db-realtime", "vector-db", "mail-server", "monitoring-db", "monitoring-node", "monitoring-redis", "redis-exporter",
}

// ours are the services that run an image of this repository, and which exporter it is of.
var ours = map[string]string{
	"monitoring-db": "postgres", "monitoring-redis": "redis", "redis-exporter": "redis", "vector-db-exporter": "vector-db", "smtp-exporter": "smtp",
}

// composed is compose.yaml as Docker reads it: interpolated, checked by the schema of the Compose Specification and for
// consistency, all paths absolute.
type composed struct {
	*types.Project
	folder string // that setup.sh has written to
}

// load reads compose.yaml, with files over it, after setup.sh has written what it needs into a folder of the test's.
func load(t *testing.T, over ...string) composed {
	t.Helper()
	folder := t.TempDir()
	must(t, nil, "deploy/compose/setup.sh", folder)
	p, err := parse(t, dotenv(t, folder), over...)
	check(t, err)
	return composed{p, folder}
}

func parse(t *testing.T, environment map[string]string, over ...string) (*types.Project, error) {
	t.Helper()
	var files []types.ConfigFile
	for _, name := range append([]string{"compose.yaml"}, over...) {
		files = append(files, types.ConfigFile{Filename: filepath.Join(root(t), name)})
	}
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{WorkingDir: root(t), ConfigFiles: files, Environment: environment}, func(o *loader.Options) {
		o.SetProjectName("backend-exporters", true)
	})
}

// dotenv reads the .env of a folder.
func dotenv(t *testing.T, folder string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, ".env"))
	check(t, err)
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			values[name] = value
		}
	}
	return values
}

// TestComposeUnprepared wants compose.yaml without .env to say what to do, whatever is missing first.
func TestComposeUnprepared(t *testing.T) {
	t.Parallel()
	full := dotenv(t, load(t).folder)
	for _, name := range []string{"", "SECRETS_GID", "ANON_KEY", "SERVICE_KEY", "DB_ADMIN_PASSWORD", "JWT_SECRET", "REALTIME_ENC_KEY", "REALTIME_KEY_BASE"} {
		values := map[string]string{}
		for key, value := range full {
			if name != "" && key != name {
				values[key] = value
			}
		}
		if _, err := parse(t, values); err == nil || !strings.Contains(err.Error(), "run deploy/compose/setup.sh first") {
			t.Errorf("without %q: %v", name, err)
		}
	}
}

// TestComposeServices reads compose.yaml as it is and with the exporters built from this repository.
func TestComposeServices(t *testing.T) {
	t.Parallel()
	for name, over := range map[string][]string{"published": nil, "built": {"deploy/compose/build.yaml"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := load(t, over...)
			for _, service := range append(slices.Clone(nine), "db", "redis", "prometheus", "alertmanager", "grafana") {
				if _, err := c.GetService(service); err != nil {
					t.Error(err)
				}
			}
			for _, s := range c.Services {
				checkService(t, s)
				checkMounts(t, c, s)
			}
			for name, exporter := range ours {
				checkOurs(t, c.Services[name], exporter, over != nil)
			}
		})
	}
}

// checkService wants of every service what no one of them needs to go without.
func checkService(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	if !regexp.MustCompile(`^[a-z0-9./-]+:v?[0-9][0-9A-Za-z.-]*$`).MatchString(s.Image) || strings.Contains(s.Image, "latest") {
		t.Errorf("%s: the image %s has no version", s.Name, s.Image)
	}
	if !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) != 0 || s.Privileged || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("%s: capabilities %v %v, privileged %v, security %v", s.Name, s.CapDrop, s.CapAdd, s.Privileged, s.SecurityOpt)
	}
	if s.Restart != "unless-stopped" || s.Deploy == nil || s.Deploy.Resources.Limits == nil || s.Deploy.Resources.Limits.MemoryBytes == 0 ||
		s.Deploy.Resources.Limits.NanoCPUs == 0 || s.Deploy.Resources.Limits.Pids == 0 {
		t.Errorf("%s: restart %q, limits %+v", s.Name, s.Restart, s.Deploy)
	}
	// These write into theirs.
	if writing := []string{"db-admin", "db-meta", "db-realtime", "vector-db"}; s.ReadOnly == slices.Contains(writing, s.Name) {
		t.Errorf("%s: a root that cannot be written to: %v", s.Name, s.ReadOnly)
	}
	for _, port := range s.Ports {
		if port.HostIP != "127.0.0.1" {
			t.Errorf("%s: port %s is published at %q", s.Name, port.Published, port.HostIP)
		}
	}
	// These images have nothing that could ask, or nothing to ask; that they are well is known by those that ask them.
	if without := []string{"db-api", "db-meta"}; (s.HealthCheck == nil) != slices.Contains(without, s.Name) {
		t.Errorf("%s: health check %v", s.Name, s.HealthCheck)
	}
	if s.HealthCheck != nil && (s.HealthCheck.Timeout == nil || s.HealthCheck.Interval == nil) {
		t.Errorf("%s: the health check has no bound", s.Name)
	}
}

// checkMounts wants every file that is mounted to be there, files of this repository not to be written to, folders of
// data to be volumes that have a name, and every secret to be a file that setup.sh has written.
func checkMounts(t *testing.T, c composed, s types.ServiceConfig) {
	t.Helper()
	for _, v := range s.Volumes {
		switch v.Type {
		case types.VolumeTypeVolume:
			if _, ok := c.Volumes[v.Source]; !ok {
				t.Errorf("%s: there is no volume %q", s.Name, v.Source)
			}
		case types.VolumeTypeBind:
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s: %s: %v; read-only: %v", s.Name, v.Source, err, v.ReadOnly)
			}
		default:
			t.Errorf("%s: a mount of type %s", s.Name, v.Type)
		}
	}
	for _, use := range s.Secrets {
		relative, err := filepath.Rel(root(t), c.Secrets[use.Source].File)
		if err == nil {
			var info os.FileInfo
			if info, err = os.Stat(filepath.Join(c.folder, relative)); err == nil && (info.Size() == 0 || info.Mode().Perm() != 0o640) {
				t.Errorf("%s: the secret %s has %d bytes and mode %s", s.Name, use.Source, info.Size(), info.Mode())
			}
		}
		if err != nil {
			t.Errorf("%s: the secret %s: %v", s.Name, use.Source, err)
		}
		if !slices.Contains(s.GroupAdd, c.Environment["SECRETS_GID"]) {
			t.Errorf("%s may not read its secrets: groups %v", s.Name, s.GroupAdd)
		}
	}
}

func checkOurs(t *testing.T, s types.ServiceConfig, exporter string, built bool) {
	t.Helper()
	if want := "backend-exporters/" + exporter + "-exporter:" + version(t); s.Image != want {
		t.Errorf("%s: image %s, want %s", s.Name, s.Image, want)
	}
	if !s.ReadOnly || s.User != "65534:65534" || len(s.Entrypoint) != 0 || len(s.Ports) != 0 {
		t.Errorf("%s: read-only %v, user %q, entry point %v, ports %v", s.Name, s.ReadOnly, s.User, s.Entrypoint, s.Ports)
	}
	if (s.Build != nil) != built {
		t.Errorf("%s: build %+v", s.Name, s.Build)
	}
	if s.Build != nil && (*s.Build.Args["EXPORTER"] != exporter || s.Build.Context != root(t)) {
		t.Errorf("%s: built as %s from %s", s.Name, *s.Build.Args["EXPORTER"], s.Build.Context)
	}
}

// TestComposeHoldsNoSecret wants no value of a secret in the files, and none in the environment of a service that could
// read it from a file.
func TestComposeHoldsNoSecret(t *testing.T) {
	t.Parallel()
	c := load(t)
	fromEnvironment := map[string][]string{ // whose programs read them from nowhere else
		"db-admin": {"SUPABASE_ANON_KEY", "SUPABASE_SERVICE_KEY"}, "db-meta": {"PG_META_DB_PASSWORD"},
		"db-realtime": {"DB_PASSWORD", "DB_ENC_KEY", "API_JWT_SECRET", "SECRET_KEY_BASE"},
	}
	names := regexp.MustCompile(`(?i)(pass|secret|key|token)`)
	for _, s := range c.Services {
		for name, value := range s.Environment {
			if !names.MatchString(name) || value == nil || strings.HasSuffix(name, "_FILE") || strings.HasPrefix(*value, "@/run/secrets/") {
				continue
			}
			if !slices.Contains(fromEnvironment[s.Name], name) {
				t.Errorf("%s has %s in its environment", s.Name, name)
			}
		}
	}
	raw := read(t, "compose.yaml") + read(t, "deploy", "compose", "build.yaml")
	for _, line := range strings.Split(raw, "\n") {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		if ok && regexp.MustCompile(`^[A-Z_]+$`).MatchString(name) && names.MatchString(name) && !strings.HasPrefix(value, "${") &&
			!strings.Contains(value, "/run/secrets/") {
			t.Errorf("a secret as text? %s", line)
		}
	}
	for _, line := range strings.Split(read(t, ".env.example"), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok && names.MatchString(name) && value != "" {
			t.Errorf(".env.example gives %s", name)
		}
	}
}

// TestComposeIsWatched wants each target of Prometheus to be a service that serves at that port, each of the nine to be
// watched, and what the exporters ask to be services too.
func TestComposeIsWatched(t *testing.T) {
	t.Parallel()
	c := load(t)
	var config struct {
		Alerting struct {
			Alertmanagers []struct {
				Static []group `yaml:"static_configs"`
			}
		}
		Scrape []struct {
			Job    string                     `yaml:"job_name"`
			Static []group                    `yaml:"static_configs"`
			Files  []struct{ Files []string } `yaml:"file_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	check(t, yaml.Unmarshal([]byte(read(t, "deploy", "platform", "prometheus.yml")), &config))
	watched := map[string]bool{}
	for _, job := range config.Scrape {
		if len(job.Static) == 0 && len(job.Files) == 0 {
			t.Errorf("the job %s has no targets", job.Job)
		}
		for _, g := range job.Static {
			for _, target := range g.Targets {
				c.serves(t, target)
			}
			if name := g.Labels["platform_service"]; name != "" {
				watched[name] = true
			}
		}
	}
	for _, manager := range config.Alerting.Alertmanagers {
		for _, g := range manager.Static {
			for _, target := range g.Targets {
				c.serves(t, target)
			}
		}
	}
	for _, name := range []string{"postgres_exporter.yml", "smtp_exporter.yml", "vector_db_exporter.yml"} {
		text := read(t, "deploy", "platform", name)
		for _, found := range regexp.MustCompile(`(?m)^\s*(?:- )?(?:name|service): ([\w-]+)`).FindAllStringSubmatch(text, -1) {
			watched[found[1]] = true
		}
		for _, found := range regexp.MustCompile(`(?m)(?:uri|url|target): "?(?:http://)?([\w-]+):(\d+)`).FindAllStringSubmatch(text, -1) {
			if _, err := c.GetService(found[1]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, service := range nine {
		if !watched[service] {
			t.Errorf("nobody watches %s", service)
		}
	}
}

type group struct {
	Targets []string
	Labels  map[string]string
}

// serves wants a target to be a service, and its port to be the one that the service's own health check asks.
func (c composed) serves(t *testing.T, target string) {
	t.Helper()
	name, port, _ := strings.Cut(target, ":")
	s, err := c.GetService(name)
	if err != nil {
		t.Error(err)
		return
	}
	if s.HealthCheck == nil || !strings.Contains(strings.Join(s.HealthCheck.Test, " "), "127.0.0.1:"+port+"/") {
		t.Errorf("%s: its health check does not ask port %s", name, port)
	}
}

// TestComposeFiles wants Prometheus, Alertmanager and Grafana to find what they are told to read where it is mounted.
func TestComposeFiles(t *testing.T) {
	t.Parallel()
	c := load(t)
	seen := func(service, path string) string {
		for _, v := range c.Services[service].Volumes {
			if rest, ok := strings.CutPrefix(path, v.Target); ok && v.Type == types.VolumeTypeBind && (rest == "" || rest[0] == '/') {
				return v.Source + rest
			}
		}
		t.Fatalf("%s does not see %s", service, path)
		return ""
	}
	// promtool reads the rules that the configuration names beside it, so the mounts are laid out as in the container.
	dir := t.TempDir()
	check(t, os.Symlink(seen("prometheus", "/etc/prometheus/rules"), filepath.Join(dir, "rules")))
	check(t, os.Symlink(seen("prometheus", "/etc/prometheus/prometheus.yml"), filepath.Join(dir, "prometheus.yml")))
	if out := must(t, nil, tool(t, "promtool"), "check", "config", filepath.Join(dir, "prometheus.yml")); !strings.Contains(out, "rule files found") {
		t.Errorf("promtool finds no rules: %s", out)
	}
	must(t, nil, tool(t, "amtool"), "check-config", seen("alertmanager", "/etc/alertmanager/alertmanager.yml"))

	provisioning := seen("grafana", "/etc/grafana/provisioning")
	var dashboards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	text, err := os.ReadFile(filepath.Join(provisioning, "dashboards", "backend-exporters.yml"))
	check(t, err)
	check(t, yaml.Unmarshal(text, &dashboards))
	if len(dashboards.Providers) != 1 {
		t.Fatalf("%d providers of dashboards", len(dashboards.Providers))
	}
	found, err := filepath.Glob(filepath.Join(seen("grafana", dashboards.Providers[0].Options.Path), "*.json"))
	if err != nil || len(found) < 6 {
		t.Errorf("Grafana is given %d dashboards: %v", len(found), err)
	}
	var sources struct {
		Datasources []struct{ URL string }
	}
	text, err = os.ReadFile(filepath.Join(provisioning, "datasources", "prometheus.yml"))
	check(t, err)
	check(t, yaml.Unmarshal(text, &sources))
	for _, source := range sources.Datasources {
		c.serves(t, strings.TrimPrefix(source.URL, "http://"))
	}
}
