package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

// vectorIndexes are looked at by their number of pages as vacuum or analyze last saw it: to measure them one would have
// to lock them.
var vectorIndexes = collect.Table{
	Name: "vector_indexes", Prefix: "pg_vector_index", Help: "pg_class: the indexes of pgvector (hnsw and ivfflat) in the database.",
	PerMember: true, Class: collect.Dear, Needs: collect.Needs{Feature: "vector"}, Rows: 200,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, n.nspname AS schemaname, t.relname, c.relname AS indexrelname, am.amname AS method,
			c.relpages * current_setting('block_size')::int8 AS size, CASE WHEN c.reltuples >= 0 THEN c.reltuples END AS rows,
			pg_stat_get_numscans(c.oid) AS scans, i.indisvalid AND i.indisready AS valid
		FROM pg_am AS am
		JOIN pg_class AS c ON c.relam = am.oid AND c.relkind = 'i'
		JOIN pg_index AS i ON i.indexrelid = c.oid
		JOIN pg_class AS t ON t.oid = i.indrelid
		JOIN pg_namespace AS n ON n.oid = t.relnamespace
		WHERE am.amname IN ('hnsw', 'ivfflat')
		ORDER BY c.relpages DESC, c.oid LIMIT 201`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("schemaname"), collect.Label("relname"), collect.Label("indexrelname"), collect.Label("method"),
		collect.Value("size", "size_bytes", "Size of the index when it was made or its table last vacuumed or analyzed, in bytes. One that does not fit in memory is slow to search."),
		collect.Value("rows", "rows", "Vectors in the index when it was made or its table last vacuumed or analyzed, by estimate."),
		collect.Count("scans", "scans_total", "Searches in the index."),
		collect.Value("valid", "valid", "1 where searches may use the index, 0 where it is still being made or could not be."),
	},
}
