package vectordb

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

const secret = "hunter2-of-qdrant"

// served is a FAKE Qdrant with a collection of vectors.
func served(t *testing.T, options qdrant.Options) (*qdrant.Server, string) {
	t.Helper()
	fake := qdrant.New(options)
	fake.Add("docs", map[string]qdrant.Vector{"": {Size: 16, Distance: "Cosine"}})
	random := rand.New(rand.NewPCG(7, 7))
	for i := range uint64(500) {
		vector := make([]float32, 16)
		for j := range vector {
			vector[j] = float32(random.NormFloat64())
		}
		fake.Put("docs", i, vector)
	}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	return fake, server.URL
}

// The platform's vector-db is a Qdrant 1.7.4: it is watched with three variables, its health is told in the standard's
// way, and the key shows nowhere, whatever goes wrong.
func TestQdrantOfThePlatform(t *testing.T) {
	fake, url := served(t, qdrant.Options{Version: "1.7.4", Key: secret})
	key := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(key, []byte(secret), 0o600))
	e := harness.Start(t, "vector-db-exporter", []string{"VECTORDB_URL=" + url, "VECTORDB_TYPE=qdrant", "VECTORDB_API_KEY_FILE=" + key, "VECTORDB_NATIVE=app_info"})
	page := e.Scrape("5")
	for _, series := range []string{
		"vectordb_up", "vectordb_ready", "vectordb_auth_ok", `vectordb_info{commit="",system="qdrant",version="1.7.4"}`, `vectordb_collection_success{collection="docs"}`,
		`service_health{service="vector-db"}`, `db_connection_success{db_name="",service="vector-db"}`, `db_read_success{db_name="",service="vector-db"}`,
		`app_info{name="qdrant",version="1.7.4"}`,
	} {
		page.Want(t, series, 1)
	}
	page.Want(t, `vectordb_collection_objects{collection="docs"}`, 500)
	if failing := page.Failing("vectordb"); len(failing) > 0 {
		t.Errorf("failing: %v", failing)
	}
	if health := e.Get("/health"); health.Code != http.StatusOK || !strings.Contains(health.Body, `"vector-db":"ok"`) {
		t.Errorf("%d %s", health.Code, health.Body)
	}
	fake.SetKey("another")
	harness.Freshen()
	page = e.Scrape("5")
	page.Want(t, "vectordb_up", 0)
	page.Want(t, "vectordb_live", 1)
	page.Want(t, "vectordb_auth_ok", 0)
	page.Want(t, `service_health{service="vector-db"}`, 0)
	page.Want(t, `vectordb_exporter_failure_info{reason="auth"}`, 1)
	harness.Freshen()
	health := e.Get("/health")
	if health.Code != http.StatusServiceUnavailable || !strings.Contains(health.Body, `"vector-db":"error"`) {
		t.Errorf("%d %s", health.Code, health.Body)
	}
	for what, text := range map[string]string{"the page": page.Body, "/health": health.Body, "/": e.Get("/").Body, "the log": e.Output()} {
		if strings.Contains(text, secret) || strings.Contains(text, "Invalid api-key") {
			t.Errorf("the key, or the server's words, show in %s", text[:min(len(text), 200)]+what)
		}
	}
}

// A disk that is full is seen by the canary and by the health check, and no longer once there is space. Nothing but
// the canary's own collection is touched, and in that nothing is left.
func TestQdrantOnAFullDisk(t *testing.T) {
	for _, version := range []string{"1.7.4", "1.19.0"} {
		fake, url := served(t, qdrant.Options{Version: version})
		e := start(t, fmt.Sprintf("targets: [{url: '%s', type: qdrant, canary: {every: 1s}}]", url))
		until := func(what string, canary, health float64) {
			harness.Eventually(t, 15*time.Second, what, func() error {
				harness.Freshen()
				page := e.Scrape("5")
				gotCanary, told := page.Value("vectordb_canary_success")
				gotHealth, _ := page.Value(`service_health{service="vector-db"}`)
				if up, _ := page.Value("vectordb_up"); !told || up != 1 || gotCanary != canary || gotHealth != health {
					return fmt.Errorf("up %v, canary %v (%v), health %v\n%s", up, gotCanary, told, gotHealth, about(page.Body, "canary", "health"))
				}
				return nil
			})
		}
		until("the canary sings", 1, 1)
		fake.FillDisk(true)
		until("the canary falls silent", 0, 0.5)
		fake.FillDisk(false)
		until("the canary sings again", 1, 1)
		_ = e.Stop()
		names := slices.DeleteFunc(fake.Names(), func(name string) bool { return strings.Contains(strings.ToLower(name), "canary") })
		if !slices.Equal(names, []string{"docs"}) || fake.Points("docs") != 500 {
			t.Errorf("left: %v, %d points", names, fake.Points("docs"))
		}
	}
}

// An index that overlooks a tenth of the points is found out by recall, in the old way of searching and in the new one.
func TestQdrantRecall(t *testing.T) {
	for _, version := range []string{"1.7.4", "1.19.0"} {
		for loss, want := range map[float64][2]float64{0: {1, 1}, 0.2: {0.7, 0.9}} {
			_, url := served(t, qdrant.Options{Version: version, Loss: loss})
			e := start(t, fmt.Sprintf("targets: [{url: '%s', type: qdrant, recall: {every: 1h, queries: 100, collections: [{name: docs}]}}]", url))
			var got float64
			harness.Eventually(t, 20*time.Second, "recall is told", func() (err error) {
				harness.Freshen()
				page := e.Scrape("5")
				var told bool
				if got, told = page.Value(`vectordb_search_recall_ratio{collection="docs",k="10",vector=""}`); !told {
					err = fmt.Errorf("%s", about(page.Body, "recall", "self_hit"))
				}
				return err
			})
			if got < want[0] || got > want[1] {
				t.Errorf("%s, %v lost: recall %v, want %v", version, loss, got, want)
			}
			t.Logf("%s, %v lost: recall %v", version, loss, got)
		}
	}
}

// A thousand collections are told of within two seconds where a question and its answer are 10 ms on the way, also of a
// node of a cluster, which is asked two questions of each. The best of some tries counts: other tests may be at work.
func TestThousandCollections(t *testing.T) {
	for _, clustered := range []bool{false, true} {
		fake := qdrant.New(qdrant.Options{Cluster: clustered})
		for i := range 1000 {
			fake.Add(fmt.Sprintf("c%04d", i), map[string]qdrant.Vector{"": {Size: 8, Distance: "Cosine"}})
		}
		far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(10 * time.Millisecond)
			fake.ServeHTTP(w, r)
		}))
		t.Cleanup(far.Close)
		e := harness.Start(t, "vector-db-exporter", []string{"VECTORDB_URL=" + far.URL, "VECTORDB_TYPE=qdrant"}, "--no-collector.storage")
		best := time.Hour
		for try := 0; try < 5 && best > 2*time.Second; try++ {
			page := e.Scrape("10")
			page.Want(t, `vectordb_collection_success{collection="c0999"}`, 1)
			best = min(best, page.Took)
			harness.Freshen()
		}
		if best > 2*time.Second {
			t.Errorf("clustered %v: %s", clustered, best)
		}
		t.Logf("clustered %v: %s", clustered, best)
	}
}

// Servers that send without end, or nest without end, cost the exporter a bounded amount of memory.
func TestHostileQdrantCostsLittleMemory(t *testing.T) {
	fake := qdrant.New(qdrant.Options{})
	for i := range 100 {
		fake.Add(fmt.Sprintf("c%03d", i), map[string]qdrant.Vector{"": {Size: 8, Distance: "Cosine"}})
	}
	again := []byte(strings.Repeat(`[{"a":["aaaaaaaaaaaaaaaa",1,2,3]}],`, 1<<11))
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/collections/") && r.URL.Path != "/cluster" && r.URL.Path != "/metrics" && r.URL.Path != "/telemetry" {
			fake.ServeHTTP(w, r)
			return
		}
		kind := "application/json"
		if r.URL.Path == "/metrics" {
			kind = "text/plain"
		}
		w.Header().Set("Content-Type", kind)
		_, err := w.Write([]byte(`{"result":[`))
		for sent := 0; err == nil && sent < 1<<30; sent += len(again) {
			_, err = w.Write(again)
		}
	}))
	t.Cleanup(hostile.Close)
	e := harness.Start(t, "vector-db-exporter", []string{"VECTORDB_URL=" + hostile.URL, "VECTORDB_TYPE=qdrant", "VECTORDB_NATIVE=a"})
	for range 3 {
		page := e.Scrape("8")
		page.Want(t, "vectordb_up", 1)
		page.Want(t, "vectordb_collections", 100)
		page.Want(t, `vectordb_exporter_collector_success{collector="collections"}`, 0)
		harness.Freshen()
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.PID()))
	must(t, err)
	var peak int
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &peak); err == nil {
			break
		}
	}
	if peak == 0 || peak > 400<<10 {
		t.Errorf("it took %d kB at most", peak)
	}
	t.Logf("%d kB at most", peak)
}
