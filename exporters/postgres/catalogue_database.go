package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

// databases is dear: the size of a database is the sum over all its files.
var databases = collect.Table{
	Name: "database", Prefix: "pg_database", Help: "pg_database: sizes and limits of all databases.",
	Class: collect.Dear,
	Sources: []collect.Source{collect.Always(`
		SELECT datname, datconnlimit, pg_database_size(oid) AS size FROM pg_database ORDER BY oid`)},
	Columns: []collect.Column{
		collect.Label("datname"),
		collect.Value("size", "size_bytes", "Disk space that the database takes, in bytes."),
		collect.Value("datconnlimit", "connection_limit", "Connections that may be open to the database at once; -1 means no limit."),
	},
}

// wraparound leaves out databases that nobody can connect to, such as template0, as the established families do.
var wraparound = collect.Table{
	Name: "database_wraparound", Prefix: "pg_database_wraparound", Help: "pg_database: how near each database is to running out of transaction IDs.",
	Sources: []collect.Source{collect.Always(`
		SELECT datname, age(datfrozenxid) AS xid, mxid_age(datminmxid) AS multixact
		FROM pg_database WHERE datallowconn ORDER BY xid DESC`)},
	Columns: []collect.Column{
		collect.Label("datname"),
		collect.Value("xid", "age_transactions", "Transactions since the oldest one in the database that is not frozen. The server stops taking writes before 2^31."),
		collect.Value("multixact", "age_multixacts", "Multixacts since the oldest one in the database. The server stops making new ones before 2^31."),
		collect.Value("xid", "age_datfrozenxid_seconds", "The same as pg_database_wraparound_age_transactions: a number of transactions. The name is the established one; these are no seconds.").In("transactions"),
		collect.Value("multixact", "age_datminmxid_seconds", "The same as pg_database_wraparound_age_multixacts: a number of multixacts. The name is the established one; these are no seconds.").In("multixacts"),
	},
}

var databaseStats = collect.Table{
	Name: "stat_database", Prefix: "pg_stat_database", Help: "pg_stat_database: what has happened in each database.",
	Created: "reset",
	Sources: []collect.Source{collect.Always(`
		SELECT *, extract(epoch FROM stats_reset) AS reset, extract(epoch FROM checksum_last_failure) AS checksum_failed
		FROM pg_stat_database WHERE datname IS NOT NULL ORDER BY xact_commit DESC`)},
	Columns: []collect.Column{
		collect.Label("datid"), collect.Label("datname"),
		collect.Value("numbackends", "numbackends", "Sessions connected to the database now."),
		collect.Count("xact_commit", "xact_commit", "Transactions committed."),
		collect.Count("xact_rollback", "xact_rollback", "Transactions rolled back."),
		collect.Count("blks_read", "blks_read", "Blocks that were not in PostgreSQL's buffers and had to be read."),
		collect.Count("blks_hit", "blks_hit", "Blocks that were found in PostgreSQL's buffers."),
		collect.Count("tup_returned", "tup_returned", "Rows that scans went through."),
		collect.Count("tup_fetched", "tup_fetched", "Rows that index scans fetched."),
		collect.Count("tup_inserted", "tup_inserted", "Rows inserted."),
		collect.Count("tup_updated", "tup_updated", "Rows updated."),
		collect.Count("tup_deleted", "tup_deleted", "Rows deleted."),
		collect.Count("conflicts", "conflicts", "Queries cancelled because they stood in the way of recovery; happens on replicas only."),
		collect.Count("temp_files", "temp_files", "Temporary files that queries wrote because their work did not fit in memory."),
		collect.Count("temp_bytes", "temp_bytes", "Bytes that queries wrote to temporary files.").In("bytes"),
		collect.Count("deadlocks", "deadlocks", "Deadlocks that the server found and broke."),
		collect.Count("blk_read_time", "blk_read_time", "Time spent reading data files, in milliseconds; needs track_io_timing.").In("milliseconds"),
		collect.Count("blk_write_time", "blk_write_time", "Time spent writing data files, in milliseconds; needs track_io_timing.").In("milliseconds"),
		collect.Count("reset", "stats_reset", "When these statistics were last reset, in Unix seconds. Absent if never.").In("timestamp_seconds"),
		collect.Count("active_time", "active_time_seconds_total", "Time that sessions spent running statements, in seconds. Since PostgreSQL 14.").Times(1e-3),
		collect.Count("idle_in_transaction_time", "idle_in_transaction_time_seconds_total", "Time that sessions spent idle with a transaction open, in seconds. Since PostgreSQL 14.").Times(1e-3),
		collect.Count("session_time", "session_time_seconds_total", "Time that sessions have been connected, in seconds. Since PostgreSQL 14.").Times(1e-3),
		collect.Count("sessions", "sessions_total", "Sessions opened. Since PostgreSQL 14."),
		collect.Count("sessions_abandoned", "sessions_abandoned_total", "Sessions that ended because the client was lost. Since PostgreSQL 14."),
		collect.Count("sessions_fatal", "sessions_fatal_total", "Sessions that ended with a fatal error. Since PostgreSQL 14."),
		collect.Count("sessions_killed", "sessions_killed_total", "Sessions that an operator terminated. Since PostgreSQL 14."),
		collect.Count("parallel_workers_to_launch", "parallel_workers_to_launch_total", "Parallel workers that queries wanted to start. Since PostgreSQL 18."),
		collect.Count("parallel_workers_launched", "parallel_workers_launched_total", "Parallel workers that queries could start: fewer than they wanted where max_parallel_workers is reached. Since PostgreSQL 18."),
		collect.Count("checksum_failures", "checksum_failures_total", "Pages whose checksum was wrong. Absent where checksums are off."),
		collect.Value("checksum_failed", "checksum_last_failure_timestamp_seconds", "When a page's checksum was last wrong, in Unix seconds. Absent if never."),
	},
}

const databaseConflictsName = "stat_database_conflicts"

func databaseConflicts(server string) collect.Table {
	return collect.Table{
		Name: databaseConflictsName, Prefix: "pg_stat_database_conflicts", Help: "pg_stat_database_conflicts: why recovery cancelled queries on a replica.",
		Sources: []collect.Source{collect.Always(`SELECT * FROM pg_stat_database_conflicts WHERE datname IS NOT NULL ORDER BY datid`)},
		Columns: []collect.Column{
			collect.Label("datid"), collect.Label("datname"), collect.Const("server", server),
			collect.Count("confl_tablespace", "confl_tablespace", "Queries cancelled because their tablespace was dropped."),
			collect.Count("confl_lock", "confl_lock", "Queries cancelled because recovery waited too long for a lock."),
			collect.Count("confl_snapshot", "confl_snapshot", "Queries cancelled because they could see rows that the primary has vacuumed."),
			collect.Count("confl_bufferpin", "confl_bufferpin", "Queries cancelled because they pinned a buffer that recovery needed."),
			collect.Count("confl_deadlock", "confl_deadlock", "Queries cancelled because of a deadlock with recovery."),
			collect.Count("confl_active_logicalslot", "confl_active_logicalslot_total", "Uses of logical slots cancelled because of old snapshots or a too low wal_level on the primary. Since PostgreSQL 16."),
		},
	}
}

// blockIO leaves out what never happened. What a kind of process cannot do is NULL in the view.
var blockIO = collect.Table{
	Name: "stat_io", Prefix: "pg_stat_io", Help: "pg_stat_io: reads and writes by kind of process, kind of object and purpose. Since PostgreSQL 16.",
	Created: "reset",
	Sources: []collect.Source{
		collect.Since(180000, `
		SELECT *, extract(epoch FROM stats_reset) AS reset FROM pg_stat_io
		WHERE greatest(reads, writes, extends, hits, fsyncs) > 0 ORDER BY 1, 2, 3`),
		collect.Between(160000, 180000, `
		SELECT *, reads * op_bytes AS read_bytes, writes * op_bytes AS write_bytes, extends * op_bytes AS extend_bytes,
			extract(epoch FROM stats_reset) AS reset
		FROM pg_stat_io WHERE greatest(reads, writes, extends, hits, fsyncs) > 0 ORDER BY 1, 2, 3`),
	},
	Columns: []collect.Column{
		collect.Label("backend_type"), collect.Label("object"), collect.Label("context"),
		collect.Count("reads", "reads_total", "Reads, each of one or several blocks."),
		collect.Count("read_bytes", "read_bytes_total", "Bytes read."),
		collect.Count("read_time", "read_seconds_total", "Time spent reading, in seconds; needs track_io_timing, for the write-ahead log track_wal_io_timing.").Times(1e-3),
		collect.Count("writes", "writes_total", "Writes, each of one or several blocks."),
		collect.Count("write_bytes", "write_bytes_total", "Bytes written."),
		collect.Count("write_time", "write_seconds_total", "Time spent writing, in seconds; needs track_io_timing, for the write-ahead log track_wal_io_timing.").Times(1e-3),
		collect.Count("extends", "extends_total", "Times a file was made longer."),
		collect.Count("extend_bytes", "extend_bytes_total", "Bytes by which files were made longer."),
		collect.Count("hits", "hits_total", "Blocks found in the buffers."),
		collect.Count("evictions", "evictions_total", "Buffers that were emptied to make room for another block."),
		collect.Count("reuses", "reuses_total", "Buffers of a small ring that were used again, as large scans do."),
		collect.Count("fsyncs", "fsyncs_total", "Times a file was flushed to disk."),
		collect.Count("fsync_time", "fsync_seconds_total", "Time spent flushing files to disk, in seconds; needs track_io_timing, for the write-ahead log track_wal_io_timing.").Times(1e-3),
	},
}
