package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

// progressLimit is how many running commands of a kind are shown.
const progressLimit = 100

// progressName is how a relation that somebody works on is called. Names are known in the own database only, elsewhere
// the OID has to do.
const progressName = `coalesce(CASE n.nspname WHEN 'public' THEN '' ELSE quote_ident(n.nspname) || '.' END || quote_ident(c.relname), nullif(v.relid, 0)::text) AS relname`

// progressText asks for all that a view tells of each running command. Two of them may work on the same table, so most
// are told apart by the process, whose number is what one needs to stop it.
func progressText(view, more, join string) string {
	return `
		SELECT v.*, 1 AS present, ` + progressName + more + `
		FROM ` + view + ` AS v
		LEFT JOIN pg_class AS c ON c.oid = v.relid AND v.datname = current_database()
		LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace` + join + `
		ORDER BY v.pid LIMIT 101`
}

var analyzeProgress = collect.Table{
	Name: "stat_progress_analyze", Prefix: "pg_stat_progress_analyze", Help: "pg_stat_progress_analyze: how far each running ANALYZE is.",
	Rows:    progressLimit,
	Sources: []collect.Source{collect.Always(progressText(`pg_stat_progress_analyze`, ``, ``))},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("relname"), collect.Label("phase"),
		collect.Value("present", "phase", "Always 1; the label tells what the command is doing."),
		collect.Value("sample_blks_total", "sample_blks", "Blocks of the table that will be sampled.").Per("datname", "relname"),
		collect.Value("sample_blks_scanned", "sample_blks_scanned", "Blocks of the table sampled so far.").Per("datname", "relname"),
		collect.Value("ext_stats_total", "ext_stats", "Extended statistics that will be computed.").Per("datname", "relname"),
		collect.Value("ext_stats_computed", "ext_stats_computed", "Extended statistics computed so far.").Per("datname", "relname"),
		collect.Value("child_tables_total", "child_tables", "Child tables that will be scanned.").Per("datname", "relname"),
		collect.Value("child_tables_done", "child_tables_done", "Child tables scanned so far.").Per("datname", "relname"),
		collect.Value("delay_time", "delay_seconds", "Time the command has slept because of its cost limit, in seconds; needs track_cost_delay_timing. Since PostgreSQL 18.").Times(1e-3).Per("datname", "relname"),
	},
}

var createIndexProgress = collect.Table{
	Name: "stat_progress_create_index", Prefix: "pg_stat_progress_create_index", Help: "pg_stat_progress_create_index: how far each running CREATE INDEX or REINDEX is.",
	Rows: progressLimit,
	Sources: []collect.Source{collect.Always(progressText(`pg_stat_progress_create_index`, `,
			coalesce(i.relname, nullif(v.index_relid, 0)::text) AS indexrelname`, `
		LEFT JOIN pg_class AS i ON i.oid = v.index_relid AND v.datname = current_database()`))},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("relname"), collect.Label("indexrelname"), collect.Label("command"), collect.Label("pid"), collect.Label("phase"),
		collect.Value("present", "phase", "Always 1; the label tells what the command is doing."),
		collect.Value("lockers_total", "lockers", "Sessions the command has to wait for in this phase.").Per("datname", "relname", "indexrelname", "command", "pid"),
		collect.Value("lockers_done", "lockers_done", "Sessions the command has waited for so far.").Per("datname", "relname", "indexrelname", "command", "pid"),
		collect.Value("blocks_total", "blocks", "Blocks to be processed in this phase.").Per("datname", "relname", "indexrelname", "command", "pid"),
		collect.Value("blocks_done", "blocks_done", "Blocks processed so far in this phase.").Per("datname", "relname", "indexrelname", "command", "pid"),
		collect.Value("tuples_total", "tuples", "Rows to be processed in this phase.").Per("datname", "relname", "indexrelname", "command", "pid"),
		collect.Value("tuples_done", "tuples_done", "Rows processed so far in this phase.").Per("datname", "relname", "indexrelname", "command", "pid"),
		collect.Value("partitions_total", "partitions", "Partitions on which the index is to be made.").Per("datname", "relname", "indexrelname", "command", "pid"),
		collect.Value("partitions_done", "partitions_done", "Partitions on which the index has been made so far.").Per("datname", "relname", "indexrelname", "command", "pid"),
	},
}

var clusterProgress = collect.Table{
	Name: "stat_progress_cluster", Prefix: "pg_stat_progress_cluster", Help: "pg_stat_progress_cluster: how far each running CLUSTER or VACUUM FULL is.",
	Rows:    progressLimit,
	Sources: []collect.Source{collect.Always(progressText(`pg_stat_progress_cluster`, ``, ``))},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("relname"), collect.Label("command"), collect.Label("phase"),
		collect.Value("present", "phase", "Always 1; the label tells what the command is doing."),
		collect.Value("heap_blks_total", "heap_blks", "Blocks of the table.").Per("datname", "relname", "command"),
		collect.Value("heap_blks_scanned", "heap_blks_scanned", "Blocks of the table scanned so far, where it is scanned from end to end.").Per("datname", "relname", "command"),
		collect.Value("heap_tuples_scanned", "heap_tuples_scanned", "Rows read so far.").Per("datname", "relname", "command"),
		collect.Value("heap_tuples_written", "heap_tuples_written", "Rows written so far.").Per("datname", "relname", "command"),
		collect.Value("index_rebuild_count", "index_rebuilds", "Indexes made anew so far.").Per("datname", "relname", "command"),
	},
}

var copyProgress = collect.Table{
	Name: "stat_progress_copy", Prefix: "pg_stat_progress_copy", Help: "pg_stat_progress_copy: how far each running COPY is. Since PostgreSQL 14.",
	Rows:    progressLimit,
	Sources: []collect.Source{collect.Since(140000, progressText(`pg_stat_progress_copy`, `, nullif(v.bytes_total, 0) AS source_bytes`, ``))},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("relname"), collect.Label("command"), collect.Label("type"), collect.Label("pid"),
		collect.Value("bytes_processed", "processed_bytes", "Bytes read or written so far."),
		collect.Value("source_bytes", "source_bytes", "Size of the file that is read, in bytes. Absent where no file of the server is read."),
		collect.Value("tuples_processed", "tuples_processed", "Rows read or written so far."),
		collect.Value("tuples_excluded", "tuples_excluded", "Rows left out so far because of the command's WHERE."),
		collect.Value("tuples_skipped", "tuples_skipped", "Rows skipped so far because they could not be read. Since PostgreSQL 17."),
	},
}

var basebackupProgress = collect.Table{
	Name: "stat_progress_basebackup", Prefix: "pg_stat_progress_basebackup", Help: "pg_stat_progress_basebackup: how far each running base backup is.",
	Rows:    progressLimit,
	Sources: []collect.Source{collect.Always(`SELECT *, 1 AS present FROM pg_stat_progress_basebackup ORDER BY pid LIMIT 101`)},
	Columns: []collect.Column{
		collect.Label("pid"), collect.Label("phase"),
		collect.Value("present", "phase", "Always 1; the label tells what the backup is doing."),
		collect.Value("backup_total", "backup_bytes", "Size of all that will be sent, by estimate, in bytes. Absent where the backup was started without an estimate.").Per("pid"),
		collect.Value("backup_streamed", "streamed_bytes", "Bytes sent so far.").Per("pid"),
		collect.Value("tablespaces_total", "tablespaces", "Tablespaces that will be sent.").Per("pid"),
		collect.Value("tablespaces_streamed", "tablespaces_streamed", "Tablespaces sent so far.").Per("pid"),
	},
}
