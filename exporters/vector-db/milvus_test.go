package main

import (
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/milvus"
)

// Old and new versions' pages, as a whole, of a FAKE.
func TestMilvus(t *testing.T) {
	for name, old := range map[string]bool{"2.4": true, "2.6": false} {
		fake := milvus.New(milvus.Options{Old: old, Token: "root:hunter2"})
		fake.Add("docs", "embedding", 4, "COSINE")
		fake.Add("cold", "v", 8, "L2")
		fake.Add("new", "v", 8, "IP")
		for i := range 10 {
			fake.Put("docs", i, normal(uint64(i), 4))
		}
		fake.SetState("cold", "LoadStateNotLoad", "Finished")
		fake.SetState("new", "LoadStateLoaded", "InProgress")
		server, management := serve(t, fake), serve(t, fake.Management())
		target := watched(t, written(t, "targets: [{url: '"+server.URL+"', user: root, password: hunter2, native: [milvus_*], native_url: '"+management.URL+"/metrics'}]"))
		got := scrape(t, target, 5*time.Second)
		suitetest.Golden(t, "testdata/milvus_"+name+".txt", got.settled(), *update)
		fake.Sicken(true)
		got = fresh(t, target, 5*time.Second)
		got.want(t, "vectordb_up 1", "vectordb_ready 0", `service_health{service="vector-db"} 0.5`)
		management.Close()
		fresh(t, target, 5*time.Second).want(t, "vectordb_up 1", "vectordb_ready absent", `service_health{service="vector-db"} 1`)
	}
}
