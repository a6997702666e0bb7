package main

import (
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

var autovacuum = collect.Table{
	Name: "autovacuum", Prefix: "pg_autovacuum", Help: "pg_stat_activity: how busy autovacuum is.",
	Sources: []collect.Source{collect.Always(`
		SELECT count(*) AS workers, count(*) FILTER (WHERE query LIKE 'autovacuum:%(to prevent wraparound)') AS wraparound,
			current_setting('autovacuum_max_workers') AS most, extract(epoch FROM clock_timestamp() - min(xact_start)) AS longest
		FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'`)},
	Columns: []collect.Column{
		collect.Value("workers", "workers", "Processes of autovacuum that work now."),
		collect.Value("most", "max_workers", "Processes of autovacuum that may work at once. While all do, other tables wait."),
		collect.Value("wraparound", "wraparound_workers", "Processes of autovacuum that freeze old rows to prevent wraparound; these do not give way to others."),
		collect.Value("longest", "longest_work_seconds", "How long autovacuum has worked on a table by now, the longest of all, in seconds. Absent while it works on none."),
	},
}

// autovacuumDue follows the rules by which autovacuum itself decides. Whether it is turned off for a table makes no
// difference: the table needs it all the same. It is slow because it looks at the statistics of every table.
var autovacuumDue = collect.Table{
	Name: "autovacuum_due", Prefix: "pg_autovacuum_due", Help: "pg_class and pg_stat_all_tables: how many tables of the database autovacuum has to work on.",
	PerMember: true, Class: collect.Slow, Every: 5 * time.Minute,
	Sources: []collect.Source{
		collect.Since(180000, autovacuumDueText(`(CASE WHEN c.relpages > 0 THEN 1 - least(c.relallfrozen::float8 / c.relpages, 1) ELSE 1 END)`)),
		collect.Until(180000, autovacuumDueText(`1`)),
	},
	Columns: []collect.Column{
		collect.Label("datname"),
		collect.Value("vacuum", "vacuum_tables", "Tables with more dead rows than autovacuum leaves, by their own settings."),
		collect.Value("inserted", "insert_vacuum_tables", "Tables with more new rows since the last vacuum than autovacuum leaves, by their own settings."),
		collect.Value("analyze", "analyze_tables", "Tables with more changed rows since the last analyze than autovacuum leaves, by their own settings."),
		collect.Value("freeze", "freeze_tables", "Tables old enough that autovacuum must freeze them to prevent wraparound."),
	},
}

// autovacuumDueText is told which part of a table is not frozen: since PostgreSQL 18 only that counts for inserts.
func autovacuumDueText(unfrozen string) string {
	return `
		WITH server AS MATERIALIZED (
			SELECT ` + serverOption(`vacuum_threshold`) + `, ` + serverOption(`vacuum_scale_factor`) + `,
				nullif(` + serverValue(`vacuum_max_threshold`) + `, -1) AS vacuum_max_threshold,
				nullif(` + serverValue(`vacuum_insert_threshold`) + `, -1) AS vacuum_insert_threshold, ` + serverOption(`vacuum_insert_scale_factor`) + `,
				` + serverOption(`analyze_threshold`) + `, ` + serverOption(`analyze_scale_factor`) + `,
				` + serverOption(`freeze_max_age`) + `, ` + serverOption(`multixact_freeze_max_age`) + `
		), tables AS (
			SELECT server.*, o.*, c.relkind, greatest(c.reltuples, 0) AS rows, greatest(c.reltuples, 0) * ` + unfrozen + ` AS unfrozen,
				pg_stat_get_dead_tuples(c.oid) AS dead, pg_stat_get_ins_since_vacuum(c.oid) AS inserted,
				pg_stat_get_mod_since_analyze(c.oid) AS changed, age(c.relfrozenxid) AS age, mxid_age(c.relminmxid) AS multixacts
			FROM pg_class AS c CROSS JOIN server
			LEFT JOIN LATERAL (
				SELECT ` + tableOption(`vacuum_threshold`) + `, ` + tableOption(`vacuum_scale_factor`) + `, ` + tableOption(`vacuum_max_threshold`) + `,
					` + tableOption(`vacuum_insert_threshold`) + `, ` + tableOption(`vacuum_insert_scale_factor`) + `,
					` + tableOption(`analyze_threshold`) + `, ` + tableOption(`analyze_scale_factor`) + `,
					` + tableOption(`freeze_max_age`) + `, ` + tableOption(`multixact_freeze_max_age`) + `
				FROM pg_options_to_table(c.reloptions)
			) AS o ON c.reloptions IS NOT NULL
			WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
		)
		SELECT current_database() AS datname,
			count(*) FILTER (WHERE dead > least(
				coalesce(own_vacuum_threshold, vacuum_threshold) + coalesce(own_vacuum_scale_factor, vacuum_scale_factor) * rows,
				nullif(coalesce(own_vacuum_max_threshold, vacuum_max_threshold), -1))) AS vacuum,
			count(*) FILTER (WHERE inserted > nullif(coalesce(own_vacuum_insert_threshold, vacuum_insert_threshold), -1)
				+ coalesce(own_vacuum_insert_scale_factor, vacuum_insert_scale_factor) * unfrozen) AS inserted,
			count(*) FILTER (WHERE changed > coalesce(own_analyze_threshold, analyze_threshold)
				+ coalesce(own_analyze_scale_factor, analyze_scale_factor) * rows) AS analyze,
			count(*) FILTER (WHERE age > least(own_freeze_max_age, freeze_max_age)
				OR multixacts > least(own_multixact_freeze_max_age, multixact_freeze_max_age)) AS freeze
		FROM tables`
}

// serverValue reads a setting of autovacuum, NULL where the server does not have it.
func serverValue(option string) string {
	return `current_setting('autovacuum_` + option + `', true)::float8`
}

func serverOption(option string) string { return serverValue(option) + ` AS ` + option }

// tableOption finds what a table has instead of such a setting.
func tableOption(option string) string {
	return `max(option_value) FILTER (WHERE option_name = 'autovacuum_` + option + `')::float8 AS own_` + option
}

// freezing takes a table and what it stores out of line as one.
var freezing = collect.Table{
	Name: "table_freeze", Prefix: "pg_table_freeze", Help: "pg_class: the 20 tables of the database whose oldest rows most need freezing.",
	PerMember: true, Class: collect.Slow, Every: 5 * time.Minute,
	Limit: 2000, // ten times as many for all databases together: the whole databases' ages are elsewhere
	Sources: []collect.Source{collect.Always(`
		WITH server AS MATERIALIZED (
			SELECT ` + serverOption(`freeze_max_age`) + `, ` + serverOption(`multixact_freeze_max_age`) + `
		)
		SELECT current_database() AS datname, n.nspname AS schemaname, relname, xids, multixacts, xid_ratio, multixact_ratio
		FROM (
			SELECT c.oid, c.relname, c.relnamespace, age.*,
				xids / least(freeze_max_age, own_freeze_max_age) AS xid_ratio,
				multixacts / least(multixact_freeze_max_age, own_multixact_freeze_max_age) AS multixact_ratio
			FROM pg_class AS c CROSS JOIN server
			LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid
			CROSS JOIN LATERAL (SELECT greatest(age(c.relfrozenxid), age(t.relfrozenxid)), greatest(mxid_age(c.relminmxid), mxid_age(t.relminmxid))) AS age(xids, multixacts)
			LEFT JOIN LATERAL (
				SELECT ` + tableOption(`freeze_max_age`) + `, ` + tableOption(`multixact_freeze_max_age`) + ` FROM pg_options_to_table(c.reloptions)
			) AS o ON c.reloptions IS NOT NULL
			WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
			ORDER BY greatest(xids / least(freeze_max_age, own_freeze_max_age), multixacts / least(multixact_freeze_max_age, own_multixact_freeze_max_age)) DESC, c.relpages DESC, c.oid
			LIMIT 20
		) AS oldest
		JOIN pg_namespace AS n ON n.oid = relnamespace
		ORDER BY greatest(xid_ratio, multixact_ratio) DESC, oldest.oid`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"),
		collect.Value("xids", "age_transactions", "Transactions since the oldest one in the table that is not frozen; what it stores out of line counts as well."),
		collect.Value("xid_ratio", "age_ratio", "The same as a part of the age at which autovacuum must freeze the table (autovacuum_freeze_max_age). Above 1 it should be at work."),
		collect.Value("multixacts", "age_multixacts", "Multixacts since the oldest one in the table; what it stores out of line counts as well."),
		collect.Value("multixact_ratio", "multixact_age_ratio", "The same as a part of the age at which autovacuum must freeze the table (autovacuum_multixact_freeze_max_age). Above 1 it should be at work."),
	},
}

// sequences that begin again at their end, and those of temporary tables, are left out. One that fills a column ends
// where the column's type does. What somebody has locked would keep us waiting, and is left out too.
var sequences = collect.Table{
	Name: "sequences", Prefix: "pg_sequences", Help: "pg_sequence: the 50 sequences of the database that are nearest to their end.",
	PerMember: true, Class: collect.Slow, Every: 15 * time.Minute,
	Sources: []collect.Source{collect.Always(`
		WITH locked AS MATERIALIZED (
			SELECT relation FROM pg_locks
			WHERE mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') AND locktype = 'relation'
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		), sequences AS (
			SELECT n.nspname AS schemaname, c.relname AS sequencename, s.*,
				CASE WHEN has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_sequence_last_value(c.oid) END::numeric AS last
			FROM pg_sequence AS s
			JOIN pg_class AS c ON c.oid = s.seqrelid
			JOIN pg_namespace AS n ON n.oid = c.relnamespace
			WHERE NOT s.seqcycle AND c.relpersistence <> 't' AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
				AND c.oid NOT IN (SELECT relation FROM locked)
			OFFSET 0
		)
		SELECT current_database() AS datname, schemaname, sequencename, last, bound, floor((bound - last) / seqincrement) AS remaining,
			CASE WHEN seqincrement > 0 THEN (last - seqmin + 1) / (bound - seqmin + 1) ELSE (seqmax - last + 1) / (seqmax - bound + 1) END AS used
		FROM sequences CROSS JOIN LATERAL (
			SELECT CASE WHEN seqincrement > 0 THEN least(seqmax, min(largest)) ELSE greatest(seqmin, -min(largest) - 1) END::numeric AS bound
			FROM pg_depend AS d
			JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
			JOIN (VALUES ('int2'::regtype, 32767::int8), ('int4', 2147483647)) AS t(type, largest) ON t.type = a.atttypid
			WHERE d.classid = 'pg_class'::regclass AND d.objid = seqrelid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
		) AS bounds
		WHERE last IS NOT NULL
		ORDER BY used DESC, seqrelid LIMIT 50`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("sequencename"),
		collect.Value("last", "last_value", "Value that the sequence last gave, or set aside for a session. Absent without USAGE or SELECT on the sequence, as pg_read_all_data has it since PostgreSQL 14."),
		collect.Value("bound", "last_possible_value", "Value at which the sequence ends, or the type of the column that it fills, whichever comes first."),
		collect.Value("remaining", "remaining_values", "Values that the sequence can still give."),
		collect.Value("used", "used_ratio", "Part of the sequence's values that is used up, from 0 to 1. At 1 the next insert fails."),
	},
}

// invalidIndexes are left by a CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY that failed. One that is being made
// is none.
var invalidIndexes = collect.Table{
	Name: "index_invalid", Prefix: "pg_index", Help: "pg_index: indexes of the database that cannot be used and must be dropped or made anew.",
	PerMember: true, Class: collect.Dear, Rows: 100,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, n.nspname AS schemaname, t.relname, c.relname AS indexrelname,
			i.indisready AS maintained, 1 AS invalid
		FROM pg_index AS i
		JOIN pg_class AS c ON c.oid = i.indexrelid
		JOIN pg_class AS t ON t.oid = i.indrelid
		JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE NOT i.indisvalid AND c.relkind = 'i'
			AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.datname = current_database() AND p.index_relid = i.indexrelid)
		ORDER BY t.relpages DESC, c.oid LIMIT 101`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"), collect.Label("indexrelname"),
		collect.Value("invalid", "invalid", "1 for an index that no query can use, and that is not being made now. Absent for all others."),
		collect.Value("maintained", "invalid_maintained", "1 where such an index costs every change of its table all the same, 0 where it does not."),
	},
}

// indexWaste leaves out what guards against duplicates or serves replication: it is of use without being searched. It
// is slow because it looks at the statistics of every index.
var indexWaste = collect.Table{
	Name: "index_waste", Prefix: "pg_index", Help: "pg_index and pg_stat_all_indexes: the 100 largest indexes of the database that nobody has used, or that do what another does.",
	PerMember: true, Class: collect.Slow, Every: 15 * time.Minute,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, n.nspname AS schemaname, t.relname, indexrelname,
			CASE WHEN unused THEN size END AS unused, CASE WHEN duplicate THEN size END AS duplicate
		FROM (
			SELECT i.*, c.relname AS indexrelname, c.relnamespace, c.relpages * current_setting('block_size')::int8 AS size,
				pg_stat_get_numscans(c.oid) = 0 AS unused,
				row_number() OVER (
					PARTITION BY indrelid, c.relam, indkey::text, indclass::text, indcollation::text, indoption::text, indexprs::text, indpred::text
					ORDER BY indisprimary DESC, indisunique DESC, i.indisreplident DESC, c.oid
				) > 1 AS duplicate
			FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
			WHERE i.indisvalid AND c.relkind = 'i' AND c.relpersistence <> 't' AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
		) AS i
		JOIN pg_class AS t ON t.oid = indrelid
		JOIN pg_namespace AS n ON n.oid = i.relnamespace
		WHERE NOT (indisunique OR indisprimary OR indisexclusion OR indisreplident) AND (unused OR duplicate)
		ORDER BY size DESC, indexrelid LIMIT 100`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"), collect.Label("indexrelname"),
		collect.Value("unused", "unused_size_bytes", "Size at the last vacuum or analyze of an index that no query has used since the statistics were reset, in bytes. A replica has statistics of its own: look there too."),
		collect.Value("duplicate", "duplicate_size_bytes", "Size at the last vacuum or analyze of an index with the same columns, order and condition as another of its table, in bytes."),
	},
}

var indexStats = collect.Table{
	Name: "stat_user_indexes", Prefix: "pg_stat_user_indexes", Help: "pg_stat_user_indexes: how each index of the database is used.",
	PerMember: true, Off: true, Rows: indexLimit,
	Sources: []collect.Source{
		collect.Since(160000, indexStatsText(`, extract(epoch FROM last_idx_scan) AS last_scan`)),
		collect.Until(160000, indexStatsText(``)),
	},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"), collect.Label("indexrelname"),
		collect.Count("idx_scan", "idx_scan_total", "Scans of the index."),
		collect.Count("idx_tup_read", "idx_tup_read_total", "Entries that scans of the index returned."),
		collect.Count("idx_tup_fetch", "idx_tup_fetch_total", "Live rows of the table that plain scans of the index fetched."),
		collect.Value("last_scan", "last_idx_scan_timestamp_seconds", "When the index was last scanned, in Unix seconds. Absent if never. Since PostgreSQL 16."),
		collect.Value("size", "size_bytes", "Size of the index at the last vacuum or analyze, in bytes."),
	},
}

func indexStatsText(more string) string {
	return `
		SELECT current_database() AS datname, s.*, c.relpages * current_setting('block_size')::int8 AS size` + more + `
		FROM pg_stat_user_indexes AS s JOIN pg_class AS c ON c.oid = indexrelid
		WHERE ` + largest(`indexrelid`, `'i'`, indexLimit) + `
		ORDER BY c.relpages DESC, c.oid`
}

var functions = collect.Table{
	Name: "stat_user_functions", Prefix: "pg_stat_user_functions", Help: "pg_stat_user_functions: the 100 functions of the database that took most time; needs track_functions.",
	PerMember: true, Off: true,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, schemaname, funcname, sum(calls) AS calls, sum(total_time) AS total, sum(self_time) AS self
		FROM pg_stat_user_functions GROUP BY 2, 3 ORDER BY total DESC, 2, 3 LIMIT 100`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("funcname"),
		collect.Count("calls", "calls_total", "Calls of the function, all of its name together."),
		collect.Count("total", "seconds_total", "Time spent in the function and in those it called, in seconds.").Times(1e-3),
		collect.Count("self", "self_seconds_total", "Time spent in the function itself, in seconds.").Times(1e-3),
	},
}
