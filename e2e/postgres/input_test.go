package postgres

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

// run executes a command of the exporter and gives its exit code and what it printed.
func run(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, harness.Binary(t, exporterName), args...)
	var out, failed strings.Builder
	command.Dir, command.Env, command.Stdout, command.Stderr = t.TempDir(), append([]string{"HOME=" + t.TempDir()}, env...), &out, &failed
	err := command.Run()
	if ctx.Err() != nil {
		t.Fatalf("%v does not end: %s", args, failed.String())
	}
	if command.ProcessState == nil {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), out.String(), failed.String()
}

// Bad input is one line that says what to do, with exit code 1 or 2, no stack trace, and never the secret.
func TestBadInput(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	const secret = "hunter2-canary"
	good := []string{"DATA_SOURCE_NAME=postgresql://u:" + secret + "@127.0.0.1:1/db"}
	free := "--web.listen-address=127.0.0.1:0"
	for name, test := range map[string]struct {
		env  []string
		args []string
		code int
		want string
	}{
		"no target":               {nil, []string{free}, 1, "set DATA_SOURCE_NAME"},
		"not a connection string": {[]string{"DATA_SOURCE_NAME=what " + secret}, []string{free}, 1, "must be a URL"},
		"bad port":                {[]string{"DATA_SOURCE_NAME=postgresql://u:" + secret + "@host:port/db"}, []string{free}, 1, "connection string cannot be read"},
		"bad character":           {[]string{"DATA_SOURCE_NAME=postgresql://u:%zz" + secret + "@host/db"}, []string{free}, 1, "special characters of the password written as %XX"},
		"bad sslmode":             {[]string{"DATA_SOURCE_NAME=postgresql://u:" + secret + "@host/db?sslmode=maybe"}, []string{free}, 1, "sslmode is invalid"},
		"missing CA":              {[]string{"DATA_SOURCE_NAME=postgresql://u:" + secret + "@host/db?sslmode=verify-full&sslrootcert=/nowhere"}, []string{free}, 1, "unable to read CA file"},
		"port in use":             {good, []string{"--web.listen-address=" + taken.Addr().String()}, 1, "choose another address with --web.listen-address"},
		"unknown flag":            {good, []string{"--frobnicate"}, 2, "unknown long flag '--frobnicate'"},
		"unknown command":         {good, []string{"frobnicate"}, 2, "frobnicate"},
		"bad duration":            {good, []string{"--collection-timeout=soon"}, 2, "soon"},
		"timeout of nothing":      {good, []string{"--collection-timeout=0s"}, 2, "--collection-timeout"},
		"missing secret file": {[]string{"DATA_SOURCE_URI=h/db", "DATA_SOURCE_USER=u", "DATA_SOURCE_PASS_FILE=/nowhere/pass"},
			[]string{free}, 1, "cannot read the secret file /nowhere/pass: no such file"},
		"missing config": {good, []string{free, "--config.file=/nowhere.yml"}, 1, "cannot read the configuration file /nowhere.yml"},
		"unknown key": {good, []string{free, "--config.file=" + harness.File(t, "c.yml", "targets:\n- service: a\n  frob: "+secret+"\n")},
			1, `line 3: unknown key "frob"`},
		"wrong type": {good, []string{free, "--config.file=" + harness.File(t, "c.yml", "targets: "+secret+"\n")}, 1, "line 1: the value has the wrong type"},
		"not YAML":   {good, []string{free, "--config.file=" + harness.File(t, "c.yml", "targets: [\n")}, 1, "c.yml: "},
		"unset variable": {nil, []string{free, "--config.file=" + harness.File(t, "c.yml", "targets:\n- service: a\n  dsn: {env: NOWHERE_SET}\n")},
			1, "environment variable NOWHERE_SET"},
		"bad pattern": {good, []string{free, "--config.file=" + harness.File(t, "c.yml", "auth_modules: {a: {targets: ['[']}}\n")}, 1, "no pattern for a target"},
		"same service twice": {nil, []string{free, "--config.file=" + harness.File(t, "c.yml", "targets:\n- {service: a, dsn: 'host=x'}\n- {service: a, dsn: 'host=y'}\n")},
			1, `two targets have the service name "a"`},
		"bad web config": {good, []string{free, "--web.config.file=" + harness.File(t, "w.yml", "frob: 1\n")}, 1, "frob"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := run(t, test.env, test.args...)
			last := stderr[strings.LastIndex(strings.TrimSuffix(stderr, "\n"), "\n")+1:]
			if code != test.code || !strings.Contains(last, test.want) {
				t.Errorf("exit code %d, want %d; the last line should hold %q:\n%s", code, test.code, test.want, stderr)
			}
			if all := stdout + stderr; strings.Contains(all, secret) || strings.Contains(all, "goroutine ") {
				t.Errorf("it shows a secret or a stack trace:\n%s", all)
			}
		})
	}
}

func TestCheckConfig(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, []string{"DATA_SOURCE_NAME=host=127.0.0.1 port=1 user=u dbname=app"}, "check-config")
	if code != 0 || stdout != "the configuration is good: 1 target(s), postgres (127.0.0.1:1/app)\n" {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	code, _, stderr = run(t, nil, "check-config")
	if code != 1 || !strings.Contains(stderr, "no target") {
		t.Errorf("code %d: %s", code, stderr)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	code, stdout, _ := run(t, nil, "--version")
	version, err := os.ReadFile("../../VERSION")
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 || !strings.HasPrefix(stdout, "postgres-exporter, version "+strings.TrimSpace(string(version))+" (branch: ") || strings.Contains(stdout, "revision: unknown") {
		t.Errorf("code %d: %s", code, stdout)
	}
}
