package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
)

// doctor runs the subcommand and gives its exit code and what it printed.
func doctor(t *testing.T, arguments ...string) (int, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := exporter().Run(append(arguments, "doctor", "--collection-timeout=4s"), &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

// What is missing is named with what mends it; what was chosen is only noted.
func TestDoctor(t *testing.T) {
	for name, is := range map[string]struct {
		options qdrant.Options
		key     string
		trouble *trouble
		code    int
		want    []string
	}{
		"open":       {qdrant.Options{}, "", nil, 0, []string{"up: qdrant 1.7.4", "note: the server asks for no credentials", "note: the server's own metrics are not passed on", "nothing is missing"}},
		"with a key": {qdrant.Options{Key: "hunter2"}, "hunter2", nil, 0, []string{"nothing is missing"}},
		"wrong key":  {qdrant.Options{Key: "hunter2"}, "hunter3", nil, 1, []string{"down: auth: "}},
		"too old":    {qdrant.Options{Version: "1.5.1"}, "", nil, 1, []string{"older than any that is known to work: 1.7", "mend: update"}},
		"not global": {
			qdrant.Options{Version: "1.17.0", Key: "hunter2"}, "hunter2", &trouble{"/telemetry", status(403, `{"status":{"error":"Forbidden: Global access is required"}}`)}, 1,
			[]string{"problem: the credentials do not allow to read of what collections take", "mend: give the exporter the key of service.read_only_api_key", "collector storage fails (denied)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &troubled{Handler: stocked(t, is.options)}
			s.trouble.Store(is.trouble)
			t.Setenv("VECTORDB_API_KEY", is.key)
			code, printed := doctor(t, "--vectordb.url="+serve(t, s).URL)
			for _, want := range is.want {
				if !strings.Contains(printed, want) {
					t.Errorf("it lacks %q", want)
				}
			}
			if code != is.code || strings.Contains(printed, "hunter") {
				t.Errorf("code %d", code)
			}
			if t.Failed() {
				t.Log(printed)
			}
		})
	}
}
