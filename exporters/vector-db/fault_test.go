package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// troubled is a server that answers well, or with a trouble that a test puts in front of it.
type troubled struct {
	http.Handler
	trouble atomic.Pointer[trouble]
}

// trouble answers in the server's stead where the path is met.
type trouble struct {
	path   string // its beginning, or the whole with $ at its end
	answer http.HandlerFunc
}

func (s *troubled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if t := s.trouble.Load(); t != nil {
		path, whole := strings.CutSuffix(t.path, "$")
		if whole && r.URL.Path == path || !whole && strings.HasPrefix(r.URL.Path, path) {
			t.answer(w, r)
			return
		}
	}
	s.Handler.ServeHTTP(w, r)
}

func status(code int, words string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, words)
	}
}

func stall(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "5000")
	_, _ = io.WriteString(w, `{"result":{"collections":[`)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// flood sends a text again and again, a gigabyte of it.
func flood(begin, again string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, begin)
		chunk := bytes.Repeat([]byte(again), 1<<16/len(again))
		for range 1 << 30 / len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
}

func deep(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"result":`+strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)+"}")
}

// notHTTP answers with what is none.
func notHTTP(w http.ResponseWriter, _ *http.Request) {
	raw, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_, _ = io.WriteString(raw, "-ERR this is no HTTP\r\n")
		_ = raw.Close()
	}
}

// Each trouble with the read by which a server is judged: what is said right after it, and that it heals by itself.
func TestTroubledList(t *testing.T) {
	debug.SetMemoryLimit(512 << 20)
	for name, is := range map[string]struct {
		answer http.HandlerFunc
		kind   fault.Kind
		authOK string
	}{
		"stall":          {stall, fault.Timeout, "absent"},
		"cut":            {cut, fault.Unreachable, "absent"},
		"hangs up":       {hangUp, fault.Unreachable, "absent"},
		"no HTTP":        {notHTTP, fault.Malformed, "absent"},
		"garbled":        {status(200, `{"result":{"collections":[{"na`+"\x00\xff"), fault.Malformed, "absent"},
		"another form":   {status(200, `{"result":{"collections":"none"}}`), fault.Malformed, "absent"},
		"nothing in it":  {status(200, `{}`), fault.Malformed, "absent"},
		"no list in it":  {status(200, `{"result":{}}`), fault.Malformed, "absent"},
		"two answers":    {status(200, `{"result":{"collections":[]}}{}`), fault.Malformed, "absent"},
		"a gigabyte":     {flood(`{"result":{"collections":[{"name":"`, "aaaaaaaa"), fault.Limited, "absent"},
		"many elements":  {flood(`{"result":{"collections":[`, "{},{},{},"), fault.Limited, "absent"},
		"deep":           {deep, fault.Limited, "absent"},
		"content type":   {status(200, `{"result":{"collections":[]}}`, "Content-Type", "text/html"), fault.Malformed, "absent"},
		"401":            {status(401, "Invalid API key or JWT"), fault.Auth, "0"},
		"403":            {status(403, `{"status":{"error":"Forbidden: Global access is required"}}`), fault.Denied, "0"},
		"403 before 1.9": {status(403, "Invalid api-key"), fault.Auth, "0"},
		"404":            {status(404, ""), fault.Unsupported, "absent"},
		"429":            {status(429, "", "Retry-After", "1"), fault.Busy, "absent"},
		"500":            {status(500, `{"status":{"error":"Service internal error"}}`), fault.Malformed, "absent"},
		"503":            {status(503, "", "Retry-After", "1"), fault.Busy, "absent"},
		"redirect":       {status(307, "", "Location", "http://127.0.0.1:1/"), fault.Config, "absent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &troubled{Handler: qdrant.New(qdrant.Options{})}
			target := watched(t, "--vectordb.url="+serve(t, s).URL, "--vectordb.type=qdrant")
			scrape(t, target, 5*time.Second).want(t, "vectordb_up 1", "vectordb_ready 1", "vectordb_auth_ok 1")
			s.trouble.Store(&trouble{"/collections$", is.answer})
			within := 2 * time.Second
			if is.kind == fault.Limited { // which takes its time under the race detector
				within = 15 * time.Second
			}
			got := fresh(t, target, within)
			got.want(t, "vectordb_up 0", fmt.Sprintf("vectordb_exporter_failure_info{reason=%q} 1", is.kind), "vectordb_auth_ok "+is.authOK)
			if is.authOK == "0" {
				got.want(t, "vectordb_live 1", "vectordb_ready 1")
			}
			if strings.Contains(fmt.Sprint(got.Err), "JWT") || strings.Contains(got.text, "127.0.0.1:1") {
				t.Errorf("the server's words show: %v", got.Err)
			}
			s.trouble.Store(nil)
			time.Sleep(500 * time.Millisecond)
			fresh(t, target, 5*time.Second).want(t, "vectordb_up 1", "vectordb_collections 0", `vectordb_exporter_collector_success{collector="collections"} 1`)
		})
	}
}

// Trouble with one collection costs that one; what else there is to say of it is said.
func TestTroubledCollection(t *testing.T) {
	for name, is := range map[string]struct {
		answer http.HandlerFunc
		gone   bool
	}{
		"stall": {stall, false}, "cut": {cut, false}, "garbled": {status(200, `{"result":`), false}, "deep": {deep, false},
		"500": {status(500, ""), false}, "408 of a shard": {status(408, `{"status":{"error":"Timeout"}}`), false}, "403": {status(403, ""), false},
		"deleted meanwhile": {status(404, "{\"status\":{\"error\":\"Not found: Collection `docs` doesn't exist!\"}}"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &troubled{Handler: stocked(t, qdrant.Options{})}
			s.trouble.Store(&trouble{"/collections/docs$", is.answer})
			target := watched(t, "--vectordb.url="+serve(t, s).URL, "--vectordb.type=qdrant")
			got := scrape(t, target, 3*time.Second)
			got.want(t, "vectordb_up 1", "vectordb_collections 2", `vectordb_collection_success{collection="media"} 1`, `vectordb_collection_objects{collection="docs"} absent`,
				`vectordb_exporter_collector_success{collector="collections"} 1`)
			if is.gone {
				got.want(t, `vectordb_collection_success{collection="docs"} absent`)
			} else {
				got.want(t, `vectordb_collection_success{collection="docs"} 0`)
			}
		})
	}
}

// Trouble with any other answer leaves the server up, and says which of the collectors has it.
func TestTroubledRest(t *testing.T) {
	for path, lines := range map[string][]string{
		"/healthz":   {"vectordb_live absent", "vectordb_ready 1"},
		"/readyz":    {"vectordb_ready absent", "vectordb_live 1"},
		"/cluster":   {`vectordb_exporter_collector_success{collector="cluster"} 0`, "vectordb_cluster_enabled absent"},
		"/metrics":   {`vectordb_exporter_collector_success{collector="native"} 0`},
		"/telemetry": {`vectordb_exporter_collector_success{collector="storage"} 0`, `vectordb_collection_snapshots{collection="docs"} absent`},
	} {
		for name, answer := range map[string]http.HandlerFunc{"stall": stall, "deep": deep, "flood": flood("# HELP a b\n", "a 1\n")} {
			if name != "stall" && (path == "/healthz" || path == "/readyz") {
				continue // of which the status counts alone
			}
			t.Run(path[1:]+" "+name, func(t *testing.T) {
				t.Parallel()
				s := &troubled{Handler: stocked(t, qdrant.Options{})}
				s.trouble.Store(&trouble{path + "$", answer})
				target := watched(t, "--vectordb.url="+serve(t, s).URL, "--vectordb.type=qdrant", "--vectordb.native=app_info")
				got := scrape(t, target, 4*time.Second)
				got.want(t, append(lines, "vectordb_up 1", `vectordb_collection_success{collection="docs"} 1`)...)
			})
		}
	}
}

// A server that is not ready is degraded, not down.
func TestNotReady(t *testing.T) {
	s := &troubled{Handler: qdrant.New(qdrant.Options{})}
	s.trouble.Store(&trouble{"/readyz", status(503, "some shards are not ready")})
	got := scrape(t, watched(t, "--vectordb.url="+serve(t, s).URL), 5*time.Second)
	got.want(t, "vectordb_up 1", "vectordb_ready 0", "vectordb_live 1", `service_health{service="vector-db"} 0.5`, `db_read_success{db_name="",service="vector-db"} 0`)
}

// A server that wants to be left alone is asked for no more collections until it said, and is still seen to be up.
func TestRetryAfter(t *testing.T) {
	var asked atomic.Int32
	fake := qdrant.New(qdrant.Options{})
	for i := range 200 {
		fake.Add(fmt.Sprintf("c%03d", i), map[string]qdrant.Vector{"": {Size: 2, Distance: "Dot"}})
	}
	s := &troubled{Handler: fake}
	s.trouble.Store(&trouble{"/collections/", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		status(429, "", "Retry-After", "2")(w, r)
	}})
	target := quick(t, "--vectordb.url="+serve(t, s).URL)
	want := []string{"vectordb_up 1", `vectordb_exporter_collector_success{collector="collections"} 0`}
	scrape(t, target, 5*time.Second).want(t, want...)
	time.Sleep(100 * time.Millisecond) // those on their way
	first := asked.Load()
	fresh(t, target, 5*time.Second).want(t, want...)
	if first > 2*16 || asked.Load() != first {
		t.Errorf("asked %d times, then %d", first, asked.Load())
	}
	s.trouble.Store(nil)
	time.Sleep(1500 * time.Millisecond)
	fresh(t, target, 5*time.Second).want(t, "vectordb_up 1", `vectordb_collection_success{collection="c199"} 1`)
}

// No redirect takes the key elsewhere.
func TestRedirectKeepsTheKey(t *testing.T) {
	var heard atomic.Int32
	elsewhere := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	s := serve(t, http.RedirectHandler(elsewhere.URL, http.StatusFound))
	t.Setenv("VECTORDB_API_KEY", "hunter2")
	for _, arguments := range [][]string{{"--vectordb.type=qdrant"}, {"--vectordb.type=weaviate"}, {"--vectordb.type=chroma"}, {"--vectordb.type=milvus"}, {}} {
		got := scrape(t, watched(t, append(arguments, "--vectordb.url="+s.URL)...), 5*time.Second)
		got.want(t, "vectordb_up 0", `vectordb_exporter_failure_info{reason="config"} 1`)
	}
	if heard.Load() > 0 {
		t.Errorf("the other server was asked %d times", heard.Load())
	}
}

// Names of collections may hold anything; they are asked for as they are, and shown repaired where they have to be.
func TestOddNames(t *testing.T) {
	fake := qdrant.New(qdrant.Options{})
	for _, name := range []string{"a/b", "a b", "a\nb", "..", ".", "ä", `q"\`, "100%", "a?b#c", strings.Repeat("n", 2000)} {
		fake.Add(name, map[string]qdrant.Vector{"": {Size: 2, Distance: "Dot"}})
	}
	got := scrape(t, watched(t, "--vectordb.url="+serve(t, fake).URL), 5*time.Second)
	got.want(t, "vectordb_up 1", "vectordb_collections 10",
		`vectordb_collection_success{collection="a/b"} 1`, `vectordb_collection_success{collection="a b"} 1`, `vectordb_collection_success{collection="a\nb"} 1`,
		`vectordb_collection_success{collection=".."} 1`, `vectordb_collection_success{collection="."} 1`, `vectordb_collection_success{collection="ä"} 1`,
		`vectordb_collection_success{collection="q\"\\"} 1`, `vectordb_collection_success{collection="100%"} 1`, `vectordb_collection_success{collection="a?b#c"} 1`,
		`vectordb_collection_success{collection="`+strings.Repeat("n", 1024)+`"} 1`)
}

// What a server says in no UTF-8 does no harm to the page.
func TestInvalidUTF8(t *testing.T) {
	s := &troubled{Handler: qdrant.New(qdrant.Options{})}
	s.trouble.Store(&trouble{"/collections$", status(200, "{\"result\":{\"collections\":[{\"name\":\"a\xff\"}]}}")})
	got := scrape(t, watched(t, "--vectordb.url="+serve(t, s).URL), 5*time.Second)
	got.want(t, "vectordb_up 1", "vectordb_collections 1", `vectordb_exporter_collector_success{collector="collections"} 1`)
}

// A version that nobody knows yet is asked like the newest, and one that cannot be read too.
func TestUnknownVersion(t *testing.T) {
	for _, version := range []string{"1.99.0", "2.0.0-rc1", "nightly", ""} {
		s := &troubled{Handler: stocked(t, qdrant.Options{Version: "1.19.0"})}
		s.trouble.Store(&trouble{"/$", status(200, `{"title":"qdrant - vector search engine","version":"`+version+`"}`)})
		got := scrape(t, watched(t, "--vectordb.url="+serve(t, s).URL), 5*time.Second)
		got.want(t, "vectordb_up 1", `vectordb_info{commit="",system="qdrant",version="`+version+`"} 1`, `vectordb_collection_snapshots{collection="docs"} 2`)
	}
}

// A server that is restarted costs no scrape once it is back, of whatever version it is then. One that is gone is seen
// to be, and nothing is left behind.
func TestRestart(t *testing.T) {
	before := runtime.NumGoroutine()
	at := "127.0.0.1:0"
	start := func(version string) *http.Server {
		listener, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		at = listener.Addr().String()
		server := &http.Server{Handler: qdrant.New(qdrant.Options{Version: version})}
		go func() { _ = server.Serve(listener) }()
		return server
	}
	server := start("1.7.4")
	setup, err := load(t, "--vectordb.url=http://"+at, "--vectordb.type=qdrant")
	if err != nil {
		t.Fatal(err)
	}
	target := target0(t, setup.Targets[0].Spec)
	scrape(t, target, 5*time.Second).want(t, `vectordb_info{commit="",system="qdrant",version="1.7.4"} 1`)
	_ = server.Close()
	server = start("1.17.0")
	fresh(t, target, 5*time.Second).want(t, "vectordb_up 1", `vectordb_info{commit="0123456789abcdef0123456789abcdef01234567",system="qdrant",version="1.17.0"} 1`)
	_ = server.Close()
	fresh(t, target, 5*time.Second).want(t, "vectordb_up 0", `vectordb_exporter_failure_info{reason="unreachable"} 1`, "vectordb_ready absent", "vectordb_collections absent")
	server = start("1.17.0")
	time.Sleep(time.Second)
	fresh(t, target, 5*time.Second).want(t, "vectordb_up 1")
	target.Close()
	_ = server.Close()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+2 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > before+2 {
		t.Errorf("%d goroutines, %d before", now, before)
	}
}

// A hostile server costs a bounded amount of memory, however much it sends to however many questions.
func TestFloodMemory(t *testing.T) {
	fake := qdrant.New(qdrant.Options{})
	for i := range 300 {
		fake.Add(fmt.Sprintf("c%03d", i), map[string]qdrant.Vector{"": {Size: 2, Distance: "Dot"}})
	}
	s := &troubled{Handler: fake}
	s.trouble.Store(&trouble{"/collections/", flood(`{"result":{"status":"`, "aaaaaaaa")})
	target := watched(t, "--vectordb.url="+serve(t, s).URL, "--vectordb.type=qdrant")
	var highest atomic.Uint64
	ctx, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		for ctx.Err() == nil {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			highest.Store(max(highest.Load(), now.HeapInuse))
			time.Sleep(10 * time.Millisecond)
		}
	})
	got := scrape(t, target, 8*time.Second)
	stop()
	watch.Wait()
	got.want(t, "vectordb_up 1", `vectordb_exporter_collector_success{collector="collections"} 0`)
	if highest.Load() > 600<<20 {
		t.Errorf("%d MiB of memory", highest.Load()>>20)
	}
	t.Logf("%d MiB of memory at most", highest.Load()>>20)
}

// An answer that holds nothing is no list without collections, whatever the kind of server; nor is one of another form.
func TestEmptyLists(t *testing.T) {
	for kind, path := range map[string]string{
		"qdrant": "/collections", "weaviate": "/v1/schema", "milvus": "/v2/vectordb/collections/list", "chroma": "/api/v2/tenants/default_tenant/databases/default_database/collections",
	} {
		for _, text := range []string{"{}", "null", "[[]]", `{"result":null}`, `{"code":0}`, `{"code":0,"data":null}`, `{"classes":null}`, `{"classes":[{}]}`, `[{"name":"a"}]`, `"x"`, "1"} {
			s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch r.URL.Path {
				case path:
					_, _ = io.WriteString(w, text)
				case "/", "/v1/meta":
					_, _ = io.WriteString(w, `{"title":"qdrant","version":"1.30.0"}`)
				case "/api/v2/version":
					_, _ = io.WriteString(w, `"1.0.0"`)
				default:
					w.WriteHeader(http.StatusNotFound)
				}
			}))
			got := scrape(t, quick(t, "--vectordb.url="+s.URL, "--vectordb.type="+kind), 2*time.Second)
			got.want(t, "vectordb_up 0", "vectordb_collections absent", "vectordb_collections_left_out absent")
			if got.Fault != fault.Malformed {
				t.Errorf("%s, %s: %s: %v", kind, text, got.Fault, got.Err)
			}
		}
	}
}

// mistaken is a session that panics wherever it is asked, but for the list.
type mistaken struct{ backend.Session }

func (mistaken) Identify(context.Context) (backend.Server, error) { return backend.Server{}, nil }
func (mistaken) List(context.Context) ([]string, error)           { return []string{"docs"}, nil }
func (mistaken) Close()                                           {}

// A mistake of a backend's is the failure of what was asked, and never the end of the process.
func TestPanics(t *testing.T) {
	spec := collect.Spec{Name: "a", Service: "vector-db", Collectors: catalogue(nil), Driver: &driver{
		kind:     &kind{name: "mistaken", open: func(context.Context, backend.Endpoint) (backend.Session, error) { return mistaken{}, nil }},
		endpoint: func() (backend.Endpoint, error) { return backend.Endpoint{}, nil }, wanted: func(names []string) []string { return names }, patience: time.Second,
	}}
	got := scrape(t, target0(t, spec), 5*time.Second)
	got.want(t, "vectordb_up 1", "vectordb_collections 1", "vectordb_live absent", "vectordb_ready absent")
	for _, name := range []string{"cluster", "collections", "native", "storage"} {
		got.want(t, `vectordb_exporter_collector_success{collector="`+name+`"} 0`, `vectordb_exporter_collector_failures_total{collector="`+name+`",reason="internal"} 1`)
	}
}
