package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// send posts JSON, as an application would.
func send(t *testing.T, url, key, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode > 299 {
		t.Fatalf("POST %s: %s", url, answer.Status)
	}
}

// A real Weaviate is found out to be one, with a key that may only read, and its page is as a whole what it is.
func TestWeaviate(t *testing.T) {
	t.Parallel()
	server := servers.NewWeaviate(t)
	for path, body := range map[string]string{
		"/v1/schema#1": `{"class":"Demo","vectorizer":"none","vectorIndexConfig":{"distance":"cosine","ef":64}}`,
		"/v1/schema#2": `{"class":"Named","vectorConfig":{"a":{"vectorIndexType":"hnsw","vectorizer":{"none":{}}},"b":{"vectorIndexType":"flat","vectorizer":{"none":{}}}}}`,
		"/v1/schema#3": `{"class":"Tenants","vectorizer":"none","multiTenancyConfig":{"enabled":true}}`,
	} {
		send(t, server.URL()+path, servers.WeaviateAdminKey, body)
	}
	send(t, server.URL()+"/v1/objects", servers.WeaviateAdminKey, `{"class":"Demo","id":"00000000-0000-4000-8000-000000000001","vector":[1,2,3]}`)
	send(t, server.URL()+"/v1/objects", servers.WeaviateAdminKey, `{"class":"Named","id":"00000000-0000-4000-8000-000000000001","vectors":{"a":[1,2,3],"b":[1,2,3,4]}}`)
	target := watched(t, written(t, "targets: [{url: '"+server.URL()+"', api_key: "+servers.WeaviateReadKey+", native: [weaviate_build_info], native_url: '"+server.MetricsURL()+"'}]"))
	got := scrape(t, target, 10*time.Second)
	got.want(t, `vectordb_exporter_collector_success{collector="native"} 1`)
	suitetest.Golden(t, "testdata/weaviate.txt", got.settled(), *update)
	wrong := watched(t, written(t, "targets: [{url: '"+server.URL()+"', api_key: wrong}]"))
	scrape(t, wrong, 10*time.Second).want(t, "vectordb_up 0", "vectordb_live 1", "vectordb_ready 1", "vectordb_auth_ok 0", `vectordb_exporter_failure_info{reason="auth"} 1`)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	fresh(t, target, 5*time.Second).want(t, "vectordb_up 0", `vectordb_exporter_failure_info{reason="unreachable"} 1`)
}

// A real Chroma is found out to be one, and seen to go and to come back.
func TestChroma(t *testing.T) {
	t.Parallel()
	server := servers.NewChroma(t)
	base := server.URL() + "/api/v2/tenants/default_tenant/databases/default_database/collections"
	send(t, base, "", `{"name":"docs","configuration":{"hnsw":{"space":"cosine","ef_search":32}}}`)
	send(t, base, "", `{"name":"empty"}`)
	target := watched(t, "--vectordb.url="+server.URL())
	got := scrape(t, target, 10*time.Second)
	suitetest.Golden(t, "testdata/chroma.txt", got.settled(), *update)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	fresh(t, target, 5*time.Second).want(t, "vectordb_up 0", `vectordb_exporter_failure_info{reason="unreachable"} 1`)
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	fresh(t, target, 5*time.Second).want(t, "vectordb_up 1", "vectordb_collections 2")
}
