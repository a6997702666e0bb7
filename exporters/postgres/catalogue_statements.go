package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// statementOptions are which statements are shown, and how.
type statementOptions struct {
	limit, length    int
	query            bool
	databases, users []string // left out
}

// defaultStatements are the options of who says nothing.
var defaultStatements = statementOptions{limit: 100, length: 120}

// statementFlags are the options as flags, which postgres_exporter has under the same names.
type statementFlags struct {
	limit, length    *int
	query            *bool
	databases, users *string
}

func (f *statementFlags) flags(a *kingpin.Application) {
	f.query = a.Flag("collector.stat_statements.include_query", "Show the text of each statement in pg_stat_statements_query_id.").Bool()
	f.length = a.Flag("collector.stat_statements.query_length", "Longest text of a statement that is shown, in characters.").Default("120").Int()
	f.limit = a.Flag("collector.stat_statements.limit", "Statements that are shown by the time they took; a fifth as many are by each other order.").Default("100").Int()
	f.databases = a.Flag("collector.stat_statements.exclude_databases", "Databases whose statements are left out, separated by commas.").String()
	f.users = a.Flag("collector.stat_statements.exclude_users", "Users whose statements are left out, separated by commas.").String()
}

// options checks the flags.
func (f *statementFlags) options() (statementOptions, error) {
	o := statementOptions{limit: *f.limit, length: *f.length, query: *f.query,
		databases: slices.Collect(splitList(*f.databases)), users: slices.Collect(splitList(*f.users))}
	switch {
	case o.limit < 1 || o.limit > 5000:
		return o, errors.New("--collector.stat_statements.limit must be from 1 to 5000")
	case o.length < 1 || o.length > 1000:
		return o, errors.New("--collector.stat_statements.query_length must be from 1 to 1000")
	}
	return o, nil
}

// leftOut is a condition that holds for what is not left out.
func (o statementOptions) leftOut() string {
	return fmt.Sprintf("datname <> ALL (%s) AND pg_get_userbyid(userid) <> ALL (%s)", textArray(o.databases), textArray(o.users))
}

// textArray writes names as SQL.
func textArray(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = quote(name)
	}
	return "ARRAY[" + strings.Join(quoted, ",") + "]::text[]"
}

// statements must cope with an extension that is older than the server, as after an upgrade: what a version of it
// lacks is taken from a row of NULLs further out, where SQL looks for a name that it does not find nearer. A statement
// has a row for being called by itself and one for being called within a function; both count.
//
// What is worth a look by any order is shown once, with all its metrics.
func statements(o statementOptions) collect.Table {
	return collect.Table{
		Name: "stat_statements", Prefix: "pg_stat_statements", Help: "pg_stat_statements: the statements that took most time, and a fifth as many with most calls, longest mean time, most rows, temporary blocks, log and blocks read.",
		Off: true, Class: collect.Dear, Created: "since", Needs: collect.Needs{Feature: "pg_stat_statements"},
		Sources: []collect.Source{collect.Always(`
		SELECT * FROM (
			SELECT *, row_number() OVER (ORDER BY spent DESC) AS by_time, row_number() OVER (ORDER BY calls DESC) AS by_calls,
				row_number() OVER (ORDER BY spent / calls DESC) AS by_mean, row_number() OVER (ORDER BY rows DESC) AS by_rows,
				row_number() OVER (ORDER BY temp_read + temp_written DESC) AS by_temp, row_number() OVER (ORDER BY log DESC NULLS LAST) AS by_log,
				row_number() OVER (ORDER BY blocks_read DESC) AS by_read
			FROM (
				SELECT pg_get_userbyid(userid) AS user, datname, queryid, sum(calls) AS calls, sum(spent) AS spent, sum(rows) AS rows,
					sum(read) AS read, sum(written) AS written, max(longest) AS longest, sum(planned) AS planned, sum(hit) AS blocks_hit,
					sum(blocks_read) AS blocks_read, sum(dirtied) AS dirtied, sum(blocks_written) AS blocks_written,
					sum(temp_read) AS temp_read, sum(temp_written) AS temp_written, sum(log) AS log, extract(epoch FROM min(since)) AS since
				FROM (SELECT NULL::float8 AS total_time, NULL::float8 AS total_exec_time, NULL::float8 AS max_time, NULL::float8 AS max_exec_time,
					NULL::float8 AS total_plan_time, NULL::float8 AS blk_read_time, NULL::float8 AS blk_write_time,
					NULL::float8 AS shared_blk_read_time, NULL::float8 AS shared_blk_write_time, NULL::numeric AS wal_bytes, NULL::timestamptz AS stats_since) AS lacking
				CROSS JOIN LATERAL (
					SELECT userid, dbid, queryid, calls, rows, coalesce(total_exec_time, total_time) AS spent, coalesce(max_exec_time, max_time) AS longest,
						total_plan_time AS planned, coalesce(shared_blk_read_time, blk_read_time) AS read,
						coalesce(shared_blk_write_time, blk_write_time) AS written, shared_blks_hit AS hit, shared_blks_read AS blocks_read,
						shared_blks_dirtied AS dirtied, shared_blks_written AS blocks_written, temp_blks_read AS temp_read,
						temp_blks_written AS temp_written, wal_bytes AS log, stats_since AS since
					FROM {pg_stat_statements}.pg_stat_statements(false)
				) AS s
				JOIN pg_database AS d ON d.oid = s.dbid
				WHERE queryid IS NOT NULL AND calls > 0 AND ` + o.leftOut() + `
				GROUP BY userid, datname, queryid
			) AS statements
		) AS ranked
		WHERE by_time <= ` + strconv.Itoa(o.limit) + ` OR least(by_calls, by_mean, by_rows, by_temp, by_log, by_read) <= ` + strconv.Itoa((o.limit+4)/5) + `
		ORDER BY spent DESC`)},
		Columns: []collect.Column{
			collect.Label("user"), collect.Label("datname"), collect.Label("queryid"),
			collect.Count("calls", "calls_total", "Times the statement was run."),
			collect.Count("spent", "seconds_total", "Time spent running the statement, in seconds.").Times(1e-3),
			collect.Count("rows", "rows_total", "Rows the statement returned or changed."),
			collect.Count("read", "block_read_seconds_total", "Time the statement spent reading blocks, in seconds; needs track_io_timing.").Times(1e-3),
			collect.Count("written", "block_write_seconds_total", "Time the statement spent writing blocks, in seconds; needs track_io_timing.").Times(1e-3),
			collect.Value("longest", "longest_seconds", "Time the longest run of the statement took, in seconds.").Times(1e-3),
			collect.Count("planned", "plan_seconds_total", "Time spent planning the statement, in seconds; needs pg_stat_statements.track_planning.").Times(1e-3),
			collect.Count("blocks_hit", "shared_blocks_hit_total", "Blocks the statement found in PostgreSQL's buffers."),
			collect.Count("blocks_read", "shared_blocks_read_total", "Blocks the statement had to read."),
			collect.Count("dirtied", "shared_blocks_dirtied_total", "Blocks the statement was the first to change since they were last written."),
			collect.Count("blocks_written", "shared_blocks_written_total", "Blocks the statement had to write to make room."),
			collect.Count("temp_read", "temp_blocks_read_total", "Blocks the statement read from temporary files."),
			collect.Count("temp_written", "temp_blocks_written_total", "Blocks the statement wrote to temporary files because its work did not fit in memory."),
			collect.Count("log", "wal_bytes_total", "Bytes the statement wrote to the write-ahead log."),
		},
	}
}

const statementTextsName = "stat_statements_query"

// statementTexts shows the texts of the same statements, where that is wanted. They may hold what a user typed, which
// for a statement that sets a password is the password.
func statementTexts(o statementOptions) collect.Table {
	return collect.Table{
		Name: statementTextsName, Prefix: "pg_stat_statements", Help: "pg_stat_statements: the texts of the statements that took most time. Switched by --collector.stat_statements.include_query as well.",
		Off: true, Class: collect.Slow, Every: 5 * time.Minute, Needs: collect.Needs{Feature: "pg_stat_statements"},
		Sources: []collect.Source{collect.Always(`
			SELECT queryid, min(CASE WHEN query ~* 'password' THEN '(not shown: it speaks of a password)' ELSE left(regexp_replace(query, '\s+', ' ', 'g'), ` + strconv.Itoa(o.length) + `) END) AS query
			FROM {pg_stat_statements}.pg_stat_statements JOIN pg_database AS d ON d.oid = dbid
			WHERE queryid IS NOT NULL AND calls > 0 AND ` + o.leftOut() + `
			GROUP BY queryid ORDER BY max(total_exec_time) DESC LIMIT ` + strconv.Itoa(o.limit))},
		Columns: []collect.Column{
			collect.Label("queryid"), collect.Label("query"),
			collect.Info("query_id", "Always 1; the labels tell the text of a statement, cut to its first characters."),
		},
	}
}

var statementsInfo = collect.Table{
	Name: "stat_statements_info", Prefix: "pg_stat_statements_info", Help: "pg_stat_statements_info: whether the statistics of statements are whole. Since PostgreSQL 14.",
	Off: true, Created: "reset", Needs: collect.Needs{Feature: "pg_stat_statements"},
	Sources: []collect.Source{collect.Since(140000, `
		SELECT dealloc, extract(epoch FROM stats_reset) AS reset FROM {pg_stat_statements}.pg_stat_statements_info`)},
	Columns: []collect.Column{
		collect.Count("dealloc", "dealloc_total", "Times the rarest statements were forgotten to make room for others. While this grows, counters of statements begin again at 0: see pg_stat_statements.max."),
		collect.Value("reset", "stats_reset_timestamp_seconds", "When the statistics of all statements were last reset, in Unix seconds."),
	},
}
