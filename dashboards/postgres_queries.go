package main

import "github.com/alfred-agent-platform/backend-exporters/dashboards/board"

var postgresQueries = board.Board{
	UID: postgresQueriesUID, Title: "PostgreSQL / Queries and tables", Tag: "postgresql", Source: "pg_up",
	Description: "Which statements and tables take the time and the space. Statements need --collector.stat_statements.",
	Variables:   []board.Variable{{Name: "datname", Label: "Database", Metric: "pg_database_size_bytes{@}"}},
	Top: []board.Panel{
		{
			Title: "Time in statements", Unit: "s", Kind: board.Stack,
			Description: "Seconds of work per second, by statement: how many processors they keep busy or how many sessions wait. The largest are worth a look first.",
			Queries:     []board.Query{{Expr: `topk(10, sum by (instance, target, datname, queryid) (rate(pg_stat_statements_seconds_total{@, datname=~"$datname"}[$__rate_interval])))`, Legend: "{{datname}} {{queryid}}"}},
		},
		{
			Title: "Time per call", Unit: "s",
			Description: "Mean time of a call, of the statements that take most time in all. A step up without more data: the plan has changed.",
			Queries: []board.Query{{Expr: `topk(10, sum by (instance, target, datname, queryid) (rate(pg_stat_statements_seconds_total{@, datname=~"$datname"}[$__rate_interval]))
  / (sum by (instance, target, datname, queryid) (rate(pg_stat_statements_calls_total{@, datname=~"$datname"}[$__rate_interval])) > 0))`, Legend: "{{datname}} {{queryid}}"}},
		},
		{
			Title: "Statements by time of the last hour", Kind: board.Table, Height: 10, Unit: "s", Labels: []string{"instance", "target", "datname", "user", "queryid"},
			Description: "The 20 statements that took most time within an hour. Their text: SELECT query FROM pg_stat_statements WHERE queryid = …, or --collector.stat_statements.include_query.",
			Queries: []board.Query{
				{Expr: `topk(20, increase(pg_stat_statements_seconds_total{@, datname=~"$datname"}[1h]))`, Legend: "Time"},
				{Expr: `increase(pg_stat_statements_calls_total{@, datname=~"$datname"}[1h]) and topk(20, increase(pg_stat_statements_seconds_total{@, datname=~"$datname"}[1h]))`, Legend: "Calls"},
				{Expr: `increase(pg_stat_statements_rows_total{@, datname=~"$datname"}[1h]) and topk(20, increase(pg_stat_statements_seconds_total{@, datname=~"$datname"}[1h]))`, Legend: "Rows"},
			},
			Units: map[string]string{"Calls": "short", "Rows": "short"},
		},
	},
	Rows: []board.Row{
		{Title: "Tables", Panels: []board.Panel{
			{
				Title: "Largest tables", Kind: board.Bars, Unit: "bytes",
				Description: "Size of tables with what they store out of line, without indexes.",
				Queries:     []board.Query{{Expr: `topk(15, pg_stat_user_tables_table_size_bytes{@, datname=~"$datname"})`, Legend: "{{datname}} {{schemaname}}.{{relname}}"}},
			},
			{
				Title: "Dead rows", Unit: "percentunit", Max: 1,
				Description: "Dead rows as a part of all, of tables with more than 10,000 rows. Autovacuum starts at 20 % by default; above that it does not keep up or is held back.",
				Queries: []board.Query{{Expr: `topk(10, pg_stat_user_tables_n_dead_tup{@, datname=~"$datname"}
  / (pg_stat_user_tables_n_dead_tup{@, datname=~"$datname"} + pg_stat_user_tables_n_live_tup{@, datname=~"$datname"} > 10000))`, Legend: "{{datname}} {{schemaname}}.{{relname}}"}},
			},
			{
				Title: "Rows read by whole scans", Unit: "rowsps",
				Description: "Rows per second that are read without an index. High on a large table: an index is missing.",
				Queries:     []board.Query{{Expr: `topk(10, rate(pg_stat_user_tables_seq_tup_read{@, datname=~"$datname"}[$__rate_interval]))`, Legend: "{{datname}} {{schemaname}}.{{relname}}"}},
			},
			{
				Title: "Rows written", Unit: "rowsps",
				Description: "Rows inserted, updated and deleted per second, by table.",
				Queries: []board.Query{{Expr: `topk(10, rate(pg_stat_user_tables_n_tup_ins{@, datname=~"$datname"}[$__rate_interval])
  + rate(pg_stat_user_tables_n_tup_upd{@, datname=~"$datname"}[$__rate_interval])
  + rate(pg_stat_user_tables_n_tup_del{@, datname=~"$datname"}[$__rate_interval]))`, Legend: "{{datname}} {{schemaname}}.{{relname}}"}},
			},
		}},
		{Title: "Indexes and waste", Panels: []board.Panel{
			{
				Title: "Invalid indexes", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target", "datname", "schemaname", "relname", "indexrelname"},
				Description: "Indexes that a failed CREATE INDEX CONCURRENTLY left behind: they are written and never read. Empty is normal. Drop or rebuild them.",
				Queries:     []board.Query{{Expr: `pg_index_invalid{@, datname=~"$datname"}`, Legend: "Invalid"}},
			},
			{
				Title: "Indexes that nobody reads", Kind: board.Table, Width: 12, Unit: "bytes", Labels: []string{"instance", "target", "datname", "schemaname", "relname", "indexrelname"},
				Description: "Indexes without a scan since statistics began, by size. Look at replicas too before you drop one.",
				Queries:     []board.Query{{Expr: `topk(20, pg_index_unused_size_bytes{@, datname=~"$datname"})`, Legend: "Size"}},
			},
			{
				Title: "Unused space in tables", Kind: board.Bars, Unit: "bytes",
				Description: "By estimate, from the widths of columns, with --collector.table_bloat. What is large and stays so can be got back by VACUUM FULL or pg_repack.",
				Queries:     []board.Query{{Expr: `topk(15, pg_table_bloat_bytes{@, datname=~"$datname"})`, Legend: "{{datname}} {{schemaname}}.{{relname}}"}},
			},
			{
				Title: "Sequences nearest to their end", Kind: board.Bars, Unit: "percentunit", Max: 1, Steps: board.Good(0.7, 0.9),
				Description: "Part of a sequence's values that is used. At 100 % inserts fail: make the column a bigint.",
				Queries:     []board.Query{{Expr: `topk(15, pg_sequences_used_ratio{@, datname=~"$datname"})`, Legend: "{{datname}} {{schemaname}}.{{sequencename}}"}},
			},
		}},
		{Title: "Reading and writing (PostgreSQL 16 and later)", Panels: []board.Panel{
			{
				Title: "Blocks read", Unit: "iops",
				Description: "Reads per second from the system, by kind of process and why. Bulk reads and vacuum use few buffers on purpose.",
				Queries:     []board.Query{{Expr: `sum by (backend_type, context) (rate(pg_stat_io_reads_total{@}[$__rate_interval])) > 0`, Legend: "{{backend_type}}: {{context}}"}},
			},
			{
				Title: "Blocks written", Unit: "iops",
				Description: "Writes per second. The background writer and the checkpointer should do most: where client backends write, shared_buffers or the background writer are too small.",
				Queries:     []board.Query{{Expr: `sum by (backend_type, context) (rate(pg_stat_io_writes_total{@}[$__rate_interval])) > 0`, Legend: "{{backend_type}}: {{context}}"}},
			},
		}},
	},
}
