package main

import "github.com/alfred-agent-platform/backend-exporters/dashboards/board"

const (
	postgresOverviewUID = "backend-exporters-postgres"
	postgresQueriesUID  = "backend-exporters-postgres-queries"
)

var postgresOverview = board.Board{
	UID: postgresOverviewUID, Title: "PostgreSQL / Overview", Tag: "postgresql", Source: "pg_up",
	Description: "Whether PostgreSQL servers work, what is wrong with them now, and what is becoming wrong.",
	Top: []board.Panel{
		{
			Title: "Servers down", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Servers that their exporter cannot reach or log in to. Normal: 0. The reason is in the exporter's /health and in pg_exporter_failure_info.",
			Queries:     []board.Query{{Expr: `count(pg_up{@} == 0) or vector(0)`, Legend: "down"}},
		},
		{
			Title: "Connections used", Kind: board.Stat, Unit: "percentunit", Max: 1, Steps: board.Good(0.7, 0.9),
			Description: "Open connections as a part of what ordinary roles may open, on the fullest server. Above 90 % new sessions will soon be refused: find who opens them below, and pool them.",
			Queries: []board.Query{{Expr: `max(instance:pg_stat_activity_count:sum{@}
  / on (job, instance, target) (pg_settings_max_connections{@} - on (job, instance, target) pg_settings_superuser_reserved_connections{@}))`, Legend: "used"}},
		},
		{
			Title: "Replication lag", Kind: board.Stat, Unit: "s", Steps: board.Good(10, 60),
			Description: "How far the replica furthest behind is behind its primary. No data where there is no replica. Look at Replication below.",
			Queries:     []board.Query{{Expr: `max(pg_replication_lag_seconds{@} and on (job, instance, target) pg_replication_is_replica{@} == 1)`, Legend: "lag"}},
		},
		{
			Title: "Longest transaction", Kind: board.Stat, Unit: "s", Steps: board.Good(300, 3600),
			Description: "How long the oldest open transaction has lasted. While it does, vacuum cannot remove what it might still see. Normal: seconds; minutes where there are reports or dumps.",
			Queries:     []board.Query{{Expr: `max(pg_long_running_transactions_oldest_age_seconds{@}) or vector(0)`, Legend: "oldest"}},
		},
		{
			Title: "Way to wraparound", Kind: board.Stat, Unit: "percentunit", Max: 1, Decimals: 1, Steps: board.Good(0.25, 0.6),
			Description: "Age of the oldest row that is not frozen, in the worst database, as a part of the 2.1e9 transactions at which the server refuses writes. Normal: below 10 %, as autovacuum freezes at 200 million. If it rises beyond, see what holds vacuum back.",
			Queries:     []board.Query{{Expr: `max(pg_database_wraparound_age_transactions{@}) / 2147483648`, Legend: "age"}},
		},
		{
			Title: "Sessions blocked", Kind: board.Stat, Unit: "short", Steps: board.Good(1, 10),
			Description: "Sessions blocked by others. Normal: 0, or a few for moments. Who holds them up is in Problems now.",
			Queries:     []board.Query{{Expr: `sum(pg_blocked_sessions{@}) or vector(0)`, Legend: "blocked"}},
		},
		{
			Title: "Servers", Kind: board.Timeline, Width: 12, Height: 7, Unit: "short", Steps: board.Up(), States: board.Health,
			Description: "When each server could be reached. Red: it could not.",
			Queries:     []board.Query{{Expr: `pg_up{@}`, Legend: "{{instance}}"}},
		},
		{
			Title: "Transactions", Unit: "ops", Height: 7, Link: postgresQueriesUID,
			Description: "Commits and rollbacks per second. A sudden fall means that clients do not come through; many rollbacks mean that they fail.",
			Queries: []board.Query{
				{Expr: `sum by (instance, target) (rate(pg_stat_database_xact_commit{@}[$__rate_interval]))`, Legend: "{{instance}} committed"},
				{Expr: `sum by (instance, target) (rate(pg_stat_database_xact_rollback{@}[$__rate_interval]))`, Legend: "{{instance}} rolled back"},
			},
		},
		{
			Title: "Sessions by state", Kind: board.Stack, Unit: "short",
			Description: "What the sessions do. Many active ones: the server is busy or they wait. Idle in transaction: a client holds locks and does nothing.",
			Queries:     []board.Query{{Expr: `sum by (state) (pg_stat_activity_count{@} > 0)`, Legend: "{{state}}"}},
		},
		{
			Title: "What active sessions wait for", Kind: board.Stack, Unit: "short",
			Description: "Sessions that wait, by what for. Lock: others hold it. IO: the disk. LWLock: contention within the server. Client: normal.",
			Queries:     []board.Query{{Expr: `sum by (wait_event_type, wait_event) (pg_stat_activity_waiting_sessions{@})`, Legend: "{{wait_event_type}}: {{wait_event}}"}},
		},
	},
	Rows: []board.Row{
		{Title: "Problems now", Panels: postgresProblems},
		{Title: "Load", Panels: postgresLoad},
		{Title: "Log, checkpoints and archive", Panels: postgresLog},
		{Title: "Replication", Panels: postgresReplication},
		{Title: "Vacuum and freezing", Panels: postgresVacuum},
		{Title: "Space", Panels: postgresSpace},
	},
}

var postgresProblems = []board.Panel{
	{
		Title: "Who blocks others", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target", "datname", "usename", "application_name", "state"},
		Description: "Sessions that hold locks for which others wait, and wait for none themselves. Empty is normal. End one with pg_terminate_backend if it does nothing (idle in transaction).",
		Queries: []board.Query{
			{Expr: `sum by (instance, target, datname, usename, application_name, state) (pg_blocking_root_sessions{@})`, Legend: "Sessions"},
			{Expr: `sum by (instance, target, datname, usename, application_name, state) (pg_blocking_waiting_sessions{@})`, Legend: "Waiting behind"},
			{Expr: `max by (instance, target, datname, usename, application_name, state) (pg_blocking_longest_wait_seconds{@})`, Legend: "Longest wait"},
		},
		Units: map[string]string{"Longest wait": "s"},
	},
	{
		Title: "Idle in transaction", Kind: board.Table, Width: 12, Unit: "s", Labels: []string{"instance", "target", "datname", "usename"}, Steps: board.Good(60, 600),
		Description: "Clients that opened a transaction and do nothing. Empty or seconds is normal. They hold locks and keep vacuum from its work: mend the client, or set idle_in_transaction_session_timeout.",
		Queries: []board.Query{
			{Expr: `max by (instance, target, datname, usename) (pg_stat_activity_idle_in_transaction_longest_idle_seconds{@})`, Legend: "Idle for"},
			{Expr: `sum by (instance, target, datname, usename) (pg_stat_activity_idle_in_transaction_sessions{@})`, Legend: "Sessions"},
		},
		Units: map[string]string{"Sessions": "short"},
	},
	{
		Title: "Deadlocks", Unit: "short", Steps: board.Zero(),
		Description: "Deadlocks within an hour. Normal: 0. The server's log names the statements; let the application take its locks in one order.",
		Queries:     []board.Query{{Expr: `sum by (instance, target, datname) (increase(pg_stat_database_deadlocks{@}[1h]))`, Legend: "{{instance}} {{datname}}"}},
	},
	{
		Title: "Checksum failures", Unit: "short", Steps: board.Zero(),
		Description: "Pages within a day that were not as they had been written. Anything but 0 is a broken disk or memory: restore from a backup. No data without data checksums.",
		Queries:     []board.Query{{Expr: `sum by (instance, target, datname) (increase(pg_stat_database_checksum_failures_total{@}[1d]))`, Legend: "{{instance}} {{datname}}"}},
	},
	{
		Title: "Settings that wait for a restart", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target", "name"},
		Description: "Settings that were changed but hold only after a restart. Empty is normal.",
		Queries:     []board.Query{{Expr: `pg_configuration_pending_restart{@}`, Legend: "Pending"}},
	},
	{
		Title: "Collectors that fail", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target", "collector"},
		Description: "Parts of the scrape without an answer: what they show is missing here. Empty is normal. postgres-exporter doctor says what the role or the server lacks.",
		Queries:     []board.Query{{Expr: `pg_exporter_collector_success{@} == 0`, Legend: "Success"}},
	},
}

var postgresLoad = []board.Panel{
	{
		Title: "Rows read and written", Unit: "rowsps",
		Description: "Rows per second. Many more returned than fetched: large tables are read whole, an index is missing.",
		Queries: []board.Query{
			{Expr: `sum(rate(pg_stat_database_tup_returned{@}[$__rate_interval]))`, Legend: "returned by scans"},
			{Expr: `sum(rate(pg_stat_database_tup_fetched{@}[$__rate_interval]))`, Legend: "fetched by index"},
			{Expr: `sum(rate(pg_stat_database_tup_inserted{@}[$__rate_interval]))`, Legend: "inserted"},
			{Expr: `sum(rate(pg_stat_database_tup_updated{@}[$__rate_interval]))`, Legend: "updated"},
			{Expr: `sum(rate(pg_stat_database_tup_deleted{@}[$__rate_interval]))`, Legend: "deleted"},
		},
	},
	{
		Title: "Reads answered by the buffer cache", Unit: "percentunit", Max: 1, Steps: board.Bad(0.9, 0.98),
		Description: "Blocks that were found in shared_buffers, of all that were wanted. Normal for busy transactions: above 98 %. What is not found may still come from the system's cache.",
		Queries:     []board.Query{{Expr: `instance_datname:pg_stat_database_blks_hit:ratio_rate5m{@}`, Legend: "{{instance}} {{datname}}"}},
	},
	{
		Title: "Temporary files", Unit: "Bps",
		Description: "Bytes per second that sorts and joins write to disk because work_mem is too small for them. Normal: little.",
		Queries:     []board.Query{{Expr: `sum by (instance, target, datname) (rate(pg_stat_database_temp_bytes{@}[$__rate_interval]))`, Legend: "{{instance}} {{datname}}"}},
	},
	{
		Title: "Locks held", Unit: "short",
		Description: "Locks by mode. AccessExclusiveLock keeps everybody else from a table: normal for moments.",
		Queries:     []board.Query{{Expr: `sum by (mode) (pg_locks_count{@} > 0)`, Legend: "{{mode}}"}},
	},
}

var postgresLog = []board.Panel{
	{
		Title: "Write-ahead log written", Unit: "Bps",
		Description: "Bytes of log per second. Replicas and the archive must keep up with it.",
		Queries:     []board.Query{{Expr: `sum by (instance, target) (rate(pg_stat_wal_bytes_total{@}[$__rate_interval]))`, Legend: "{{instance}}"}},
	},
	{
		Title: "Write-ahead log on disk", Unit: "bytes",
		Description: "Files of the log that are kept. It grows where a slot or a failing archive holds it: the disk will fill up.",
		Queries:     []board.Query{{Expr: `pg_wal_size_bytes{@}`, Legend: "{{instance}}"}},
	},
	{
		Title: "Checkpoints", Unit: "short",
		Description: "Checkpoints within an hour, by time and on request. Most should be by time: requested ones mean that max_wal_size is too small for the load.",
		Queries: []board.Query{
			{Expr: `sum by (instance, target) (increase(pg_stat_checkpointer_num_timed_total{@}[1h]) or increase(pg_stat_bgwriter_checkpoints_timed_total{@}[1h]))`, Legend: "{{instance}} by time"},
			{Expr: `sum by (instance, target) (increase(pg_stat_checkpointer_num_requested_total{@}[1h]) or increase(pg_stat_bgwriter_checkpoints_req_total{@}[1h]))`, Legend: "{{instance}} requested"},
		},
	},
	{
		Title: "Files that wait for the archive", Unit: "short", Steps: board.Good(10, 100),
		Description: "Segments of the log that are ready and not archived yet. Normal: 0 or 1. A number that rises means that archive_command fails or is too slow.",
		Queries:     []board.Query{{Expr: `pg_archive_status_ready_files{@}`, Legend: "{{instance}}"}},
	},
}

var postgresReplication = []board.Panel{
	{
		Title: "Replicas behind, in seconds", Unit: "s", Steps: board.Good(10, 60),
		Description: "How far each replica is behind, as it sees it itself. Normal: below a second or two.",
		Queries:     []board.Query{{Expr: `pg_replication_lag_seconds{@} and on (job, instance, target) pg_replication_is_replica{@} == 1`, Legend: "{{instance}}"}},
	},
	{
		Title: "Replicas behind, in bytes", Unit: "bytes",
		Description: "Log that each replica has not replayed, as its primary sees it. No data where nobody follows.",
		Queries:     []board.Query{{Expr: `sum by (instance, target, application_name, client_addr) (pg_stat_replication_replay_lag_bytes{@})`, Legend: "{{instance}}: {{application_name}} {{client_addr}}"}},
	},
	{
		Title: "Log that slots keep", Unit: "bytes",
		Description: "Bytes of log that may not be removed because a slot still needs them. One that grows without end will fill the disk: drop the slot if nobody comes back for it.",
		Queries:     []board.Query{{Expr: `pg_replication_slots_retained_wal_bytes{@}`, Legend: "{{instance}} {{slot_name}}"}},
	},
	{
		Title: "Slots in use", Kind: board.Timeline, Width: 12, Unit: "short", Steps: board.Up(), States: map[int]board.State{0: {Text: "unused", Color: board.Red}, 1: {Text: "in use", Color: board.Green}},
		Description: "Whether somebody reads from each slot. An unused slot keeps the log.",
		Queries:     []board.Query{{Expr: `pg_replication_slots_slot_is_active{@}`, Legend: "{{instance}} {{slot_name}}"}},
	},
}

var postgresVacuum = []board.Panel{
	{
		Title: "Age of the oldest row not frozen", Unit: "short",
		Description: "Age of each database's oldest row that is not frozen. Autovacuum should turn it at autovacuum_freeze_max_age, 200 million by default. At 2.1e9 the server refuses writes.",
		Queries:     []board.Query{{Expr: `pg_database_wraparound_age_transactions{@}`, Legend: "{{instance}} {{datname}}"}},
	},
	{
		Title: "What keeps vacuum from removing rows", Unit: "short",
		Description: "Age, in transactions, of the oldest one that somebody may still see, by who that is: a session, a prepared transaction, a slot or a replica.",
		Queries:     []board.Query{{Expr: `max by (instance, target, holder) (pg_oldest_xmin_age_transactions{@})`, Legend: "{{instance}} {{holder}}"}},
	},
	{
		Title: "Tables that autovacuum has to work on", Unit: "short",
		Description: "Tables beyond their own limits of dead or new rows. Normal: few, and others after a while. If it only rises, autovacuum is too slow or held back.",
		Queries: []board.Query{
			{Expr: `sum by (instance, target) (pg_autovacuum_due_vacuum_tables{@})`, Legend: "{{instance}} vacuum"},
			{Expr: `sum by (instance, target) (pg_autovacuum_due_analyze_tables{@})`, Legend: "{{instance}} analyze"},
			{Expr: `sum by (instance, target) (pg_autovacuum_due_freeze_tables{@})`, Legend: "{{instance}} freeze"},
		},
	},
	{
		Title: "Autovacuum processes at work", Unit: "short",
		Description: "Of autovacuum_max_workers. All of them at work for long: raise the cost limit rather than their number.",
		Queries: []board.Query{
			{Expr: `pg_autovacuum_workers{@}`, Legend: "{{instance}} at work"},
			{Expr: `pg_autovacuum_max_workers{@}`, Legend: "{{instance}} at most"},
		},
	},
}

var postgresSpace = []board.Panel{
	{
		Title: "Databases", Kind: board.Bars, Unit: "bytes",
		Description: "Size of each database on disk.",
		Queries:     []board.Query{{Expr: `max by (instance, target, datname) (pg_database_size_bytes{@})`, Legend: "{{instance}} {{datname}}"}},
	},
	{
		Title: "Growth of databases", Unit: "bytes",
		Description: "Bytes by which each database has grown within a day. What jumps here fills the disk.",
		Queries:     []board.Query{{Expr: `delta(pg_database_size_bytes{@}[1d])`, Legend: "{{instance}} {{datname}}"}},
	},
}
