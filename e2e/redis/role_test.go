package redis

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

var rule = regexp.MustCompile(`ACL SETUSER monitor on '>PASSWORD' (.*?)(   |\n|$)`)

// doctor asks what is missing on a server, as a user with few rights.
func doctor(t *testing.T, env, args []string) (code int, said string) {
	t.Helper()
	command := exec.Command(harness.Binary(t, exporterName), append([]string{"doctor"}, args...)...)
	command.Env = env
	output, err := command.CombinedOutput()
	if command.ProcessState == nil {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(output)
}

// The rule that doctor prints is enough for what is switched on, no collector fails with it, and doctor is content then.
func TestLeastRights(t *testing.T) {
	for name, create := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := create(t)
			everywhere := append(slices.Clone(w.others), w.server)
			for _, server := range everywhere {
				run(t, server, []any{"ACL", "SETUSER", "monitor", "on", ">word", "-@all", "+ping", "+info"})
			}
			env := []string{"REDIS_ADDR=" + w.server.URL(), "REDIS_USER=monitor", "REDIS_PASSWORD=word"}
			code, said := doctor(t, env, w.args)
			found := rule.FindStringSubmatch(said)
			if code == 0 || found == nil {
				t.Fatalf("doctor: code %d: %s", code, said)
			}
			grant := []any{"ACL", "SETUSER", "monitor"}
			for word := range strings.FieldsSeq(found[1]) {
				grant = append(grant, word)
			}
			for _, server := range everywhere {
				run(t, server, grant)
			}
			if code, said := doctor(t, env, w.args); code != 0 && rule.MatchString(said) {
				t.Errorf("doctor still: %s", said)
			}
			e := start(t, env, w.args...)
			settle(t, e)
			e.wantGood()
			for _, forbidden := range []string{"+@all", "+set", "+keys", "+flushall", "+config "} {
				if strings.Contains(strings.ToLower(found[1])+" ", forbidden) {
					t.Errorf("the rule gives %s: %s", forbidden, found[1])
				}
			}
		})
	}
}
