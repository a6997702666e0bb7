package vectordb

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
)

// Whatever happens to what a real server says: the page comes in time, up tells the truth, nothing is told that was not
// heard, the scrape after it is good, and nothing is held that was not before.
func TestWireFaults(t *testing.T) {
	faults := map[string]func(*proxy.Proxy){
		"stall":  func(line *proxy.Proxy) { line.Stall() },
		"cut":    func(line *proxy.Proxy) { line.CutAfter(40) },
		"garble": func(line *proxy.Proxy) { line.Garble(0) },
		"flood":  func(line *proxy.Proxy) { line.Flood([]byte("0123456789abcdef")) },
		"refuse": func(line *proxy.Proxy) { line.Refuse(); line.Cut() },
	}
	for _, s := range everyStore(t) {
		s.fill(t, "docs", vectors(50, 8), usual)
		t.Run(s.kind(), func(t *testing.T) {
			t.Parallel()
			address := addressOf(t, s)
			line := proxy.New(t, address)
			e := start(t, "targets:\n  - "+strings.Replace(s.target(), address, line.Addr(), 1)+"\n")
			good := func(after string) {
				t.Helper()
				harness.Eventually(t, 5*time.Second, "it is good after "+after, func() error {
					harness.Freshen()
					if p := e.Scrape("3"); p.Code != 200 || len(p.Failing("vectordb")) > 0 || !strings.Contains(p.Body, "\nvectordb_up 1\n") {
						return fmt.Errorf("failing: %v\n%s", p.Failing("vectordb"), about(p.Body, "vectordb_up", "collector_success"))
					}
					return nil
				})
			}
			good("the start")
			files, err := e.FDs()
			must(t, err)
			for name, set := range faults {
				harness.Freshen()
				set(line)
				p := e.Scrape("1.5")
				line.Resume()
				if p.Code != 200 || p.Took > 1600*time.Millisecond {
					t.Errorf("%s: code %d after %s", name, p.Code, p.Took)
				}
				if name == "garble" { // one answer of several is spoilt; what the others tell must be right
					collection, _ := s.named("docs")
					objects := fmt.Sprintf("vectordb_collection_objects{collection=%q}", collection)
					if got, ok := p.Value(objects); ok && got != 50 {
						t.Errorf("%s is %v", objects, got)
					}
					good(name)
					continue
				}
				p.Want(t, "vectordb_up", 0)
				if told := about(p.Body, "vectordb_collections", "vectordb_collection_objects"); told != "" {
					t.Errorf("%s: told although nothing was heard:\n%s", name, told)
				}
				good(name)
			}
			if strings.Contains(e.Output(), "0123456789abcdef") {
				t.Error("the log quotes what the server sends")
			}
			size, err := e.RSS()
			must(t, err)
			now, err := e.FDs()
			must(t, err)
			if now > files+8 || size > 200<<20 { // a pool may have more connections than at first
				t.Errorf("%d files, before %d; %d MiB", now, files, size>>20)
			}
		})
	}
}

func addressOf(t *testing.T, s store) string {
	t.Helper()
	with, ok := s.(interface{ Addr() string })
	if !ok {
		t.Fatalf("%s has no address", s.kind())
	}
	return with.Addr()
}

// A server that is stopped and started again is seen to be down, and then to be as it was.
func TestRestart(t *testing.T) {
	for _, s := range everyStore(t) {
		s.fill(t, "docs", vectors(50, 8), usual)
		t.Run(s.kind(), func(t *testing.T) {
			if s.kind() == "redis" {
				s.(redis).keep(t)
			}
			e := start(t, "targets:\n  - "+s.target()+"\n")
			collection, vector := s.named("docs")
			dimensions := fmt.Sprintf("vectordb_vector_dimensions{collection=%q,vector=%q}", collection, vector)
			until(t, e, 10*time.Second, dimensions, 8)
			s.stop(t)
			until(t, e, 10*time.Second, "vectordb_up", 0)
			s.start(t)
			until(t, e, 20*time.Second, dimensions, 8)
		})
	}
}

// keep has the server write what it holds to disk, and again when it stops.
func (r redis) keep(t *testing.T) {
	t.Helper()
	for _, command := range [][]any{{"CONFIG", "SET", "save", "3600 1"}, {"SAVE"}} {
		_, err := r.Do(t.Context(), command...)
		must(t, err)
	}
}

// A wrong key is told apart from a server that is down, and shows nowhere.
func TestWrongKey(t *testing.T) {
	w, r := newWeaviate(t), newRedis(t)
	for _, target := range []string{"url: " + w.URL() + "\n    api_key: wrong-canary-key", "url: redis://" + r.Addr() + "\n    api_key: wrong-canary-key"} {
		e := start(t, "targets:\n  - "+target+"\n")
		p := e.Scrape("5")
		p.Want(t, "vectordb_up", 0)
		if strings.Contains(target, "http") { // which says without a key that it lives
			p.Want(t, "vectordb_auth_ok", 0)
			p.Want(t, "vectordb_live", 1)
		}
		if !strings.Contains(about(p.Body, `reason="auth"`), "1") {
			t.Errorf("no reason is auth:\n%s", about(p.Body, "reason"))
		}
		for _, path := range []string{"/metrics", "/health", "/"} {
			if strings.Contains(e.Get(path).Body, "wrong-canary-key") {
				t.Errorf("%s shows the key", path)
			}
		}
		if strings.Contains(e.Output(), "wrong-canary-key") {
			t.Error("the log shows the key")
		}
	}
}

// Names that only a database can have are told as they are, where a page can hold them.
func TestOddNames(t *testing.T) {
	p, r := newPgvector(t), newRedis(t)
	names := []string{"a/b", "a b", "it's", `quo"te`, "line\nbreak", "dot.dot", "../..", "Ümlaut"}
	for _, name := range names {
		p.exec(t, `CREATE TABLE "`+strings.ReplaceAll(name, `"`, `""`)+`" (v vector(3))`)
		_, err := r.Do(t.Context(), "VADD", name, "VALUES", 3, 1, 0, 0, "x")
		must(t, err)
	}
	_, err := r.Do(t.Context(), "VADD", "bad\xff\xfeutf", "VALUES", 3, 1, 0, 0, "x")
	must(t, err)
	for _, c := range []struct {
		s    store
		many float64
	}{{p, 8}, {r, 9}} {
		e := start(t, "targets:\n  - "+c.s.target()+"\n")
		page := e.Scrape("10")
		page.Want(t, "vectordb_collections", c.many)
		if failing := page.Failing("vectordb"); len(failing) > 0 {
			t.Errorf("%s: failing: %v", c.s.kind(), failing)
		}
		if got := strings.Count(page.Body, "\nvectordb_vector_dimensions{"); got != int(c.many) {
			t.Errorf("%s: dimensions of %d:\n%s", c.s.kind(), got, about(page.Body, "vector_dimensions"))
		}
	}
}
