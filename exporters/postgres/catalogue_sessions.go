package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

// waits leaves out those who wait because there is nothing to do: idle sessions, and processes of the server between
// two rounds.
var waits = collect.Table{
	Name: "stat_activity_waits", Prefix: "pg_stat_activity", Help: "pg_stat_activity: what sessions and processes of the server wait for while they have work to do.",
	Rows: 200,
	Sources: []collect.Source{collect.Always(`
		SELECT datname, backend_type, wait_event_type, wait_event, count(*) AS waiting
		FROM pg_stat_activity
		WHERE wait_event IS NOT NULL AND wait_event_type <> 'Activity' AND state IS DISTINCT FROM 'idle' AND pid <> pg_backend_pid()
		GROUP BY 1, 2, 3, 4 ORDER BY waiting DESC, 1, 2, 3, 4 LIMIT 201`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("backend_type"), collect.Label("wait_event_type"), collect.Label("wait_event"),
		collect.Value("waiting", "waiting_sessions", "Sessions and processes of the server that wait for this event. Idle ones are left out."),
	},
}

var idleTransactions = collect.Table{
	Name: "idle_in_transaction", Prefix: "pg_stat_activity_idle_in_transaction", Help: "pg_stat_activity: who has a transaction open and does nothing.",
	Rows: 100,
	Sources: []collect.Source{collect.Always(`
		SELECT datname, usename, count(*) AS sessions, extract(epoch FROM clock_timestamp() - min(state_change)) AS idle,
			extract(epoch FROM clock_timestamp() - min(xact_start)) AS age
		FROM pg_stat_activity WHERE state IN ('idle in transaction', 'idle in transaction (aborted)') AND pid <> pg_backend_pid()
		GROUP BY 1, 2 ORDER BY idle DESC NULLS LAST LIMIT 101`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("usename"),
		collect.Value("sessions", "sessions", "Sessions that are idle with a transaction open, failed ones included."),
		collect.Value("idle", "longest_idle_seconds", "How long the longest of these sessions has been idle by now, in seconds."),
		collect.Value("age", "oldest_age_seconds", "Age of the oldest transaction of these sessions, in seconds."),
	},
}

// blockedSessions and blockingSessions are the two sides of waiting for a lock. Neither asks for anything while nobody waits.
var blockedSessions = collect.Table{
	Name: "blocked", Prefix: "pg_blocked", Help: "pg_locks: who waits for a lock.",
	Rows: 50,
	Sources: []collect.Source{
		collect.Since(140000, blockedText(`min(waitstart)`)),
		collect.Until(140000, blockedText(`NULL::timestamptz`)),
	},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("usename"), collect.Label("application_name"),
		collect.Value("sessions", "sessions", "Sessions that wait for a lock."),
		collect.Value("longest", "longest_wait_seconds", "How long the longest of these waits lasts by now, in seconds. Since PostgreSQL 14."),
	},
}

func blockedText(since string) string {
	return `
		SELECT datname, usename, application_name, count(*) AS sessions, extract(epoch FROM clock_timestamp() - min(since)) AS longest
		FROM (SELECT pid, ` + since + ` AS since FROM pg_locks WHERE NOT granted GROUP BY pid) AS waiting
		JOIN pg_stat_activity USING (pid)
		GROUP BY 1, 2, 3 ORDER BY longest DESC NULLS LAST, sessions DESC LIMIT 51`
}

// blockingSessions looks behind the 100 longest waits only: who stands at the head of a queue stands before all of it.
var blockingSessions = collect.Table{
	Name: "blockers", Prefix: "pg_blocking", Help: "pg_blocking_pids(): who holds the locks that others wait for.",
	Rows: 50,
	Sources: []collect.Source{
		collect.Since(140000, blockersText(`min(waitstart)`)),
		collect.Until(140000, blockersText(`NULL::timestamptz`)),
	},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("usename"), collect.Label("application_name"), collect.Label("backend_type"), collect.Label("state"),
		collect.Value("sessions", "sessions", "Sessions that others wait for, be it that they hold a lock or that they are before them in the queue. A prepared transaction has the state prepared, and nobody's name."),
		collect.Value("roots", "root_sessions", "Sessions that others wait for and that wait for no lock themselves: where a queue begins."),
		collect.Value("waiting", "waiting_sessions", "Sessions that wait for these; of the 100 that have waited longest."),
		collect.Value("longest", "longest_wait_seconds", "How long the longest wait for these sessions lasts by now, in seconds. Since PostgreSQL 14."),
	},
}

func blockersText(since string) string {
	return `
		WITH waiting AS MATERIALIZED (
			SELECT pid, ` + since + ` AS since FROM pg_locks WHERE NOT granted GROUP BY pid
		), pairs AS MATERIALIZED (
			SELECT DISTINCT w.pid AS waiting, w.since, by.pid
			FROM (SELECT * FROM waiting ORDER BY since LIMIT 100) AS w
			CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS by(pid)
		)
		SELECT a.datname, a.usename, a.application_name, a.backend_type,
			CASE p.pid WHEN 0 THEN 'prepared' ELSE a.state END AS state,
			count(DISTINCT p.pid) AS sessions, count(DISTINCT p.pid) FILTER (WHERE w.pid IS NULL) AS roots,
			count(DISTINCT p.waiting) AS waiting, extract(epoch FROM clock_timestamp() - min(p.since)) AS longest
		FROM pairs AS p
		LEFT JOIN waiting AS w ON w.pid = p.pid
		LEFT JOIN pg_stat_activity AS a ON a.pid = p.pid
		GROUP BY 1, 2, 3, 4, 5 ORDER BY waiting DESC, longest DESC NULLS LAST LIMIT 51`
}

// oldestTransactions names whoever keeps vacuum from removing dead rows. A vacuum has a transaction too, but keeps
// nothing from others.
var oldestTransactions = collect.Table{
	Name: "oldest_xmin", Prefix: "pg_oldest_xmin", Help: "pg_stat_activity, pg_replication_slots and pg_prepared_xacts: whose old transaction keeps dead rows from vacuum.",
	Rows: 100,
	Sources: []collect.Source{collect.Always(`
		SELECT holder, datname, name, max(age) AS age, extract(epoch FROM clock_timestamp() - min(since)) AS seconds
		FROM (
			SELECT CASE backend_type WHEN 'walsender' THEN 'replica' ELSE 'session' END AS holder, datname,
				CASE backend_type WHEN 'walsender' THEN application_name ELSE usename END AS name,
				greatest(age(backend_xid), age(backend_xmin)) AS age, xact_start AS since
			FROM pg_stat_activity
			WHERE pid <> pg_backend_pid() AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
			UNION ALL SELECT 'slot', database, slot_name, age(xmin), NULL FROM pg_replication_slots
			UNION ALL SELECT 'slot_catalog', database, slot_name, age(catalog_xmin), NULL FROM pg_replication_slots
			UNION ALL SELECT 'prepared', database, owner, age(transaction), prepared FROM pg_prepared_xacts
		) AS holders
		WHERE age IS NOT NULL
		GROUP BY 1, 2, 3 ORDER BY age DESC LIMIT 101`)},
	Columns: []collect.Column{
		collect.Label("holder"), collect.Label("datname"), collect.Label("name"),
		collect.Value("age", "age_transactions", "Transactions since the oldest one that is still seen as running by a session (name is its user), a replica's hot_standby_feedback (its application_name), a replication slot, a slot in the system catalogues only (slot_catalog), or a prepared transaction (its owner). Vacuum removes no row that died later."),
		collect.Value("seconds", "age_seconds", "Age of the oldest transaction of these sessions or prepared transactions, in seconds. Absent for slots and replicas."),
	},
}
