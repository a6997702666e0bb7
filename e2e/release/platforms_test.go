package release

import (
	"debug/macho"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a system or a processor lacks shows when it is compiled for. All exporters are compiled for darwin, of which
// TestRelease builds nothing, and one of them is linked. For the other platforms their types are checked, which is where
// the compiler finds what is missing, and takes a tenth of the time.
func TestPlatforms(t *testing.T) {
	folder := clone(t, "platforms")
	for _, platform := range []string{"linux/arm64", "darwin/amd64", "windows/amd64"} {
		t.Run(platform, func(t *testing.T) {
			system, arch, _ := strings.Cut(platform, "/")
			for _, fault := range checkTypes(t, folder, system, arch) {
				t.Error(fault)
			}
		})
	}
	t.Run("darwin/arm64", func(t *testing.T) {
		environment := []string{"GOOS=darwin", "GOARCH=arm64", "GOWORK=off", "CGO_ENABLED=0"}
		for _, kind := range kinds {
			run(t, filepath.Join(folder, "exporters", kind), environment,
				"go", "list", "-export", "-deps", "-trimpath", "-buildvcs=false", "-f", "{{.Export}}", ".")
		}
		program := filepath.Join(t.TempDir(), "exporter")
		run(t, filepath.Join(folder, "exporters", "smtp"), environment, "go", "build", "-trimpath", "-buildvcs=false", "-o", program, ".")
		image, err := macho.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		defer image.Close()
		if image.Cpu != macho.CpuArm64 || image.Type != macho.TypeExec {
			t.Errorf("the program is one for %v, %v", image.Cpu, image.Type)
		}
	})
	t.Run("found", func(t *testing.T) {
		file := filepath.Join(folder, "exporters", "redis", "linux_alone.go")
		if err := os.WriteFile(file, []byte("package main\n\nimport \"syscall\"\n\nvar _ = syscall.Sysinfo\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		faults := errors.Join(checkTypes(t, folder, "darwin", "amd64")...)
		if faults == nil || !strings.Contains(faults.Error(), "Sysinfo") {
			t.Errorf("what darwin lacks is not found: %v", faults)
		}
	})
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string
	Standard        bool
}

// checkTypes checks the exporters and all that they are linked from, as far as it is not Go's own, for a platform, and
// gives what is wrong.
func checkTypes(t *testing.T, folder, system, arch string) (faults []error) {
	t.Helper()
	arguments := []string{"list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Standard"}
	for _, kind := range kinds {
		arguments = append(arguments, "./exporters/"+kind)
	}
	out := run(t, folder, []string{"GOOS=" + system, "GOARCH=" + arch, "CGO_ENABLED=0"}, "go", arguments...)
	known := map[string]*types.Package{"unsafe": types.Unsafe}
	ours := 0
	for in := json.NewDecoder(strings.NewReader(out)); ; {
		var p listed
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.ImportPath == "unsafe" {
			continue
		}
		checked, err := p.check(arch, known)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", p.ImportPath, err))
		}
		known[p.ImportPath] = checked
		if checked != nil && checked.Name() == "main" {
			ours++
		}
	}
	if ours != len(kinds) {
		faults = append(faults, fmt.Errorf("%d programs were checked, want %d", ours, len(kinds)))
	}
	return faults
}

// check gives the types of a package whose imports are known.
func (p listed) check(arch string, known map[string]*types.Package) (*types.Package, error) {
	positions := token.NewFileSet()
	files := make([]*ast.File, 0, len(p.GoFiles))
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(positions, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	config := types.Config{
		IgnoreFuncBodies: p.Standard, Sizes: types.SizesFor("gc", arch),
		Importer: importer(func(path string) (*types.Package, error) {
			if mapped, ok := p.ImportMap[path]; ok {
				path = mapped
			}
			if found := known[path]; found != nil {
				return found, nil
			}
			return nil, fmt.Errorf("%s is not listed", path)
		}),
	}
	return config.Check(p.ImportPath, positions, files, nil)
}

type importer func(string) (*types.Package, error)

func (i importer) Import(path string) (*types.Package, error) { return i(path) }
