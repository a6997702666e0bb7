package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

const staticName = "static"

// static tells the version. The established family has no type, and a label that only the configuration knows.
func static(server string) collect.Table {
	return collect.Table{
		Name: staticName, Help: "version(): what the server is.",
		Sources: []collect.Source{collect.Always(`
			SELECT version() AS version, format('%s.%s.0', v / 10000, v % 10000) AS short_version
			FROM (SELECT current_setting('server_version_num')::int AS v) AS running`)},
		Columns: []collect.Column{
			collect.Label("version"), collect.Label("short_version"), collect.Const("server", server),
			collect.Info("pg_static", "Always 1; the labels tell the version of the server, in full and in short.").Untyped(),
		},
	}
}

var postmaster = collect.Table{
	Name: "postmaster", Prefix: "pg_postmaster", Help: "pg_postmaster_start_time(): since when the server runs.",
	Sources: []collect.Source{collect.Always(`
		SELECT extract(epoch FROM pg_postmaster_start_time()) AS started, extract(epoch FROM pg_conf_load_time()) AS loaded`)},
	Columns: []collect.Column{
		collect.Value("started", "start_time_seconds", "When the server was started, in Unix seconds."),
		collect.Value("loaded", "config_load_time_seconds", "When the configuration files were last loaded, in Unix seconds."),
	},
}

var roles = collect.Table{
	Name: "roles", Prefix: "pg_roles", Help: "pg_roles: how many connections each role may open, and until when its password is good.",
	Rows: 1000,
	Sources: []collect.Source{collect.Always(`
		SELECT rolname, rolconnlimit, extract(epoch FROM rolvaliduntil) AS valid_until
		FROM pg_roles ORDER BY rolcanlogin DESC, rolvaliduntil, rolname LIMIT 1001`)},
	Columns: []collect.Column{
		collect.Label("rolname"),
		collect.Value("rolconnlimit", "connection_limit", "Connections the role may have open at once; -1 means no limit."),
		collect.Value("valid_until", "valid_until_timestamp_seconds", "When the role's password expires, in Unix seconds. Absent where it does not."),
	},
}

var bufferCache = collect.Table{
	Name: "buffercache_summary", Prefix: "pg_buffercache_summary", Help: "pg_buffercache_summary(): what the shared buffers are used for. Since PostgreSQL 16.",
	Off: true, Class: collect.Dear, Needs: collect.Needs{Feature: "pg_buffercache"},
	Sources: []collect.Source{collect.Since(160000, `SELECT * FROM {pg_buffercache}.pg_buffercache_summary()`)},
	Columns: []collect.Column{
		collect.Value("buffers_used", "buffers_used", "Shared buffers that hold a block."),
		collect.Value("buffers_unused", "buffers_unused", "Shared buffers that hold nothing."),
		collect.Value("buffers_dirty", "buffers_dirty", "Shared buffers that hold a block which must be written to disk."),
		collect.Value("buffers_pinned", "buffers_pinned", "Shared buffers that somebody works with at this instant."),
		collect.Value("usagecount_avg", "usagecount_avg", "Mean usage count of the shared buffers that hold a block, from 0 to 5. Absent while none does."),
	},
}
