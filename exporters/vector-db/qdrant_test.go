package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
)

// stocked is a FAKE Qdrant of a version with collections in which everything is to be seen.
func stocked(t *testing.T, options qdrant.Options) *qdrant.Server {
	t.Helper()
	fake := qdrant.New(options)
	fake.Add("docs", map[string]qdrant.Vector{"": {Size: 8, Distance: "Cosine"}})
	fake.Add("media", map[string]qdrant.Vector{"image": {Size: 4, Distance: "Dot"}, "text": {Size: 3, Distance: "Euclid"}})
	for i := range uint64(100) {
		fake.Put("docs", i, normal(i, 8))
	}
	fake.Change("docs", qdrant.Change{
		Status: "yellow", Quantization: "scalar",
		Replicas:  []qdrant.Replica{{Shard: 0, State: "Active"}, {Shard: 0, Peer: 1, State: "Dead"}, {Shard: 1, Peer: 1, State: "Dead"}, {Shard: 1, Peer: 2, State: "Initializing"}},
		Snapshots: []qdrant.Snapshot{{Name: "a", Created: time.Unix(1700000000, 0), Size: 1000}, {Name: "b", Created: time.Unix(1700003600, 0), Size: 24}},
	})
	return fake
}

// Every version's page, as a whole. What it asked and was answered is of the described shape.
func TestQdrant(t *testing.T) {
	for _, version := range []string{"1.7.4", "1.9.0", "1.12.0", "1.15.0", "1.17.0", "1.19.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			fake := stocked(t, qdrant.Options{Version: version, Cluster: version == "1.7.4" || version == "1.19.0"})
			fake.Lose(2)
			server := serve(t, fake)
			target := watched(t, "--vectordb.url="+server.URL, "--vectordb.native=app_info,rest_responses_*")
			got := scrape(t, target, 5*time.Second)
			suitetest.Golden(t, "testdata/qdrant_"+version+".txt", got.settled(), *update)
			checkShapes(t, fake, version)
		})
	}
}

func checkShapes(t *testing.T, fake *qdrant.Server, version string) {
	t.Helper()
	shapes, err := qdrant.Describe(version)
	if err != nil {
		return // only the oldest and the newest are described
	}
	checked := 0
	for _, request := range fake.Requests() {
		if err := shapes.Check(request); err != nil {
			t.Error(err)
		}
		checked++
	}
	if checked == 0 {
		t.Error("nothing was asked")
	}
}

// delayed answers as late as a server that is far away.
func delayed(by time.Duration, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(by)
		handler.ServeHTTP(w, r)
	})
}

// On kept connections a scrape costs one wave for the cluster and one for the collections, whatever all is asked.
func TestTurnArounds(t *testing.T) {
	fake := stocked(t, qdrant.Options{Cluster: true})
	server := serve(t, delayed(30*time.Millisecond, fake))
	target := watched(t, "--vectordb.url="+server.URL, "--vectordb.type=qdrant", "--vectordb.native=app_info")
	scrape(t, target, 5*time.Second)
	if got := fresh(t, target, 5*time.Second); got.Usage.TurnArounds != 2 || !got.Up {
		t.Errorf("up %v with %d turn-arounds, want 2", got.Up, got.Usage.TurnArounds)
	}
}

// A thousand collections of a cluster are asked, with two questions each, over few connections, and each of these waits
// for no more answers than its share. How long that takes is measured on the binary.
func TestThousandCollections(t *testing.T) {
	fake := qdrant.New(qdrant.Options{Cluster: true})
	for i := range 1000 {
		fake.Add(fmt.Sprintf("c%04d", i), map[string]qdrant.Vector{"": {Size: 8, Distance: "Cosine"}})
	}
	var open atomic.Int32
	server := httptest.NewUnstartedServer(delayed(10*time.Millisecond, fake))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			open.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	target := quick(t, "--vectordb.url="+server.URL, "--vectordb.type=qdrant")
	got := scrape(t, target, 20*time.Second)
	got.want(t, "vectordb_up 1", `vectordb_collection_objects{collection="c0999"} 0`, `vectordb_collection_inactive_shards{collection="c0000"} 0`)
	if got.Usage.TurnArounds > 2000/16+25 || open.Load() > 30 {
		t.Errorf("%d turn-arounds over %d connections", got.Usage.TurnArounds, open.Load())
	}
}
