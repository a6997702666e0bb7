package weaviate

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
)

// scripted is a session with a FAKE that says by path what a cluster of several nodes would; the shapes are those that
// a real server answers with.
func scripted(t *testing.T, answers map[string]string) *session {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, known := answers[r.URL.Path]
		if strings.HasPrefix(text, "4") || !known {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := Open(t.Context(), backend.Endpoint{URL: at, Dial: backendtest.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	return opened.(*session)
}

const nothingCounted = `{"errors":[{"message":"Cannot query field","path":null}]}`

func schema(classes ...string) string { return `{"classes":[` + strings.Join(classes, ",") + `]}` }

func plainClass(name, shards, factor string) string {
	return `{"class":"` + name + `","vectorIndexType":"hnsw","vectorIndexConfig":{"distance":"l2-squared","ef":-1,"pq":{"enabled":true}},` +
		`"multiTenancyConfig":{"enabled":false},"replicationConfig":{"factor":` + factor + `},"shardingConfig":{"actualCount":` + shards + `}}`
}

func shardOf(class, name, status, objects, queue string) string {
	return `{"name":"` + name + `","class":"` + class + `","objectCount":` + objects + `,"vectorIndexingStatus":"` + status + `","vectorQueueLength":` + queue + `,"loaded":true}`
}

func nodeWith(name, status string, shards ...string) string {
	return `{"name":"` + name + `","status":"` + status + `","version":"1.35.2","shards":[` + strings.Join(shards, ",") + `]}`
}

func nodes(all ...string) string { return `{"nodes":[` + strings.Join(all, ",") + `]}` }

func describe(t *testing.T, s *session) map[string]backend.Collection {
	t.Helper()
	names, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	described, err := s.Describe(t.Context(), names)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]backend.Collection{}
	for _, one := range described {
		all[one.Name] = one
	}
	return all
}

// The worst shard tells how a class is.
func TestStatus(t *testing.T) {
	for words, want := range map[string]backend.Status{
		"READY READY": backend.OK, "READY INDEXING": backend.Optimizing, "LAZY_LOADING READY": backend.Pending, "LOADING INDEXING": backend.NotLoaded,
		"READONLY LOADING": backend.Degraded, "READY NEVER_HEARD_OF": backend.Unknown, " ": "",
	} {
		one, two, _ := strings.Cut(words, " ")
		s := scripted(t, map[string]string{
			"/v1/schema": schema(plainClass("A", "2", "1")), "/v1/graphql": nothingCounted,
			"/v1/nodes": nodes(nodeWith("n1", "HEALTHY", shardOf("A", "s1", one, "10", "3")), nodeWith("n2", "HEALTHY", shardOf("A", "s2", two, "5", "4"))),
		})
		a := describe(t, s)["A"]
		if a.Status != want || *a.Objects != 15 || a.Exact || *a.Queue != 7 || *a.Shards != 2 || *a.ShardsInactive != 0 || a.Replicas[backend.Dead] != 0 {
			t.Errorf("%s: %+v", words, a)
		}
		if space := a.Spaces[0]; space.Distance != backend.Euclidean || space.Quantized != "pq" || space.Parameters["ef_search"] != -1 || space.Dimensions != nil {
			t.Errorf("%+v", space)
		}
	}
}

// Copies of a shard are one shard, and those on a node that does not answer are missed.
func TestLostNode(t *testing.T) {
	s := scripted(t, map[string]string{
		"/v1/schema": schema(plainClass("A", "2", "2"), plainClass("B", "2", "1")), "/v1/graphql": nothingCounted,
		"/v1/nodes": nodes(
			nodeWith("n1", "HEALTHY", shardOf("A", "s1", "READY", "10", "0"), shardOf("A", "s2", "READY", "4", "0"), shardOf("B", "s3", "READY", "1", "0")),
			nodeWith("n2", "HEALTHY", shardOf("A", "s1", "READY", "12", "0")),
			`{"name":"n3","status":"TIMEOUT","shards":null}`),
	})
	all := describe(t, s)
	if a := all["A"]; *a.Objects != 16 || a.Replicas[backend.Active] != 3 || a.Replicas[backend.Dead] != 1 || *a.ShardsInactive != 0 || a.Status != backend.OK {
		t.Errorf("%+v", a)
	}
	if b := all["B"]; *b.ShardsInactive != 1 || b.Status != backend.Degraded || b.Replicas[backend.Dead] != 1 {
		t.Errorf("%+v", b)
	}
}

// A class that is deleted after it was listed is left out; one of tenants has as many shards as there are tenants.
func TestGoneAndTenants(t *testing.T) {
	tenants := `{"class":"T","vectorIndexType":"flat","multiTenancyConfig":{"enabled":true},"replicationConfig":{"factor":1},"shardingConfig":{"actualCount":0}}`
	s := scripted(t, map[string]string{
		"/v1/schema": schema(plainClass("Gone", "1", "1"), tenants), "/v1/graphql": nothingCounted, "/v1/schema/Gone": "404",
		"/v1/nodes": nodes(nodeWith("n1", "HEALTHY", shardOf("T", "t1", "READY", "3", "0"), shardOf("T", "t2", "READY", "4", "0"))),
	})
	all := describe(t, s)
	if names := slices.Sorted(maps.Keys(all)); !slices.Equal(names, []string{"T"}) || *all["T"].Shards != 2 || *all["T"].Objects != 7 || all["T"].Replicas != nil {
		t.Errorf("%+v", all)
	}
}

// Nodes are up or not, and the leader tells of the agreement. Versions before 1.25 tell nothing of it.
func TestCluster(t *testing.T) {
	answers := map[string]string{
		"/v1/nodes": nodes(nodeWith("n1", "HEALTHY"), nodeWith("n2", "UNHEALTHY"), `{"name":"n3","status":"UNAVAILABLE","shards":null}`),
		"/v1/cluster/statistics": `{"statistics":[{"name":"n1","leaderId":"n2","raft":{"state":"Follower","term":"3","commitIndex":"8","fsmPending":"1"}},` +
			`{"name":"n2","leaderId":"n2","raft":{"state":"Leader","term":"4","commitIndex":"9","fsmPending":"0"}}],"synchronized":false}`,
	}
	c, err := scripted(t, answers).Cluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !c.Enabled || len(c.Peers) != 3 || !*c.Peers[0].Up || *c.Peers[1].Up || *c.Peers[2].Up || !*c.HasLeader || *c.Working || *c.Term != 4 || *c.Commit != 9 || *c.Pending != 0 {
		t.Errorf("%+v", c)
	}
	delete(answers, "/v1/cluster/statistics")
	if c, err = scripted(t, answers).Cluster(t.Context()); err != nil || c.HasLeader != nil || c.Working != nil || c.Term != nil || len(c.Peers) != 3 {
		t.Errorf("%+v, %v", c, err)
	}
}

// Nothing that is not a name of a class goes into a query.
func TestNames(t *testing.T) {
	s := scripted(t, map[string]string{"/v1/schema": schema(plainClass(`A{meta}}`, "1", "1"))})
	if names, err := s.List(t.Context()); err == nil {
		t.Errorf("listed %q", names)
	}
	for _, name := range []string{"", "a b", "A{", "Ä"} {
		if _, err := s.Count(t.Context(), backend.Place{Collection: name}); err == nil {
			t.Errorf("counted %q", name)
		}
		if _, err := s.Search(t.Context(), backend.Place{Collection: name}, []float32{1}, 1); err == nil {
			t.Errorf("searched %q", name)
		}
	}
}
