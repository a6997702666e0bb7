package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// bouncerCatalogue lists what pgbouncer's admin console is asked. Names, types and labels are those of
// prometheus-community/pgbouncer_exporter.
func bouncerCatalogue() (collect.Catalogue, error) {
	return compile([]part{bouncerVersion, bouncerDatabases, bouncerPools, bouncerStats, pivot{bouncerLists}, pivot{bouncerConfig}})
}

var bouncerVersion = collect.Table{
	Name: "pgbouncer_version", Prefix: "pgbouncer", Help: "SHOW VERSION: which pgbouncer this is.",
	Sources: []collect.Source{collect.Always(`SHOW VERSION`)},
	Columns: []collect.Column{
		collect.Label("version"),
		collect.Info("version_info", "Version of pgbouncer; the value is 1."),
	},
}

var bouncerDatabases = collect.Table{
	Name: "pgbouncer_databases", Prefix: "pgbouncer_databases", Help: "SHOW DATABASES: limits and connections of each configured database.",
	Sources: []collect.Source{collect.Always(`SHOW DATABASES`)},
	Columns: []collect.Column{
		collect.Label("name"), collect.Label("host"), collect.Label("port"), collect.Label("database"), collect.Label("force_user"), collect.Label("pool_mode"),
		collect.Value("pool_size", "pool_size", "Most server connections of a pool."),
		collect.Value("min_pool_size", "min_pool_size", "Fewest server connections that a pool keeps."),
		collect.Value("reserve_pool", "reserve_pool", "Additional server connections that a pool may open when clients wait."),
		collect.Value("reserve_pool_size", "reserve_pool", "Additional server connections that a pool may open when clients wait."),
		collect.Value("max_connections", "max_connections", "Most server connections of the database, 0 where unlimited."),
		collect.Value("current_connections", "current_connections", "Server connections of the database."),
		collect.Value("paused", "paused", "Whether the database is paused (1) or not (0)."),
		collect.Value("disabled", "disabled", "Whether the database is disabled (1) or not (0)."),
	},
}

var bouncerPools = collect.Table{
	Name: "pgbouncer_pools", Prefix: "pgbouncer_pools", Help: "SHOW POOLS: clients and servers of each pool, by what they do.",
	Sources: []collect.Source{collect.Always(`SHOW POOLS`)},
	Columns: []collect.Column{
		collect.Label("database"), collect.Label("user"),
		collect.Value("cl_active", "client_active_connections", "Clients that have a server connection or need none."),
		collect.Value("cl_waiting", "client_waiting_connections", "Clients that wait for a server connection."),
		collect.Value("cl_active_cancel_req", "client_active_cancel_connections", "Clients whose cancel request is with the server."),
		collect.Value("cl_waiting_cancel_req", "client_waiting_cancel_connections", "Clients whose cancel request has not gone out yet."),
		collect.Value("sv_active", "server_active_connections", "Servers that work for a client."),
		collect.Value("sv_active_cancel", "server_active_cancel_connections", "Servers that pass a cancel request on."),
		collect.Value("sv_being_canceled", "server_being_canceled_connections", "Servers that wait for cancel requests against them to end."),
		collect.Value("sv_idle", "server_idle_connections", "Servers that are ready for a client."),
		collect.Value("sv_used", "server_used_connections", "Servers that were idle so long that they are checked before use."),
		collect.Value("sv_tested", "server_testing_connections", "Servers that run the reset or check query."),
		collect.Value("sv_login", "server_login_connections", "Servers that are logging in."),
		collect.Value("maxwait", "client_maxwait_seconds", "How long the first client in the queue has waited, in whole seconds."),
	},
}

var bouncerStats = collect.Table{
	Name: "pgbouncer_stats", Prefix: "pgbouncer_stats_totals", Help: "SHOW STATS_TOTALS: what each database was asked since pgbouncer started.",
	Sources: []collect.Source{collect.Always(`SHOW STATS_TOTALS`)},
	Columns: []collect.Column{
		collect.Label("database"),
		collect.Count("query_count", "queries_pooled_total", "Queries passed on."),
		collect.Count("query_time", "queries_duration_seconds_total", "Time that servers spent on queries, in seconds.").Times(1e-6),
		collect.Count("bytes_received", "received_bytes_total", "Bytes received from clients."),
		collect.Count("bytes_sent", "sent_bytes_total", "Bytes sent to clients."),
		collect.Count("wait_time", "client_wait_seconds_total", "Time that clients waited for a server, in seconds.").Times(1e-6),
		collect.Count("xact_count", "sql_transactions_pooled_total", "Transactions passed on."),
		collect.Count("xact_time", "server_in_transaction_seconds_total", "Time that servers spent in transactions, idle ones included, in seconds.").Times(1e-6),
		collect.Count("client_parse_count", "client_parses_total", "Prepared statements that clients sent."),
		collect.Count("server_parse_count", "server_parses_total", "Prepared statements that were sent to servers."),
		collect.Count("bind_count", "binds_total", "Prepared statements that were made ready to run."),
		collect.Count("server_assignment_count", "server_assignments_total", "Times that a server was given to a client."),
	},
}

var bouncerLists = collect.Table{
	Name: "pgbouncer_lists", Prefix: "pgbouncer", Help: "SHOW LISTS: how many of everything there are.",
	Sources: []collect.Source{collect.Always(`SHOW LISTS`)},
	Columns: []collect.Column{
		collect.Value("databases", "databases", "Databases."),
		collect.Value("users", "users", "Users."),
		collect.Value("pools", "pools", "Pools."),
		collect.Value("free_clients", "free_clients", "Places for clients that are allocated and free."),
		collect.Value("used_clients", "used_clients", "Clients."),
		collect.Value("login_clients", "login_clients", "Clients that are logging in."),
		collect.Value("free_servers", "free_servers", "Places for servers that are allocated and free."),
		collect.Value("used_servers", "used_servers", "Server connections."),
		collect.Value("dns_names", "cached_dns_names", "Host names in the DNS cache."),
		collect.Value("dns_zones", "cached_dns_zones", "Zones in the DNS cache."),
		collect.Value("dns_queries", "in_flight_dns_queries", "DNS queries without an answer yet."),
	},
}

var bouncerConfig = collect.Table{
	Name: "pgbouncer_config", Prefix: "pgbouncer_config", Help: "SHOW CONFIG: limits of the whole pgbouncer.",
	Sources: []collect.Source{collect.Always(`SHOW CONFIG`)},
	Columns: []collect.Column{
		collect.Value("max_client_conn", "max_client_connections", "Most client connections."),
		collect.Value("max_db_connections", "max_database_connections", "Most server connections of a database, 0 where unlimited."),
		collect.Value("max_user_connections", "max_user_connections", "Most server connections of a user, 0 where unlimited."),
		collect.Value("default_pool_size", "default_pool_size", "Most server connections of a pool, where its database sets none."),
	},
}

// pivot is a table whose answer has a row for each thing, with its name before its value.
type pivot struct{ collect.Table }

// Collector compiles the table to read such an answer as one row.
func (p pivot) Collector() (*collect.Collector, error) {
	c, err := p.Table.Collector()
	if err != nil {
		return nil, err
	}
	read := c.Read
	c.Read = func(i int, answer collect.Answer, out *metric.Batch) error {
		row := &pivotedRow{}
		for answer.Next() && len(row.fields) < maxPivoted {
			row.fields = append(row.fields, string(answer.Value(0)))
			row.values = append(row.values, append([]byte{}, answer.Value(1)...))
		}
		if err := answer.Err(); err != nil {
			return err
		}
		return read(i, row, out)
	}
	return c, nil
}

const maxPivoted = 1000

// pivotedRow is an answer of one row.
type pivotedRow struct {
	fields []string
	values [][]byte
	given  bool
}

func (r *pivotedRow) Fields() []string   { return r.fields }
func (r *pivotedRow) Value(i int) []byte { return r.values[i] }
func (r *pivotedRow) Err() error         { return nil }
func (r *pivotedRow) Next() bool {
	first := !r.given
	r.given = true
	return first
}
