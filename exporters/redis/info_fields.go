package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// infoField is a field of INFO that is one number, and the metric that it becomes.
type infoField struct {
	field string
	name  string // of the metric, after redis_
	kind  metric.Type
	unit  string  // where the name does not end with it
	scale float64 // from the server's unit to the metric's; 0 means 1
	since string  // the first version that has it: of Redis, where no other server is named
	help  string
}

// helpText is the help with the version that the field needs, where some servers in use lack it.
func (f infoField) helpText() string {
	switch {
	case f.since == "1.0":
		return f.help
	case f.since[0] >= '0' && f.since[0] <= '9':
		return strings.TrimSuffix(f.help, ".") + " (Redis " + f.since + ")."
	}
	return strings.TrimSuffix(f.help, ".") + " (" + f.since + ")."
}

// The types, short enough for a table.
const (
	g = metric.Gauge
	c = metric.Counter
)

// read gives the field's value in the metric's unit.
func (f infoField) read(i *info) (float64, bool) {
	n, ok := i.Number(f.field)
	if f.scale != 0 {
		n *= f.scale
	}
	return n, ok
}

// infoTable lists the fields that servers have of themselves. Names and types are those of redis_exporter where it has
// the field, also where a name lacks its unit or a gauge is a counter by nature.
func infoTable() []infoField {
	var all []infoField
	for _, part := range [][]infoField{
		serverFields, clientFields, memoryInfoFields, persistenceFields, statsFields, replicationFields, cpuFields, clusterFields, keydbFields,
	} {
		all = append(all, part...)
	}
	return all
}

var serverFields = []infoField{
	{"uptime_in_seconds", "uptime_in_seconds", g, "seconds", 0, "1.0", "Time since the server started, in seconds."},
	{"process_id", "process_id", g, "", 0, "1.0", "Number of the server's process."},
	{"io_threads_active", "io_threads_active", g, "", 0, "6.0", "Whether threads beside the main one read and write (1) or not (0)."},
	{"hz", "hz", g, "hertz", 0, "2.8", "How often a second the server does its background work now."},
	{"configured_hz", "configured_hz", g, "hertz", 0, "5.0", "How often a second the server does its background work by its configuration."},
	{"clients_hz", "clients_hz", g, "hertz", 0, "Valkey 8.1", "How often a second the server looks after its clients."},
	{"cluster_enabled", "cluster_enabled", g, "", 0, "3.0", "Whether the server is a node of a cluster (1) or not (0)."},
}

var clientFields = []infoField{
	{"connected_clients", "connected_clients", g, "", 0, "1.0", "Connections of clients, without those of replicas."},
	{"blocked_clients", "blocked_clients", g, "", 0, "1.0", "Clients that wait in a blocking command."},
	{"maxclients", "max_clients", g, "", 0, "6.0", "Connections that the server allows."},
	{"cluster_connections", "cluster_connections", g, "", 0, "6.0", "Sockets that the bus of the cluster uses, roughly."},
	{"tracking_clients", "tracking_clients", g, "", 0, "6.0", "Clients that keep a cache which the server tells to forget keys."},
	{"clients_in_timeout_table", "clients_in_timeout_table", g, "", 0, "6.0", "Clients that are blocked for a limited time."},
	{"pubsub_clients", "pubsub_clients", g, "", 0, "7.4", "Clients that have subscribed to channels or patterns."},
	{"watching_clients", "watching_clients", g, "", 0, "7.4", "Clients that watch keys for a transaction."},
	{"total_watched_keys", "total_watched_keys", g, "", 0, "7.4", "Keys that clients watch for a transaction."},
	{"total_blocking_keys", "total_blocking_keys", g, "", 0, "7.2", "Keys for which clients wait."},
	{"total_blocking_keys_on_nokey", "total_blocking_keys_on_nokey", g, "", 0, "7.2", "Keys for which clients wait and whose removal is to end the wait."},
	{"client_longest_output_list", "client_longest_output_list", g, "", 0, "1.0 to 4", "Replies that wait for the client with the most of them."},
	{"client_biggest_input_buf", "client_biggest_input_buf", g, "bytes", 0, "1.0 to 4", "Size of the largest buffer for a client's commands, in bytes."},
	{"client_recent_max_output_buffer", "client_recent_max_output_buffer_bytes", g, "", 0, "5.0", "Size of the largest buffer for replies to a client, lately."},
	{"client_recent_max_input_buffer", "client_recent_max_input_buffer_bytes", g, "", 0, "5.0", "Size of the largest buffer for a client's commands, lately."},
	{"paused_timeout_milliseconds", "paused_clients_left_seconds", g, "", 1e-3, "7.4", "How long clients stay paused."},
}

var memoryInfoFields = []infoField{
	{"allocator_active", "allocator_active_bytes", g, "", 0, "4.0", "Memory in the allocator's active pages, what is unused in them among it."},
	{"allocator_allocated", "allocator_allocated_bytes", g, "", 0, "4.0", "Memory that the allocator has handed out."},
	{"allocator_resident", "allocator_resident_bytes", g, "", 0, "4.0", "Memory that the allocator has resident, pages among it that it could give back."},
	{"allocator_frag_ratio", "allocator_frag_ratio", g, "", 0, "4.0", "The allocator's active memory relative to what it has handed out: fragmentation that defragmentation can mend."},
	{"allocator_frag_bytes", "allocator_frag_bytes", g, "", 0, "4.0", "The allocator's active memory less what it has handed out."},
	{"allocator_muzzy", "allocator_muzzy_bytes", g, "", 0, "7.4", "Memory that the allocator has marked as unused and the system has not taken back."},
	{"allocator_rss_ratio", "allocator_rss_ratio", g, "", 0, "4.0", "The allocator's resident memory relative to its active memory."},
	{"allocator_rss_bytes", "allocator_rss_bytes", g, "", 0, "4.0", "The allocator's resident memory less its active memory: pages that it could give back."},
	{"rss_overhead_ratio", "rss_overhead_ratio", g, "", 0, "4.0", "The process' resident memory relative to the allocator's."},
	{"rss_overhead_bytes", "rss_overhead_bytes", g, "", 0, "4.0", "The process' resident memory less the allocator's."},
	{"used_memory", "memory_used_bytes", g, "", 0, "1.0", "Memory that the server has asked of its allocator: data, buffers and overhead."},
	{"used_memory_rss", "memory_used_rss_bytes", g, "", 0, "1.0", "Resident memory of the process, as the system sees it."},
	{"used_memory_peak", "memory_used_peak_bytes", g, "", 0, "2.0", "The most memory that the server has used."},
	{"used_memory_lua", "memory_used_lua_bytes", g, "", 0, "2.6", "Memory of the engine for scripts."},
	{"used_memory_vm_eval", "memory_used_vm_eval_bytes", g, "", 0, "7.0", "Memory of the engine for scripts, outside of the server's own."},
	{"used_memory_scripts_eval", "memory_used_scripts_eval_bytes", g, "", 0, "7.0", "Memory for the scripts that are kept."},
	{"used_memory_overhead", "memory_used_overhead_bytes", g, "", 0, "4.0", "Memory for everything but the data: buffers, clients, tables."},
	{"used_memory_startup", "memory_used_startup_bytes", g, "", 0, "4.0", "Memory that the server used when it had started."},
	{"used_memory_dataset", "memory_used_dataset_bytes", g, "", 0, "4.0", "Memory for the data: all that is used, less the overhead."},
	{"number_of_cached_scripts", "number_of_cached_scripts", g, "", 0, "7.0", "Scripts that are kept for EVALSHA."},
	{"number_of_functions", "number_of_functions", g, "", 0, "7.0", "Functions that are loaded."},
	{"number_of_libraries", "number_of_libraries", g, "", 0, "7.0", "Libraries of functions that are loaded."},
	{"used_memory_vm_functions", "memory_used_vm_functions_bytes", g, "", 0, "7.0", "Memory of the engine for functions, outside of the server's own."},
	{"used_memory_scripts", "memory_used_scripts_bytes", g, "", 0, "7.0", "Memory for scripts and functions."},
	{"used_memory_functions", "memory_used_functions_bytes", g, "", 0, "7.0", "Memory for functions."},
	{"used_memory_vm_total", "memory_used_vm_total", g, "bytes", 0, "7.0", "Memory of the engines for scripts and functions, in bytes."},
	{"maxmemory", "memory_max_bytes", g, "", 0, "4.0", "Memory that the server may use for data; 0 means no limit."},
	{"maxmemory_reservation", "memory_max_reservation_bytes", g, "", 0, "Azure", "Memory that is kept free of data."},
	{"maxmemory_desired_reservation", "memory_max_reservation_desired_bytes", g, "", 0, "Azure", "Memory that should be kept free of data."},
	{"maxfragmentationmemory_reservation", "memory_max_fragmentation_reservation_bytes", g, "", 0, "Azure", "Memory that is kept for fragmentation."},
	{"maxfragmentationmemory_desired_reservation", "memory_max_fragmentation_reservation_desired_bytes", g, "", 0, "Azure", "Memory that should be kept for fragmentation."},
	{"mem_fragmentation_ratio", "mem_fragmentation_ratio", g, "", 0, "1.0", "Resident memory of the process relative to what the server uses."},
	{"mem_fragmentation_bytes", "mem_fragmentation_bytes", g, "", 0, "4.0", "Resident memory of the process less what the server uses."},
	{"mem_clients_slaves", "mem_clients_slaves", g, "bytes", 0, "4.0", "Memory for replicas as clients, in bytes."},
	{"mem_clients_normal", "mem_clients_normal", g, "bytes", 0, "4.0", "Memory for clients, in bytes."},
	{"mem_cluster_links", "mem_cluster_links_bytes", g, "", 0, "7.0", "Memory for the links to other nodes of the cluster."},
	{"mem_aof_buffer", "mem_aof_buffer_bytes", g, "", 0, "4.0", "Memory for what has to be written to the append-only file."},
	{"mem_replication_backlog", "mem_replication_backlog_bytes", g, "", 0, "4.0", "Memory for the replication backlog."},
	{"mem_replica_full_sync_buffer", "mem_replica_full_sync_buffer_bytes", g, "", 0, "8.0", "Memory for what the primary sends while this replica receives all data."},
	{"mem_not_counted_for_evict", "mem_not_counted_for_eviction_bytes", g, "", 0, "4.0", "Memory that does not count towards the limit: buffers of replicas and of the append-only file."},
	{"mem_total_replication_buffers", "mem_total_replication_buffers_bytes", g, "", 0, "7.0", "Memory for all buffers of replication."},
	{"mem_overhead_db_hashtable_rehashing", "mem_overhead_db_hashtable_rehashing_bytes", g, "", 0, "7.4", "Memory for tables of keys that are being resized."},
	{"total_system_memory", "total_system_memory_bytes", g, "", 0, "3.2", "Memory of the machine."},
	{"lazyfree_pending_objects", "lazyfree_pending_objects", g, "", 0, "4.0", "Values that wait to be freed in the background."},
	{"lazyfreed_objects", "lazyfreed_objects", g, "", 0, "6.2", "Values that were freed in the background."},
	{"active_defrag_running", "active_defrag_running", g, "", 0, "4.0", "Share of the processor that defragmentation takes, in percent; 0 while it does not run."},
}

var persistenceFields = []infoField{
	{"loading", "loading_dump_file", g, "", 0, "1.0", "Whether the server is loading its data (1) or not (0)."},
	{"async_loading", "async_loading", g, "", 0, "7.0", "Whether the server is loading data of a primary while it still serves its own (1) or not (0)."},
	{"rdb_changes_since_last_save", "rdb_changes_since_last_save", g, "", 0, "2.4", "Changes that no snapshot holds yet."},
	{"rdb_bgsave_in_progress", "rdb_bgsave_in_progress", g, "", 0, "2.4", "Whether a snapshot is being saved (1) or not (0)."},
	{"rdb_last_save_time", "rdb_last_save_timestamp_seconds", g, "", 0, "2.4", "When a snapshot was last saved."},
	{"rdb_last_bgsave_status", "rdb_last_bgsave_status", g, "", 0, "2.6", "Whether the last snapshot was saved (1) or failed (0)."},
	{"rdb_last_bgsave_time_sec", "rdb_last_bgsave_duration_sec", g, "seconds", 0, "2.6", "How long the last snapshot took, in seconds; -1 where there was none."},
	{"rdb_current_bgsave_time_sec", "rdb_current_bgsave_duration_sec", g, "seconds", 0, "2.6", "How long the present snapshot has taken so far, in seconds; -1 while there is none."},
	{"rdb_saves", "rdb_saves_total", g, "", 0, "7.0", "Snapshots that were saved since the server started."},
	{"rdb_last_cow_size", "rdb_last_cow_size_bytes", g, "", 0, "4.0", "Memory that was copied while the last snapshot was saved."},
	{"rdb_last_load_keys_expired", "rdb_last_load_expired_keys", g, "", 0, "7.0", "Keys that had expired when the snapshot was last loaded."},
	{"rdb_last_load_keys_loaded", "rdb_last_load_loaded_keys", g, "", 0, "7.0", "Keys that were loaded from the snapshot last time."},
	{"aof_enabled", "aof_enabled", g, "", 0, "2.4", "Whether the server writes an append-only file (1) or not (0)."},
	{"aof_rewrite_in_progress", "aof_rewrite_in_progress", g, "", 0, "2.4", "Whether the append-only file is being rewritten (1) or not (0)."},
	{"aof_rewrite_scheduled", "aof_rewrite_scheduled", g, "", 0, "2.4", "Whether the append-only file will be rewritten after the present snapshot (1) or not (0)."},
	{"aof_last_rewrite_time_sec", "aof_last_rewrite_duration_sec", g, "seconds", 0, "2.6", "How long the last rewrite of the append-only file took, in seconds; -1 where there was none."},
	{"aof_current_rewrite_time_sec", "aof_current_rewrite_duration_sec", g, "seconds", 0, "2.6", "How long the present rewrite of the append-only file has taken so far, in seconds; -1 while there is none."},
	{"aof_rewrites", "aof_rewrites_total", c, "", 0, "7.0", "Rewrites of the append-only file since the server started."},
	{"aof_rewrites_consecutive_failures", "aof_rewrites_consecutive_failures", g, "", 0, "8.0", "Rewrites of the append-only file that failed in a row."},
	{"aof_last_cow_size", "aof_last_cow_size_bytes", g, "", 0, "4.0", "Memory that was copied while the append-only file was last rewritten."},
	{"aof_current_size", "aof_current_size_bytes", g, "", 0, "2.4", "Size of the append-only file."},
	{"aof_base_size", "aof_base_size_bytes", g, "", 0, "2.4", "Size of the append-only file after it was last rewritten, or when the server started."},
	{"aof_pending_rewrite", "aof_pending_rewrite", g, "", 0, "2.4", "Whether a rewrite of the append-only file waits (1) or not (0)."},
	{"aof_buffer_length", "aof_buffer_length", g, "bytes", 0, "2.4", "Size of the buffer for the append-only file, in bytes."},
	{"aof_rewrite_buffer_length", "aof_rewrite_buffer_length", g, "bytes", 0, "2.4 to 6", "Size of the buffer for what changes while the append-only file is rewritten, in bytes."},
	{"aof_pending_bio_fsync", "aof_pending_bio_fsync", g, "", 0, "2.4", "Calls to write the append-only file through that wait."},
	{"aof_delayed_fsync", "aof_delayed_fsync", g, "", 0, "2.4", "Times that a write had to wait for the append-only file to be written through."},
	{"aof_last_bgrewrite_status", "aof_last_bgrewrite_status", g, "", 0, "2.6", "Whether the last rewrite of the append-only file succeeded (1) or failed (0)."},
	{"aof_last_write_status", "aof_last_write_status", g, "", 0, "2.6", "Whether the last write to the append-only file succeeded (1) or failed (0)."},
	{"module_fork_in_progress", "module_fork_in_progress", g, "", 0, "6.0", "Whether a module has forked the server (1) or not (0)."},
	{"module_fork_last_cow_size", "module_fork_last_cow_size", g, "bytes", 0, "6.0", "Memory that was copied during the last fork of a module, in bytes."},
	{"current_cow_size", "current_cow_size_bytes", g, "", 0, "6.2", "Memory that was copied since the present fork began."},
	{"current_cow_peak", "current_cow_peak_bytes", g, "", 0, "7.0", "The most memory that was copied at once during the present fork."},
}

var statsFields = []infoField{
	{"total_connections_received", "connections_received_total", c, "", 0, "1.0", "Connections that the server has accepted."},
	{"total_commands_processed", "commands_processed_total", c, "", 0, "1.0", "Commands that the server has carried out."},
	{"rejected_connections", "rejected_connections_total", c, "", 0, "2.6", "Connections refused because as many as may be were open."},
	{"total_net_input_bytes", "net_input_bytes_total", c, "", 0, "3.0", "Bytes received from clients and links."},
	{"total_net_output_bytes", "net_output_bytes_total", c, "", 0, "3.0", "Bytes sent to clients and links."},
	{"total_net_repl_input_bytes", "net_repl_input_bytes_total", c, "", 0, "7.0", "Bytes received for replication."},
	{"total_net_repl_output_bytes", "net_repl_output_bytes_total", c, "", 0, "7.0", "Bytes sent for replication."},
	{"expired_subkeys", "expired_subkeys_total", c, "", 0, "7.4", "Fields of hashes that have expired."},
	{"expired_keys", "expired_keys_total", c, "", 0, "1.0", "Keys that have expired."},
	{"expired_stale_perc", "expired_stale_percentage", g, "percent", 0, "5.0", "Share of keys that have expired and still take room, as the server reckons, in percent."},
	{"expired_time_cap_reached_count", "expired_time_cap_reached_total", c, "", 0, "5.0", "Times that removing expired keys was cut short for lack of time."},
	{"expire_cycle_cpu_milliseconds", "expire_cycle_cpu_time_ms_total", c, "milliseconds", 0, "6.0", "Time spent on removing expired keys, in milliseconds."},
	{"evicted_keys", "evicted_keys_total", c, "", 0, "1.0", "Keys removed because memory was full."},
	{"evicted_clients", "evicted_clients_total", c, "", 0, "7.0", "Clients thrown out because their memory was above maxmemory-clients."},
	{"evicted_scripts", "evicted_scripts_total", c, "", 0, "7.4", "Scripts forgotten because too many were kept."},
	{"total_eviction_exceeded_time", "eviction_exceeded_time_ms_total", c, "milliseconds", 0, "7.0", "Time that memory was above its limit, in milliseconds."},
	{"current_eviction_exceeded_time", "current_eviction_exceeded_time_ms", g, "milliseconds", 0, "7.0", "How long memory has been above its limit, in milliseconds."},
	{"keyspace_hits", "keyspace_hits_total", c, "", 0, "1.0", "Times that a key that was looked for was there."},
	{"keyspace_misses", "keyspace_misses_total", c, "", 0, "1.0", "Times that a key that was looked for was not there."},
	{"pubsub_channels", "pubsub_channels", g, "", 0, "1.0", "Channels that clients have subscribed to."},
	{"pubsub_patterns", "pubsub_patterns", g, "", 0, "1.0", "Patterns of channels that clients have subscribed to."},
	{"pubsubshard_channels", "pubsubshard_channels", g, "", 0, "7.0", "Channels of this node's slots that clients have subscribed to."},
	{"latest_fork_usec", "latest_fork_seconds", g, "", 1e-6, "2.6", "How long the last fork took, while which nothing else was done."},
	{"total_forks", "forks_total", c, "", 0, "6.2", "Forks of the server since it started."},
	{"migrate_cached_sockets", "migrate_cached_sockets_total", g, "", 0, "3.0", "Connections that are kept open for MIGRATE."},
	{"active_defrag_hits", "defrag_hits", g, "", 0, "4.0", "Values that defragmentation has moved."},
	{"active_defrag_misses", "defrag_misses", g, "", 0, "4.0", "Values that defragmentation began to move and left."},
	{"active_defrag_key_hits", "defrag_key_hits", g, "", 0, "4.0", "Keys of which defragmentation has moved something."},
	{"active_defrag_key_misses", "defrag_key_misses", g, "", 0, "4.0", "Keys that defragmentation has looked at in vain."},
	{"total_active_defrag_time", "active_defrag_seconds_total", c, "", 1e-3, "7.0", "Time that memory was above the threshold of defragmentation."},
	{"current_active_defrag_time", "current_active_defrag_seconds", g, "", 1e-3, "7.0", "How long memory has been above the threshold of defragmentation; 0 while it is not."},
	{"tracking_total_keys", "tracking_total_keys", g, "", 0, "6.0", "Keys that the server has in mind for clients with a cache."},
	{"tracking_total_items", "tracking_total_items", g, "", 0, "6.0", "Pairs of a client with a cache and a key that the server has in mind."},
	{"tracking_total_prefixes", "tracking_total_prefixes", g, "", 0, "6.0", "Beginnings of keys that the server has in mind for clients with a cache."},
	{"instantaneous_eventloop_cycles_per_sec", "instantaneous_eventloop_cycles_per_sec", g, "", 0, "7.0", "Rounds of the event loop in a second, lately."},
	{"instantaneous_eventloop_duration_usec", "instantaneous_eventloop_duration_usec", g, "microseconds", 0, "7.0", "How long a round of the event loop takes, lately, in microseconds."},
	{"eventloop_cycles", "eventloop_cycles_total", c, "", 0, "7.0", "Rounds of the event loop."},
	{"eventloop_duration_sum", "eventloop_duration_sum_usec_total", c, "microseconds", 0, "7.0", "Time spent in the event loop, in microseconds."},
	{"eventloop_duration_cmd_sum", "eventloop_duration_cmd_sum_usec_total", c, "microseconds", 0, "7.0", "Time spent on commands, in microseconds."},
	{"unexpected_error_replies", "unexpected_error_replies", c, "", 0, "6.0", "Errors that nobody expected: of loading the append-only file or of replication."},
	{"total_error_replies", "total_error_replies", c, "", 0, "6.2", "Errors that were answered: commands refused and commands failed."},
	{"dump_payload_sanitizations", "dump_payload_sanitizations", c, "", 0, "6.2", "Times that what RESTORE was given was checked in depth."},
	{"total_reads_processed", "total_reads_processed", c, "", 0, "6.0", "Reads from clients."},
	{"total_writes_processed", "total_writes_processed", c, "", 0, "6.0", "Writes to clients."},
	{"io_threaded_reads_processed", "io_threaded_reads_processed", c, "", 0, "6.0", "Reads by threads beside the main one."},
	{"io_threaded_writes_processed", "io_threaded_writes_processed", c, "", 0, "6.0", "Writes by threads beside the main one."},
	{"io_threaded_freed_objects", "io_threaded_freed_objects_total", c, "", 0, "Valkey 8.0", "Values that threads beside the main one have freed."},
	{"io_threaded_accept_processed", "io_threaded_accepts_total", c, "", 0, "Valkey 8.0", "Connections that threads beside the main one have accepted."},
	{"io_threaded_poll_processed", "io_threaded_polls_total", c, "", 0, "Valkey 8.0", "Times that threads beside the main one have looked for work."},
	{"io_threaded_total_prefetch_batches", "io_threaded_prefetch_batches_total", c, "", 0, "Valkey 8.0", "Batches of keys that were fetched into the processor's cache ahead."},
	{"io_threaded_total_prefetch_entries", "io_threaded_prefetch_entries_total", c, "", 0, "Valkey 8.0", "Keys that were fetched into the processor's cache ahead."},
	{"client_query_buffer_limit_disconnections", "client_query_buffer_limit_disconnections_total", c, "", 0, "7.4", "Clients cut off because their commands were too large."},
	{"client_output_buffer_limit_disconnections", "client_output_buffer_limit_disconnections_total", c, "", 0, "7.4", "Clients cut off because they did not fetch their replies."},
	{"reply_buffer_shrinks", "reply_buffer_shrinks_total", c, "", 0, "7.0", "Times that a buffer for replies was made smaller."},
	{"reply_buffer_expands", "reply_buffer_expands_total", c, "", 0, "7.0", "Times that a buffer for replies was made larger."},
	{"acl_access_denied_auth", "acl_access_denied_auth_total", c, "", 0, "7.0", "Logins that were refused."},
	{"acl_access_denied_cmd", "acl_access_denied_cmd_total", c, "", 0, "7.0", "Commands refused because the user may not use them."},
	{"acl_access_denied_key", "acl_access_denied_key_total", c, "", 0, "7.0", "Commands refused because the user may not touch a key."},
	{"acl_access_denied_channel", "acl_access_denied_channel_total", c, "", 0, "7.0", "Commands refused because the user may not use a channel."},
}

var replicationFields = []infoField{
	{"connected_slaves", "connected_slaves", g, "", 0, "1.0", "Replicas that are connected."},
	{"repl_backlog_size", "replication_backlog_bytes", g, "", 0, "2.8", "Size of the replication backlog."},
	{"repl_backlog_active", "repl_backlog_is_active", g, "", 0, "2.8", "Whether there is a replication backlog (1) or not (0)."},
	{"repl_backlog_first_byte_offset", "repl_backlog_first_byte_offset", g, "bytes", 0, "2.8", "Position of the first byte in the replication backlog."},
	{"repl_backlog_histlen", "repl_backlog_history_bytes", g, "", 0, "2.8", "Bytes in the replication backlog."},
	{"master_repl_offset", "master_repl_offset", g, "bytes", 0, "2.8", "Position in the stream of changes up to which the server has written."},
	{"second_repl_offset", "second_repl_offset", g, "bytes", 0, "4.0", "Position up to which the stream of the primary before this one is accepted; -1 where there was none."},
	{"slave_expires_tracked_keys", "slave_expires_tracked_keys", g, "", 0, "4.0", "Keys that a writable replica expires by itself."},
	{"slave_priority", "slave_priority", g, "", 0, "2.6", "Priority with which sentinels make the replica a primary, low before high; 0 means never."},
	{"sync_full", "replica_resyncs_full", g, "", 0, "2.8", "Times that a replica was sent all data."},
	{"sync_partial_ok", "replica_partial_resync_accepted", g, "", 0, "2.8", "Times that a replica could go on where it was."},
	{"sync_partial_err", "replica_partial_resync_denied", g, "", 0, "2.8", "Times that a replica could not go on where it was."},
}

var cpuFields = []infoField{
	{"used_cpu_sys", "cpu_sys_seconds_total", c, "", 0, "1.0", "Processor time of the server in the system."},
	{"used_cpu_user", "cpu_user_seconds_total", c, "", 0, "1.0", "Processor time of the server for itself."},
	{"used_cpu_sys_children", "cpu_sys_children_seconds_total", c, "", 0, "1.0", "Processor time of background processes in the system."},
	{"used_cpu_user_children", "cpu_user_children_seconds_total", c, "", 0, "1.0", "Processor time of background processes for themselves."},
	{"used_cpu_sys_main_thread", "cpu_sys_main_thread_seconds_total", c, "", 0, "6.0", "Processor time of the main thread in the system."},
	{"used_cpu_user_main_thread", "cpu_user_main_thread_seconds_total", c, "", 0, "6.0", "Processor time of the main thread for itself."},
	{"used_active_time_main_thread", "active_time_main_thread_seconds_total", c, "", 0, "Valkey 9.0", "Time that the main thread was at work."},
}

var clusterFields = []infoField{
	{"cluster_stats_messages_sent", "cluster_messages_sent_total", g, "", 0, "3.0", "Messages that the node has sent to others."},
	{"cluster_stats_messages_received", "cluster_messages_received_total", g, "", 0, "3.0", "Messages that the node has received from others."},
}

var keydbFields = []infoField{
	{"server_threads", "server_threads_total", g, "", 0, "KeyDB", "Threads that serve clients."},
	{"long_lock_waits", "long_lock_waits_total", g, "", 0, "KeyDB", "Times that a thread waited long for the lock."},
	{"current_client_thread", "current_client_thread", g, "", 0, "KeyDB", "Number of the thread that served this answer."},
	{"cached_keys", "cached_keys_total", c, "", 0, "KeyDB", "Keys that are kept in memory beside the storage."},
	{"storage_provider_read_hits", "storage_provider_read_hits", c, "", 0, "KeyDB", "Keys that were found in the storage."},
	{"storage_provider_read_misses", "storage_provider_read_misses", c, "", 0, "KeyDB", "Keys that were not found in the storage."},
}
