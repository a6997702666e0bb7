package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

var slru = collect.Table{
	Name: "stat_slru", Prefix: "pg_stat_slru", Help: "pg_stat_slru: the small caches for transaction status, multixacts, subtransactions and the like.",
	Created: "reset",
	Sources: []collect.Source{collect.Always(`SELECT *, extract(epoch FROM stats_reset) AS reset FROM pg_stat_slru ORDER BY blks_read DESC, name`)},
	Columns: []collect.Column{
		collect.Label("name"),
		collect.Count("blks_zeroed", "blks_zeroed_total", "Blocks begun anew."),
		collect.Count("blks_hit", "blks_hit_total", "Blocks found in the cache."),
		collect.Count("blks_read", "blks_read_total", "Blocks that had to be read. Many of the multixacts or subtransactions make everything slow."),
		collect.Count("blks_written", "blks_written_total", "Blocks written."),
		collect.Count("blks_exists", "blks_exists_total", "Blocks that were looked for on disk."),
		collect.Count("flushes", "flushes_total", "Times all that had changed was flushed to disk."),
		collect.Count("truncates", "truncates_total", "Times what nobody needs any more was removed."),
	},
}

var recoveryPrefetch = collect.Table{
	Name: "stat_recovery_prefetch", Prefix: "pg_stat_recovery_prefetch", Help: "pg_stat_recovery_prefetch: blocks that the replay of the log on a replica reads ahead. Since PostgreSQL 15.",
	Created: "reset", Needs: collect.Needs{Replica: true},
	Sources: []collect.Source{collect.Since(150000, `SELECT *, extract(epoch FROM stats_reset) AS reset FROM pg_stat_recovery_prefetch`)},
	Columns: []collect.Column{
		collect.Count("prefetch", "prefetch_total", "Blocks read ahead."),
		collect.Count("hit", "hit_total", "Blocks not read ahead because they were in the buffers."),
		collect.Count("skip_init", "skip_init_total", "Blocks not read ahead because they would be begun anew."),
		collect.Count("skip_new", "skip_new_total", "Blocks not read ahead because they did not exist yet."),
		collect.Count("skip_fpw", "skip_fpw_total", "Blocks not read ahead because the log held them whole."),
		collect.Count("skip_rep", "skip_rep_total", "Blocks not read ahead because they just had been."),
		collect.Value("wal_distance", "wal_distance_bytes", "How far ahead of the replay the log is looked at, in bytes."),
		collect.Value("block_distance", "block_distance", "Blocks that are being looked at ahead of the replay."),
		collect.Value("io_depth", "io_depth", "Reads ahead that are begun and, as far as is known, not completed."),
	},
}

// sharedMemory is for superusers only before PostgreSQL 15.
var sharedMemory = collect.Table{
	Name: "shmem_allocations", Prefix: "pg_shmem_allocations", Help: "pg_shmem_allocations: what the shared memory of the server is used for. Since PostgreSQL 15.",
	Off: true,
	Sources: []collect.Source{collect.Since(150000, `
		SELECT coalesce(name, '<unused>') AS name, sum(allocated_size) AS size
		FROM pg_shmem_allocations GROUP BY 1 ORDER BY size DESC LIMIT 100`)},
	Columns: []collect.Column{
		collect.Label("name"),
		collect.Value("size", "size_bytes", "Shared memory taken under this name, in bytes; of the 100 largest. The name <anonymous> stands for what has none, <unused> for what is free."),
	},
}

// archiveStatus is dear: it looks at each file of the directory, of which there are many just when archiving fails.
var archiveStatus = collect.Table{
	Name: "archive_status", Prefix: "pg_archive_status", Help: "pg_ls_archive_statusdir(): what waits to be archived.",
	Class: collect.Dear,
	Sources: []collect.Source{collect.Always(`
		SELECT count(*) AS files, count(*) FILTER (WHERE name ~ '^[0-9A-F]{24}[.]ready$') * pg_size_bytes(current_setting('wal_segment_size')) AS size,
			extract(epoch FROM min(modification)) AS oldest
		FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'`)},
	Columns: []collect.Column{
		collect.Value("files", "ready_files", "Files of the write-ahead log that wait to be archived."),
		collect.Value("size", "ready_bytes", "Size of the segments of the write-ahead log that wait to be archived, in bytes: they cannot be removed before."),
		collect.Value("oldest", "oldest_ready_timestamp_seconds", "Since when the oldest of these files waits, in Unix seconds. Absent while none does."),
	},
}
