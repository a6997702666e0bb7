package app

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHealthcheck holds what the command needs to be let in, and what it says when it is not.
func TestHealthcheck(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/down":
			w.WriteHeader(http.StatusServiceUnavailable)
		case user != "probe" || password != "secret":
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = w.Write([]byte("said\n"))
	}))
	t.Cleanup(server.Close)
	e := Exporter{Name: "thing-exporter", Title: "Things", Prefix: "thing", Program: "thing_exporter", Env: "THING_EXPORTER", Backend: explained{}}
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	right, wrong := "--password-file="+write("right", []byte("secret\n")), "--password-file="+write("wrong", []byte("other"))
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"let in":           {[]string{"--url=" + server.URL, "--user=probe", right}, 0, "said"},
		"the older name":   {[]string{"--http=" + server.URL, "--user=probe", right}, 0, "said"},
		"not well":         {[]string{"--url=" + server.URL + "/down"}, 1, "said"},
		"no password":      {[]string{"--url=" + server.URL}, 1, "give --user and --password-file"},
		"a wrong password": {[]string{"--url=" + server.URL, "--user=probe", wrong}, 1, "wants a password"},
		"no file":          {[]string{"--url=" + server.URL, "--user=probe"}, 2, "--password-file"},
		"nobody listens":   {[]string{"--url=http://127.0.0.1:1"}, 1, "refused"},
		"no address":       {[]string{"--url=:"}, 2, "missing protocol scheme"},
	} {
		var stdout, stderr bytes.Buffer
		code := e.Run(append([]string{"healthcheck"}, c.args...), &stdout, &stderr)
		if said := stdout.String() + stderr.String(); code != c.code || !strings.Contains(said, c.want) || strings.Contains(said, "secret") {
			t.Errorf("%s: %d, %q; want %d and %q", name, code, said, c.code, c.want)
		}
	}
}
