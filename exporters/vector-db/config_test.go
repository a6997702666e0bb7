package main

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/milvus"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
)

// written makes a configuration file.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "--config.file=" + path
}

// What cannot work is an error of one line that says what to do and shows no secret.
func TestConfigurationErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "no target: set VECTORDB_URL",
		"targets: [{url: hunter2}]": "url must look like http://host:port",
		"targets: [{url: 'http://u:hunter2@h:1'}]":                                 "url may hold no credentials",
		"targets: [{url: 'http://h:1?key=hunter2'}]":                               "url ends with",
		"targets: [{url: 'ftp://h:1', service: s}]":                                `target s: there is no type "" for URLs that begin with "ftp"`,
		"targets: [{url: 'http://h:1', type: quadrant}]":                           `there is no type "quadrant"`,
		"targets: [{url: 'http://h:1', type: pgvector}]":                           `there is no type "pgvector" for URLs that begin with "http"`,
		"targets: [{url: 'http://h:1', frob: 1}]":                                  `line 1: unknown key "frob"`,
		"targets: [{url: 'http://h:1', collections: {include: '('}}]":              "include is no regular expression",
		"targets: [{url: 'http://h:1', collections: {exclude: '('}}]":              "exclude is no regular expression",
		"targets: [{url: 'http://h:1', collections: {max: -1}}]":                   "max must be 1 or more",
		"targets: [{url: 'http://h:1', native: ['vectordb_up']}]":                  "names that this exporter has itself",
		"targets: [{url: 'http://h:1', native: ['*']}]":                            "is no name of a metric",
		"targets: [{url: 'http://h:1', native_url: 'http://u:hunter2@h/metrics'}]": "native_url must look like",
		"targets: [{url: 'http://h:1', api_key: {file: /nowhere}}]":                "cannot read the secret file /nowhere",
		"targets: [{url: 'http://h:1', api_key: \"hunter2\\nx\"}]":                 "a secret holds a line break",
		"targets: [{url: 'http://h:1', user: u}]":                                  "user and password go together",
		"targets: [{url: 'http://h:1', headers: {'a b': hunter2}}]":                `"a b" is no name of a header`,
		"targets: [{url: 'http://h:1', tls: {ca_file: /nowhere}}]":                 "tls: ca_file",
		"targets: [{url: 'http://h:1', tls: {cert_file: /nowhere}}]":               "go together",
		"auth_modules: {m: {type: quadrant, targets: ['*']}}":                      `auth_modules: m: there is no type "quadrant"`,
		"auth_modules: {m: {targets: ['[']}}":                                      "is no pattern for a target",
		"auth_modules: {m: {scheme: ftp, targets: ['*']}}":                         `begin with "ftp"`,
	} {
		_, err := load(t, written(t, text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}

// Several targets share a page, told apart by a label and by their services, and a change of one leaves the other alone.
func TestManyTargets(t *testing.T) {
	config := func(key string) string {
		return written(t, "targets: [{url: 'http://a:1', type: qdrant, service: one, api_key: "+key+"}, {url: 'https://b:2/base/'}]")
	}
	setup, err := load(t, config("x"))
	if err != nil {
		t.Fatal(err)
	}
	one, two := setup.Targets[0], setup.Targets[1]
	if one.Service != "one" || one.Name != "a:1" || two.Service != "b:2/base" || two.Labels[0].Value != "b:2/base" || one.Labels[0].Name != "target" {
		t.Errorf("%+v, %+v", one.Spec, two.Spec)
	}
	changed, err := load(t, config("y"))
	if err != nil {
		t.Fatal(err)
	}
	if changed.Targets[0].Key == one.Key || changed.Targets[1].Key != two.Key {
		t.Error("a change of a key is not seen, or one of the other target's is")
	}
}

// The key goes to the server in the way of its kind, as do all other credentials.
func TestCredentials(t *testing.T) {
	var header atomic.Pointer[http.Header]
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header.Store(&r.Header)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][2]string{
		"type: qdrant, api_key: {file: " + key + "}": {"Api-Key", "hunter2"},
		"type: weaviate, api_key: hunter2":           {"Authorization", "Bearer hunter2"},
		"type: chroma, api_key: hunter2":             {"X-Chroma-Token", "hunter2"},
		"type: milvus, user: a, password: b":         {"Authorization", "Bearer a:b"},
		"type: qdrant, user: a, password: b":         {"Authorization", "Basic YTpi"},
		"type: chroma, bearer: hunter2":              {"Authorization", "Bearer hunter2"},
		"type: qdrant, headers: {x-thing: hunter2}":  {"X-Thing", "hunter2"},
	} {
		target := watched(t, written(t, "targets: [{url: '"+s.URL+"', "+text+"}]"))
		got := scrape(t, target, 5*time.Second)
		got.want(t, "vectordb_up 0", `vectordb_exporter_failure_info{reason="auth"} 1`, "vectordb_auth_ok 0")
		if seen := header.Load().Get(want[0]); seen != want[1] {
			t.Errorf("%s: %s is %q, want %q", text, want[0], seen, want[1])
		}
		if strings.Contains(got.text, "hunter2") {
			t.Errorf("%s: the key shows on the page", text)
		}
	}
}

// The kind of a server is found by asking, and the key is not sent before it is known.
func TestDetect(t *testing.T) {
	old := qdrant.New(qdrant.Options{Key: "hunter2"})
	for name, handler := range map[string]http.Handler{
		"qdrant": old, "milvus": milvus.New(milvus.Options{Token: "hunter2"}),
	} {
		t.Setenv("VECTORDB_API_KEY", "hunter2")
		got := scrape(t, watched(t, "--vectordb.url="+serve(t, handler).URL), 5*time.Second)
		got.want(t, "vectordb_up 1", "vectordb_auth_ok 1")
		if got.Identity.Product != name {
			t.Errorf("%s is taken for %q", name, got.Identity.Product)
		}
	}
	stranger := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.Contains(strings.Join(slices.Concat(r.Header["Api-Key"], r.Header["Authorization"], r.Header["X-Chroma-Token"]), ""), "hunter2") {
			t.Errorf("%s was asked with the key", r.URL.Path)
		}
	}))
	scrape(t, watched(t, "--vectordb.url="+stranger.URL), 5*time.Second).want(t, "vectordb_up 0", `vectordb_exporter_failure_info{reason="config"} 1`)
}

// Filters and the limit choose what is told of; how many collections there are is told in any case.
func TestCollectionFilters(t *testing.T) {
	fake := qdrant.New(qdrant.Options{})
	for _, name := range []string{"a1", "a2", "a3", "b1", "xa1"} {
		fake.Add(name, map[string]qdrant.Vector{"": {Size: 2, Distance: "Dot"}})
	}
	s := serve(t, fake)
	got := scrape(t, watched(t, "--vectordb.url="+s.URL, "--collections.include=a.", "--collections.exclude=a2", "--collections.max=5"), 5*time.Second)
	got.want(t, "vectordb_collections 5", "vectordb_collections_left_out 3", `vectordb_collection_success{collection="a1"} 1`, `vectordb_collection_success{collection="a3"} 1`,
		`vectordb_collection_success{collection="a2"} absent`, `vectordb_collection_success{collection="b1"} absent`, `vectordb_collection_success{collection="xa1"} absent`)
	got = scrape(t, watched(t, "--vectordb.url="+s.URL, "--collections.max=2"), 5*time.Second)
	got.want(t, "vectordb_collections_left_out 3", `vectordb_collection_success{collection="a2"} 1`, `vectordb_collection_success{collection="a3"} absent`)
}

// /probe takes host and port, of the list alone, and sends the module's key nowhere else.
func TestProbe(t *testing.T) {
	setup, err := load(t, written(t, "auth_modules: {m: {type: qdrant, api_key: hunter2, targets: ['127.0.0.1:*', 'db.example.com:6333']}, closed: {type: qdrant}}"))
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"":                      "target must be",
		"http://127.0.0.1:6333": "target must be",
		"u:p@127.0.0.1:6333":    "target must be",
		"127.0.0.1":             "target must be",
		"127.0.0.1:0":           "target must be",
		"127.0.0.1:99999":       "target must be",
		"127.0.0.1:6333/../x":   "target must be",
		"127.0.0.1:6333?x=y":    "target must be",
		"db.example.com:6334":   app.ErrNotAllowed.Error(),
		"evil.example.com:6333": app.ErrNotAllowed.Error(),
		"[::1]:6333":            app.ErrNotAllowed.Error(),
	} {
		if _, err := setup.Probe(url.Values{"target": {target}, "auth_module": {"m"}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", target, err, want)
		}
	}
	if _, err := setup.Probe(url.Values{"target": {"127.0.0.1:6333"}, "auth_module": {"closed"}}); !errors.Is(err, app.ErrNotAllowed) {
		t.Errorf("a module without targets: %v", err)
	}
	if _, err := setup.Probe(url.Values{"target": {"127.0.0.1:6333"}}); err == nil {
		t.Error("no module")
	}
	s := serve(t, qdrant.New(qdrant.Options{Key: "hunter2"}))
	describe := func(target string) (string, collect.Spec) {
		named, err := setup.Probe(url.Values{"target": {target}, "auth_module": {"m"}})
		if err != nil {
			t.Fatal(err)
		}
		spec, err := named.Describe()
		if err != nil {
			t.Fatal(err)
		}
		return named.Key, spec
	}
	key, made := describe(strings.TrimPrefix(s.URL, "http://"))
	scrape(t, target0(t, made), 5*time.Second).want(t, "vectordb_up 1", "vectordb_auth_ok 1")
	otherKey, other := describe("127.0.0.1:1")
	if otherKey == key || other.Name != "127.0.0.1:1" || other.Driver == made.Driver || other.Collectors[0] != made.Collectors[0] {
		t.Errorf("servers of one module have the wrong things in common: %+v", other)
	}
	if closed, err := load(t, written(t, "auth_modules: {m: {type: qdrant}}")); err != nil || closed.Probe != nil {
		t.Errorf("/probe is open where no module has targets: %v", err)
	}
}

// A key that is changed on the server and then in its file is good at the next scrape, without a restart.
func TestRotatedKey(t *testing.T) {
	for _, version := range []string{"1.7.4", "1.17.0"} {
		fake := qdrant.New(qdrant.Options{Version: version, Key: "old"})
		key := filepath.Join(t.TempDir(), "key")
		write := func(text string) {
			if err := os.WriteFile(key, []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("old")
		t.Setenv("VECTORDB_API_KEY_FILE", key)
		target := watched(t, "--vectordb.url="+serve(t, fake).URL, "--vectordb.type=qdrant")
		scrape(t, target, 5*time.Second).want(t, "vectordb_up 1")
		fake.SetKey("new")
		fresh(t, target, 5*time.Second).want(t, "vectordb_up 0", "vectordb_live 1", "vectordb_auth_ok 0", `vectordb_exporter_failure_info{reason="auth"} 1`,
			`db_connection_success{db_name="",service="vector-db"} 1`, `db_ping_success{db_name="",service="vector-db"} 0`)
		write("new")
		fresh(t, target, 5*time.Second).want(t, "vectordb_up 1", "vectordb_auth_ok 1")
	}
}
