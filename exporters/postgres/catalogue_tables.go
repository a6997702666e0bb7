package main

import (
	"fmt"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// How many tables and indexes are shown: the largest.
const (
	tableLimit = 1000
	indexLimit = 5000
)

// largest is a condition that holds for the largest relations of some kinds that users have made. It is an array,
// which the views, unlike a join, take as a reason to look at these relations only. It has one more than is shown, so
// that the cut is seen and counted.
func largest(relation, kinds string, limit int) string {
	return fmt.Sprintf(`%s = ANY (ARRAY(
			SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
			WHERE c.relkind IN (%s) AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
			ORDER BY c.relpages DESC, c.oid LIMIT %d))`, relation, kinds, limit+1)
}

// largestTables are those with rows, materialized views and the heads of partitioned tables.
func largestTables(relation string) string { return largest(relation, `'r', 'm', 'p'`, tableLimit) }

var tables = collect.Table{
	Name:   "stat_user_tables",
	Prefix: "pg_stat_user_tables", Help: "pg_stat_user_tables: what has been done with each table of the database.",
	PerMember: true,
	Rows:      tableLimit,
	Sources: []collect.Source{
		collect.Since(160000, tablesText(`, extract(epoch FROM last_seq_scan) AS last_seq_scanned, extract(epoch FROM last_idx_scan) AS last_idx_scanned`)),
		collect.Until(160000, tablesText(``)),
	},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"),
		collect.Count("seq_scan", "seq_scan", "Scans of the whole table."),
		collect.Count("seq_tup_read", "seq_tup_read", "Rows that scans of the whole table read."),
		collect.Count("idx_scan", "idx_scan", "Scans of the table's indexes. Absent for a table without an index."),
		collect.Count("idx_tup_fetch", "idx_tup_fetch", "Rows that scans of the table's indexes fetched. Absent for a table without an index."),
		collect.Count("n_tup_ins", "n_tup_ins", "Rows inserted."),
		collect.Count("n_tup_upd", "n_tup_upd", "Rows updated, those updated in place included."),
		collect.Count("n_tup_del", "n_tup_del", "Rows deleted."),
		collect.Count("n_tup_hot_upd", "n_tup_hot_upd", "Rows updated without touching an index (HOT)."),
		collect.Value("n_live_tup", "n_live_tup", "Rows that live, by estimate."),
		collect.Value("n_dead_tup", "n_dead_tup", "Dead rows that vacuum has not removed yet, by estimate."),
		collect.Value("vacuum_threshold", "autovacuum_threshold_tuples", "Dead rows above which autovacuum vacuums the table, by the table's own settings and its size at the last vacuum or analyze."),
		collect.Value("n_mod_since_analyze", "n_mod_since_analyze", "Rows changed since the table was last analyzed, by estimate."),
		collect.Value("n_ins_since_vacuum", "n_ins_since_vacuum", "Rows inserted since the table was last vacuumed, by estimate."),
		collect.Value("xid_age", "xid_age_transactions", "Transactions since the oldest one in the table that is not frozen: which tables hold back a database that nears wraparound."),
		collect.Value("vacuumed", "last_vacuum", "When the table was last vacuumed by hand, in Unix seconds. Absent if never.").In("timestamp_seconds"),
		collect.Value("autovacuumed", "last_autovacuum", "When autovacuum last vacuumed the table, in Unix seconds. Absent if never.").In("timestamp_seconds"),
		collect.Value("analyzed", "last_analyze", "When the table was last analyzed by hand, in Unix seconds. Absent if never.").In("timestamp_seconds"),
		collect.Value("autoanalyzed", "last_autoanalyze", "When autovacuum last analyzed the table, in Unix seconds. Absent if never.").In("timestamp_seconds"),
		collect.Count("vacuum_count", "vacuum_count", "Times the table was vacuumed by hand."),
		collect.Count("autovacuum_count", "autovacuum_count", "Times autovacuum vacuumed the table."),
		collect.Count("analyze_count", "analyze_count", "Times the table was analyzed by hand."),
		collect.Count("autoanalyze_count", "autoanalyze_count", "Times autovacuum analyzed the table."),
		collect.Count("total_vacuum_time", "vacuum_seconds_total", "Time spent vacuuming the table by hand, in seconds. Since PostgreSQL 18.").Times(1e-3),
		collect.Count("total_autovacuum_time", "autovacuum_seconds_total", "Time that autovacuum spent vacuuming the table, in seconds. Since PostgreSQL 18.").Times(1e-3),
		collect.Count("total_analyze_time", "analyze_seconds_total", "Time spent analyzing the table by hand, in seconds. Since PostgreSQL 18.").Times(1e-3),
		collect.Count("total_autoanalyze_time", "autoanalyze_seconds_total", "Time that autovacuum spent analyzing the table, in seconds. Since PostgreSQL 18.").Times(1e-3),
		collect.Count("n_tup_newpage_upd", "n_tup_newpage_upd_total", "Rows updated whose new version went to another page. Since PostgreSQL 16."),
		collect.Value("last_seq_scanned", "last_seq_scan_timestamp_seconds", "When the whole table was last scanned, in Unix seconds. Absent if never. Since PostgreSQL 16."),
		collect.Value("last_idx_scanned", "last_idx_scan_timestamp_seconds", "When an index of the table was last scanned, in Unix seconds. Absent if never. Since PostgreSQL 16."),
	},
}

func tablesText(more string) string {
	return `
		SELECT current_database() AS datname, s.*` + more + `,
			extract(epoch FROM last_vacuum) AS vacuumed, extract(epoch FROM last_autovacuum) AS autovacuumed,
			extract(epoch FROM last_analyze) AS analyzed, extract(epoch FROM last_autoanalyze) AS autoanalyzed,
			CASE WHEN c.relfrozenxid <> '0' THEN age(c.relfrozenxid) END AS xid_age, (
				SELECT least(
					max(value) FILTER (WHERE name = 'threshold') + max(value) FILTER (WHERE name = 'scale_factor') * greatest(c.reltuples, 0),
					nullif(max(value) FILTER (WHERE name = 'max_threshold'), -1))
				FROM (
					SELECT o.name, coalesce(
						(SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_vacuum_' || o.name),
						current_setting('autovacuum_vacuum_' || o.name, true))::float8 AS value
					FROM unnest(ARRAY['threshold', 'scale_factor', 'max_threshold']) AS o(name)
				) AS options
			) AS vacuum_threshold
		FROM pg_stat_user_tables AS s JOIN pg_class AS c ON c.oid = relid
		WHERE ` + largestTables(`relid`) + `
		ORDER BY c.relpages DESC, c.oid`
}

// tableSizes stands alone because to measure a table one must lock it, if only for an instant. What somebody has
// locked for himself, or is about to, is left out: it would keep us waiting, and so all who come after us.
var tableSizes = collect.Table{
	Name:   "stat_user_tables_size",
	Prefix: "pg_stat_user_tables", Help: "pg_table_size() and pg_indexes_size(): disk space of each table of the database.",
	PerMember: true,
	Class:     collect.Dear, Rows: tableLimit,
	Sources: []collect.Source{collect.Always(`
		WITH locked AS MATERIALIZED (
			SELECT relation FROM pg_locks
			WHERE mode = 'AccessExclusiveLock' AND locktype = 'relation'
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		), busy AS MATERIALIZED (
			SELECT relation FROM locked UNION ALL SELECT indrelid FROM pg_index JOIN locked ON relation = indexrelid
		)
		SELECT current_database() AS datname, n.nspname AS schemaname, c.relname,
			pg_table_size(c.oid) AS size, pg_indexes_size(c.oid) AS indexes
		FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE ` + largestTables(`c.oid`) + `
			AND c.oid NOT IN (SELECT relation FROM busy) AND c.reltoastrelid NOT IN (SELECT relation FROM busy)
		ORDER BY c.relpages DESC, c.oid`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"),
		collect.Value("size", "table_size_bytes", "Disk space of the table without its indexes, what is stored out of line included, in bytes. Absent while the table is locked exclusively."),
		collect.Value("indexes", "index_size_bytes", "Disk space of all indexes of the table, in bytes. Absent while the table is locked exclusively."),
	},
}

var tableBlocks = collect.Table{
	Name:   "statio_user_tables",
	Prefix: "pg_statio_user_tables", Help: "pg_statio_user_tables: blocks of each table of the database that were found in memory, or not.",
	PerMember: true,
	Rows:      tableLimit,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, s.*
		FROM pg_statio_user_tables AS s JOIN pg_class AS c ON c.oid = relid
		WHERE ` + largestTables(`relid`) + `
		ORDER BY c.relpages DESC, c.oid`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"),
		collect.Count("heap_blks_read", "heap_blocks_read", "Blocks of the table that had to be read."),
		collect.Count("heap_blks_hit", "heap_blocks_hit", "Blocks of the table that were found in PostgreSQL's buffers."),
		collect.Count("idx_blks_read", "idx_blocks_read", "Blocks of the table's indexes that had to be read. Absent for a table without an index."),
		collect.Count("idx_blks_hit", "idx_blocks_hit", "Blocks of the table's indexes that were found in PostgreSQL's buffers. Absent for a table without an index."),
		collect.Count("toast_blks_read", "toast_blocks_read", "Blocks of what the table stores out of line that had to be read. Absent where it cannot."),
		collect.Count("toast_blks_hit", "toast_blocks_hit", "Blocks of what the table stores out of line that were found in PostgreSQL's buffers. Absent where it cannot."),
		collect.Count("tidx_blks_read", "tidx_blocks_read", "Blocks of the index of what the table stores out of line that had to be read. Absent where it cannot."),
		collect.Count("tidx_blks_hit", "tidx_blocks_hit", "Blocks of the index of what the table stores out of line that were found in PostgreSQL's buffers. Absent where it cannot."),
	},
}

var indexBlocks = collect.Table{
	Name:   "statio_user_indexes",
	Prefix: "pg_statio_user_indexes", Help: "pg_statio_user_indexes: blocks of each index of the database that were found in memory, or not.",
	PerMember: true,
	Off:       true, Rows: indexLimit,
	Sources: []collect.Source{collect.Always(`
		SELECT schemaname, s.relname, indexrelname, idx_blks_read, idx_blks_hit
		FROM pg_statio_user_indexes AS s JOIN pg_class AS c ON c.oid = indexrelid
		WHERE ` + largest(`indexrelid`, `'i'`, indexLimit) + `
		ORDER BY c.relpages DESC, c.oid`)},
	Columns: []collect.Column{
		collect.Label("schemaname"), collect.Label("relname"), collect.Label("indexrelname"),
		collect.Count("idx_blks_read", "idx_blks_read_total", "Blocks of the index that had to be read."),
		collect.Count("idx_blks_hit", "idx_blks_hit_total", "Blocks of the index that were found in PostgreSQL's buffers."),
	},
}
