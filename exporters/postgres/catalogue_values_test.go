package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// truth is what SQL says of a sample on a connection of its own: a number, or "absent".
type truth struct {
	name   string
	labels string // a="b",c="d"
	query  string
}

// absent is the query of what must have no sample.
const absent = `SELECT 'absent'`

// primaryTruths are asked before and after a scrape, whose values must lie between the answers.
var primaryTruths = []truth{
	{"pg_postmaster_start_time_seconds", ``, `SELECT extract(epoch FROM pg_postmaster_start_time())`},
	{"pg_roles_connection_limit", `rolname="anybody"`, `SELECT 7`},
	{"pg_roles_connection_limit", `rolname="monitor"`, `SELECT -1`},

	{"pg_stat_activity_count", `datname="shop",state="idle in transaction",application_name="forgetful"`, `SELECT 1`},
	{"pg_stat_activity_max_tx_duration", `datname="shop",application_name="forgetful"`, `SELECT extract(epoch FROM clock_timestamp() - xact_start) FROM pg_stat_activity WHERE application_name = 'forgetful'`},
	{"pg_stat_activity_count", `datname="shop",state="disabled"`, `SELECT 0`},
	{"pg_stat_activity_count", `datname="shop",state="active",wait_event_type="Lock"`, `SELECT 1`},
	{"pg_stat_activity_count", `datname="template1",state="idle in transaction (aborted)"`, `SELECT 0`},
	{"pg_long_running_transactions", ``, `SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'`},
	{"pg_long_running_transactions_oldest_age_seconds", ``, `SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity WHERE query NOT LIKE 'autovacuum:%'`},
	{"pg_locks_count", `datname="shop",mode="accessexclusivelock"`, `SELECT 2`},
	{"pg_locks_waiting", `datname="shop",mode="accesssharelock"`, `SELECT 1`},
	{"pg_prepared_transactions", `datname="shop"`, `SELECT 1`},
	{"pg_prepared_transactions", `datname="quiet"`, `SELECT 0`},
	{"pg_prepared_transactions_oldest_age_seconds", `datname="shop"`, `SELECT extract(epoch FROM clock_timestamp() - prepared) FROM pg_prepared_xacts`},
	{"pg_prepared_transactions_oldest_age_seconds", `datname="quiet"`, absent},
	{"pg_locks_count", `datname="quiet",mode="sireadlock"`, `SELECT 0`},
	{"pg_stat_progress_vacuum_phase", `datname="shop",relname="wide",phase="scanning heap"`, `SELECT 1`},
	{"pg_stat_progress_vacuum_phase", `datname="shop",relname="wide",phase="truncating heap"`, `SELECT 0`},
	{"pg_stat_progress_vacuum_heap_blks", `datname="shop",relname="wide"`, `SELECT pg_relation_size('wide') / 8192`},
	{"pg_stat_progress_vacuum_heap_blks_scanned", `datname="shop",relname="wide"`, `SELECT heap_blks_scanned FROM pg_stat_progress_vacuum`},

	{"pg_database_size_bytes", `datname="quiet"`, `SELECT pg_database_size('quiet')`},
	{"pg_database_connection_limit", `datname="shop"`, `SELECT 50`},
	{"pg_database_wraparound_age_transactions", `datname="shop"`, `SELECT age(datfrozenxid) FROM pg_database WHERE datname = 'shop'`},
	{"pg_database_wraparound_age_datfrozenxid_seconds", `datname="shop"`, `SELECT age(datfrozenxid) FROM pg_database WHERE datname = 'shop'`},
	{"pg_database_wraparound_age_transactions", `datname="template0"`, absent},
	{"pg_stat_database_xact_commit", `datname="quiet"`, `SELECT xact_commit FROM pg_stat_database WHERE datname = 'quiet'`},
	{"pg_stat_database_xact_rollback", `datname="quiet"`, `SELECT 5`},
	{"pg_stat_database_tup_inserted", `datname="quiet"`, `SELECT tup_inserted FROM pg_stat_database WHERE datname = 'quiet' AND tup_inserted >= 30`},
	{"pg_stat_database_temp_bytes", `datname="quiet"`, `SELECT temp_bytes FROM pg_stat_database WHERE datname = 'quiet' AND temp_bytes > 0`},
	{"pg_stat_database_conflicts_confl_lock", `datname="quiet"`, `SELECT 0`},

	{"pg_stat_user_tables_n_tup_ins", `datname="shop",schemaname="public",relname="orders"`, `SELECT 1000`},
	{"pg_stat_user_tables_n_tup_upd", `relname="orders"`, `SELECT 10`},
	{"pg_stat_user_tables_n_tup_del", `relname="orders"`, `SELECT 10`},
	{"pg_stat_user_tables_idx_scan", `relname="orders"`, `SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'orders' AND idx_scan > 0`},
	{"pg_stat_user_tables_n_live_tup", `relname="orders"`, `SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'orders' AND n_live_tup > 0`},
	{"pg_stat_user_tables_n_dead_tup", `relname="wide"`, `SELECT 10000`},
	{"pg_stat_user_tables_autovacuum_threshold_tuples", `relname="orders"`, `SELECT 50 + 0.2 * reltuples FROM pg_class WHERE relname = 'orders'`},
	{"pg_stat_user_tables_autovacuum_threshold_tuples", `relname="untouched"`, `SELECT 50`},
	{"pg_stat_user_tables_autovacuum_threshold_tuples", `relname="busy"`, `SELECT 1 + 0.2 * reltuples FROM pg_class WHERE relname = 'busy'`},
	{"pg_stat_user_tables_xid_age_transactions", `relname="wide"`, `SELECT age(relfrozenxid) FROM pg_class WHERE relname = 'wide'`},
	{"pg_stat_user_tables_vacuum_count", `relname="orders"`, `SELECT 1`},
	{"pg_stat_user_tables_last_vacuum", `relname="orders"`, `SELECT extract(epoch FROM last_vacuum) FROM pg_stat_user_tables WHERE relname = 'orders'`},
	{"pg_stat_user_tables_last_autoanalyze", `relname="busy"`, `SELECT extract(epoch FROM last_autoanalyze) FROM pg_stat_user_tables WHERE relname = 'busy'`},
	{"pg_stat_user_tables_last_vacuum", `relname="untouched"`, absent},
	{"pg_stat_user_tables_idx_scan", `relname="untouched"`, absent},
	{"pg_stat_user_tables_seq_scan", `relname="untouched"`, `SELECT 0`},
	{"pg_stat_user_tables_table_size_bytes", `datname="shop",schemaname="public",relname="wide"`, `SELECT pg_table_size('wide')`},
	{"pg_stat_user_tables_index_size_bytes", `relname="wide"`, `SELECT 0`},
	{"pg_stat_user_tables_table_size_bytes", `relname="orders"`, absent}, // somebody has locked it
	{"pg_stat_user_tables_table_size_bytes", `relname="reindexed"`, absent},
	{"pg_statio_user_tables_heap_blocks_hit", `datname="shop",relname="orders"`, `SELECT heap_blks_hit FROM pg_statio_user_tables WHERE relname = 'orders'`},
	{"pg_statio_user_tables_toast_blocks_hit", `relname="untouched"`, absent},
	{"pg_statio_user_indexes_idx_blks_hit_total", `schemaname="public",relname="orders",indexrelname="orders_pkey"`, `SELECT idx_blks_hit FROM pg_statio_user_indexes WHERE indexrelname = 'orders_pkey'`},

	{"pg_replication_is_replica", ``, `SELECT 0`},
	{"pg_replication_lag_seconds", ``, `SELECT 0`},
	{"pg_replication_last_replay_seconds", ``, absent},
	{"pg_replication_wal_receiver_streaming", ``, absent},
	{"pg_stat_replication_pg_current_wal_lsn_bytes", `application_name="replica",slot_name="repmgr_slot_1",state="streaming"`, `SELECT pg_current_wal_lsn() - '0/0'`},
	{"pg_stat_replication_synchronous", `application_name="replica"`, `SELECT 0`},
	{"pg_replication_slots_active", `slot_name="forgotten",database=""`, `SELECT 0`},
	{"pg_replication_slots_pg_wal_lsn_diff", `slot_name="forgotten"`, `SELECT pg_current_wal_lsn() - restart_lsn FROM pg_replication_slots WHERE slot_name = 'forgotten'`},
	{"pg_replication_slots_retained_wal_bytes", `slot_name="forgotten",slot_type="physical"`, `SELECT pg_current_wal_lsn() - restart_lsn FROM pg_replication_slots WHERE slot_name = 'forgotten'`},
	{"pg_replication_slots_active", `slot_name="readers",database="shop"`, `SELECT 1`},
	{"pg_replication_slots_slot_confirmed_flush_lsn", `slot_name="readers",slot_type="logical"`, `SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = 'readers'`},
	{"pg_replication_slots_slot_confirmed_flush_lsn", `slot_name="repmgr_slot_1"`, absent},
	{"pg_replication_slots_safe_wal_size_bytes", `slot_name="forgotten"`, `SELECT safe_wal_size FROM pg_replication_slots WHERE slot_name = 'forgotten'`},
	{"pg_replication_slots_wal_status", `slot_name="forgotten",wal_status="reserved"`, `SELECT 1`},
	{"pg_stat_archiver_archived_count", ``, `SELECT archived_count FROM pg_stat_archiver WHERE archived_count > 0`},
	{"pg_stat_archiver_last_archive_age", ``, `SELECT extract(epoch FROM clock_timestamp() - last_archived_time) FROM pg_stat_archiver`},
	{"pg_stat_archiver_last_failed_timestamp_seconds", ``, absent},
	{"pg_wal_segments", ``, `SELECT count(*) FROM pg_ls_waldir() WHERE length(name) = 24`},
	{"pg_wal_size_bytes", ``, `SELECT sum(size) FROM pg_ls_waldir() WHERE length(name) = 24`},
	{"pg_xlog_location_bytes", ``, `SELECT pg_current_wal_lsn() - '0/0'`},
	{"pg_stat_bgwriter_buffers_alloc_total", ``, `SELECT buffers_alloc FROM pg_stat_bgwriter`},
	{"pg_process_idle_seconds", `state="idle in transaction",application_name="forgetful"`, `SELECT 1`},

	{"pg_stat_statements_calls_total", `user="postgres",datname="quiet",queryid="QUERYID"`, `SELECT 10`},
	{"pg_stat_statements_rows_total", `user="postgres",datname="quiet",queryid="QUERYID"`, `SELECT 30`},
	{"pg_stat_statements_seconds_total", `user="postgres",datname="quiet",queryid="QUERYID"`, `SELECT total_exec_time / 1000 FROM "Statistics's".pg_stat_statements WHERE queryid = QUERYID`},
}

// laterTruths are those of what newer majors have.
var laterTruths = map[int][]truth{
	14: {
		{"pg_stat_wal_bytes_total", ``, `SELECT wal_bytes FROM pg_stat_wal`},
		{"pg_stat_database_sessions_total", `datname="quiet"`, `SELECT sessions FROM pg_stat_database WHERE datname = 'quiet' AND sessions > 0`},
		{"pg_locks_longest_wait_seconds", `datname="shop",mode="accesssharelock"`, `SELECT extract(epoch FROM clock_timestamp() - waitstart) FROM pg_locks WHERE NOT granted AND mode = 'AccessShareLock'`},
		{"pg_replication_slots_two_phase", `slot_name="readers"`, `SELECT 0`},
	},
	16: {
		{"pg_buffercache_summary_buffers_used", ``, `SELECT buffers_used FROM pg_buffercache_summary()`},
		{"pg_stat_io_hits_total", `backend_type="client backend",object="relation",context="normal"`, `SELECT hits FROM pg_stat_io WHERE backend_type = 'client backend' AND object = 'relation' AND context = 'normal'`},
		{"pg_stat_io_extend_bytes_total", `backend_type="client backend",object="relation",context="normal"`, `SELECT coalesce(to_jsonb(s) ->> 'extend_bytes', (extends * 8192)::text) FROM pg_stat_io AS s WHERE backend_type = 'client backend' AND object = 'relation' AND context = 'normal' AND extends > 0`},
	},
	17: {
		{"pg_replication_slots_inactive_since_timestamp_seconds", `slot_name="forgotten"`, `SELECT extract(epoch FROM inactive_since) FROM pg_replication_slots WHERE slot_name = 'forgotten'`},
		{"pg_stat_checkpointer_num_requested_total", ``, `SELECT num_requested FROM pg_stat_checkpointer`},
		{"pg_stat_progress_vacuum_max_dead_tuple_bytes", `relname="wide"`, `SELECT max_dead_tuple_bytes FROM pg_stat_progress_vacuum`},
	},
}

var replicaTruths = []truth{
	{"pg_replication_is_replica", ``, `SELECT 1`},
	{"pg_replication_wal_receiver_streaming", ``, `SELECT 1`},
	{"pg_replication_replay_paused", ``, `SELECT 0`},
	{"pg_replication_last_replay_seconds", ``, `SELECT extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())`},
	{"pg_xlog_location_bytes", ``, `SELECT pg_last_wal_replay_lsn() - '0/0'`},
	{"pg_stat_wal_receiver_flushed_lsn", `upstream_host="127.0.0.1",slot_name="repmgr_slot_1",status="streaming"`, `SELECT flushed_lsn - '0/0' FROM pg_stat_wal_receiver`},
	{"pg_stat_wal_receiver_upstream_node", `slot_name="repmgr_slot_1"`, `SELECT 1`},
	{"pg_stat_wal_receiver_last_msg_receipt_time", ``, `SELECT extract(epoch FROM last_msg_receipt_time) FROM pg_stat_wal_receiver`},
	{"pg_stat_user_tables_table_size_bytes", `relname="wide"`, `SELECT pg_table_size('wide')`},
}

// checkValues does what can be counted, and compares.
func checkValues(t *testing.T, w *world) {
	do(t, w.primary, "quiet", `CREATE TABLE t (id int)`)
	for range 5 {
		do(t, w.primary, "quiet", `INSERT INTO t SELECT generate_series(1, 3)`, `BEGIN; INSERT INTO t SELECT generate_series(4, 6); ROLLBACK`)
	}
	do(t, w.primary, "quiet", `SET work_mem = '64kB'; SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) AS n ORDER BY n DESC) AS sorted`)
	do(t, w.primary, "shop", `CREATE TABLE reindexed (id int PRIMARY KEY)`)
	session(t, w.primary, `BEGIN; REINDEX INDEX reindexed_pkey`)
	eventually(t, w.primary, `SELECT xact_rollback >= 5 AND temp_bytes > 0 AND numbackends = 0 FROM pg_stat_database WHERE datname = 'quiet'`, "t")
	eventually(t, w.primary, `SELECT n_dead_tup = 10000 FROM pg_stat_user_tables WHERE relname = 'wide'`, "t")
	queryID := ask(t, w.primary, "shop", `SELECT queryid FROM "Statistics's".pg_stat_statements WHERE query LIKE 'INSERT INTO t SELECT generate_series($1, $2)' LIMIT 1`)

	truths := slices.Clone(primaryTruths)
	for from, more := range laterTruths {
		if w.primary.Major() >= from {
			truths = append(truths, more...)
		}
	}
	for i := range truths {
		truths[i].labels = strings.ReplaceAll(truths[i].labels, "QUERYID", queryID)
		truths[i].query = strings.ReplaceAll(truths[i].query, "QUERYID", queryID)
	}
	compareTruths(t, w.primary, truths)
	compareTruths(t, w.replica, replicaTruths)
	checkCreated(t, w.primary)
}

// checkCreated looks whether counters tell since when they count.
func checkCreated(t *testing.T, server *servers.Postgres) {
	before := ask(t, server, "quiet", `SELECT clock_timestamp()`)
	do(t, server, "quiet", `SELECT pg_stat_reset(), pg_stat_reset_shared('archiver')`)
	eventually(t, server, fmt.Sprintf(`SELECT (SELECT stats_reset FROM pg_stat_archiver) > '%[1]s' AND stats_reset > '%[1]s' FROM pg_stat_database WHERE datname = 'quiet'`, before), "t")
	within(t, func() (wrong []string) {
		p := scrape(t, monitorDSN(server, "shop"))
		for name, query := range map[string]string{
			"pg_stat_database_xact_commit":         `SELECT extract(epoch FROM stats_reset) FROM pg_stat_database WHERE datname = 'quiet'`,
			"pg_stat_archiver_archived_count":      `SELECT extract(epoch FROM stats_reset) FROM pg_stat_archiver`,
			"pg_stat_bgwriter_buffers_alloc_total": `SELECT extract(epoch FROM stats_reset) FROM pg_stat_bgwriter`,
		} {
			want, _ := strconv.ParseFloat(ask(t, server, "shop", query), 64)
			metrics := p.family(name).GetMetric()
			if at := slices.IndexFunc(metrics, func(m *dto.Metric) bool { return has(m, []string{"datname", "quiet"}) }); at >= 0 {
				metrics = metrics[at:]
			}
			got := metrics[0].GetCounter().GetCreatedTimestamp().AsTime()
			if math.Abs(float64(got.UnixMicro())/1e6-want) > 1e-5 {
				wrong = append(wrong, fmt.Sprintf("%s was created at %v, not %v", name, got, want))
			}
		}
		return wrong
	})
}

func compareTruths(t *testing.T, server *servers.Postgres, truths []truth) {
	t.Helper()
	compareTruthsIn(t, server, "shop", truths)
}

func compareTruthsIn(t *testing.T, server *servers.Postgres, database string, truths []truth) {
	t.Helper()
	within(t, func() (wrong []string) {
		var before, after []string
		for _, truth := range truths {
			before = append(before, ask(t, server, database, truth.query))
		}
		p := scrape(t, monitorDSN(server, database))
		for _, truth := range truths {
			after = append(after, ask(t, server, database, truth.query))
		}
		var again []truth
		for i, truth := range truths {
			if problem := truth.compare(p, before[i], after[i]); problem != "" {
				wrong, again = append(wrong, problem), append(again, truth)
			}
		}
		truths = again
		return wrong
	})
}

// within gives a check some tries: the server brings its statistics forward when it likes, and what moves there and
// back between two questions lies outside of both. What is wrong stays wrong.
func within(t *testing.T, check func() (wrong []string)) {
	t.Helper()
	var wrong []string
	for range 5 {
		if wrong = check(); len(wrong) == 0 {
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
	for _, problem := range wrong {
		t.Error(problem)
	}
}

// compare says what is wrong, if something is.
func (c truth) compare(p page, before, after string) string {
	var labels []string
	for pair := range strings.SplitSeq(c.labels, ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			labels = append(labels, name, strings.Trim(value, `"`))
		}
	}
	values := p.values(c.name, labels...)
	if before == "absent" {
		if len(values) != 0 {
			return fmt.Sprintf("%s{%s} is %v, not absent", c.name, c.labels, values)
		}
		return ""
	}
	if len(values) != 1 {
		return fmt.Sprintf("%s{%s} has %d samples", c.name, c.labels, len(values))
	}
	x, errX := strconv.ParseFloat(before, 64)
	y, errY := strconv.ParseFloat(after, 64)
	const rounding = 1e-5
	if errX != nil || errY != nil || values[0] < math.Min(x, y)-rounding || values[0] > math.Max(x, y)+rounding {
		return fmt.Sprintf("%s{%s} is %v; SQL says %q, later %q", c.name, c.labels, values[0], before, after)
	}
	return ""
}

// checkSettings holds each setting that has a unit against what the server itself makes of it.
func checkSettings(t *testing.T, server *servers.Postgres, p page) {
	const query = `
		SELECT string_agg(line, E'\n') FROM (
			SELECT format('%s %s', replace(name, '.', '_') || CASE
				WHEN unit ~ 'B$' THEN '_bytes' WHEN unit IS NOT NULL THEN '_seconds' ELSE '' END,
			CASE
				WHEN setting = '-1' THEN '-1'
				WHEN vartype = 'bool' THEN (setting::bool)::int::text
				WHEN unit ~ 'B$' THEN pg_size_bytes(current_setting(name))::text
				WHEN unit IS NOT NULL THEN extract(epoch FROM current_setting(name)::interval)::text
				ELSE setting END) AS line
			FROM pg_settings WHERE vartype IN ('bool', 'integer', 'real')
		) AS lines`
	lines := strings.Split(ask(t, server, "shop", query), "\n")
	if len(lines) < 200 {
		t.Fatalf("%d settings", len(lines))
	}
	for _, line := range lines {
		name, text, _ := strings.Cut(line, " ")
		want, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if slices.Contains(sessionSettings, name) {
			continue
		}
		if got := p.value(t, "pg_settings_"+name); math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Errorf("pg_settings_%s is %v, not %v", name, got, want)
		}
	}
	if pending := p.value(t, "pg_settings_pending_restart"); pending != 0 {
		t.Errorf("%v settings wait for a restart", pending)
	}
}

// sessionSettings are those that the exporter sets for itself, and those of TCP, over which the test does not ask.
var sessionSettings = []string{
	"tcp_keepalives_count", "tcp_keepalives_idle_seconds", "tcp_keepalives_interval_seconds",
	"statement_timeout_seconds", "lock_timeout_seconds", "idle_in_transaction_session_timeout_seconds", "default_transaction_read_only", "transaction_read_only",
}

// checkOldExtension scrapes a database whose pg_stat_statements is of the time before PostgreSQL 13.
func checkOldExtension(t *testing.T, server *servers.Postgres) {
	do(t, server, "quiet", `CREATE EXTENSION pg_stat_statements VERSION '1.6'`)
	p := scrape(t, monitorDSN(server, "quiet"))
	if state, _ := p.result.Find("stat_statements"); state.Err != nil || state.Missing != "" {
		t.Error(state)
	}
	if calls := len(p.values("pg_stat_statements_calls_total")); calls < 10 || calls != len(p.values("pg_stat_statements_seconds_total")) ||
		calls != len(p.values("pg_stat_statements_block_read_seconds_total")) {
		t.Errorf("%d statements", calls)
	}
}

// checkAnybody scrapes as a role without any privilege: only what it may not see is missing.
func checkAnybody(t *testing.T, w *world) {
	p := scrape(t, roleDSN(w.primary, "anybody", "shop"))
	if !p.result.Up {
		t.Fatal(p.result.Err)
	}
	want := []string{"wal denied", "archive_status denied", "stat_statements denied", "stat_statements_query denied"}
	if w.primary.Major() >= 14 {
		want = append(want, "stat_statements_info denied")
	}
	if w.primary.Major() >= 15 {
		want = append(want, "shmem_allocations denied")
	}
	if w.primary.Major() >= 16 {
		want = append(want, "buffercache_summary denied")
	}
	var failed []string
	for _, c := range p.result.Collectors {
		if c.Err != nil {
			failed = append(failed, fmt.Sprintf("%s %s", c.Name, c.Fault))
		}
	}
	slices.Sort(want)
	slices.Sort(failed)
	if !slices.Equal(failed, want) {
		t.Errorf("%v failed, not %v", failed, want)
	}
}
