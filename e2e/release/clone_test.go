// Package release checks what a release is made with and what it consists of: programs, archives, bills of materials,
// and the files that tell promu, GitHub and dependabot what to do.
package release

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const root = "../.."

// run runs a program in a folder, with variables beside those of the environment, and gives what it printed.
func run(t *testing.T, folder string, environment []string, name string, arguments ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	command := commandIn(ctx, folder, environment, name, arguments...)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(arguments, " "), err, out.Bytes(), said.Bytes())
	}
	return out.String()
}

func commandIn(ctx context.Context, folder string, environment []string, name string, arguments ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir, command.WaitDelay = folder, time.Second
	command.Env = append(os.Environ(), environment...)
	return command
}

// clone gives what was last committed, in a folder of that name below the test's own. From a tree without git, such as
// an unpacked source archive, it commits what is there to a repository of its own.
func clone(t *testing.T, name string) string {
	t.Helper()
	from, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), name)
	if _, err := os.Stat(filepath.Join(from, ".git")); err == nil {
		run(t, ".", nil, "git", "clone", "--quiet", from, to)
		return to
	}
	run(t, ".", nil, "git", "init", "--quiet", to)
	here := []string{"--git-dir=" + filepath.Join(to, ".git"), "--work-tree=" + from}
	run(t, from, nil, "git", append(here, "add", "--all")...)
	run(t, from, nil, "git", append(here, "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "--message=all")...)
	run(t, to, nil, "git", "checkout", "--quiet", "--force", "HEAD")
	return to
}

// again clones a clone, so that both hold the same commit whatever is committed meanwhile.
func again(t *testing.T, from, name string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), name)
	run(t, ".", nil, "git", "clone", "--quiet", from, to)
	return to
}
