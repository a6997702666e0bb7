package main

import (
	"fmt"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// Sizes here are pages as vacuum, analyze or the making of an index last saw them. To measure thousands of relations
// the server would have to lock each and look at its files.

var relationKinds = collect.Table{
	Name: "relation_kinds", Prefix: "pg_class", Help: "pg_class: what takes the space of the database.",
	PerMember: true, Class: collect.Slow, Every: 15 * time.Minute,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, CASE
				WHEN relnamespace = 'pg_catalog'::regnamespace THEN 'catalog'
				WHEN relnamespace = 'pg_toast'::regnamespace AND relkind = 'i' THEN 'toast_index'
				ELSE CASE relkind WHEN 'r' THEN 'table' WHEN 'i' THEN 'index' WHEN 't' THEN 'toast' WHEN 'm' THEN 'materialized_view'
					WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'p' THEN 'partitioned_table' WHEN 'I' THEN 'partitioned_index'
					WHEN 'f' THEN 'foreign_table' WHEN 'c' THEN 'composite_type' ELSE relkind::text END
			END AS kind,
			count(*) AS relations, sum(relpages::int8) * current_setting('block_size')::int8 AS size
		FROM pg_class GROUP BY 2 ORDER BY size DESC, 2`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("kind"),
		collect.Value("relations", "relations", "Tables, indexes and the like of this kind; all that the server made for itself is of the kind catalog."),
		collect.Value("size", "size_bytes", "Disk space of all of this kind at their last vacuum or analyze, in bytes."),
	},
}

var toastSizes = collect.Table{
	Name: "toast_size", Prefix: "pg_toast", Help: "pg_class: the 20 tables of the database that store most out of line (TOAST).",
	PerMember: true, Class: collect.Slow, Every: 15 * time.Minute,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, n.nspname AS schemaname, c.relname, t.relpages * current_setting('block_size')::int8 AS size
		FROM pg_class AS t
		JOIN pg_class AS c ON c.reltoastrelid = t.oid
		JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE t.relkind = 't' AND t.relpages > 0
		ORDER BY t.relpages DESC, t.oid LIMIT 20`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"),
		collect.Value("size", "size_bytes", "Disk space of what the table stores out of line at its last vacuum, in bytes."),
	},
}

// bloat compares the pages a table has with those its rows would fill:
//
//	row   = 4 (pointer) + 24 (header), + 8 where it can have NULLs, + the mean width of all columns, rounded up to 8
//	pages = rows * row / ((block size - 24) * fillfactor)
//
// It knows nothing of the space between columns that alignment costs, and so rather says too little than too much.
// A table whose columns the role may not read, or that was never analyzed, has no estimate: pg_stats shows nothing of
// it. That makes the collector one to turn on, with pg_read_all_data (since PostgreSQL 14) or SELECT on the tables.
var bloat = collect.Table{
	Name: "table_bloat", Prefix: "pg_table_bloat", Help: "pg_class and pg_stats: the 100 tables of the database with most unused space, by estimate.",
	PerMember: true, Off: true, Class: collect.Slow, Every: 15 * time.Minute,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, schemaname, relname, (pages - least(needed, pages)) * block AS size, 1 - least(needed, pages) / pages AS ratio
		FROM (
			SELECT c.oid, n.nspname AS schemaname, c.relname, c.relpages::float8 AS pages, block,
				ceil(c.reltuples * (4 + 24 + CASE WHEN w.nulls THEN 8 ELSE 0 END + ceil(w.width / 8) * 8) / ((block - 24) * ` + fillFactor(100) + `)) AS needed
			FROM pg_class AS c
			JOIN pg_namespace AS n ON n.oid = c.relnamespace
			CROSS JOIN (SELECT current_setting('block_size')::float8) AS b(block)
			JOIN LATERAL (
				SELECT sum((1 - s.null_frac) * s.avg_width) AS width, bool_or(s.null_frac > 0) AS nulls, count(s.attname) = count(*) AS known
				FROM pg_attribute AS a
				LEFT JOIN pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited
				WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
			) AS w ON w.known
			WHERE c.oid = ANY (ARRAY(
				SELECT oid FROM pg_class WHERE relkind IN ('r', 'm') AND relpersistence <> 't' AND relpages > 10 AND reltuples > 0
					AND relnamespace <> 'pg_catalog'::regnamespace
				ORDER BY relpages DESC, oid LIMIT 1000))
		) AS tables
		ORDER BY size DESC, oid LIMIT 100`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"),
		collect.Value("size", "bytes", "Space of the table that its rows do not need, by estimate from the statistics of its last analyze, in bytes. Absent where the statistics cannot be read."),
		collect.Value("ratio", "ratio", "The same as a part of the table, from 0 to 1."),
	},
}

// indexBloat does the same for B-trees of plain columns:
//
//	entry = 4 (pointer) + 8 (header), + 8 where it can have NULLs, + the mean width of all columns, rounded up to 8
//	pages = entries * entry / ((block size - 24 - 16) * fillfactor)
//
// An index keeps equal keys together since PostgreSQL 13, and so may need less than that: among many equal keys unused
// space goes unseen.
var indexBloat = collect.Table{
	Name: "index_bloat", Prefix: "pg_index_bloat", Help: "pg_class and pg_stats: the 100 B-tree indexes of the database with most unused space, by estimate.",
	PerMember: true, Off: true, Class: collect.Slow, Every: 15 * time.Minute,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, schemaname, relname, indexrelname, (pages - least(needed, pages)) * block AS size, 1 - least(needed, pages) / pages AS ratio
		FROM (
			SELECT c.oid, n.nspname AS schemaname, t.relname, c.relname AS indexrelname, c.relpages::float8 AS pages, block,
				ceil(c.reltuples * (4 + 8 + CASE WHEN w.nulls THEN 8 ELSE 0 END + ceil(w.width / 8) * 8) / ((block - 40) * ` + fillFactor(90) + `)) AS needed
			FROM pg_class AS c
			JOIN pg_index AS i ON i.indexrelid = c.oid
			JOIN pg_class AS t ON t.oid = i.indrelid
			JOIN pg_namespace AS n ON n.oid = t.relnamespace
			CROSS JOIN (SELECT current_setting('block_size')::float8) AS b(block)
			JOIN LATERAL (
				SELECT sum((1 - s.null_frac) * s.avg_width) AS width, bool_or(s.null_frac > 0) AS nulls, count(s.attname) = count(*) AS known
				FROM unnest(i.indkey) AS k(attnum)
				LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.attnum
				LEFT JOIN pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = t.relname AND s.attname = a.attname AND NOT s.inherited
			) AS w ON w.known
			WHERE c.oid = ANY (ARRAY(
				SELECT o.oid FROM pg_class AS o JOIN pg_am AS m ON m.oid = o.relam
				WHERE o.relkind = 'i' AND m.amname = 'btree' AND o.relpersistence <> 't' AND o.relpages > 10 AND o.reltuples > 0
					AND o.relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
				ORDER BY o.relpages DESC, o.oid LIMIT 1000)) AND i.indpred IS NULL
		) AS indexes
		ORDER BY size DESC, oid LIMIT 100`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"), collect.Label("indexrelname"),
		collect.Value("size", "bytes", "Space of the index that its entries do not need, by estimate from the statistics of the table's last analyze, in bytes. Absent where the statistics cannot be read, and for indexes of expressions or with a condition."),
		collect.Value("ratio", "ratio", "The same as a part of the index, from 0 to 1."),
	},
}

// fillFactor is how full a relation's pages may get, by its own option or by default, in percent.
func fillFactor(byDefault int) string {
	return fmt.Sprintf(`coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), %d) / 100`, byDefault)
}
