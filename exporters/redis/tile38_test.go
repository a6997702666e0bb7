package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// serverExt is a part of what Tile38 1.36 answers to SERVER EXT, after its published source.
const serverExt = `alloc_bytes 3297168 go_goroutines 17 go_threads 9 go_version go1.24.1 heap_alloc_bytes 3297168 heap_released_bytes 2596864
last_gc_time_seconds 1.764022e+09 next_gc_bytes 4194304 sys_cpus 2 tile38_aof_size 120 tile38_avg_point_size 0 tile38_http_transport true
tile38_id 5c2a tile38_in_memory_size 48 tile38_max_heap_size 0 tile38_num_collections 1 tile38_num_hooks 0 tile38_num_objects 2
tile38_num_points 2 tile38_pointer_size 8 tile38_read_only false tile38_type leader tile38_uptime_in_seconds 5.5 tile38_version 1.36.0`

// fakeTile38 speaks as Tile38 does, which cannot run here.
func fakeTile38(t *testing.T) *scripted {
	words := strings.Fields(serverExt)
	return newScripted(t, func(args []string) string {
		switch strings.ToUpper(args[0]) {
		case "SERVER":
			answer := fmt.Sprintf("*%d\r\n", len(words))
			for _, word := range words {
				answer += bulk(word)
			}
			return answer
		case "INFO":
			return bulk("# Server\r\ntile38_version:1.36.0\r\nredis_version:1.36.0\r\nuptime_in_seconds:5\r\n# Clients\r\nconnected_clients:1\r\n")
		case "PING":
			return "+PONG\r\n"
		}
		return "-ERR unknown command '" + args[0] + "'\r\n"
	})
}

// What Tile38 says of itself is shown under redis_exporter's names, and it is well without what it lacks of Redis.
func TestTile38(t *testing.T) {
	d := fakeTile38(t).driver()
	conn := connected(t, d)
	if id := conn.Identity(); id.Product != "Tile38" || id.Text != "1.36.0" || !has(id, noDatabaseSize) {
		t.Errorf("%+v", id)
	}
	for _, probe := range d.Probes() {
		if probe.Operation == collect.Read && !probe.Skip(conn.Identity()) {
			t.Error("it is asked for what it does not know")
		}
	}
	c, out := tile38(), metric.NewBatch(0)
	err := conn.Do(t.Context(), c.Ask(conn.Identity()), func(i int, answer collect.Answer, err error) {
		if err == nil {
			err = c.Read(i, answer, out)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	got := samples(out)
	for _, want := range []string{
		"tile38_mem_alloc_bytes{} 3.297168e+06", "tile38_cpus_total{} 2", "tile38_http_transport{} 1", "tile38_read_only{} 0",
		"tile38_avg_item_size_bytes{} 0", "tile38_last_gc_time_seconds{} 1.764022e+09", "tile38_num_objects_total{} 2", "tile38_threads_total{} 9",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	if len(got) != len(tile38Fields) {
		t.Errorf("%d samples of %d fields: %v", len(got), len(tile38Fields), got)
	}
}
