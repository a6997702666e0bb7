package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

// statements must cope with an extension that is older than the server, as after an upgrade: what a version of it
// lacks is taken from a row of NULLs further out, where SQL looks for a name that it does not find nearer. A statement
// has a row for being called by itself and one for being called within a function; both count.
var statements = collect.Table{
	Name: "stat_statements", Prefix: "pg_stat_statements", Help: "pg_stat_statements: the 100 statements that took most time.",
	Off: true, Class: collect.Dear, Created: "since", Needs: collect.Needs{Feature: "pg_stat_statements"},
	Sources: []collect.Source{collect.Always(`
		SELECT pg_get_userbyid(userid) AS user, datname, queryid, sum(calls) AS calls, sum(spent) AS spent, sum(rows) AS rows,
			sum(read) AS read, sum(written) AS written, extract(epoch FROM min(since)) AS since
		FROM (SELECT NULL::float8 AS total_time, NULL::float8 AS total_exec_time, NULL::float8 AS blk_read_time, NULL::float8 AS blk_write_time,
			NULL::float8 AS shared_blk_read_time, NULL::float8 AS shared_blk_write_time, NULL::timestamptz AS stats_since) AS lacking
		CROSS JOIN LATERAL (
			SELECT userid, dbid, queryid, calls, rows, coalesce(total_exec_time, total_time) AS spent,
				coalesce(shared_blk_read_time, blk_read_time) AS read, coalesce(shared_blk_write_time, blk_write_time) AS written, stats_since AS since
			FROM {pg_stat_statements}.pg_stat_statements(false)
		) AS s
		JOIN pg_database AS d ON d.oid = s.dbid
		WHERE queryid IS NOT NULL
		GROUP BY userid, datname, queryid
		ORDER BY spent DESC LIMIT 100`)},
	Columns: []collect.Column{
		collect.Label("user"), collect.Label("datname"), collect.Label("queryid"),
		collect.Count("calls", "calls_total", "Times the statement was run."),
		collect.Count("spent", "seconds_total", "Time spent running the statement, in seconds.").Times(1e-3),
		collect.Count("rows", "rows_total", "Rows the statement returned or changed."),
		collect.Count("read", "block_read_seconds_total", "Time the statement spent reading blocks, in seconds; needs track_io_timing.").Times(1e-3),
		collect.Count("written", "block_write_seconds_total", "Time the statement spent writing blocks, in seconds; needs track_io_timing.").Times(1e-3),
	},
}
