package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// source is the tree that is built.
type source struct {
	root    string
	version string    // of VERSION
	time    time.Time // of everything in the release: the commit's, or SOURCE_DATE_EPOCH
	stamp   string    // flags of the linker, of tools/stamp.sh
}

// readSource refuses a tree whose commit does not tell what is in it, unless dirty.
func readSource(ctx context.Context, root string, dirty bool) (*source, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	s := &source{root: root}
	version, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		return nil, fmt.Errorf("%w: -root names the folder of the repository", err)
	}
	s.version = strings.TrimSpace(string(version))
	changes, err := s.output(ctx, nil, "git", "status", "--porcelain")
	switch {
	case err != nil && (os.Getenv("REVISION") == "" || os.Getenv("SOURCE_DATE_EPOCH") == ""):
		return nil, fmt.Errorf("git does not tell what is built here: build from a clone, or set REVISION and SOURCE_DATE_EPOCH: %w", err)
	case len(changes) > 0 && !dirty:
		return nil, fmt.Errorf("not all of this is committed; commit it, or say make release DIRTY=yes to build it all the same:\n%s", changes)
	}
	if s.time, err = s.date(ctx); err != nil {
		return nil, err
	}
	// The branch is none of a commit's properties: who builds the tag again is on none.
	stamp, err := s.output(ctx, []string{"BRANCH=HEAD", "VERSION=" + s.version}, filepath.Join(root, "tools", "stamp.sh"))
	s.stamp = strings.TrimSpace(string(stamp))
	return s, err
}

// date is what https://reproducible-builds.org/specs/source-date-epoch asks for.
func (s *source) date(ctx context.Context) (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		out, err := s.output(ctx, nil, "git", "log", "-1", "--format=%ct")
		if err != nil {
			return time.Time{}, err
		}
		epoch = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is not in seconds: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// name is that of a target's archive without its ending, and of the folder in it; it is as promu makes them.
func (s *source) name(t target) string {
	return fmt.Sprintf("%s-%s.%s-%s", t.exporter(), s.version, t.os, t.arch)
}

// build gives the program of a target.
func (s *source) build(ctx context.Context, t target) ([]byte, error) {
	folder, err := os.MkdirTemp("", "release")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, t.binary())
	arguments := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", s.stamp, "-o", program}, tags(t)...)
	if _, err := s.goTool(ctx, t, append(arguments, ".")...); err != nil {
		return nil, err
	}
	return os.ReadFile(program)
}

// tags leaves darwin and windows their own ways to resolve names, which need no C either: netgo would take them away.
func tags(t target) []string {
	if t.os == "linux" {
		return []string{"-tags=netgo"}
	}
	return nil
}

// goTool runs go in the module of a target's exporter, as that module stands alone, and for its platform.
// What a person has set for other builds is set to what Go does by itself.
func (s *source) goTool(ctx context.Context, t target, arguments ...string) ([]byte, error) {
	environment := []string{
		"GOOS=" + t.os, "GOARCH=" + t.arch, "GOAMD64=v1", "GOARM64=v8.0", "CGO_ENABLED=0",
		"GOWORK=off", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=", "GOFIPS140=off",
	}
	in := &source{root: filepath.Join(s.root, "exporters", t.kind)}
	return in.output(ctx, environment, "go", arguments...)
}

// output runs a program in the root; its error holds what the program said.
func (s *source) output(ctx context.Context, environment []string, name string, arguments ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir = s.root
	command.Env = append(os.Environ(), environment...)
	command.WaitDelay = time.Second
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", filepath.Base(name), err), errors.New(strings.TrimSpace(said.String())))
	}
	return out.Bytes(), nil
}
