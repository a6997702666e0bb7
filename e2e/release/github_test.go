package release

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// workflow is what the tests look at in one.
type workflow struct {
	Permissions map[string]string `yaml:"permissions"`
	Jobs        map[string]struct {
		Permissions map[string]string `yaml:"permissions"`
		Timeout     int               `yaml:"timeout-minutes"`
		Uses        string            `yaml:"uses"`
		Steps       []struct {
			Uses string            `yaml:"uses"`
			Run  string            `yaml:"run"`
			With map[string]string `yaml:"with"`
		} `yaml:"steps"`
	} `yaml:"jobs"`
}

// workflows gives the text of each, by its path.
func workflows(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no workflows: %v", err)
	}
	files := make(map[string]string)
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = string(content)
	}
	return files
}

func TestWorkflowsAreValid(t *testing.T) {
	program, err := filepath.Abs(filepath.Join(root, ".cache", "tools", "actionlint"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("run tools/ensure.sh actionlint first: %v", err)
	}
	arguments := []string{"-no-color", "-shellcheck=", "-pyflakes=", "-config-file=" + os.DevNull}
	for path := range workflows(t) {
		arguments = append(arguments, path)
	}
	run(t, ".", nil, program, arguments...)
}

// A tag of an action can be moved to what nobody has read; a commit cannot.
func TestActionsArePinned(t *testing.T) {
	pinned := regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	commits := make(map[string]string)
	for path, text := range workflows(t) {
		for line := range strings.Lines(text) {
			_, action, found := strings.Cut(line, "uses: ")
			action = strings.TrimSpace(action)
			if !found || strings.HasPrefix(action, "./") {
				continue
			}
			if !pinned.MatchString(action) {
				t.Errorf("%s: %s is not pinned by its commit, with its version behind it", path, action)
			}
			name, commit, _ := strings.Cut(action, "@")
			if other := commits[name]; other != "" && other != commit {
				t.Errorf("%s: %s is at %s and at %s", path, name, commit, other)
			}
			commits[name] = commit
		}
	}
}

// A job may do no more than it has to.
func TestWorkflowPermissions(t *testing.T) {
	writes := map[string][]string{ // all that write, and what
		"release.yml/archives": {"attestations", "contents", "id-token"},
		"release.yml/images":   {"packages"},
	}
	for path, text := range workflows(t) {
		var w workflow
		if err := yaml.Unmarshal([]byte(text), &w); err != nil {
			t.Fatal(err)
		}
		if w.Permissions == nil || len(w.Permissions) > 0 {
			t.Errorf("%s: permissions of all jobs are %v, want {}", path, w.Permissions)
		}
		for name, job := range w.Jobs {
			name = filepath.Base(path) + "/" + name
			var got []string
			for what, right := range job.Permissions {
				if right == "write" {
					got = append(got, what)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, writes[name]) || len(job.Permissions) == 0 {
				t.Errorf("%s may write %v, want %v, of %v", name, got, writes[name], job.Permissions)
			}
			if job.Timeout == 0 && job.Uses == "" {
				t.Errorf("%s has no timeout", name)
			}
			for _, step := range job.Steps {
				if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["persist-credentials"] != "false" {
					t.Errorf("%s leaves its token to what it runs", name)
				}
				// What others can choose, such as a title or a branch, must not become a part of a script.
				if strings.Contains(step.Run, "${{") {
					t.Errorf("%s puts an expression into a script: %s", name, step.Run)
				}
			}
		}
	}
}

// What make does in a workflow, make has to know.
func TestWorkflowsRunTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for path, text := range workflows(t) {
		for _, command := range regexp.MustCompile(`(?m)run: make (.*)$`).FindAllStringSubmatch(text, -1) {
			for target := range strings.FieldsSeq(command[1]) {
				seen[target] = true
				if !bytes.Contains(makefile, []byte("\n"+target+":")) {
					t.Errorf("%s: make has no target %s", path, target)
				}
			}
		}
	}
	for _, target := range []string{"lint", "standalone", "test", "vulncheck", "release"} {
		if !seen[target] {
			t.Errorf("no workflow runs make %s", target)
		}
	}
}

// Dependabot looks only where it is told to.
func TestDependabotKnowsTheModules(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, ".github", "dependabot.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Version int `yaml:"version"`
		Updates []struct {
			Ecosystem   string                         `yaml:"package-ecosystem"`
			Directory   string                         `yaml:"directory"`
			Directories []string                       `yaml:"directories"`
			Schedule    map[string]string              `yaml:"schedule"`
			Groups      map[string]map[string][]string `yaml:"groups"`
		} `yaml:"updates"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range file.Updates {
		for _, folder := range append(u.Directories, u.Directory) {
			if folder != "" {
				got = append(got, u.Ecosystem+" "+folder)
			}
		}
	}
	want := []string{"docker /", "github-actions /"}
	work, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range regexp.MustCompile(`(?m)^\s*\./(\S+)$`).FindAllStringSubmatch(string(work), -1) {
		want = append(want, "gomod /"+use[1])
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || file.Version != 2 {
		t.Errorf("dependabot looks at\n%v\nwant\n%v", got, want)
	}
}
