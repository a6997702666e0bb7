package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

// walFiles is dear: it looks at each file of the directory.
var walFiles = collect.Table{
	Name: "wal", Prefix: "pg_wal", Help: "pg_ls_waldir(): the write-ahead log on disk.",
	Class: collect.Dear,
	Sources: []collect.Source{collect.Always(`
		SELECT count(*) AS segments, sum(size) AS size FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'`)},
	Columns: []collect.Column{
		collect.Value("segments", "segments", "Files of the write-ahead log on disk, those kept for reuse included."),
		collect.Value("size", "size_bytes", "Disk space that the files of the write-ahead log take, in bytes."),
	},
}

// walLocation is off by default like the collector it is named after, which knows no PostgreSQL newer than 9.6.
var walLocation = collect.Table{
	Name: "xlog_location", Prefix: "pg_xlog_location", Help: "pg_current_wal_lsn(): how far the write-ahead log has come.",
	Off: true,
	Sources: []collect.Source{collect.Always(`
		SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0') % 4503599627370496 AS bytes`)},
	Columns: []collect.Column{
		collect.Value("bytes", "bytes", "Position in the log up to which this server has written it, or on a replica replayed it, in bytes modulo 2^52."),
	},
}

var walStats = collect.Table{
	Name: "stat_wal", Prefix: "pg_stat_wal", Help: "pg_stat_wal: what has been written to the write-ahead log.",
	Created: "reset",
	Sources: []collect.Source{collect.Since(140000, `SELECT *, extract(epoch FROM stats_reset) AS reset FROM pg_stat_wal`)},
	Columns: []collect.Column{
		collect.Count("wal_records", "records_total", "Records written to the write-ahead log."),
		collect.Count("wal_fpi", "full_page_images_total", "Whole pages written to the write-ahead log, as after each checkpoint."),
		collect.Count("wal_bytes", "bytes_total", "Bytes written to the write-ahead log."),
		collect.Count("wal_buffers_full", "buffers_full_total", "Times the log had to be written out because wal_buffers were full."),
		collect.Count("wal_write", "writes_total", "Times buffers of the log were written to disk. Before PostgreSQL 18."),
		collect.Count("wal_sync", "syncs_total", "Times files of the log were flushed to disk. Before PostgreSQL 18."),
		collect.Count("wal_write_time", "write_seconds_total", "Time spent writing the log to disk, in seconds; needs track_wal_io_timing. Before PostgreSQL 18.").Times(1e-3),
		collect.Count("wal_sync_time", "sync_seconds_total", "Time spent flushing the log to disk, in seconds; needs track_wal_io_timing. Before PostgreSQL 18.").Times(1e-3),
	},
}

var archiver = collect.Table{
	Name: "stat_archiver", Prefix: "pg_stat_archiver", Help: "pg_stat_archiver: the archiving of the write-ahead log.",
	Created: "reset",
	Sources: []collect.Source{collect.Always(`
		SELECT archived_count, failed_count, extract(epoch FROM now() - last_archived_time) AS age,
			extract(epoch FROM last_archived_time) AS archived, extract(epoch FROM last_failed_time) AS failed,
			extract(epoch FROM stats_reset) AS reset
		FROM pg_stat_archiver`)},
	Columns: []collect.Column{
		collect.Count("archived_count", "archived_count", "Files of the write-ahead log that were archived."),
		collect.Count("failed_count", "failed_count", "Attempts to archive a file of the write-ahead log that failed."),
		collect.Value("age", "last_archive_age", "Time since a file was last archived, in seconds. Absent if never.").In("seconds"),
		collect.Count("archived_count", "archived_total", "Files of the write-ahead log that were archived."),
		collect.Count("failed_count", "failed_total", "Attempts to archive a file of the write-ahead log that failed."),
		collect.Value("age", "last_archived_age_seconds", "Time since a file was last archived, in seconds. Absent if never. Grows while the server is idle: see pg_archive_status_ready_files."),
		collect.Value("archived", "last_archived_timestamp_seconds", "When a file was last archived, in Unix seconds. Absent if never."),
		collect.Value("failed", "last_failed_timestamp_seconds", "When archiving last failed, in Unix seconds. Absent if never."),
	},
}

// backgroundWriter lost its columns on checkpoints to pg_stat_checkpointer, and those on backends to pg_stat_io, in
// PostgreSQL 17.
var backgroundWriter = collect.Table{
	Name: "stat_bgwriter", Prefix: "pg_stat_bgwriter", Help: "pg_stat_bgwriter: the background writer; before version 17 checkpoints and backends as well.",
	Created: "reset",
	Sources: []collect.Source{collect.Always(`SELECT *, extract(epoch FROM stats_reset) AS reset FROM pg_stat_bgwriter`)},
	Columns: []collect.Column{
		collect.Count("checkpoints_timed", "checkpoints_timed_total", "Checkpoints that were due by time. Before PostgreSQL 17."),
		collect.Count("checkpoints_req", "checkpoints_req_total", "Checkpoints that were asked for, as when max_wal_size is reached. Before PostgreSQL 17."),
		collect.Count("checkpoint_write_time", "checkpoint_write_time_total", "Time that checkpoints spent writing files, in milliseconds. Before PostgreSQL 17.").In("milliseconds"),
		collect.Count("checkpoint_sync_time", "checkpoint_sync_time_total", "Time that checkpoints spent flushing files to disk, in milliseconds. Before PostgreSQL 17.").In("milliseconds"),
		collect.Count("buffers_checkpoint", "buffers_checkpoint_total", "Buffers written by checkpoints. Before PostgreSQL 17."),
		collect.Count("buffers_clean", "buffers_clean_total", "Buffers written by the background writer."),
		collect.Count("maxwritten_clean", "maxwritten_clean_total", "Times the background writer stopped because it had written bgwriter_lru_maxpages buffers."),
		collect.Count("buffers_backend", "buffers_backend_total", "Buffers that sessions had to write themselves. Before PostgreSQL 17."),
		collect.Count("buffers_backend_fsync", "buffers_backend_fsync_total", "Times a session had to flush a file to disk itself. Before PostgreSQL 17."),
		collect.Count("buffers_alloc", "buffers_alloc_total", "Buffers that were given to a new block."),
		collect.Count("reset", "stats_reset_total", "When these statistics were last reset, in Unix seconds.").In("timestamp_seconds"),
	},
}

var checkpointer = collect.Table{
	Name: "stat_checkpointer", Prefix: "pg_stat_checkpointer", Help: "pg_stat_checkpointer: checkpoints on a primary, restartpoints on a replica.",
	Created: "reset",
	Sources: []collect.Source{collect.Since(170000, `SELECT *, extract(epoch FROM stats_reset) AS reset FROM pg_stat_checkpointer`)},
	Columns: []collect.Column{
		collect.Count("num_timed", "num_timed_total", "Checkpoints that were due by time, those skipped on an idle server included."),
		collect.Count("num_requested", "num_requested_total", "Checkpoints that were asked for, as when max_wal_size is reached."),
		collect.Count("num_done", "num_done_total", "Checkpoints that were carried out. Since PostgreSQL 18."),
		collect.Count("restartpoints_timed", "restartpoints_timed_total", "Restartpoints that were due by time, or tried again after a failure."),
		collect.Count("restartpoints_req", "restartpoints_req_total", "Restartpoints that were asked for."),
		collect.Count("restartpoints_done", "restartpoints_done_total", "Restartpoints that were carried out."),
		collect.Count("write_time", "write_time_total", "Time that checkpoints and restartpoints spent writing files, in milliseconds.").In("milliseconds"),
		collect.Count("sync_time", "sync_time_total", "Time that checkpoints and restartpoints spent flushing files to disk, in milliseconds.").In("milliseconds"),
		collect.Count("buffers_written", "buffers_written_total", "Buffers written by checkpoints and restartpoints."),
		collect.Count("slru_written", "slru_written_total", "Buffers of transaction status and the like written by checkpoints and restartpoints. Since PostgreSQL 18."),
		collect.Count("reset", "stats_reset_total", "When these statistics were last reset, in Unix seconds.").In("timestamp_seconds"),
	},
}
