package docs

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"
)

// The script of the guides finds what has gone, has another type or lacks labels, and nothing else. The guides run it
// beside the real exporters.
func TestComparePages(t *testing.T) {
	const old = `# HELP a_gone Gone.
# TYPE a_gone gauge
a_gone 1
# TYPE a_kept gauge
a_kept{y="1",x="2, and a \"}\" {z=\"3\"}"} 1
# TYPE a_typed counter
a_typed 1
# TYPE a_label gauge
a_label{server="s",x="1"} 1
a_label{x="1"} 1
# TYPE go_goroutines gauge
go_goroutines 7
`
	const now = `# TYPE a_kept gauge
a_kept{x="3",y="1"} 2
# TYPE a_typed gauge
a_typed 1
# TYPE a_label gauge
a_label{x="1"} 1
# TYPE a_more gauge
a_more 1
`
	const want = `missing  a_gone
type     a_typed: counter, now gauge
labels   {server,x}, now {x}: a_label
4 families, now 4
`
	mux := http.NewServeMux()
	for path, page := range map[string]string{"/old": old, "/now": now} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, page) })
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	script := filepath.Join(root, "tools", "compare-pages.sh")
	out, err := exec.Command(script, server.URL+"/old", server.URL+"/now").CombinedOutput()
	if err != nil || string(out) != want {
		t.Errorf("%v, it printed\n%q, want\n%q", err, out, want)
	}
	if out, err := exec.Command(script, server.URL+"/old", server.URL+"/lost").CombinedOutput(); err == nil {
		t.Errorf("a page that cannot be had: no error, and it printed %q", out)
	}
}
