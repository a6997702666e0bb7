package release

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"
)

// promu is all that promu knows in its file, as its cmd/promu.go declares it; it refuses any other key.
type promu struct {
	Build struct {
		Binaries []struct {
			Name string `yaml:"name"`
			Path string `yaml:"path"`
		} `yaml:"binaries"`
		Flags      string              `yaml:"flags"`
		LDFlags    string              `yaml:"ldflags"`
		ExtLDFlags []string            `yaml:"extldflags"`
		Tags       map[string][]string `yaml:"tags"`
		Prefix     string              `yaml:"prefix"`
		Static     bool                `yaml:"static"`
	} `yaml:"build"`
	Crossbuild struct {
		Platforms []string `yaml:"platforms"`
	} `yaml:"crossbuild"`
	Repository struct {
		Path string `yaml:"path"`
	} `yaml:"repository"`
	Go struct {
		CGo     bool   `yaml:"cgo"`
		Version string `yaml:"version"`
	} `yaml:"go"`
	Tarball struct {
		Files  []string `yaml:"files"`
		Prefix string   `yaml:"prefix"`
	} `yaml:"tarball"`
}

func readPromu(t *testing.T) promu {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, ".promu.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var p promu
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}

// Promu builds what `go build REPOSITORY/PATH` in the root does.
func TestPromuBuildsTheExporters(t *testing.T) {
	p := readPromu(t)
	var names []string
	for _, b := range p.Build.Binaries {
		names = append(names, b.Name)
		out := run(t, root, nil, "go", "list", "-f", "{{.Name}}", path.Join(p.Repository.Path, b.Path))
		if strings.TrimSpace(out) != "main" {
			t.Errorf("%s is the package %s and no program", b.Path, out)
		}
	}
	slices.Sort(names)
	var want []string
	for _, kind := range kinds {
		want = append(want, kind+"-exporter")
	}
	if !slices.Equal(names, want) || p.Go.CGo {
		t.Errorf("promu builds %v (cgo: %v), want %v without", names, p.Go.CGo, want)
	}
	if platforms := "linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64"; strings.Join(p.Crossbuild.Platforms, " ") != platforms {
		t.Errorf("promu builds for %v, make release for %s", p.Crossbuild.Platforms, platforms)
	}
	for _, file := range p.Tarball.Files {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			t.Error(err)
		}
	}
	if workspace := run(t, root, nil, "go", "work", "edit", "-json"); !strings.Contains(workspace, `"`+p.Go.Version+".") {
		t.Errorf("promu builds with Go %s, the workspace says %s", p.Go.Version, workspace)
	}
}

// The linker ignores a variable that is not there, and what it ought to hold is empty then.
func TestStampedVariables(t *testing.T) {
	folder := strings.TrimSpace(run(t, filepath.Join(root, "common"), nil, "go", "list", "-f", "{{.Dir}}", "github.com/prometheus/common/version"))
	there := variables(t, folder)
	for name, flags := range map[string]string{
		".promu.yml":     promuFlags(t),
		"tools/stamp.sh": run(t, root, nil, "tools/stamp.sh"),
	} {
		var got []string
		for _, match := range regexp.MustCompile(`-X github\.com/prometheus/common/version\.(\w+)=(\S+)`).FindAllStringSubmatch(flags, -1) {
			got = append(got, match[1])
			if !slices.Contains(there, match[1]) {
				t.Errorf("%s stamps %s, which is none of %v", name, match[1], there)
			}
		}
		if want := []string{"Version", "Revision", "Branch", "BuildUser", "BuildDate"}; !slices.Equal(got, want) || strings.Count(flags, "-X ") != len(want) {
			t.Errorf("%s stamps %v, want %v: %s", name, got, want, flags)
		}
	}
}

// promuFlags fills in the flags as promu does, with the functions and fields that it has for that.
func promuFlags(t *testing.T) string {
	t.Helper()
	functions := template.FuncMap{
		"date":     time.Unix(0, 0).UTC().Format,
		"host":     func() string { return "host" },
		"user":     func() (any, error) { return "user", nil },
		"repoPath": func() any { return readPromu(t).Repository.Path },
	}
	flags, err := template.New("ldflags").Funcs(functions).Parse(readPromu(t).Build.LDFlags)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := flags.Execute(&out, struct{ Branch, Name, Owner, Repo, Revision, Version string }{"b", "n", "o", "r", "v", "1"}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// variables lists those of a package, by its source.
func variables(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			general, ok := declaration.(*ast.GenDecl)
			if !ok || general.Tok != token.VAR {
				continue
			}
			for _, spec := range general.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}
