package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/kubernetes/cluster"
)

// elsewhere are programs that cannot do here what a document has them do. Blocks that call one are left out; what
// they bring about is shown by the tests in a folder. `make` with a target is asked what it would do (make -n): its targets
// are what make test runs, and write into the repository. What is for systemd runs in a machine, see machine_test.go.
var elsewhere = []struct{ program, tests, reason string }{
	{"docker build", "e2e/container", "needs a daemon and the image of Go"},
	{"docker buildx", "e2e/container", "needs a daemon and the image of Go"},
	{"docker compose", "e2e/container", "needs a daemon and images of others"},
	{"go", "e2e/docs", "compiles; writing_test.go builds and runs the example, and make test the rest"},
	{"git", "e2e/release", "clones from GitHub; the test clones from here"},
	{"gh", "e2e/release", "asks GitHub for what it has attested"},
	{"sha256sum", "e2e/release", "reads what a release consists of; the test builds one"},
}

// languages are those of blocks: what is done with each is in this file and in examples_test.go. The text of others is
// only shown.
var languages = []string{"sh", "sql", "yaml", "promql", "text", "go", "json", "ini", "dockerfile", "lua"}

// assumed is what a document takes for set, since another one has explained it.
var assumed = map[string][]string{
	"docs/custom-queries.md": {"DATA_SOURCE_URI=db.example.com:5432/postgres?sslmode=verify-full", "DATA_SOURCE_USER=monitor", "DATA_SOURCE_PASS_FILE=/run/secrets/monitor"},
}

// Every command of the documents does what it says, in the order of the document, in one shell that stops at the first
// failure; exporters that it starts find their servers up. Lines of ```text below a block are among what it printed.
func TestCommands(t *testing.T) {
	if os.Getenv("SERVING_WORLD") == "" {
		secludedly(t)
		return
	}
	w := newWorld(t)
	w.makePrograms(t)
	for _, d := range documents(t) {
		t.Run(d.path, func(t *testing.T) {
			checkLanguages(t, d)
			w.run(t, d)
			w.checkExamples(t, d)
		})
	}
}

// secludedly runs the test again as the first process of namespaces of its own: whatever it starts ends with it.
func secludedly(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	again := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^TestCommands$", "-test.v", "-test.timeout=7m")
	again.Env = append(os.Environ(), "SERVING_WORLD=1")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	out, err := again.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: TestCommands/README.md") {
		t.Fatalf("it did not run:\n%s", out)
	}
	t.Logf("%s", out)
}

func checkLanguages(t *testing.T, d *document) {
	t.Helper()
	for _, b := range d.blocks {
		if !slices.Contains(languages, b.language) {
			t.Errorf("%s:%d: a block of the language %q: put it between fences and say one of %v", d.path, b.line, b.language, languages)
		}
	}
}

// makePrograms makes the folder that is first on PATH.
func (w *world) makePrograms(t *testing.T) {
	t.Helper()
	must(t, os.MkdirAll(w.dir+"/serving", 0o700))
	must(t, os.MkdirAll(w.dir+"/programs", 0o700))
	here, err := os.Getwd()
	must(t, err)
	serve := filepath.Join(here, "testdata", "serve.sh")
	for name, text := range map[string]string{
		"postgres-exporter":  serve + " $REPOSITORY/bin/postgres-exporter 9091",
		"redis-exporter":     serve + " $REPOSITORY/bin/redis-exporter 9091",
		"vector-db-exporter": serve + " $REPOSITORY/bin/vector-db-exporter 9091",
		"smtp-exporter":      serve + " $REPOSITORY/bin/smtp-exporter 9091",
		"postgres_exporter":  serve + " $REPOSITORY/.cache/peer/postgres_exporter 9187",
		"redis_exporter":     serve + " $REPOSITORY/.cache/peer/redis_exporter 9121",
		"blackbox_exporter":  serve + " $REPOSITORY/.cache/peer/blackbox_exporter 9115",
		"prometheus":         serve + " " + tool(t, "prometheus") + " 9090",
		"promtool":           tool(t, "promtool"),
		"docker":             filepath.Join(here, "testdata", "docker.sh") + " " + serve,
		"make":               filepath.Join(here, "testdata", "make.sh"),
		"helm":               w.root + "/.cache/tools/helm",
		"kubectl":            filepath.Join(here, "testdata", "kubectl.sh") + " " + w.root + "/.cache/tools/kubectl",
		"psql":               `env PGHOST=localhost PGPORT=$ADMIN_PORT PGUSER=postgres PGPASSWORD="$ADMIN_PASSWORD" /usr/bin/psql -v ON_ERROR_STOP=1`,
		"redis-cli":          w.redisCLI(t),
	} {
		must(t, os.WriteFile(w.dir+"/programs/"+name, []byte("#!/bin/bash\nexec "+text+" \"$@\"\n"), 0o700))
	}
}

// redisCLI calls the client that lies beside the server, with the libraries that both were unpacked with.
func (w *world) redisCLI(t *testing.T) string {
	t.Helper()
	folder := w.root + "/.cache/redis/8"
	text, err := os.ReadFile(folder + "/redis-server")
	must(t, err)
	_, call, _ := strings.Cut(string(text), "exec ")
	call, _, _ = strings.Cut(call, ` "$@"`)
	return strings.NewReplacer("$here", folder, "redis-server", "redis-cli").Replace(call)
}

// preamble brings accounts to what the documents take for given, and knows how to begin without.
const preamble = `
PATH=$HOME/programs:$PATH
forget_monitor() {
	psql -qc "DO \$\$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor') THEN DROP OWNED BY monitor; DROP ROLE monitor; END IF; END \$\$"
}
know_monitor() {
	psql -qc "DO \$\$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'monitor') THEN CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor; END IF; END \$\$"
	psql -qc "ALTER ROLE monitor PASSWORD '$SECRET'"
}
echo "$SECRET" >/run/secrets/monitor
know_monitor
redis-cli ACL SETUSER monitor reset on ">$SECRET" '~*' '&*' +@all >"$HOME/said"
`

// marker comes before what the block at a line prints.
const marker = "@@@@ line "

// run runs the commands of a document in a folder that looks like a clone of the repository.
func (w *world) run(t *testing.T, d *document) {
	t.Helper()
	if d.path == "docs/systemd.md" {
		w.runInMachine(t, d)
		return
	}
	var script strings.Builder
	for _, b := range d.blocks {
		values := strings.HasPrefix(b.code, "# values.yaml\n")
		if b.language == "sh" && covered(t, d, b) || b.language != "sh" && b.language != "sql" && !values {
			continue
		}
		makesRole := strings.Contains(b.code, "CREATE ROLE monitor") || strings.Contains(b.code, "role.sql")
		fmt.Fprintf(&script, "echo; echo '%s%d'\n", marker, b.line)
		if makesRole {
			script.WriteString("forget_monitor\n")
		}
		switch {
		case values:
			fmt.Fprintf(&script, "cat >values.yaml <<'END OF BLOCK'\n%s\nEND OF BLOCK\n", b.code)
		case b.language == "sql":
			fmt.Fprintf(&script, "psql <<'END OF BLOCK'\n%s\nEND OF BLOCK\n", b.code)
		default:
			script.WriteString(b.code)
		}
		if makesRole {
			script.WriteString("know_monitor\n")
		}
	}
	if script.Len() == 0 {
		return
	}
	if d.path == "docs/kubernetes.md" {
		w.kubeconfig = cluster.Start(t).Kubeconfig
	}
	printed := w.shell(t, d, preamble+script.String())
	for i, b := range d.blocks[1:] {
		if before := d.blocks[i]; b.language == "text" && before.language == "sh" && b.line-before.line-strings.Count(before.code, "\n") <= 5 {
			checkPrinted(t, d, b, printed[before.line])
		}
	}
}

// shell runs a script and gives what each block printed, by its line.
func (w *world) shell(t *testing.T, d *document, script string) map[int]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // on a busy machine
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	shell.Dir = w.clone(t)
	if d.path == "docs/containers.md" { // what it mounts; elsewhere an exporter would find and read it
		must(t, os.WriteFile(shell.Dir+"/monitor_password", []byte(secret+"\n"), 0o640))
		must(t, os.WriteFile(shell.Dir+"/postgres_exporter.yml", []byte("targets: [{uri: 'db.example.com:5432/postgres?sslmode=verify-full', "+
			"user: monitor, password: {file: /run/secrets/monitor_password}}]\n"), 0o644))
	}
	shell.Env = slices.Concat(w.environment(), []string{"PATH=" + os.Getenv("PATH")}, assumed[d.path])
	shell.WaitDelay = time.Second
	out, err := shell.CombinedOutput()
	w.endServing()
	t.Logf("it printed\n%s", out)
	printed := map[int]string{}
	last := 0
	for _, part := range strings.Split(string(out), marker)[1:] {
		_, _ = fmt.Sscan(part, &last)
		_, printed[last], _ = strings.Cut(part, "\n")
	}
	if err != nil {
		t.Errorf("%s:%d: %v\n%s", d.path, last, err, printed[last]+map[bool]string{true: string(out)}[last == 0])
	}
	return printed
}

// clone makes a folder with links to what is in the repository, where bin/ has our programs. What commands write
// beside it goes with the test.
func (w *world) clone(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	entries, err := os.ReadDir(w.root)
	must(t, err)
	for _, entry := range entries {
		if entry.Name() != "bin" && entry.Name() != ".git" {
			must(t, os.Symlink(filepath.Join(w.root, entry.Name()), filepath.Join(folder, entry.Name())))
		}
	}
	must(t, os.Symlink(w.dir+"/programs", filepath.Join(folder, "bin")))
	must(t, os.Symlink(w.dir+"/queries.yaml", filepath.Join(folder, "queries.yaml")))
	must(t, os.Symlink("/run/secrets/monitor", filepath.Join(folder, "password.txt")))
	return folder
}

// endServing ends what serve.sh has left.
func (w *world) endServing() {
	entries, _ := os.ReadDir(w.dir + "/serving")
	for _, entry := range entries {
		text, _ := os.ReadFile(w.dir + "/serving/" + entry.Name())
		pid := 0
		if _, err := fmt.Sscan(string(text), &pid); err == nil && pid > 1 && !strings.Contains(entry.Name(), ".") {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		_ = os.Remove(w.dir + "/serving/" + entry.Name())
	}
}

// covered tells whether a block calls a program of elsewhere, for which there have to be tests.
func covered(t *testing.T, d *document, b block) bool {
	t.Helper()
	for _, e := range elsewhere {
		if !regexp.MustCompile(`(?m)(^|[|;&(]\s*|sudo )([A-Z_]+=\S* )*` + e.program + ` `).MatchString(b.code) {
			continue
		}
		if found, _ := filepath.Glob(filepath.Join(root, e.tests, "*_test.go")); len(found) == 0 {
			t.Errorf("%s:%d: %s %s, and there are no tests in %s", d.path, b.line, e.program, e.reason, e.tests)
		}
		return true
	}
	return false
}

// checkPrinted looks for the lines that a document shows in what was printed. … stands for anything.
func checkPrinted(t *testing.T, d *document, shown block, printed string) {
	t.Helper()
	for line := range strings.Lines(shown.code) {
		line = strings.TrimSpace(line)
		pattern := strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*")
		if line != "" && !regexp.MustCompile(`(?m)^\s*`+pattern+`\s*$`).MatchString(printed) {
			t.Errorf("%s:%d: %q is not what is printed, which is\n%s", d.path, shown.line, line, printed)
		}
	}
}
