package release

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"debug/pe"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

const (
	linux   = "*.linux-amd64*" // archives and packages
	arm     = "redis-exporter.linux-arm64.deb"
	cold    = "smtp-exporter.linux-amd64"
	windows = "redis-exporter.windows-arm64"
	ours    = "github.com/alfred-agent-platform/backend-exporters/"
)

var kinds = []string{"postgres", "redis", "smtp", "vector-db"}

// The exporters for one platform and one program for another are built twice: from two clones under other paths, on
// another branch, by make and by the program alone, in another environment; and one of them a third time, with nothing
// compiled before. What builds for the other platforms TestPlatforms tells; building all for all six takes minutes.
func TestRelease(t *testing.T) {
	a := clone(t, "a")
	b := again(t, a, "some where/else")
	packer := "PATH=" + bringPacker(t, a) + ":" + os.Getenv("PATH")
	run(t, b, nil, "git", "checkout", "--quiet", "-b", "another")
	program := filepath.Join(t.TempDir(), "release")
	run(t, filepath.Join(a, "e2e"), []string{"GOFLAGS=-buildvcs=false"}, "go", "build", "-o", program, "./cmd/release")

	run(t, a, nil, "make", "release", "ONLY="+linux)
	first := read(t, a)
	// Nothing of these is to get into what is built.
	foreign := []string{packer, "GOAMD64=v3", "GOFLAGS=-tags=foreign", "CGO_ENABLED=1", "TZ=Asia/Tokyo", "USER=other"}
	run(t, b, foreign, program, "-only", linux)
	same(t, first, read(t, b))
	run(t, b, []string{"GOCACHE=" + t.TempDir()}, program, "-only", cold)
	for name, content := range read(t, b) {
		if name != "sha256sums.txt" && !bytes.Equal(content, first[name]) {
			t.Errorf("%s is another one where nothing was compiled before", name)
		}
	}

	for _, folder := range []string{a, b} {
		run(t, folder, nil, program, "-only", windows)
	}
	archives := read(t, a)
	same(t, archives, read(t, b))
	run(t, b, foreign, program, "-only", arm)
	packages := read(t, b)

	run(t, filepath.Join(a, "dist"), nil, "sh", "-c", documented(t, "sha256sum --check"))
	revision := strings.TrimSpace(run(t, a, nil, "git", "rev-parse", "HEAD"))
	version := strings.TrimSpace(run(t, a, nil, "cat", "VERSION"))
	moment := commitTime(t, a)
	checkSums(t, first, 12)
	checkSums(t, archives, 2)
	checkSums(t, packages, 1)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			name := kind + "-exporter-" + version + ".linux-amd64"
			files := untar(t, first[name+".tar.gz"], name, moment)
			checkFiles(t, files, a, kind, kind+"-exporter", true)
			program := files[kind+"-exporter"]
			checkStatic(t, program)
			checkStamp(t, program, fmt.Sprintf("%s-exporter, version %s (branch: HEAD, revision: %s)", kind, version, revision), moment)
			checkBill(t, first[name+".cdx.json"], program, files["THIRD-PARTY-LICENSES.txt"])
			checkTexts(t, filepath.Join(a, "exporters", kind), program, string(files["THIRD-PARTY-LICENSES.txt"]))
			checkTested(t, kind, program)
			checkPackage(t, first[fmt.Sprintf("%s-exporter_%s_amd64.deb", kind, version)], kind, version+" amd64", moment, program, files["THIRD-PARTY-LICENSES.txt"])
		})
	}
	t.Run("arm64", func(t *testing.T) {
		files := checkPackage(t, packages["redis-exporter_"+version+"_arm64.deb"], "redis", version+" arm64", moment, nil, nil)
		if image, err := elf.NewFile(bytes.NewReader(files["usr/bin/redis-exporter"])); err != nil || image.Machine != elf.EM_AARCH64 {
			t.Errorf("the program is not one for arm64: %v", err)
		}
		checkStatic(t, files["usr/bin/redis-exporter"])
		native := checkPackage(t, first["redis-exporter_"+version+"_amd64.deb"], "redis", version+" amd64", moment, nil, nil)
		if page := "usr/share/man/man1/redis-exporter.1.gz"; !bytes.Equal(files[page], native[page]) {
			t.Error("the manual page depends on the architecture")
		}
	})
	t.Run("windows", func(t *testing.T) {
		name := "redis-exporter-" + version + ".windows-arm64"
		files := unzip(t, archives[name+".zip"], name, moment)
		checkFiles(t, files, a, "redis", "redis-exporter.exe", false)
		program := files["redis-exporter.exe"]
		if image, err := pe.NewFile(bytes.NewReader(program)); err != nil || image.Machine != pe.IMAGE_FILE_MACHINE_ARM64 {
			t.Errorf("the program is not one for Windows on arm64: %v", err)
		}
		checkBill(t, archives[name+".cdx.json"], program, files["THIRD-PARTY-LICENSES.txt"])
	})
}

// What is not committed is in no commit, so that nobody could build it again.
func TestReleaseOfChanges(t *testing.T) {
	folder := clone(t, "changed")
	program := filepath.Join(t.TempDir(), "release")
	run(t, filepath.Join(folder, "e2e"), []string{"GOFLAGS=-buildvcs=false"}, "go", "build", "-o", program, "./cmd/release")
	if err := os.WriteFile(filepath.Join(folder, "exporters", "smtp", "more.go"), []byte("package main\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	said := refused(t, folder, nil, program, "-only", "smtp-exporter.linux-amd64")
	for _, want := range []string{"exporters/smtp/more.go", "commit", "make release DIRTY=yes"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q but: %s", want, said)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "dist")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dist is there although the release was refused: %v", err)
	}
	run(t, folder, nil, program, "-only", "smtp-exporter.linux-amd64", "-dirty")
	files := read(t, folder)
	for name, content := range files {
		if folder, ok := strings.CutSuffix(name, ".tar.gz"); ok {
			checkStamp(t, untar(t, content, folder, time.Time{})["smtp-exporter"], "-dirty)", time.Time{})
		}
	}
	if said := refused(t, folder, nil, program, "-only", "mysql*", "-dirty"); !strings.Contains(said, "redis-exporter.linux-amd64") {
		t.Errorf("it does not say what can be built but: %s", said)
	}

	// Without git nobody knows the commit but who unpacked it.
	if err := os.RemoveAll(filepath.Join(folder, ".git")); err != nil {
		t.Fatal(err)
	}
	none := "GIT_CEILING_DIRECTORIES=" + filepath.Dir(folder)
	if said := refused(t, folder, []string{none}, program); !strings.Contains(said, "set REVISION and SOURCE_DATE_EPOCH") {
		t.Errorf("it does not say what it needs but: %s", said)
	}
	run(t, folder, []string{none, "REVISION=0123abc", "SOURCE_DATE_EPOCH=86400"}, program, "-only", "smtp-exporter.linux-amd64")
	for name, content := range read(t, folder) {
		if folder, ok := strings.CutSuffix(name, ".tar.gz"); ok {
			moment := time.Unix(86400, 0).UTC()
			checkStamp(t, untar(t, content, folder, moment)["smtp-exporter"], "revision: 0123abc)", moment)
		}
	}
}

// The exporters can be had with nothing but Go and a clone.
func TestInstall(t *testing.T) {
	folder, bin := clone(t, "installed"), t.TempDir()
	install := documented(t, "GOWORK=off go -C exporters/redis install")
	for _, kind := range kinds {
		run(t, folder, []string{"GOBIN=" + bin}, "sh", "-c", strings.Replace(install, "redis", kind, 1))
		if out := run(t, bin, nil, filepath.Join(bin, kind), "--version"); !strings.HasPrefix(out, kind+"-exporter, version") {
			t.Errorf("%s --version: %s", kind, out)
		}
	}
}

// documented gives the command of docs/releasing.md that begins so.
func documented(t *testing.T, begin string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "releasing.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, begin) {
			return line
		}
	}
	t.Fatalf("docs/releasing.md has no command %s", begin)
	return ""
}

// read gives the files of dist.
func read(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "dist", "*"))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, path := range paths {
		if files[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func same(t *testing.T, a, b map[string][]byte) {
	t.Helper()
	names, others := slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b))
	if !slices.Equal(names, others) {
		t.Errorf("the one release has %v, the other %v", names, others)
	}
	for _, name := range names {
		if !bytes.Equal(a[name], b[name]) {
			t.Errorf("%s: %d bytes, and %d other ones when built again", name, len(a[name]), len(b[name]))
		}
	}
}

// refused runs a program that fails, and gives what it said.
func refused(t *testing.T, folder string, environment []string, program string, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := commandIn(ctx, folder, environment, program, arguments...).CombinedOutput()
	if err == nil {
		t.Errorf("%v is not refused", arguments)
	}
	return string(out)
}

func commitTime(t *testing.T, folder string) time.Time {
	t.Helper()
	seconds, err := strconv.ParseInt(strings.TrimSpace(run(t, folder, nil, "git", "log", "-1", "--format=%ct")), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(seconds, 0).UTC()
}

// checkSums wants the checksums of so many files, and of all that there are.
func checkSums(t *testing.T, files map[string][]byte, want int) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(string(files["sha256sums.txt"]), "\n"), "\n")
	if len(lines) != want || len(files) != want+1 {
		t.Fatalf("%d checksums and %d files, want %d and one more", len(lines), len(files), want)
	}
	for _, line := range lines {
		sum, name, _ := strings.Cut(line, "  ")
		if got := sha256.Sum256(files[name]); hex.EncodeToString(got[:]) != sum {
			t.Errorf("the checksum of %s is not %s", name, sum)
		}
	}
}

// untar reads an archive, and wants its files sorted, in one folder, of nobody, of one time (unless it is zero).
func untar(t *testing.T, content []byte, folder string, moment time.Time) map[string][]byte {
	t.Helper()
	compressed, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if compressed.Name != "" || !compressed.ModTime.IsZero() {
		t.Errorf("gzip's header has a name or a time: %+v", compressed.Header)
	}
	files := make(map[string][]byte)
	previous := ""
	for in := tar.NewReader(compressed); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || header.Uname != "" || header.Gname != "" || header.Typeflag != tar.TypeReg {
			t.Errorf("%s is somebody's: %+v", header.Name, header)
		}
		checkMember(t, header.Name, previous, folder, fs.FileMode(header.Mode), header.ModTime, moment)
		previous = header.Name
		if files[strings.TrimPrefix(header.Name, folder+"/")], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
}

// unzip is untar for the archives of Windows.
func unzip(t *testing.T, content []byte, folder string, moment time.Time) map[string][]byte {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	previous := ""
	for _, f := range archive.File {
		checkMember(t, f.Name, previous, folder, f.Mode(), f.Modified, moment)
		previous = f.Name
		if files[strings.TrimPrefix(f.Name, folder+"/")], err = fs.ReadFile(archive, f.Name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func checkMember(t *testing.T, name, previous, folder string, mode fs.FileMode, at, moment time.Time) {
	t.Helper()
	if !strings.HasPrefix(name, folder+"/") || name <= previous {
		t.Errorf("%s comes after %s, or is not in %s", name, previous, folder)
	}
	want := fs.FileMode(0o644)
	if strings.Contains(filepath.Base(name), "-exporter") && filepath.Dir(name) == folder {
		want = 0o755
	}
	if mode != want {
		t.Errorf("%s has the mode %v, want %v", name, mode, want)
	}
	if !moment.IsZero() && !at.Equal(moment) {
		t.Errorf("%s is of %v, want %v", name, at, moment)
	}
}

// checkFiles wants what a person needs, as it is in the repository.
func checkFiles(t *testing.T, files map[string][]byte, folder, kind, program string, units bool) {
	t.Helper()
	names := slices.Sorted(maps.Keys(files))
	want := []string{program, "THIRD-PARTY-LICENSES.txt", "LICENSE", "README.md", "CHANGELOG.md",
		"docs/" + kind + ".md", "docs/metrics-" + kind + ".md", "docs/reference-" + kind + ".md"}
	if units {
		want = append(want, "docs/systemd.md", "deploy/systemd/"+kind+"-exporter.service")
	}
	for _, name := range want {
		if len(files[name]) == 0 {
			t.Errorf("%s is not in the archive, which has %v", name, names)
		}
	}
	if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "deploy/platform/") }) {
		t.Errorf("no example of a configuration is in the archive, which has %v", names)
	}
	for _, name := range names {
		if name == program || name == "THIRD-PARTY-LICENSES.txt" {
			continue
		}
		if content, err := os.ReadFile(filepath.Join(folder, name)); err != nil || !bytes.Equal(content, files[name]) {
			t.Errorf("%s in the archive is not the repository's: %v", name, err)
		}
	}
}

// checkStatic wants a program that no loader has to complete.
func checkStatic(t *testing.T, program []byte) {
	t.Helper()
	image, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range image.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is linked dynamically: %v", p.Type)
		}
	}
	if libraries, err := image.ImportedLibraries(); err == nil && len(libraries) > 0 {
		t.Errorf("the program needs %v", libraries)
	}
}

// checkStamp runs a program and wants its first line to end so, and the moment as its date.
func checkStamp(t *testing.T, program []byte, end string, moment time.Time) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exporter")
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	out := run(t, ".", nil, path, "--version")
	if line, _, _ := strings.Cut(out, "\n"); !strings.HasSuffix(line, end) {
		t.Errorf("--version does not say %q but:\n%s", end, out)
	}
	if date := moment.Format("20060102-15:04:05"); !moment.IsZero() && !strings.Contains(out, date) {
		t.Errorf("--version does not say %q but:\n%s", date, out)
	}
}

// checkBill wants the modules that the program itself names, no more and no less, each with its licences and their texts.
func checkBill(t *testing.T, content, program, texts []byte) {
	t.Helper()
	var bill cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(content), cdx.BOMFileFormatJSON).Decode(&bill); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	if hashes := *bill.Metadata.Component.Hashes; bill.SerialNumber != "" || hashes[0].Value != hex.EncodeToString(sum[:]) {
		t.Errorf("the bill has a number of its own, %q, or is that of another program: %v", bill.SerialNumber, hashes)
	}
	var got []string
	for _, c := range *bill.Components {
		got = append(got, c.Name+" "+c.Version)
		if !strings.Contains(string(texts), "\n"+c.Name+" "+c.Version+": ") {
			t.Errorf("the licence of %s %s is not in THIRD-PARTY-LICENSES.txt", c.Name, c.Version)
		}
		for _, choice := range *c.Licenses {
			if !slices.Contains([]string{"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC"}, choice.License.ID) {
				t.Errorf("%s is under %q", c.Name, choice.License.ID)
			}
		}
		if len(*c.Licenses) == 0 {
			t.Errorf("%s is under no licence", c.Name)
		}
	}
	if want := modules(t, bytes.NewReader(program)); !slices.Equal(got, want) {
		t.Errorf("the bill names\n%v\nthe program\n%v", got, want)
	}
}

// checkTexts wants the licence of each module, word for word as it lies at the module's root.
func checkTexts(t *testing.T, folder string, program []byte, texts string) {
	t.Helper()
	for _, m := range modules(t, bytes.NewReader(program)) {
		path, _, _ := strings.Cut(m, " ")
		question := []string{"list", "-m", "-f", "{{.Dir}}", path}
		if path == "std" {
			question = []string{"env", "GOROOT"}
		}
		at := strings.TrimSpace(run(t, folder, []string{"GOWORK=off"}, "go", question...))
		found := 0
		for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING", "NOTICE"} {
			text, err := os.ReadFile(filepath.Join(at, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			found++
			if err != nil || len(text) == 0 || !strings.Contains(texts, string(bytes.TrimSpace(text))) {
				t.Errorf("%s of %s is not in the archive: %v", name, m, err)
			}
		}
		if found == 0 {
			t.Errorf("%s has no licence in %s", m, at)
		}
	}
}

// modules lists what a program is linked from, except for what is ours, sorted.
func modules(t *testing.T, program io.ReaderAt) []string {
	t.Helper()
	info, err := buildinfo.Read(program)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{"std " + strings.TrimPrefix(info.GoVersion, "go")}
	for _, m := range info.Deps {
		if m.Replace != nil && !strings.HasPrefix(m.Path, ours) {
			t.Errorf("%s is replaced by %s", m.Path, m.Replace.Path)
		}
		if !strings.HasPrefix(m.Path, ours) {
			list = append(list, m.Path+" "+m.Version)
		}
	}
	slices.Sort(list)
	return list
}

// checkTested wants the same modules in what is released, built as a module alone, and in what the tests run, built in
// the workspace, where other modules may raise versions.
func checkTested(t *testing.T, kind string, program []byte) {
	t.Helper()
	tested, err := os.Open(harness.Binary(t, kind+"-exporter"))
	if err != nil {
		t.Fatal(err)
	}
	defer tested.Close()
	released := modules(t, bytes.NewReader(program))
	if run := modules(t, tested); !slices.Equal(released, run) {
		t.Errorf("what is released is linked from\n%v\nwhat is tested from\n%v", released, run)
	}
}
