package main

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// ours is how the paths of this repository's own modules begin.
const ours = "github.com/alfred-agent-platform/backend-exporters/"

// module is another project's part of a program.
type module struct {
	path, version string
	texts         []file   // licences and notices, by their paths in the module
	licences      []string // SPDX identifiers, sorted
}

// runner runs go as it ran to build a program.
type runner func(arguments ...string) ([]byte, error)

// linked tells which modules of others are in a program, as the program itself says, and under which licences.
func linked(info *buildinfo.BuildInfo, run runner) ([]module, error) {
	folders, goroot, err := packages(info, run)
	if err != nil {
		return nil, err
	}
	modules := []module{{path: "std", version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, d := range info.Deps {
		if !strings.HasPrefix(d.Path, ours) {
			modules = append(modules, module{path: d.Path, version: d.Version})
		}
	}
	for i := range modules {
		m := &modules[i]
		if m.path == "std" {
			err = m.read(goroot, []string{goroot})
		} else if at := folders[m.path]; at == nil || at.version != m.version {
			err = fmt.Errorf("go list does not know it, or not as %s", m.version)
		} else {
			err = m.read(at.root, at.folders)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.path, err)
		}
	}
	slices.SortFunc(modules, func(a, b module) int { return cmp.Compare(a.path, b.path) })
	return modules, nil
}

// place is where a module lies, and those of its folders that a program is compiled from.
type place struct {
	version, root string
	folders       []string
}

// packages tells where the modules of a program lie, and Go itself.
func packages(info *buildinfo.BuildInfo, run runner) (map[string]*place, string, error) {
	out, err := run("list", "-deps", "-json=Dir,Module", "-tags="+built(info, "-tags"), ".")
	if err != nil {
		return nil, "", err
	}
	places := make(map[string]*place)
	for in := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir    string
			Module *struct{ Path, Version, Dir string }
		}
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, "", err
		}
		if p.Module == nil { // the standard library
			continue
		}
		if places[p.Module.Path] == nil {
			places[p.Module.Path] = &place{version: p.Module.Version, root: p.Module.Dir}
		}
		places[p.Module.Path].folders = append(places[p.Module.Path].folders, p.Dir)
	}
	goroot, err := run("env", "GOROOT")
	return places, strings.TrimSpace(string(goroot)), err
}

// built tells how a program was built.
func built(info *buildinfo.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// notices prints the licences of what is in a program of an exporter that was built already, in the workspace.
func notices(ctx context.Context, root, program string, out io.Writer) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	at, found := strings.CutPrefix(info.Main.Path, ours)
	if !found {
		return fmt.Errorf("%s is a program of %s, which is not ours", program, info.Main.Path)
	}
	s := &source{root: filepath.Join(root, filepath.FromSlash(at))}
	platform := []string{"GOOS=" + built(info, "GOOS"), "GOARCH=" + built(info, "GOARCH"), "CGO_ENABLED=" + built(info, "CGO_ENABLED")}
	modules, err := linked(info, func(arguments ...string) ([]byte, error) { return s.output(ctx, platform, "go", arguments...) })
	if err != nil {
		return err
	}
	_, err = out.Write(licenceTexts(modules))
	return err
}

// read finds the texts that hold for folders of a module: those in them and in the folders above, up to the root.
func (m *module) read(root string, folders []string) error {
	seen := make(map[string]bool)
	for _, folder := range folders {
		for ; len(folder) >= len(root) && !seen[folder]; folder = filepath.Dir(folder) {
			seen[folder] = true
			if err := m.readFolder(root, folder); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(m.texts, func(a, b file) int { return cmp.Compare(a.path, b.path) })
	return m.classify()
}

func (m *module) readFolder(root, folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	name := regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents)([-_.].*)?$`)
	for _, e := range entries {
		if !e.Type().IsRegular() || !name.MatchString(e.Name()) || filepath.Ext(e.Name()) == ".go" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		path, err := filepath.Rel(root, filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		m.texts = append(m.texts, file{filepath.ToSlash(path), 0o644, content})
	}
	return nil
}

// allowed says which licences may be linked into what we release: those that ask for no more than to be named.
func allowed(licence string) bool {
	switch licence {
	case "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC":
		return true
	}
	return false
}

// classify names the licences, and fails where one is not known for sure or not allowed.
func (m *module) classify() error {
	for _, text := range m.texts {
		found := licensecheck.Scan(text.content)
		for _, match := range found.Match {
			if match.IsURL || match.ID == "GooglePatentsFile" { // a mention; a grant beside the licence
				continue
			}
			if !allowed(match.ID) {
				return fmt.Errorf("%s is under %s, which we do not link", text.path, match.ID)
			}
			if !slices.Contains(m.licences, match.ID) {
				m.licences = append(m.licences, match.ID)
			}
		}
		if strings.Contains(strings.ToLower(text.path), "licen") && found.Percent < 75 {
			return fmt.Errorf("%s is not a licence that we know", text.path)
		}
	}
	if m.licences == nil {
		return errors.New("no licence was found with it")
	}
	slices.Sort(m.licences)
	return nil
}

// licenceTexts is what the licences ask us to give along with a program.
func licenceTexts(modules []module) []byte {
	var out bytes.Buffer
	out.WriteString("This program is linked from its own code and from the projects below. What follows are their licences and notices.\n")
	for _, m := range modules {
		for _, text := range m.texts {
			line := strings.Repeat("-", 100)
			fmt.Fprintf(&out, "\n%s\n%s %s: %s\n%s\n\n%s\n", line, m.path, m.version, text.path, line, bytes.TrimSpace(text.content))
		}
	}
	return out.Bytes()
}
