package health

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
)

// parse reads a list of dependents as an exporter does.
func parse(t *testing.T, text string) ([]Dependent, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var file struct {
		Dependents []Dependent `yaml:"dependents"`
	}
	err := config.ReadYAML(path, &file)
	if err == nil {
		err = CheckDependents(file.Dependents)
	}
	return file.Dependents, err
}

func TestDependents(t *testing.T) {
	list, err := parse(t, `
dependents:
- {name: short, url: "http://api:3000/ready"}
- {name: quick, url: "https://[::1]/", interval: 2s}
- name: long
  url: https://api.example.com/live?deep=1
  status: [200, 204]
  body: '"status":\s*"ok"'
  timeout: 5s
  interval: 1m
  headers: {X-Key: {env: HOME}, Host: inner}
  bearer: hunter2
  follow_redirects: true
`)
	if err != nil {
		t.Fatal(err)
	}
	short, quick, long := list[0].complete(), list[1].complete(), list[2].complete()
	if short.Timeout != 3*time.Second || short.Interval != 15*time.Second || len(short.Status) != 1 || short.Status[0] != 200 || short.FollowRedirects {
		t.Errorf("%+v", short)
	}
	if quick.Timeout != 2*time.Second {
		t.Errorf("%+v", quick)
	}
	if long.Timeout != 5*time.Second || long.Interval != time.Minute || len(long.Status) != 2 || !long.Body.matches([]byte(`{"status": "ok"}`)) || long.Body.matches(nil) {
		t.Errorf("%+v", long)
	}
	header, err := long.header()
	if err != nil || header.Get("Authorization") != "Bearer hunter2" || header.Get("X-Key") != os.Getenv("HOME") {
		t.Errorf("%v, %v", header, err)
	}
}

// What cannot work is refused in one line that says where and what, and holds no secret.
func TestDependentsThatCannotWork(t *testing.T) {
	t.Setenv("HEALTH_TEST_BROKEN", "hunter2\nX-Other: hunter2")
	for text, want := range map[string]string{
		`{url: "http://a/"}`:                                                        "number 1 has no name",
		`{name: a}`:                                                                 "dependents: a: url must look like",
		`{name: a, url: "ftp://a/"}`:                                                "url must look like",
		`{name: a, url: "a:3000/ready"}`:                                            "url must look like",
		`{name: a, url: "http://:80/"}`:                                             "url must look like",
		`{name: a, url: "http://a:b c/%zz"}`:                                        "url must look like",
		`{name: a, url: "http://u:hunter2@a/"}`:                                     "no credentials",
		`{name: a, url: "http://a/", status: [700]}`:                                "no answer ends with 700",
		`{name: a, url: "http://a/", status: [100]}`:                                "no answer ends with 100",
		`{name: a, url: "http://a/", status: ok}`:                                   "line 2: the value has the wrong type",
		`{name: a, url: "http://a/", body: "("}`:                                    "line 2: this must be a regular expression: error parsing regexp: missing closing )",
		`{name: a, url: "http://a/", body: [a]}`:                                    "line 2: this must be a regular expression",
		`{name: a, url: "http://a/", interval: 10ms}`:                               "interval must be 1s or longer",
		`{name: a, url: "http://a/", interval: -5s}`:                                "interval must be 1s or longer",
		`{name: a, url: "http://a/", timeout: -5s}`:                                 "timeout no longer than it",
		`{name: a, url: "http://a/", interval: 2s, timeout: 3s}`:                    "timeout no longer than it",
		`{name: a, url: "http://a/", timeout: 3}`:                                   "line 2: the value has the wrong type",
		`{name: a, url: "http://a/", insecure_skip_verify: true}`:                   `line 2: unknown key "insecure_skip_verify"`,
		`{name: a, url: "http://a/", headers: {"a b": hunter2}}`:                    `"a b" is no name of a header`,
		`{name: a, url: "http://a/", headers: {x: hunter2, X: hunter2}}`:            "X is given twice",
		`{name: a, url: "http://a/", bearer: b, headers: {authorization: hunter2}}`: "Authorization is given twice",
		`{name: a, url: "http://a/", bearer: {file: /nowhere}}`:                     "cannot read the secret file /nowhere",
		`{name: a, url: "http://a/", headers: {x: {env: HEALTH_TEST_BROKEN}}}`:      "the value of the header X holds a line break",
	} {
		_, err := parse(t, "dependents:\n- "+text+"\n")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestDependentWarnings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := Dependent{Bearer: config.SecretFile(path), Headers: map[string]config.Secret{"x": config.SecretFile(path), "y": config.SecretValue("z")}}
	if got := d.Warnings(); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := d.Warnings(); len(got) != 2 {
		t.Errorf("%q", got)
	}
}
