package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

// activity has a row with count 0 for each state that nobody in a database is in, so that sums never lack a series.
// The exporter's own connection is not counted.
var activity = collect.Table{
	Name: "stat_activity", Prefix: "pg_stat_activity", Help: "pg_stat_activity: sessions by what they do and wait for.",
	Rows: 5000,
	Sources: []collect.Source{collect.Always(`
		SELECT d.datname, s.state, a.usename, a.application_name, a.backend_type, a.wait_event_type, a.wait_event,
			coalesce(a.sessions, 0) AS count, coalesce(a.longest, 0) AS max_tx_duration
		FROM pg_database AS d
		CROSS JOIN unnest(ARRAY['active', 'idle', 'idle in transaction', 'idle in transaction (aborted)',
			'fastpath function call', 'disabled']) AS s(state)
		LEFT JOIN (
			SELECT datid, state, usename, application_name, backend_type, wait_event_type, wait_event,
				count(*) AS sessions, extract(epoch FROM max(now() - xact_start)) AS longest
			FROM pg_stat_activity WHERE pid <> pg_backend_pid()
			GROUP BY 1, 2, 3, 4, 5, 6, 7
		) AS a ON a.datid = d.oid AND a.state = s.state
		ORDER BY count DESC, d.datname, s.state LIMIT 5001`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("state"), collect.Label("usename"), collect.Label("application_name"),
		collect.Label("backend_type"), collect.Label("wait_event_type"), collect.Label("wait_event"),
		collect.Value("count", "count", "Sessions that are in this state and wait for this event."),
		collect.Value("max_tx_duration", "max_tx_duration", "Age of the longest open transaction of these sessions, in seconds; 0 where none has one open.").In("seconds"),
	},
}

var longTransactions = collect.Table{
	Name: "long_running_transactions", Help: "pg_stat_activity: open transactions, autovacuum's left out.",
	Sources: []collect.Source{collect.Always(`
		SELECT count(*) AS transactions, extract(epoch FROM max(clock_timestamp() - xact_start)) AS oldest
		FROM pg_stat_activity
		WHERE xact_start IS NOT NULL AND state IS DISTINCT FROM 'idle' AND pid <> pg_backend_pid()
			AND query NOT LIKE 'autovacuum:%'`)},
	Columns: []collect.Column{
		collect.Value("transactions", "pg_long_running_transactions", "Transactions that are open now, however long."),
		collect.Value("oldest", "pg_long_running_transactions_oldest_timestamp_seconds", "Age of the oldest open transaction in seconds. The name is the established one; it is no timestamp."),
		collect.Value("oldest", "pg_long_running_transactions_oldest_age_seconds", "Age of the oldest open transaction in seconds."),
	},
}

var locks = collect.Table{
	Name: "locks", Prefix: "pg_locks", Help: "pg_locks: locks by database and mode, and who waits.",
	Sources: []collect.Source{
		collect.Since(140000, locksText(`extract(epoch FROM max(now() - l.waitstart))`)),
		collect.Until(140000, locksText(`NULL`)),
	},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("mode"),
		collect.Value("count", "count", "Locks of this mode that are held or waited for in the database. Locks of the exporter's own session are left out."),
		collect.Value("waiting", "waiting", "Locks of this mode that are waited for."),
		collect.Value("longest", "longest_wait_seconds", "How long the longest wait for a lock of this mode lasts by now, in seconds. Absent while nobody waits."),
	},
}

// locksText has a row for each database and mode, with 0 where there is no such lock.
func locksText(longest string) string {
	return `
		SELECT d.datname, m.mode, count(l.mode) AS count, count(*) FILTER (WHERE NOT l.granted) AS waiting, ` + longest + ` AS longest
		FROM pg_database AS d
		CROSS JOIN unnest(ARRAY['accesssharelock', 'rowsharelock', 'rowexclusivelock', 'shareupdateexclusivelock', 'sharelock',
			'sharerowexclusivelock', 'exclusivelock', 'accessexclusivelock', 'sireadlock']) AS m(mode)
		LEFT JOIN pg_locks AS l ON l.database = d.oid AND lower(l.mode) = m.mode AND l.pid IS DISTINCT FROM pg_backend_pid()
		GROUP BY 1, 2 ORDER BY count DESC, 1, 2`
}

var preparedTransactions = collect.Table{
	Name: "prepared_transactions", Help: "pg_prepared_xacts: transactions prepared for a two-phase commit that nobody has ended.",
	Sources: []collect.Source{collect.Always(`
		SELECT d.datname, count(p.gid) AS count, extract(epoch FROM max(now() - p.prepared)) AS oldest
		FROM pg_database AS d LEFT JOIN pg_prepared_xacts AS p ON p.database = d.datname
		GROUP BY 1 ORDER BY count DESC, 1`)},
	Columns: []collect.Column{
		collect.Label("datname"),
		collect.Value("count", "pg_prepared_transactions", "Transactions that are prepared and neither committed nor rolled back. Each keeps its locks, and dead rows from vacuum."),
		collect.Value("oldest", "pg_prepared_transactions_oldest_age_seconds", "Age of the oldest prepared transaction in seconds. Absent where there is none."),
	},
}

var autovacuumWorkers = collect.Table{
	Name: "stat_activity_autovacuum", Prefix: "pg_stat_activity_autovacuum", Help: "pg_stat_activity: which tables autovacuum works on.",
	Off: true,
	Sources: []collect.Source{collect.Always(`
		SELECT regexp_replace(split_part(query, '.', 2), ' \(to prevent wraparound\)$', '') AS relname,
			extract(epoch FROM min(xact_start)) AS started
		FROM pg_stat_activity WHERE query LIKE 'autovacuum:%' GROUP BY 1`)},
	Columns: []collect.Column{
		collect.Label("relname"),
		collect.Value("started", "timestamp_seconds", "When autovacuum began to work on the table, in Unix seconds."),
	},
}

// vacuumProgress has a row for each phase of each vacuum; what does not depend on the phase is on the row of the
// present one. The name of a table is known in the own database only, elsewhere its OID has to do.
var vacuumProgress = collect.Table{
	Name: "stat_progress_vacuum", Prefix: "pg_stat_progress_vacuum", Help: "pg_stat_progress_vacuum: how far each running vacuum is.",
	Sources: []collect.Source{
		collect.Since(180000, vacuumText(`max_dead_tuple_bytes, dead_tuple_bytes, num_dead_item_ids, indexes_total, indexes_processed, delay_time`)),
		collect.Between(170000, 180000, vacuumText(`max_dead_tuple_bytes, dead_tuple_bytes, num_dead_item_ids, indexes_total, indexes_processed`)),
		collect.Until(170000, vacuumText(`max_dead_tuples, num_dead_tuples AS num_dead_item_ids`)),
	},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("relname"), collect.Label("phase"),
		collect.Value("present", "phase", "1 for the phase the vacuum is in, 0 for the others."),
		collect.Value("heap_blks_total", "heap_blks", "Blocks of the table when the vacuum began.").Per("datname", "relname"),
		collect.Value("heap_blks_scanned", "heap_blks_scanned", "Blocks of the table scanned so far, skipped ones included.").Per("datname", "relname"),
		collect.Value("heap_blks_vacuumed", "heap_blks_vacuumed", "Blocks of the table vacuumed so far.").Per("datname", "relname"),
		collect.Value("index_vacuum_count", "index_vacuums", "Rounds of vacuuming the indexes completed so far. More than one means that maintenance_work_mem is too small for the table.").Per("datname", "relname"),
		collect.Value("max_dead_tuples", "max_dead_tuples", "Dead rows that fit in memory before the indexes must be vacuumed. Before PostgreSQL 17.").Per("datname", "relname"),
		collect.Value("num_dead_item_ids", "num_dead_tuples", "Dead rows collected since the indexes were last vacuumed.").Per("datname", "relname"),
		collect.Value("max_dead_tuple_bytes", "max_dead_tuple_bytes", "Memory for dead rows before the indexes must be vacuumed, in bytes. Since PostgreSQL 17.").Per("datname", "relname"),
		collect.Value("dead_tuple_bytes", "dead_tuple_bytes", "Memory taken by the dead rows collected since the indexes were last vacuumed, in bytes. Since PostgreSQL 17.").Per("datname", "relname"),
		collect.Value("indexes_total", "indexes", "Indexes that this round has to vacuum or clean up. Since PostgreSQL 17.").Per("datname", "relname"),
		collect.Value("indexes_processed", "indexes_processed", "Indexes that this round has vacuumed or cleaned up so far. Since PostgreSQL 17.").Per("datname", "relname"),
		collect.Value("delay_time", "delay_seconds", "Time the vacuum has slept because of its cost limit, in seconds; needs track_cost_delay_timing. Since PostgreSQL 18.").Times(1e-3).Per("datname", "relname"),
	},
}

func vacuumText(memory string) string {
	return `
		SELECT v.datname, p.phase, v.phase = p.phase AS present, now.*,
			` + progressName + `
		FROM pg_stat_progress_vacuum AS v
		CROSS JOIN unnest(ARRAY['initializing', 'scanning heap', 'vacuuming indexes', 'vacuuming heap', 'cleaning up indexes',
			'truncating heap', 'performing final cleanup']) AS p(phase)
		LEFT JOIN LATERAL (
			SELECT v.heap_blks_total, v.heap_blks_scanned, v.heap_blks_vacuumed, v.index_vacuum_count, ` + memory + `
		) AS now ON p.phase = v.phase
		LEFT JOIN pg_class AS c ON c.oid = v.relid AND v.datname = current_database()
		LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace`
}
