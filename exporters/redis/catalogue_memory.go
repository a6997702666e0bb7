package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// memoryCategory is a field of MEMORY STATS that counts bytes of one use. No byte is counted in two categories, and
// together with the tables of the databases they come to all that the allocator has handed out.
type memoryCategory struct{ field, category string }

func memoryFields() []memoryCategory {
	return []memoryCategory{
		{"startup.allocated", "startup"},
		{"replication.backlog", "replication_backlog"},
		{"replica.fullsync.buffer", "replica_fullsync_buffer"},
		{"clients.slaves", "replicas"},
		{"clients.normal", "clients"},
		{"cluster.links", "cluster_links"},
		{"aof.buffer", "aof_buffer"},
		{"lua.caches", "scripts"},
		{"functions.caches", "functions"},
		{"script.VMs", "script_engines"},
		{"dataset.bytes", "dataset"},
	}
}

// memoryCategories reads MEMORY STATS: what the memory is used for.
func memoryCategories() *collect.Collector {
	used := gauge("memory_category_bytes", "Memory by what it is used for. The categories do not overlap; with the tables of the databases they come to all that is allocated.", "category")
	tables := gauge("memory_db_overhead_bytes", "Memory of the tables in which a database finds its keys (main), their expiry (expires) and, in clusters before Redis 7.2, those of a slot (slots).", "db", "table")
	perKey := gauge("memory_bytes_per_key", "Memory beyond that of an empty server, per key.")
	dataset := gauge("memory_dataset_ratio", "Share of the keys and values in the memory beyond that of an empty server, from 0 to 1.")
	return &collect.Collector{
		Name: "memory_categories", Help: "MEMORY STATS: what the memory is used for.",
		Families: []*metric.Family{used, tables, perKey, dataset},
		Ask:      asks(ask("MEMORY", "STATS")),
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			r := answered(answer)
			for _, c := range memoryFields() {
				addNumber(out, used, r.Get(c.field), 1, c.category)
			}
			for field, stats := range r.Pairs() {
				if db, ok := strings.CutPrefix(field, "db."); ok && len(stats.Items()) > 0 {
					addNumber(out, tables, stats.Get("overhead.hashtable.main"), 1, "db"+db, "main")
					addNumber(out, tables, stats.Get("overhead.hashtable.expires"), 1, "db"+db, "expires")
					addNumber(out, tables, stats.Get("overhead.hashtable.slot-to-keys"), 1, "db"+db, "slots") // until Redis 7.2
				}
			}
			addNumber(out, perKey, r.Get("keys.bytes-per-key"), 1)
			addNumber(out, dataset, r.Get("dataset.percentage"), 100)
			return nil
		},
	}
}
