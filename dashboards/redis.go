package main

import "github.com/alfred-agent-platform/backend-exporters/dashboards/board"

var redisOverview = board.Board{
	UID: "backend-exporters-redis", Title: "Redis / Overview", Tag: "redis", Source: "redis_up",
	Description: "Whether Redis and Valkey servers work, what fills their memory, and what is slow.",
	Top: []board.Panel{
		{
			Title: "Servers down", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Servers that their exporter cannot reach or log in to. Normal: 0. The reason is in redis_exporter_failure_info.",
			Queries:     []board.Query{{Expr: `count(redis_up{@} == 0) or vector(0)`, Legend: "down"}},
		},
		{
			Title: "Memory used", Kind: board.Stat, Unit: "percentunit", Max: 1, Steps: board.Good(0.8, 0.95),
			Description: "Of maxmemory, on the fullest server. At 100 % keys are evicted, or writes fail where the policy is noeviction. No data where no server has a limit.",
			Queries:     []board.Query{{Expr: `max(redis_memory_used_bytes{@} / (redis_memory_max_bytes{@} > 0))`, Legend: "used"}},
		},
		{
			Title: "Keys evicted", Kind: board.Stat, Unit: "short", Steps: []board.Step{{From: 0, Color: board.Green}, {From: 1, Color: board.Orange}},
			Description: "Keys thrown away per second for want of memory. Normal: 0, unless the server is a cache.",
			Queries:     []board.Query{{Expr: `sum(rate(redis_evicted_keys_total{@}[$__rate_interval]))`, Legend: "evicted"}},
		},
		{
			Title: "Clients used", Kind: board.Stat, Unit: "percentunit", Max: 1, Steps: board.Good(0.7, 0.9),
			Description: "Connected clients as a part of maxclients, on the fullest server. Above 90 % new ones will soon be refused.",
			Queries:     []board.Query{{Expr: `max(redis_connected_clients{@} / redis_config_maxclients{@})`, Legend: "used"}},
		},
		{
			Title: "Links down", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Replicas without a link to their primary. Normal: 0. What is read from them grows old.",
			Queries:     []board.Query{{Expr: `count(redis_master_link_up{@} == 0) or vector(0)`, Legend: "down"}},
		},
		{
			Title: "Snapshots that failed", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Servers whose last snapshot (RDB) failed. Normal: 0. A restart would lose what was written since; by default such a server refuses writes.",
			Queries:     []board.Query{{Expr: `count(redis_rdb_last_bgsave_status{@} == 0) or vector(0)`, Legend: "failed"}},
		},
		{
			Title: "Servers", Kind: board.Timeline, Width: 12, Height: 7, Unit: "short", Steps: board.Up(), States: board.Health,
			Description: "When each server could be reached. Red: it could not.",
			Queries:     []board.Query{{Expr: `redis_up{@}`, Legend: "{{instance}}"}},
		},
		{
			Title: "Commands", Unit: "ops", Height: 7,
			Description: "Commands per second. A sudden fall means that clients do not come through.",
			Queries:     []board.Query{{Expr: `sum by (instance, target) (rate(redis_commands_processed_total{@}[$__rate_interval]))`, Legend: "{{instance}}"}},
		},
		{
			Title: "Memory", Unit: "bytes",
			Description: "Memory in use by data and buffers, and the limit where there is one.",
			Queries: []board.Query{
				{Expr: `redis_memory_used_bytes{@}`, Legend: "{{instance}} used"},
				{Expr: `redis_memory_max_bytes{@} > 0`, Legend: "{{instance}} limit"},
			},
		},
		{
			Title: "Hits of keys asked for", Unit: "percentunit", Max: 1,
			Description: "Lookups that found their key. What is normal depends on the use; a fall means a cache that was emptied, or keys that expire too soon.",
			Queries: []board.Query{{Expr: `sum by (instance, target) (rate(redis_keyspace_hits_total{@}[$__rate_interval]))
  / (sum by (instance, target) (rate(redis_keyspace_hits_total{@}[$__rate_interval])) + sum by (instance, target) (rate(redis_keyspace_misses_total{@}[$__rate_interval])) > 0)`, Legend: "{{instance}}"}},
		},
	},
	Rows: []board.Row{
		{Title: "Commands and latency", Panels: redisCommands},
		{Title: "Memory", Panels: redisMemory},
		{Title: "Clients", Panels: redisClients},
		{Title: "Replication and persistence", Panels: redisReplication},
		{Title: "Cluster and sentinels", Panels: redisCluster},
	},
}

var redisCommands = []board.Panel{
	{
		Title: "Commands by name", Kind: board.Stack, Unit: "ops",
		Description: "The ten most frequent commands, per second.",
		Queries:     []board.Query{{Expr: `topk(10, sum by (cmd) (rate(redis_commands_total{@}[$__rate_interval])))`, Legend: "{{cmd}}"}},
	},
	{
		Title: "Time in commands", Kind: board.Stack, Unit: "s",
		Description: "Seconds of work per second, by command. The server works on one command at a time: at 1 it can do no more.",
		Queries:     []board.Query{{Expr: `topk(10, sum by (cmd) (rate(redis_commands_duration_seconds_total{@}[$__rate_interval])))`, Legend: "{{cmd}}"}},
	},
	{
		Title: "Latency of commands, 99 of 100", Unit: "s",
		Description: "Within the server, without the network. Normal: well below a millisecond. High for one command: it works on large values; high for all: the machine is busy, or one slow command holds up the rest.",
		Queries:     []board.Query{{Expr: `topk(10, histogram_quantile(0.99, sum by (cmd, le) (rate(redis_command_duration_seconds_bucket{@}[$__rate_interval]))) > 0)`, Legend: "{{cmd}}"}},
	},
	{
		Title: "Slow log", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target", "cmd"},
		Description: "What is in the slow log now, by command. Arguments are not shown: SLOWLOG GET on the server has them.",
		Queries: []board.Query{
			{Expr: `redis_slowlog_command_entries{@}`, Legend: "Entries"},
			{Expr: `redis_slowlog_command_longest_seconds{@}`, Legend: "Longest"},
		},
		Units: map[string]string{"Longest": "s"},
	},
	{
		Title: "Errors", Unit: "ops",
		Description: "Error replies per second, by their first word. WRONGTYPE and ERR: an application's mistake. OOM: no memory left. NOAUTH, NOPERM: a client with wrong rights.",
		Queries:     []board.Query{{Expr: `sum by (err) (rate(redis_errors_total{@}[$__rate_interval])) > 0`, Legend: "{{err}}"}},
	},
	{
		Title: "Network", Unit: "Bps",
		Description: "Bytes per second to and from clients.",
		Queries: []board.Query{
			{Expr: `sum by (instance, target) (rate(redis_net_input_bytes_total{@}[$__rate_interval]))`, Legend: "{{instance}} in"},
			{Expr: `sum by (instance, target) (rate(redis_net_output_bytes_total{@}[$__rate_interval]))`, Legend: "{{instance}} out"},
		},
	},
}

var redisMemory = []board.Panel{
	{
		Title: "What the memory is for", Kind: board.Stack, Unit: "bytes",
		Description: "Memory by category, as MEMORY STATS tells. Clients and replication should be small beside the data.",
		Queries:     []board.Query{{Expr: `sum by (category) (redis_memory_category_bytes{@})`, Legend: "{{category}}"}},
	},
	{
		Title: "Fragmentation", Unit: "short", Steps: board.Good(1.5, 2),
		Description: "Memory that the system gave, for each byte in use, of servers above 100 MB. Normal: 1 to 1.5. Above: switch on activedefrag. Below 1: the server is swapped out.",
		Queries:     []board.Query{{Expr: `redis_mem_fragmentation_ratio{@} and redis_memory_used_bytes{@} > 100e6`, Legend: "{{instance}}"}},
	},
	{
		Title: "Keys", Unit: "short",
		Description: "Keys, and those of them that expire.",
		Queries: []board.Query{
			{Expr: `sum by (instance, target) (redis_db_keys{@})`, Legend: "{{instance}} keys"},
			{Expr: `sum by (instance, target) (redis_db_keys_expiring{@})`, Legend: "{{instance}} that expire"},
		},
	},
	{
		Title: "Keys that go", Unit: "ops",
		Description: "Keys per second that expired, and that were evicted for want of memory.",
		Queries: []board.Query{
			{Expr: `sum by (instance, target) (rate(redis_expired_keys_total{@}[$__rate_interval]))`, Legend: "{{instance}} expired"},
			{Expr: `sum by (instance, target) (rate(redis_evicted_keys_total{@}[$__rate_interval]))`, Legend: "{{instance}} evicted"},
		},
	},
}

var redisClients = []board.Panel{
	{
		Title: "Clients", Unit: "short",
		Description: "Connected clients, and those that wait in a blocking command.",
		Queries: []board.Query{
			{Expr: `redis_connected_clients{@}`, Legend: "{{instance}} connected"},
			{Expr: `redis_blocked_clients{@}`, Legend: "{{instance}} blocked"},
		},
	},
	{
		Title: "New connections", Unit: "cps",
		Description: "Connections opened and refused per second. Many new ones: clients without a pool. Refused: maxclients is reached.",
		Queries: []board.Query{
			{Expr: `sum by (instance, target) (rate(redis_connections_received_total{@}[$__rate_interval]))`, Legend: "{{instance}} opened"},
			{Expr: `sum by (instance, target) (rate(redis_rejected_connections_total{@}[$__rate_interval]))`, Legend: "{{instance}} refused"},
		},
	},
}

var redisReplication = []board.Panel{
	{
		Title: "Replicas behind, in bytes", Unit: "bytes",
		Description: "What each replica has not taken yet. Normal: near 0. Where it comes near the backlog's size, the next break of the link costs a full copy.",
		Queries:     []board.Query{{Expr: `redis_connected_slave_lag_bytes{@}`, Legend: "{{instance}}: {{slave_ip}}:{{slave_port}}"}},
	},
	{
		Title: "Links of replicas", Kind: board.Timeline, Width: 12, Unit: "short", Steps: board.Up(), States: board.Health,
		Description: "Whether each replica has a link to its primary.",
		Queries:     []board.Query{{Expr: `redis_master_link_up{@}`, Legend: "{{instance}} from {{master_host}}"}},
	},
	{
		Title: "Writes not in a snapshot yet", Unit: "short",
		Description: "Changes since the last snapshot (RDB). A crash without an append-only file loses them.",
		Queries:     []board.Query{{Expr: `redis_rdb_changes_since_last_save{@}`, Legend: "{{instance}}"}},
	},
	{
		Title: "Last fork", Unit: "s", Steps: board.Good(0.5, 1),
		Description: "How long the server stood still for the last snapshot or rewrite to begin. Normal: some 10 ms per GB; longer with transparent huge pages.",
		Queries:     []board.Query{{Expr: `redis_latest_fork_seconds{@}`, Legend: "{{instance}}"}},
	},
}

var redisCluster = []board.Panel{
	{
		Title: "Clusters", Kind: board.Timeline, Width: 12, Unit: "short", Steps: board.Up(), States: map[int]board.State{0: {Text: "failing", Color: board.Red}, 1: {Text: "ok", Color: board.Green}},
		Description: "Whether each node thinks that its cluster works. No data outside of clusters.",
		Queries:     []board.Query{{Expr: `redis_cluster_state{@}`, Legend: "{{instance}}"}},
	},
	{
		Title: "Slots that do not work", Unit: "short", Steps: board.Zero(),
		Description: "Slots of the cluster that fail or that nobody serves. Normal: 0. Their keys cannot be reached.",
		Queries: []board.Query{
			{Expr: `redis_cluster_slots_fail{@}`, Legend: "{{instance}} failing"},
			{Expr: `16384 - redis_cluster_slots_assigned{@}`, Legend: "{{instance}} not assigned"},
		},
	},
	{
		Title: "Sentinels that agree", Unit: "short",
		Description: "Sentinels that can be reached, by primary, and how many must agree on a failover. Fewer than that: none will happen.",
		Queries: []board.Query{
			{Expr: `redis_sentinel_master_ok_sentinels{@}`, Legend: "{{instance}} {{master_name}} reached"},
			{Expr: `redis_sentinel_master_setting_ckquorum{@}`, Legend: "{{instance}} {{master_name}} needed"},
		},
	},
	{
		Title: "Primaries that sentinels miss", Kind: board.Timeline, Width: 12, Unit: "short", Steps: board.Zero(), States: map[int]board.State{0: {Text: "seen", Color: board.Green}, 1: {Text: "missed", Color: board.Red}},
		Description: "Whether a sentinel thinks that a primary is down.",
		Queries:     []board.Query{{Expr: `redis_sentinel_master_subjectively_down{@}`, Legend: "{{instance}} {{master_name}}"}},
	},
}
