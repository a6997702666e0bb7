package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// shopBeyond are truths of shop, and of the server as a whole.
var shopBeyond = []truth{
	{"pg_blocked_sessions", `datname="shop",usename="postgres"`, `SELECT 1`},
	{"pg_blocking_sessions", `datname="shop",usename="postgres",backend_type="client backend",state="idle in transaction"`, `SELECT 1`},
	{"pg_blocking_root_sessions", `datname="shop"`, `SELECT 1`},
	{"pg_blocking_waiting_sessions", `datname="shop"`, `SELECT 1`},
	{"pg_stat_activity_idle_in_transaction_sessions", `datname="shop",usename="postgres"`, `SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'`},
	{"pg_stat_activity_idle_in_transaction_oldest_age_seconds", `datname="shop"`, `SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity WHERE state = 'idle in transaction'`},
	{"pg_stat_activity_waiting_sessions", `datname="shop",wait_event_type="Lock",wait_event="relation"`, `SELECT 1`},
	{"pg_stat_activity_waiting_sessions", `datname="works",wait_event="PgSleep"`, `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'`},
	{"pg_oldest_xmin_age_transactions", `holder="prepared",datname="shop",name="postgres"`, `SELECT age(transaction) FROM pg_prepared_xacts`},
	{"pg_oldest_xmin_age_seconds", `holder="prepared"`, `SELECT extract(epoch FROM clock_timestamp() - prepared) FROM pg_prepared_xacts`},
	{"pg_oldest_xmin_age_transactions", `holder="slot",name="repmgr_slot_1"`, `SELECT age(xmin) FROM pg_replication_slots WHERE slot_name = 'repmgr_slot_1'`},
	{"pg_oldest_xmin_age_transactions", `holder="slot_catalog",datname="shop",name="bads"`, `SELECT age(catalog_xmin) FROM pg_replication_slots WHERE slot_name = 'bads'`},
	{"pg_oldest_xmin_age_transactions", `holder="session",datname="works",name="postgres"`, `SELECT max(greatest(age(backend_xid), age(backend_xmin))) FROM pg_stat_activity WHERE datname = 'works'`},
	{"pg_autovacuum_max_workers", ``, `SELECT current_setting('autovacuum_max_workers')`},
	{"pg_stat_archiver_archived_total", ``, `SELECT archived_count FROM pg_stat_archiver`},
	{"pg_stat_gssapi_encrypted_connections", ``, `SELECT 0`},
	{"pg_stat_ssl_connections", `ssl="false",transport="network"`, `SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_port > 0`},
	{"pg_stat_slru_blks_hit_total", `name="XACT"`, `SELECT blks_hit FROM pg_stat_slru WHERE name = 'XACT' AND blks_hit > 0`},
	{"pg_configuration_changed_info", `name="archive_command",source="configuration file"`, `SELECT 1`},
	{"pg_configuration_changed_info", `name="application_name"`, absent},
	{"pg_configuration_pending_restart", ``, absent},
	{"pg_publication_tables", `datname="shop",pubname="goods"`, `SELECT 1`},
	{"pg_publication_tables", `datname="shop",pubname="everything"`, `SELECT 0`},
	{"pg_publication_all_tables", `pubname="everything"`, `SELECT 1`},
	{"pg_stat_subscription_enabled", `datname="works",subname="goods"`, `SELECT 1`},
	{"pg_stat_subscription_enabled", `datname="works",subname="bads"`, `SELECT 0`},
	{"pg_stat_subscription_apply_worker_running", `subname="goods"`, `SELECT 1`},
	{"pg_stat_subscription_apply_worker_running", `subname="bads"`, `SELECT 0`},
	{"pg_stat_subscription_sync_workers", `subname="goods"`, `SELECT 0`},
	{"pg_stat_subscription_received_lsn_bytes", `subname="goods"`, `SELECT received_lsn - '0/0' FROM pg_stat_subscription WHERE subname = 'goods'`},
	{"pg_stat_subscription_received_lsn_bytes", `subname="bads"`, absent},
	{"pg_stat_progress_basebackup_tablespaces", ``, `SELECT 1`},
	{"pg_stat_progress_basebackup_backup_bytes", ``, `SELECT backup_total FROM pg_stat_progress_basebackup WHERE backup_total > 0`},
	{"pg_stat_progress_cluster_index_rebuilds", `datname="works",relname="OID"`, `SELECT 0`}, // of another database
	{"pg_extension_update_available", `datname="shop",extname="pg_buffercache"`, `SELECT 0`},
	{"pg_roles_valid_until_timestamp_seconds", `rolname="leaving"`, `SELECT 2000000000`},
	{"pg_roles_valid_until_timestamp_seconds", `rolname="staying"`, absent},
	{"pg_vector_index_size_bytes", ``, absent},
	{"pg_stat_statements_shared_blocks_hit_total", `user="postgres",datname="quiet",queryid="QUERYID"`, `SELECT shared_blks_hit FROM "Statistics's".pg_stat_statements WHERE queryid = QUERYID AND toplevel`},
	{"pg_stat_user_indexes_idx_scan_total", `datname="shop",indexrelname="orders_pkey"`, `SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'orders_pkey' AND idx_scan > 0`},
}

// worksBeyond are truths of works.
var worksBeyond = []truth{
	{"pg_stat_progress_create_index_phase", `datname="works",relname="indexed",command="CREATE INDEX"`, `SELECT 1`},
	{"pg_stat_progress_create_index_blocks_done", `relname="indexed"`, `SELECT blocks_done FROM pg_stat_progress_create_index`},
	{"pg_stat_progress_analyze_phase", `datname="works",relname="analyzed",phase="computing statistics"`, `SELECT 1`},
	{"pg_stat_progress_analyze_sample_blks_scanned", `relname="analyzed"`, `SELECT 1`},
	{"pg_stat_progress_cluster_phase", `relname="clustered",command="VACUUM FULL",phase="rebuilding index"`, `SELECT 1`},
	{"pg_stat_progress_cluster_heap_tuples_written", `relname="clustered"`, `SELECT 1`},
	{"pg_subscription_tables", `datname="works",subname="goods",state="ready"`, `SELECT 1`},
	{"pg_subscription_tables", `datname="works",subname="bads",state="ready"`, `SELECT 1`},

	{"pg_index_invalid", `datname="works",schemaname="public",relname="doubled",indexrelname="doubled_id"`, `SELECT 1`},
	{"pg_index_invalid_maintained", `indexrelname="doubled_id"`, `SELECT indisready::int FROM pg_index WHERE indexrelid = 'doubled_id'::regclass`},
	{"pg_index_invalid", `indexrelname="doubled_note"`, absent},
	{"pg_index_unused_size_bytes", `relname="doubled",indexrelname="doubled_note"`, `SELECT 16384`},
	{"pg_index_unused_size_bytes", `indexrelname="bloated_pkey"`, absent},
	{"pg_index_duplicate_size_bytes", `indexrelname="doubled_note_again"`, `SELECT 16384`},
	{"pg_index_duplicate_size_bytes", `indexrelname="doubled_note"`, absent},

	{"pg_sequences_last_value", `datname="works",schemaname="public",sequencename="numbered_id"`, `SELECT 2147483000`},
	{"pg_sequences_last_possible_value", `sequencename="numbered_id"`, `SELECT 2147483647`},
	{"pg_sequences_remaining_values", `sequencename="numbered_id"`, `SELECT 647`},
	{"pg_sequences_used_ratio", `sequencename="numbered_id"`, `SELECT 2147483000 / 2147483647.0`},
	{"pg_sequences_used_ratio", `sequencename="downwards"`, `SELECT 0.25`},
	{"pg_sequences_remaining_values", `sequencename="downwards"`, `SELECT 75`},
	{"pg_sequences_used_ratio", `sequencename="turning"`, absent},
	{"pg_sequences_used_ratio", `sequencename="secret"`, absent},
	{"pg_sequences_used_ratio", `sequencename="numbered_small_seq"`, absent}, // never used
	{"pg_sequences_last_value", `sequencename="unlogged_id_seq"`, `SELECT 1`},

	{"pg_autovacuum_due_vacuum_tables", `datname="works"`, dueTables(`n_dead_tup > CASE relname WHEN 'due' THEN 3 ELSE 50 + 0.2 * rows END`)},
	{"pg_autovacuum_due_insert_vacuum_tables", ``, dueTables(`n_ins_since_vacuum > CASE WHEN relname <> 'due' THEN 1000 + 0.2 * rows END`)},
	{"pg_autovacuum_due_analyze_tables", ``, dueTables(`n_mod_since_analyze > CASE relname WHEN 'due' THEN 5 ELSE 50 + 0.1 * rows END`)},
	{"pg_autovacuum_due_freeze_tables", ``, `SELECT 0`},

	{"pg_class_relations", `datname="works",kind="sequence"`, `SELECT count(*) FROM pg_class WHERE relkind = 'S'`},
	{"pg_class_size_bytes", `datname="works",kind="catalog"`, `SELECT sum(relpages) * 8192 FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace`},
	{"pg_toast_size_bytes", `datname="works",schemaname="public",relname="long"`, `SELECT relpages * 8192 FROM pg_class WHERE relpages > 0 AND oid = (SELECT reltoastrelid FROM pg_class WHERE relname = 'long')`},
	{"pg_stat_user_functions_calls_total", `datname="works",schemaname="public",funcname="slow"`, `SELECT calls FROM pg_stat_user_functions WHERE funcname = 'slow'`},
	{"pg_extension_update_available", `datname="works",extname="hstore"`, `SELECT 1`},
	{"pg_extension_info", `extname="hstore",version="1.4"`, `SELECT 1`},
	{"pg_vector_index_size_bytes", `datname="works",schemaname="public",relname="embeddings",indexrelname="embeddings_hnsw",method="hnsw"`, `SELECT pg_relation_size('embeddings_hnsw')`},
	{"pg_vector_index_rows", `indexrelname="embeddings_hnsw"`, `SELECT 3000`},
	{"pg_vector_index_valid", `indexrelname="embeddings_hnsw"`, `SELECT 1`},
	{"pg_table_bloat_ratio", `relname="unread"`, absent}, // whose columns the role may not read
	{"pg_index_bloat_ratio", `indexrelname="unread_pkey"`, absent},
}

// laterBeyond are truths of shop for what newer majors have.
var laterBeyond = map[int][]truth{
	14: {
		{"pg_blocked_longest_wait_seconds", `datname="shop"`, `SELECT extract(epoch FROM clock_timestamp() - waitstart) FROM pg_locks WHERE NOT granted`},
		{"pg_blocking_longest_wait_seconds", `datname="shop"`, `SELECT extract(epoch FROM clock_timestamp() - waitstart) FROM pg_locks WHERE NOT granted`},
		{"pg_stat_replication_slots_transactions_total", `slot_name="goods"`, `SELECT total_txns FROM pg_stat_replication_slots WHERE slot_name = 'goods'`},
		{"pg_stat_progress_copy_tuples_processed", `datname="works",command="COPY FROM",type="PROGRAM"`, `SELECT 0`},
		{"pg_stat_progress_copy_source_bytes", ``, absent},
		{"pg_stat_statements_info_dealloc_total", ``, `SELECT 0`},
	},
	15: {
		{"pg_stat_subscription_stats_apply_errors_total", `datname="works",subname="bads"`, `SELECT apply_error_count FROM pg_stat_subscription_stats WHERE subname = 'bads' AND apply_error_count > 0`},
		{"pg_stat_subscription_stats_sync_errors_total", `subname="goods"`, `SELECT 0`},
		{"pg_shmem_allocations_size_bytes", `name="Buffer Blocks"`, `SELECT allocated_size FROM pg_shmem_allocations WHERE name = 'Buffer Blocks'`},
	},
	18: {
		{"pg_stat_subscription_stats_confl_insert_exists_total", `subname="bads"`, `SELECT confl_insert_exists FROM pg_stat_subscription_stats WHERE subname = 'bads' AND confl_insert_exists > 0`},
		{"pg_stat_database_parallel_workers_launched_total", `datname="shop"`, `SELECT parallel_workers_launched FROM pg_stat_database WHERE datname = 'shop'`},
		{"pg_stat_user_tables_vacuum_seconds_total", `relname="orders"`, `SELECT total_vacuum_time / 1000 FROM pg_stat_user_tables WHERE relname = 'orders' AND total_vacuum_time > 0`},
	},
}

// dueTables counts tables by a condition on their statistics, the shares of what is frozen left aside: nothing is.
func dueTables(condition string) string {
	return `SELECT count(*) FROM (SELECT s.*, greatest(c.reltuples, 0) AS rows FROM pg_stat_all_tables AS s JOIN pg_class AS c ON c.oid = relid WHERE relkind = 'r') AS tables WHERE ` + condition
}

// checkBeyond compares what happens in works, and what happens everywhere, with what SQL says.
func checkBeyond(t *testing.T, w *world) {
	server := w.primary
	do(t, server, "postgres", `CREATE ROLE leaving VALID UNTIL 'epoch'`, `CREATE ROLE staying VALID UNTIL 'infinity'`)
	do(t, server, "postgres", `DO $$ BEGIN EXECUTE format('ALTER ROLE leaving VALID UNTIL %L', to_timestamp(2000000000)); END $$`)
	do(t, server, "works", `VACUUM long`)
	slru := "Xact"
	if server.Major() >= 17 {
		slru = "transaction"
	}
	toplevel := ""
	if server.Major() >= 14 {
		toplevel = "AND toplevel"
	}
	replacer := strings.NewReplacer("XACT", slru, "AND toplevel", toplevel,
		"OID", ask(t, server, "works", `SELECT 'clustered'::regclass::oid`),
		"QUERYID", ask(t, server, "shop", `SELECT queryid FROM "Statistics's".pg_stat_statements WHERE query LIKE 'INSERT INTO t SELECT generate_series($1, $2)' LIMIT 1`))
	truths := slices.Clone(shopBeyond)
	for from, more := range laterBeyond {
		if server.Major() >= from {
			truths = append(truths, more...)
		}
	}
	for i := range truths {
		truths[i].labels, truths[i].query = replacer.Replace(truths[i].labels), replacer.Replace(truths[i].query)
	}
	compareTruths(t, server, truths)
	compareTruthsIn(t, server, "works", worksBeyond)
	checkBloat(t, server)
	checkFreezing(t, server)
	for _, collector := range scrape(t, monitorDSN(w.replica, "works")).result.Collectors {
		if collector.Err != nil {
			t.Errorf("%s on the replica: %v", collector.Name, collector.Err)
		}
	}
	if server.Major() >= 15 {
		compareTruths(t, w.replica, []truth{{"pg_stat_recovery_prefetch_prefetch_total", ``, `SELECT prefetch FROM pg_stat_recovery_prefetch`}})
	}
}

// checkBloat holds the estimates against what the server counts when it reads the whole table.
func checkBloat(t *testing.T, server *servers.Postgres) {
	p := scrape(t, monitorDSN(server, "works"))
	for name, query := range map[string]string{
		"pg_table_bloat_bytes{bloated}":      `SELECT free_space FROM pgstattuple('bloated')`,
		"pg_index_bloat_bytes{bloated_pkey}": `SELECT index_size * (1 - avg_leaf_density / 90) FROM pgstatindex('bloated_pkey')`,
	} {
		family, relation, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
		label := "relname"
		if strings.HasSuffix(relation, "_pkey") {
			label = "indexrelname"
		}
		want, err := strconv.ParseFloat(ask(t, server, "works", query), 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.value(t, family, label, relation); math.Abs(got-want) > 0.1*want {
			t.Errorf("%s is %v; the server counts %v", name, got, want)
		}
	}
}

// checkFreezing looks whether the oldest table comes first.
func checkFreezing(t *testing.T, server *servers.Postgres) {
	p := scrape(t, monitorDSN(server, "works"))
	ratios := p.values("pg_table_freeze_age_ratio")
	oldest, err := strconv.ParseFloat(ask(t, server, "works", `SELECT max(age(relfrozenxid)) / current_setting('autovacuum_freeze_max_age')::float8 FROM pg_class WHERE relkind IN ('r', 't')`), 64)
	if err != nil || len(ratios) != 20 || math.Abs(slices.Max(ratios)-oldest) > 1e-6 {
		t.Errorf("%d tables, the oldest %v, not %v; %v", len(ratios), ratios, oldest, err)
	}
}

// TestNeglected has a server whose archiving fails, whose settings wait for a restart, and whose prepared transaction
// blocks others; and connections with TLS.
func TestNeglected(t *testing.T) {
	server := servers.NewPostgres(t, servers.PostgresOptions{
		TLS: true, Initial: []string{superuserSetup[0], `CREATE DATABASE shop`},
		Settings: map[string]string{"archive_mode": "on", "archive_command": "/bin/false", "max_prepared_transactions": "5"},
	})
	do(t, server, "shop", `CREATE TABLE held (id int)`, `ALTER SYSTEM SET max_connections = 77`, `SELECT pg_reload_conf(), pg_switch_wal()`,
		`BEGIN; LOCK TABLE held; PREPARE TRANSACTION 'forgotten'`)
	session(t, server, `SELECT 1`)
	blocked(t, server, `SELECT count(*) FROM held`)
	eventually(t, server, `SELECT count(*) FROM pg_locks WHERE NOT granted`, "1")
	eventually(t, server, `SELECT count(*) > 0 FROM pg_settings WHERE pending_restart`, "t")
	eventually(t, server, `SELECT failed_count > 0 FROM pg_stat_archiver`, "t")
	cipher := ask(t, server, "shop", `SELECT max(cipher) FROM pg_stat_ssl`)
	compareTruths(t, server, []truth{
		{"pg_archive_status_ready_files", ``, `SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%ready' HAVING count(*) > 0`},
		{"pg_archive_status_ready_bytes", ``, `SELECT count(*) * 16777216 FROM pg_ls_archive_statusdir() WHERE name LIKE '%ready'`},
		{"pg_archive_status_oldest_ready_timestamp_seconds", ``, `SELECT extract(epoch FROM min(modification)) FROM pg_ls_archive_statusdir() WHERE name LIKE '%ready'`},
		{"pg_stat_archiver_failed_total", ``, `SELECT failed_count FROM pg_stat_archiver`},
		{"pg_configuration_pending_restart", `name="max_connections"`, `SELECT 1`},
		{"pg_blocking_root_sessions", `datname="",state="prepared"`, `SELECT 1`},
		{"pg_stat_ssl_connections", fmt.Sprintf(`ssl="true",cipher="%s",transport="network"`, cipher), `SELECT 2`},
		{"pg_stat_ssl_connections", `ssl="false",transport="network"`, absent},
	})
}
