package vectordb

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// store is a real server as an application uses it: what is here shares nothing with the exporter.
type store interface {
	kind() string
	// target is the server's part of the exporter's configuration, in YAML, indented by four spaces.
	target() string
	// fill makes a collection whose vectors are compared by cosine. A poor one has an index that is asked to look at few
	// vectors, an exact one is asked to look at all.
	fill(t *testing.T, name string, vectors [][]float32, how quality)
	// nearest searches as users do, and gives places in the slice that the collection was filled with.
	nearest(t *testing.T, name string, vector []float32, k int) []int
	// named is what the exporter calls the collection, and its vector.
	named(name string) (collection, vector string)
	// stop and start are a restart.
	stop(t *testing.T)
	start(t *testing.T)
}

type quality int

const (
	usual quality = iota
	poor
	exact
)

// everyStore starts one of each kind that runs on this machine.
func everyStore(t *testing.T) []store {
	t.Helper()
	return []store{newPgvector(t), newRedis(t), newChroma(t), newWeaviate(t)}
}

// vectors are the same at each call.
func vectors(n, dimensions int) [][]float32 {
	random := rand.New(rand.NewPCG(7, uint64(dimensions)))
	all := make([][]float32, n)
	for i := range all {
		all[i] = make([]float32, dimensions)
		for j := range dimensions {
			all[i][j] = float32(random.NormFloat64())
		}
	}
	return all
}

// uuid is the ID of a vector where the server wants one; place reads it.
func uuid(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", i) }

func place(t *testing.T, id string) int {
	t.Helper()
	var i int
	if _, err := fmt.Sscanf(id[max(0, len(id)-12):], "%012x", &i); err != nil {
		t.Fatalf("%q: %v", id, err)
	}
	return i
}

func list(vector []float32) string {
	text, _ := json.Marshal(vector) // which does not fail for numbers
	return string(text)
}

// call sends JSON and reads JSON.
func call(t *testing.T, method, url, key string, body, into any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	told, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode > 299 {
		t.Fatalf("%s %s: %s: %v: %.300s", method, url, answer.Status, err, told)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(told, into); err != nil {
		t.Fatalf("%s %s: %v: %.300s", method, url, err, told)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type pgvector struct{ *servers.Postgres }

func newPgvector(t *testing.T) pgvector {
	return pgvector{servers.NewPgvector(t, servers.PostgresOptions{Initial: []string{"CREATE ROLE monitor LOGIN PASSWORD 'monitor' IN ROLE pg_monitor"}})}
}

func (p pgvector) kind() string { return "pgvector" }

func (p pgvector) target() string {
	return fmt.Sprintf("url: postgres://%s/postgres?sslmode=disable\n    user: postgres\n    password: %s", p.Addr(), p.Password())
}

func (p pgvector) exec(t *testing.T, statements ...string) {
	t.Helper()
	must(t, p.Exec(t.Context(), "postgres", statements...))
}

func (p pgvector) fill(t *testing.T, name string, all [][]float32, how quality) {
	t.Helper()
	p.exec(t, fmt.Sprintf("CREATE TABLE %s (id int PRIMARY KEY, v vector(%d) NOT NULL)", name, len(all[0])))
	for from := 0; from < len(all); from += 500 {
		var rows []string
		for i := from; i < min(from+500, len(all)); i++ {
			rows = append(rows, fmt.Sprintf("(%d, '%s')", i, list(all[i])))
		}
		p.exec(t, "INSERT INTO "+name+" VALUES "+strings.Join(rows, ","))
	}
	index := "hnsw (v vector_cosine_ops)"
	switch how {
	case poor: // which finds little: the graph has few edges, and ten rows are looked at
		index = "hnsw (v vector_cosine_ops) WITH (m = 4, ef_construction = 8)"
		p.exec(t, "LOAD 'vector'; ALTER DATABASE postgres SET hnsw.ef_search = 12")
	case exact: // all lists are looked at
		index = "ivfflat (v vector_cosine_ops) WITH (lists = 4)"
		p.exec(t, "LOAD 'vector'; ALTER DATABASE postgres SET ivfflat.probes = 4; ALTER DATABASE postgres SET enable_seqscan = off")
	}
	p.exec(t, "CREATE INDEX ON "+name+" USING "+index, "ANALYZE "+name)
}

func (p pgvector) nearest(t *testing.T, name string, vector []float32, k int) []int {
	t.Helper()
	text, err := p.Query(t.Context(), "postgres", fmt.Sprintf(
		"SELECT '[' || string_agg(id::text, ',') || ']' FROM (SELECT id FROM %s ORDER BY v <=> '%s' LIMIT %d) x", name, list(vector), k))
	must(t, err)
	var found []int
	must(t, json.Unmarshal([]byte(text), &found))
	return found
}

func (p pgvector) named(name string) (string, string) { return "public." + name, "v" }
func (p pgvector) stop(t *testing.T)                  { must(t, p.Stop()) }
func (p pgvector) start(t *testing.T)                 { must(t, p.Start(t.Context())) }

type redis struct{ *servers.Redis }

func newRedis(t *testing.T) redis {
	return redis{servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis8, Password: "redis-password"})}
}

func (r redis) kind() string { return "redis" }
func (r redis) target() string {
	return fmt.Sprintf("url: redis://%s\n    api_key: %s", r.Addr(), r.Password())
}

func (r redis) fill(t *testing.T, name string, all [][]float32, _ quality) {
	t.Helper()
	pipeline := r.Client(t).Pipeline()
	for i, vector := range all {
		pipeline.Do(t.Context(), "VADD", name, "FP32", packed(vector), uuid(i))
	}
	_, err := pipeline.Exec(t.Context())
	must(t, err)
}

func packed(vector []float32) []byte {
	var b []byte
	for _, x := range vector {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func (r redis) nearest(t *testing.T, name string, vector []float32, k int) []int {
	t.Helper()
	ids, err := r.Client(t).Do(t.Context(), "VSIM", name, "FP32", packed(vector), "COUNT", k).StringSlice()
	must(t, err)
	return places(t, ids)
}

func places(t *testing.T, ids []string) []int {
	t.Helper()
	var all []int
	for _, id := range ids {
		all = append(all, place(t, id))
	}
	return all
}

func (r redis) named(name string) (string, string) { return name, "" }
func (r redis) stop(t *testing.T)                  { must(t, r.Stop()) }
func (r redis) start(t *testing.T)                 { must(t, r.Start(t.Context())) }

type chroma struct {
	*servers.Chroma
	ids map[string]string // of collections
}

func newChroma(t *testing.T) chroma { return chroma{servers.NewChroma(t), map[string]string{}} }

func (c chroma) kind() string   { return "chroma" }
func (c chroma) target() string { return "url: " + c.URL() }

func (c chroma) collections() string {
	return c.URL() + "/api/v2/tenants/default_tenant/databases/default_database/collections"
}

func (c chroma) fill(t *testing.T, name string, all [][]float32, how quality) {
	t.Helper()
	settings := map[string]any{"space": "cosine"}
	switch how {
	case poor:
		settings["ef_search"], settings["ef_construction"], settings["max_neighbors"] = 12, 12, 4
	case exact:
		settings["ef_search"], settings["ef_construction"], settings["max_neighbors"] = 4000, 400, 64
	}
	var made struct{ ID string }
	call(t, http.MethodPost, c.collections(), "", map[string]any{"name": name, "configuration": map[string]any{"hnsw": settings}}, &made)
	c.ids[name] = made.ID
	for from := 0; from < len(all); from += 500 {
		part := all[from:min(from+500, len(all))]
		ids := make([]string, len(part))
		for i := range part {
			ids[i] = uuid(from + i)
		}
		call(t, http.MethodPost, c.collections()+"/"+made.ID+"/add", "", map[string]any{"ids": ids, "embeddings": part}, nil)
	}
}

func (c chroma) nearest(t *testing.T, name string, vector []float32, k int) []int {
	t.Helper()
	var told struct{ IDs [][]string }
	call(t, http.MethodPost, c.collections()+"/"+c.ids[name]+"/query", "",
		map[string]any{"query_embeddings": [][]float32{vector}, "n_results": k, "include": []string{"distances"}}, &told)
	return places(t, told.IDs[0])
}

func (c chroma) named(name string) (string, string) { return name, "" }
func (c chroma) stop(t *testing.T)                  { must(t, c.Stop()) }
func (c chroma) start(t *testing.T)                 { must(t, c.Start(t.Context())) }

type weaviate struct{ *servers.Weaviate }

func newWeaviate(t *testing.T) weaviate { return weaviate{servers.NewWeaviate(t)} }

func (w weaviate) kind() string { return "weaviate" }
func (w weaviate) target() string {
	return "url: " + w.URL() + "\n    api_key: " + servers.WeaviateAdminKey
}

func (w weaviate) fill(t *testing.T, name string, all [][]float32, how quality) {
	t.Helper()
	index, settings := "hnsw", map[string]any{"distance": "cosine"}
	switch how {
	case poor:
		settings["ef"], settings["efConstruction"], settings["maxConnections"] = 11, 8, 4
	case exact:
		index = "flat"
	}
	call(t, http.MethodPost, w.URL()+"/v1/schema", servers.WeaviateAdminKey,
		map[string]any{"class": w.class(name), "vectorizer": "none", "vectorIndexType": index, "vectorIndexConfig": settings}, nil)
	for from := 0; from < len(all); from += 500 {
		var objects []map[string]any
		for i := from; i < min(from+500, len(all)); i++ {
			objects = append(objects, map[string]any{"class": w.class(name), "id": uuid(i), "vector": all[i]})
		}
		var told []struct {
			Result struct{ Errors any }
		}
		call(t, http.MethodPost, w.URL()+"/v1/batch/objects", servers.WeaviateAdminKey, map[string]any{"objects": objects}, &told)
		for _, one := range told {
			if one.Result.Errors != nil {
				t.Fatalf("%v", one.Result.Errors)
			}
		}
	}
}

func (w weaviate) class(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

func (w weaviate) nearest(t *testing.T, name string, vector []float32, k int) []int {
	t.Helper()
	var told struct {
		Data struct {
			Get map[string][]struct {
				Additional struct{ ID string } `json:"_additional"`
			}
		}
	}
	query := fmt.Sprintf("{Get{%s(limit:%d,nearVector:{vector:%s}){_additional{id}}}}", w.class(name), k, list(vector))
	call(t, http.MethodPost, w.URL()+"/v1/graphql", servers.WeaviateAdminKey, map[string]any{"query": query}, &told)
	var ids []string
	for _, one := range told.Data.Get[w.class(name)] {
		ids = append(ids, one.Additional.ID)
	}
	return places(t, ids)
}

func (w weaviate) named(name string) (string, string) { return w.class(name), "" }
func (w weaviate) stop(t *testing.T)                  { must(t, w.Stop()) }
func (w weaviate) start(t *testing.T) {
	// The test's context may have little time left for a server that takes ten seconds.
	must(t, w.Start(context.WithoutCancel(t.Context())))
}

// away is how far vectors are from one, by cosine: the definition, over all of them.
func away(from []float32, all [][]float32) []float64 {
	distances := make([]float64, len(all))
	for i, vector := range all {
		var product, left, right float64
		for j := range vector {
			product += float64(from[j]) * float64(vector[j])
			left += float64(from[j]) * float64(from[j])
			right += float64(vector[j]) * float64(vector[j])
		}
		distances[i] = 1 - product/math.Sqrt(left*right)
	}
	return distances
}

// trueRecall is the share of the k nearest that a store finds, over some of the vectors as queries. It knows the vectors
// themselves: a row counts if it is as near as the k-th nearest, whatever the store says of distances.
func trueRecall(t *testing.T, s store, name string, all [][]float32, queries, k int) float64 {
	t.Helper()
	found := 0
	for query := range queries {
		at := query * len(all) / queries
		distances := away(all[at], all)
		others := slices.Clone(distances)
		others = slices.Delete(others, at, at+1)
		slices.Sort(others)
		rows := 0
		for _, row := range s.nearest(t, name, all[at], k+1) {
			if row == at || rows == k {
				continue
			}
			rows++
			if distances[row] <= others[k-1]+1e-6 {
				found++
			}
		}
	}
	return float64(found) / float64(queries*k)
}
