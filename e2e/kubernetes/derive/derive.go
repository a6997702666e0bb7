// Package derive makes what the Helm chart and the plain manifests hold of other files: copies of the alert rules and
// dashboards, since Helm reads nothing outside of a chart; the table of values in the chart's README; the version; and the
// plain manifests, which are the chart rendered.
package derive

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Chart is where the chart is, from the root of the repository.
const Chart = "deploy/helm/backend-exporters"

// KubeVersion is what the chart is rendered for: that of the schemas. A helm that go install made knows no version itself.
const KubeVersion = "1.34.2"

const plain = "deploy/kubernetes"

// Files gives the text of all derived files by their paths from the root. The manifests are left out where helm is "".
func Files(root, helm string) (map[string]string, error) {
	files := map[string]string{}
	for _, step := range []func() error{
		func() error { return copies(root, "alerts/*.yml", files) },
		func() error { return copies(root, "dashboards/*.json", files) },
		func() error { return readme(root, files) },
		func() error { return chartFile(root, files) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if helm == "" {
		return files, nil
	}
	return files, manifests(root, helm, files)
}

// Stale lists files that nothing is derived for any more, though they are where copies belong.
func Stale(root string, files map[string]string) ([]string, error) {
	var stale []string
	for _, pattern := range []string{"alerts/*", "dashboards/*"} {
		found, err := filepath.Glob(filepath.Join(root, Chart, "files", pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			path, _ = filepath.Rel(root, path)
			if _, known := files[path]; !known {
				stale = append(stale, path)
			}
		}
	}
	return stale, nil
}

func copies(root, pattern string, files map[string]string) error {
	found, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		return err
	}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files[filepath.Join(Chart, "files", filepath.Dir(pattern), filepath.Base(path))] = string(text)
	}
	return nil
}

func chartFile(root string, files map[string]string) error {
	version, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		return err
	}
	path := filepath.Join(Chart, "Chart.yaml")
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return err
	}
	now := strings.TrimSpace(string(version))
	changed := regexp.MustCompile(`(?m)^version: .*$`).ReplaceAllString(string(text), "version: "+now)
	files[path] = regexp.MustCompile(`(?m)^appVersion: .*$`).ReplaceAllString(changed, fmt.Sprintf("appVersion: %q", now))
	return nil
}

const begin, end = "<!-- values: derived from values.yaml -->\n", "<!-- end of values -->\n"

// readme puts the table of values between its marks.
func readme(root string, files map[string]string) error {
	path := filepath.Join(Chart, "README.md")
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return err
	}
	head, rest, found := strings.Cut(string(text), begin)
	_, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("%s lacks the marks of its table", path)
	}
	values, err := os.ReadFile(filepath.Join(root, Chart, "values.yaml"))
	if err != nil {
		return err
	}
	table, err := Table(values)
	files[path] = head + begin + "\n" + table + "\n" + end + tail
	return err
}

// Table describes values, each by the comment above it that begins with two dashes.
func Table(values []byte) (string, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(values, &document); err != nil {
		return "", err
	}
	table := &strings.Builder{}
	table.WriteString("| value | default | what it is |\n| --- | --- | --- |\n")
	return table.String() + rows(document.Content[0], ""), nil
}

func rows(mapping *yaml.Node, prefix string) string {
	var text strings.Builder
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		_, description, described := strings.Cut(key.HeadComment, "# -- ")
		switch {
		case described:
			description = strings.ReplaceAll(strings.ReplaceAll(description, "\n# ", " "), "|", `\|`)
			fmt.Fprintf(&text, "| `%s%s` | `%s` | %s |\n", prefix, key.Value, oneLine(value), description)
		case value.Kind == yaml.MappingNode:
			text.WriteString(rows(value, prefix+key.Value+"."))
		default:
			fmt.Fprintf(&text, "| `%s%s` | | |\n", prefix, key.Value)
		}
	}
	return text.String()
}

// oneLine writes a value as YAML in one line.
func oneLine(value *yaml.Node) string {
	flow := *value
	flow.Style = yaml.FlowStyle
	if value.Kind == yaml.ScalarNode {
		flow.Style = value.Style
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	if err := encoder.Encode(&flow); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(text.String()), " ")
}

// manifests renders the chart for each file of deploy/kubernetes/values.
func manifests(root, helm string, files map[string]string) error {
	for _, name := range []string{"postgres", "redis", "vector-db", "smtp"} {
		secret, err := os.ReadFile(filepath.Join(root, plain, "values", name+".secret.yaml"))
		if err != nil {
			return err
		}
		objects, err := objects(root, helm, name)
		if err != nil {
			return err
		}
		head := "# Made from the Helm chart by `make chart`. Edit the Secret and the server's address, then:\n" +
			"#   kubectl --namespace monitoring apply -f " + name + ".yaml\n"
		files[filepath.Join(plain, name+".yaml")] = head + string(secret) + "---\n" + strings.Join(objects, "---\n")
	}
	all, err := objects(root, helm, "monitoring")
	if err != nil {
		return err
	}
	text := "# Made from the Helm chart by `make chart`. For Prometheus Operator.\n"
	var kept []string
	for _, object := range all {
		if strings.Contains(object, "\nkind: ServiceMonitor\n") || strings.Contains(object, "\nkind: PrometheusRule\n") {
			kept = append(kept, object)
		}
	}
	files[filepath.Join(plain, "monitoring.yaml")] = text + strings.Join(kept, "---\n")
	return nil
}

// objects are those that the chart makes of a file of values, without what only Helm needs.
func objects(root, helm, name string) ([]string, error) {
	text, err := Render(helm, filepath.Join(root, Chart), "--values", filepath.Join(root, plain, "values", name+".yaml"))
	if err != nil {
		return nil, err
	}
	text = regexp.MustCompile(`(?m)^(# Source: .*| *helm\.sh/chart: .*| *app\.kubernetes\.io/managed-by: Helm)\n`).ReplaceAllString(text, "")
	return strings.Split(strings.TrimPrefix(text, "---\n"), "---\n"), nil
}

// Render is helm template for a release with the name backend-exporters in the namespace monitoring.
func Render(helm, chart string, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all := append([]string{"template", "backend-exporters", chart, "--namespace=monitoring", "--kube-version=" + KubeVersion}, arguments...)
	command := exec.CommandContext(ctx, helm, all...)
	var errors bytes.Buffer
	command.Stderr = &errors
	text, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("helm template: %w\n%s", err, errors.String())
	}
	return string(text), nil
}
