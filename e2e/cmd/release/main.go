// Command release builds what a release consists of, into dist/: of each exporter an archive for each platform, a bill of
// materials beside each archive, for linux a Debian package of the same program, and the checksums of all. The same commit,
// the same Go and the same nfpm give the same bytes, wherever and whenever it runs.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sums is the name that promu and Prometheus' own releases use.
const sums = "sha256sums.txt"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	root := flags.String("root", ".", "folder of the repository")
	only := flags.String("only", "*", "pattern of what to build, such as 'redis-exporter.*', '*.linux-amd64' or '*.deb'")
	dirty := flags.Bool("dirty", false, "build although there is what is not committed; the revision then ends in -dirty")
	of := flags.String("notices", "", "a program that is built already: print the licences of what is linked into it, and build nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *of != "" {
		return notices(ctx, *root, *of, out)
	}
	source, err := readSource(ctx, *root, *dirty)
	if err != nil {
		return err
	}
	targets, err := matching(*only)
	if err != nil {
		return err
	}
	dist := filepath.Join(source.root, "dist")
	// What an earlier run left would be taken for a part of this release.
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	for _, t := range targets {
		begin := time.Now()
		if err := source.release(ctx, t, dist); err != nil {
			return fmt.Errorf("%s: %w", source.name(t), err)
		}
		fmt.Fprintf(out, "release: %s, in %s\n", source.name(t), time.Since(begin).Round(100*time.Millisecond))
	}
	return writeSums(dist)
}

// target is an exporter for a platform.
type target struct {
	kind, os, arch string
	archive, deb   bool // what is made for it
}

func (t target) exporter() string { return t.kind + "-exporter" }

// binary is the name of the program in the archive.
func (t target) binary() string {
	if t.os == "windows" {
		return t.exporter() + ".exe"
	}
	return t.exporter()
}

// matching lists the targets of which a pattern matches EXPORTER.OS-ARCH, the archive, or EXPORTER.OS-ARCH.deb.
func matching(pattern string) ([]target, error) {
	var targets []target
	for _, system := range []string{"linux", "darwin", "windows"} {
		for _, arch := range []string{"amd64", "arm64"} {
			for _, kind := range []string{"postgres", "redis", "smtp", "vector-db"} {
				t := target{kind: kind, os: system, arch: arch}
				name := t.exporter() + "." + system + "-" + arch
				var err, err2 error
				t.archive, err = path.Match(pattern, name)
				t.deb, err2 = path.Match(pattern, name+".deb")
				if err = errors.Join(err, err2); err != nil {
					return nil, err
				}
				t.deb = t.deb && system == "linux"
				if t.archive || t.deb {
					targets = append(targets, t)
				}
			}
		}
	}
	if targets == nil {
		return nil, fmt.Errorf("nothing to build is like %q; names are like redis-exporter.linux-amd64 and redis-exporter.linux-amd64.deb", pattern)
	}
	return targets, nil
}

// release writes what is made for a target.
func (s *source) release(ctx context.Context, t target, dist string) error {
	program, err := s.build(ctx, t)
	if err != nil {
		return err
	}
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return err
	}
	modules, err := linked(info, func(arguments ...string) ([]byte, error) { return s.goTool(ctx, t, arguments...) })
	if err != nil {
		return err
	}
	if t.archive {
		err = s.releaseArchive(t, program, modules, dist)
	}
	if t.deb && err == nil {
		err = s.releaseDeb(ctx, t, program, licenceTexts(modules), dist)
	}
	return err
}

// releaseArchive writes the archive of a target and its bill of materials.
func (s *source) releaseArchive(t target, program []byte, modules []module, dist string) error {
	files, err := s.contents(t)
	if err != nil {
		return err
	}
	files = append(files, file{t.binary(), 0o755, program}, file{"THIRD-PARTY-LICENSES.txt", 0o644, licenceTexts(modules)})
	archive, err := pack(t, s.name(t), files, s.time)
	if err != nil {
		return err
	}
	bill, err := billOfMaterials(s, t, program, modules)
	if err != nil {
		return err
	}
	name := filepath.Join(dist, s.name(t))
	return errors.Join(
		os.WriteFile(name+suffix(t), archive, 0o644),
		os.WriteFile(name+".cdx.json", bill, 0o644))
}

// writeSums writes the checksums of all files of a folder as sha256sum --check reads them.
func writeSums(dist string) error {
	names, err := filepath.Glob(filepath.Join(dist, "*"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	var lines strings.Builder
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256(content), filepath.Base(name))
	}
	return os.WriteFile(filepath.Join(dist, sums), []byte(lines.String()), 0o644)
}
