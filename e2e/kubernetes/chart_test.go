// Package kubernetes tests the Helm chart and the plain manifests: they are rendered, checked against schemas and each
// other, and given to an API server; what their pods would run, which takes more of a cluster, is run with the real programs.
package kubernetes

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/e2e/kubernetes/derive"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// object is what the tests read of any object of Kubernetes.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name        string
		Labels      map[string]string
		Annotations map[string]string
	}
	Data       map[string]string
	StringData map[string]string `yaml:"stringData"`
	Spec       yaml.Node
	whole      yaml.Node
}

func (o object) is() string { return o.Kind + " " + o.Metadata.Name }

// spec reads the object's spec into a struct that names what it wants.
func spec[T any](t *testing.T, o object) T {
	t.Helper()
	var s T
	if err := o.Spec.Decode(&s); err != nil {
		t.Fatalf("%s: %v", o.is(), err)
	}
	return s
}

func root(t *testing.T) string {
	t.Helper()
	path, err := servers.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := servers.Tool(name)
	if err != nil {
		t.Fatalf("%v, or tools/ensure.sh kubernetes", err)
	}
	return path
}

func chart(t *testing.T) string { t.Helper(); return filepath.Join(root(t), derive.Chart) }

// render gives the objects that the chart makes of a file of values.
func render(t *testing.T, values string) (string, []object) {
	t.Helper()
	text, err := derive.Render(tool(t, "helm"), chart(t), "--values", values)
	if err != nil {
		t.Fatal(err)
	}
	return text, parse(t, text)
}

func parse(t *testing.T, text string) []object {
	t.Helper()
	var all []object
	documents := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o object
		err := documents.Decode(&o.whole)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err == nil {
			err = o.whole.Decode(&o)
		}
		if err != nil {
			t.Fatalf("what was rendered is no YAML: %v", err)
		}
		if o.Kind != "" {
			all = append(all, o)
		}
	}
}

func valueFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values to test with: %v", err)
	}
	return files
}

func manifestFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, name := range []string{"postgres", "redis", "vector-db", "smtp", "monitoring"} {
		files = append(files, filepath.Join(root(t), "deploy/kubernetes", name+".yaml"))
	}
	return files
}

// rendering is what the chart makes of a file of values, or a plain manifest.
type rendering struct {
	name    string
	text    string
	objects []object
}

func renderings(t *testing.T) []rendering {
	t.Helper()
	var all []rendering
	for _, file := range valueFiles(t) {
		text, objects := render(t, file)
		all = append(all, rendering{strings.TrimSuffix(filepath.Base(file), ".yaml"), text, objects})
	}
	for _, file := range manifestFiles(t) {
		text := read(t, file)
		all = append(all, rendering{"plain " + strings.TrimSuffix(filepath.Base(file), ".yaml"), text, parse(t, text)})
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func run(t *testing.T, program string, arguments ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, program, arguments...).CombinedOutput()
	return string(output), err
}

func TestDerivedFilesAreCurrent(t *testing.T) {
	files, err := derive.Files(root(t), tool(t, "helm"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 18 {
		t.Errorf("only %d files are derived", len(files))
	}
	for path, want := range files {
		if read(t, filepath.Join(root(t), path)) != want {
			t.Errorf("%s is not what it is derived from: run make chart", path)
		}
	}
	stale, err := derive.Stale(root(t), files)
	if err != nil || len(stale) > 0 {
		t.Errorf("of nothing: %v %v: run make chart", stale, err)
	}
}

func TestEveryValueIsDescribed(t *testing.T) {
	table, err := derive.Table([]byte(read(t, filepath.Join(chart(t), "values.yaml"))))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(table) {
		if strings.HasSuffix(line, "| | |\n") {
			t.Errorf("values.yaml does not describe: %s", line)
		}
	}
}

func TestChartLints(t *testing.T) {
	for _, values := range valueFiles(t) {
		if output, err := run(t, tool(t, "helm"), "lint", "--strict", "--kube-version="+derive.KubeVersion, "--values", values, chart(t)); err != nil {
			t.Errorf("%s: %v\n%s", values, err, output)
		}
	}
}

// validate checks manifests against the schemas that are here, and nothing else is asked for any.
func validate(t *testing.T, file string) (string, error) {
	t.Helper()
	return run(t, tool(t, "kubeconform"), "-strict", "-summary", "-n", "1",
		"-schema-location", "testdata/schemas/{{.ResourceKind}}{{.KindSuffix}}.json", file)
}

func manifestsAreValid(t *testing.T, r rendering) {
	file := filepath.Join(t.TempDir(), "rendered.yaml")
	if err := os.WriteFile(file, []byte(r.text), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := validate(t, file)
	if err != nil || !strings.Contains(output, "Skipped: 0") {
		t.Errorf("%v\n%s", err, output)
	}
	if len(r.objects) == 0 != (r.name == "off") {
		t.Errorf("%d objects", len(r.objects))
	}
}

func TestSchemasRefuse(t *testing.T) {
	plain := filepath.Join(root(t), "deploy/kubernetes")
	for _, fault := range []struct{ file, old, new string }{
		{"redis.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFileSystem: true"},
		{"redis.yaml", "replicas: 1", "replicas: one"},
		{"redis.yaml", "targetPort: http", "targetsPort: http"},
		{"redis.yaml", "runAsUser: 65534", "runAsUser: [65534]"},
		{"monitoring.yaml", "jobLabel: app", "jobLable: app"},
		{"monitoring.yaml", "scheme: http", "scheme: gopher"},
		{"monitoring.yaml", "expr:", "exp:"},
	} {
		text := read(t, filepath.Join(plain, fault.file))
		changed := strings.Replace(text, fault.old, fault.new, 1)
		if changed == text {
			t.Errorf("%s does not hold %q", fault.file, fault.old)
		}
		file := filepath.Join(t.TempDir(), "faulty.yaml")
		if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if output, err := validate(t, file); err == nil || !strings.Contains(output, "Invalid: 1") {
			t.Errorf("%s with %q is taken for good: %v\n%s", fault.file, fault.new, err, output)
		}
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	const on = "redis: {enabled: true, env: {REDIS_ADDR: 'redis://cache:6379'}"
	for _, c := range []struct{ values, says string }{
		{"postgers: {enabled: true}", "'postgers' not allowed"},
		{"postgres: {enabled: 'yes'}", "got string, want boolean"},
		{"redis: {enabled: false, image: {tagg: x}}", "'tagg' not allowed"},
		{"redis: {enabled: false, image: {digest: 'sha256:12'}}", "does not match pattern"},
		{"defaults: {replicas: -1}", "minimum"},
		{"defaults: {shards: 0}", "minimum"},
		{"defaults: {enabled: true}", "'enabled' not allowed"},
		{"defaults: {web: {scheme: gopher}}", "must be one of"},
		{"defaults: {env: {NUMBER: 1}}", "want string"},
		{"defaults: {networkPolicy: {from: []}}", "minItems"},
		{"defaults: {serviceMonitor: {interval: 15}}", "want string"},
		{"redis: {enabled: false, probes: [{name: x, targets: []}]}", "minItems"},
		{"redis: {enabled: true}", "say what to look at"},
		{on + ", secretFiles: {REDIS_PASSWORD_FILE: key}}", "needs redis.existingSecret"},
		{on + ", secretFiles: {REDIS_PASSWORD: key}}", "REDIS_PASSWORD"},
		{"prometheusRule: {enabled: true, files: [nothing]}", "there is no alerts/nothing.yml"},
		{"dashboards: {enabled: true, files: [nothing]}", "there is no dashboards/nothing.json"},
	} {
		refused(t, c.values, c.says)
	}
}

func TestSecretsAmongValuesAreRefused(t *testing.T) {
	for _, values := range []string{
		"postgres: {enabled: true, env: {DATA_SOURCE_PASS: canary}}",
		"postgres: {enabled: true, env: {DATA_SOURCE_NAME: 'postgresql://monitor:canary@db:5432/postgres'}}",
		"postgres: {enabled: true, env: {DATA_SOURCE_NAME: 'host=db user=monitor password=canary'}}",
		"postgres: {enabled: true, config: {targets: [{uri: 'db:5432/a', user: monitor, password: canary}]}}",
		"postgres: {enabled: true, config: {targets: [{dsn: 'postgresql://monitor:canary@db/a'}]}}",
		"postgres: {enabled: true, config: 'targets: [{uri: db, password: canary}]'}",
		"redis: {enabled: true, env: {REDIS_PASSWORD: canary}}",
		"redis: {enabled: true, args: ['--redis.password=canary']}",
		"redis: {enabled: true, args: ['-redis.password', canary]}",
		"redis: {enabled: true, args: ['--redis.addr=redis://:canary@cache:6379']}",
		"vectordb: {enabled: true, env: {VECTORDB_API_KEY: canary}}",
		"vectordb: {enabled: true, config: {targets: [{url: 'http://q:6333', api_key: canary}]}}",
		"vectordb: {enabled: true, config: {targets: [{url: 'http://q:6333', bearer: canary}]}}",
		"smtp: {enabled: true, config: {modules: {m: {auth: {username: probe, password: canary}}}}}",
		"smtp: {enabled: true, env: {ROUND_TRIP_SECRET: canary}}",
	} {
		message := refused(t, values, "")
		if !strings.Contains(message, "holds a secret") && !strings.Contains(message, "does not match pattern") {
			t.Errorf("%s is refused for another reason: %s", values, message)
		}
	}
}

// refused fails the test unless helm refuses values with a message.
func refused(t *testing.T, values, says string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := derive.Render(tool(t, "helm"), chart(t), "--values", file)
	if err == nil {
		t.Errorf("%s is taken for good:\n%s", values, text)
		return ""
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%s: the message does not say %q: %v", values, says, err)
	}
	return err.Error()
}

// TestNotesNameTheServices renders what helm install prints: without a cluster helm shows no notes, so that a copy of the
// chart holds them in a template like the others.
func TestNotesNameTheServices(t *testing.T) {
	copied := filepath.Join(t.TempDir(), "chart")
	if err := os.CopyFS(copied, os.DirFS(chart(t))); err != nil {
		t.Fatal(err)
	}
	notes := `{{- define "notes" -}}` + read(t, filepath.Join(copied, "templates/NOTES.txt")) + "{{- end -}}\n" +
		"apiVersion: v1\nkind: Notes\nmetadata: {name: notes}\ndata: {text: {{ include \"notes\" . | toJson }}}\n"
	if err := os.WriteFile(filepath.Join(copied, "templates/notes.yaml"), []byte(notes), 0o600); err != nil {
		t.Fatal(err)
	}
	for values, wants := range map[string][]string{
		"off":        {"No exporter is switched on"},
		"sharded":    {"http://backend-exporters-redis-0.monitoring.svc:9091/metrics", "http://backend-exporters-redis-2.monitoring.svc:9091/metrics"},
		"postgres":   {"http://backend-exporters-postgres.monitoring.svc:9091/metrics", "Nothing tells Prometheus of it"},
		"tls":        {"https://backend-exporters-redis.monitoring.svc:9091/metrics"},
		"everything": {"http://watch-vector-db.monitoring.svc:9100/metrics"},
	} {
		text, err := derive.Render(tool(t, "helm"), copied, "--values=testdata/values/"+values+".yaml", "--show-only=templates/notes.yaml")
		if err != nil {
			t.Fatal(err)
		}
		said := parse(t, text)[0].Data["text"]
		for _, want := range wants {
			if !strings.Contains(said, want) {
				t.Errorf("the notes for %s lack %q:\n%s", values, want, said)
			}
		}
	}
}

func kindsOf(objects []object) []string {
	var all []string
	for _, o := range objects {
		all = append(all, o.is())
	}
	slices.Sort(all)
	return all
}

// TestDocumentedValuesRender renders every file of values that a document shows.
func TestDocumentedValuesRender(t *testing.T) {
	blocks := regexp.MustCompile("(?s)\n```yaml\n(.*?)\n```\n")
	var seen int
	for _, path := range []string{"docs/kubernetes.md", derive.Chart + "/README.md"} {
		for _, block := range blocks.FindAllStringSubmatch(read(t, filepath.Join(root(t), path)), -1) {
			if strings.Contains(block[1], "scrape_configs:") {
				continue // which is Prometheus'
			}
			seen++
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(block[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			text, objects := render(t, file)
			if len(of(objects, "Deployment")) == 0 {
				t.Errorf("%s: nothing comes of\n%s", path, block[1])
			}
			manifestsAreValid(t, rendering{path, text, objects})
		}
	}
	if seen < 5 {
		t.Errorf("only %d files of values were found", seen)
	}
}

// TestClusterMayGiveOutUsers holds what the documents say for clusters such as OpenShift.
func TestClusterMayGiveOutUsers(t *testing.T) {
	text, err := derive.Render(tool(t, "helm"), chart(t), "--values=testdata/values/postgres.yaml", "--set=defaults.podSecurityContext.runAsUser=null",
		"--set=defaults.podSecurityContext.runAsGroup=null", "--set=defaults.podSecurityContext.fsGroup=null")
	if err != nil || strings.Contains(text, "65534") || !strings.Contains(text, "runAsNonRoot: true") {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestPackageHoldsEverything holds that the chart as an archive gives the same as the folder. Helm keeps it in a Secret,
// which may have 1 MiB.
func TestPackageHoldsEverything(t *testing.T) {
	folder := t.TempDir()
	if output, err := run(t, tool(t, "helm"), "package", chart(t), "--destination", folder); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	archives, err := filepath.Glob(filepath.Join(folder, "backend-exporters-*.tgz"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("helm made %q: %v", archives, err)
	}
	text, err := derive.Render(tool(t, "helm"), archives[0], "--values=testdata/values/everything.yaml")
	if want, _ := render(t, "testdata/values/everything.yaml"); err != nil || text != want {
		t.Errorf("the archive renders something else: %v", err)
	}
	if about, err := os.Stat(archives[0]); err != nil || about.Size() > 256<<10 {
		t.Errorf("the archive is %d bytes: %v", about.Size(), err)
	}
}
