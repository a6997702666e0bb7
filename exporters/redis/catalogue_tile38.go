package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// tile38Fields are those of SERVER EXT, which gives some of them without tile38_ before their names.
var tile38Fields = []infoField{
	{"tile38_aof_size", "tile38_aof_size_bytes", g, "", 0, "Tile38", "Size of the append-only file."},
	{"tile38_avg_point_size", "tile38_avg_item_size_bytes", g, "", 0, "Tile38", "Average size of a point."},
	{"tile38_sys_cpus", "tile38_cpus_total", g, "", 0, "Tile38", "Processors of the system."},
	{"tile38_heap_released_bytes", "tile38_heap_released_bytes", g, "", 0, "Tile38", "Memory given back to the system."},
	{"tile38_heap_alloc_bytes", "tile38_heap_size_bytes", g, "", 0, "Tile38", "Memory in use on the heap."},
	{"tile38_http_transport", "tile38_http_transport", g, "", 0, "Tile38", "Whether HTTP is spoken (1) or not (0)."},
	{"tile38_in_memory_size", "tile38_in_memory_size_bytes", g, "", 0, "Tile38", "Size of the data in memory."},
	{"tile38_max_heap_size", "tile38_max_heap_size_bytes", g, "", 0, "Tile38", "Memory that the heap may take."},
	{"tile38_alloc_bytes", "tile38_mem_alloc_bytes", g, "", 0, "Tile38", "Memory that is handed out."},
	{"tile38_num_collections", "tile38_num_collections_total", g, "", 0, "Tile38", "Collections."},
	{"tile38_num_hooks", "tile38_num_hooks_total", g, "", 0, "Tile38", "Hooks."},
	{"tile38_num_objects", "tile38_num_objects_total", g, "", 0, "Tile38", "Objects."},
	{"tile38_num_points", "tile38_num_points_total", g, "", 0, "Tile38", "Points."},
	{"tile38_pointer_size", "tile38_pointer_size_bytes", g, "", 0, "Tile38", "Size of a pointer."},
	{"tile38_read_only", "tile38_read_only", g, "", 0, "Tile38", "Whether the server takes no writes (1) or does (0)."},
	{"tile38_go_threads", "tile38_threads_total", g, "", 0, "Tile38", "Threads of the system."},
	{"tile38_go_goroutines", "tile38_go_goroutines_total", g, "", 0, "Tile38", "Threads of the language."},
	{"tile38_last_gc_time_seconds", "tile38_last_gc_time_seconds", g, "", 0, "Tile38", "When memory was last cleaned up."},
	{"tile38_next_gc_bytes", "tile38_next_gc_bytes", g, "", 0, "Tile38", "Size of the heap at which memory is next cleaned up."},
}

// tile38 reads SERVER EXT, which Tile38 has beside a short INFO.
func tile38() *collect.Collector {
	families := infoFamilies(tile38Fields)
	return &collect.Collector{
		Name: "tile38", Help: "SERVER EXT of Tile38: what it holds, and its memory; --is-tile38.", Off: true,
		Families: families, Ask: asks(ask("SERVER", "EXT")),
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			said := map[string]value{}
			for field, text := range answered(answer).Pairs() {
				said["tile38_"+strings.TrimPrefix(field, "tile38_")] = text
			}
			for at, f := range tile38Fields {
				if n, ok := infoNumber(said[f.field].Text()); ok {
					out.Add(families[at], n)
				}
			}
			return nil
		},
	}
}
