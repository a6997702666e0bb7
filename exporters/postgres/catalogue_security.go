package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

var sslSessions = collect.Table{
	Name: "stat_ssl", Prefix: "pg_stat_ssl", Help: "pg_stat_ssl: how connections are encrypted.",
	Rows: 100,
	Sources: []collect.Source{collect.Always(`
		SELECT CASE WHEN s.ssl THEN 'true' ELSE 'false' END AS ssl, s.version, s.cipher,
			CASE WHEN a.client_port = -1 THEN 'socket' ELSE 'network' END AS transport, count(*) AS connections
		FROM pg_stat_ssl AS s JOIN pg_stat_activity AS a USING (pid)
		WHERE a.client_port IS NOT NULL AND pid <> pg_backend_pid()
		GROUP BY 1, 2, 3, 4 ORDER BY connections DESC, 1, 2, 3, 4 LIMIT 101`)},
	Columns: []collect.Column{
		collect.Label("ssl"), collect.Label("version"), collect.Label("cipher"), collect.Label("transport"),
		collect.Value("connections", "connections", "Connections, those of replicas included, that are encrypted in this way, or not at all; transport tells those over the network from those over a socket of the same machine. The exporter's own is left out."),
	},
}

var gssSessions = collect.Table{
	Name: "stat_gssapi", Prefix: "pg_stat_gssapi", Help: "pg_stat_gssapi: how many connections use GSSAPI (Kerberos).",
	Sources: []collect.Source{collect.Always(`
		SELECT count(*) FILTER (WHERE gss_authenticated) AS authenticated, count(*) FILTER (WHERE encrypted) AS encrypted
		FROM pg_stat_gssapi WHERE pid <> pg_backend_pid()`)},
	Columns: []collect.Column{
		collect.Value("authenticated", "authenticated_connections", "Connections whose user was authenticated by GSSAPI."),
		collect.Value("encrypted", "encrypted_connections", "Connections that are encrypted by GSSAPI."),
	},
}

// configuration tells names only: the values of some settings are secrets, such as that of primary_conninfo.
var configuration = collect.Table{
	Name: "configuration", Prefix: "pg_configuration", Help: "pg_settings: which settings somebody has changed, and where.",
	Rows: 500,
	Sources: []collect.Source{collect.Always(`
		SELECT name, source, CASE WHEN pending_restart THEN 1 END AS pending
		FROM pg_settings WHERE source NOT IN ('default', 'override', 'client', 'session') OR pending_restart
		ORDER BY pending_restart DESC, name LIMIT 501`)},
	Columns: []collect.Column{
		collect.Label("name"), collect.Label("source"),
		collect.Info("changed_info", "Always 1; the labels tell a setting that was not left as it is by default, and what set it: a file, the command line, the database, the role."),
		collect.Value("pending", "pending_restart", "1 for a setting that was changed in a file but counts only after a restart of the server. Absent for all others.").Per("name"),
	},
}

// extensions is dear: the server reads the files of all extensions that could be made.
var extensions = collect.Table{
	Name: "extensions", Prefix: "pg_extension", Help: "pg_extension and pg_available_extensions: the extensions of the database and their versions.",
	PerMember: true, Class: collect.Dear, Rows: 500,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, e.extname, e.extversion AS version, a.default_version, e.extversion <> a.default_version AS update
		FROM pg_extension AS e LEFT JOIN pg_available_extensions() AS a ON a.name = e.extname
		ORDER BY update DESC NULLS LAST, 2 LIMIT 501`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("extname"), collect.Label("version"), collect.Label("default_version"),
		collect.Info("info", "Always 1; the labels tell the version of an extension, and the one that the server's files would make."),
		collect.Value("update", "update_available", "1 where the server's files would make another version of the extension, else 0; ALTER EXTENSION UPDATE makes it. Absent where the files are gone.").Per("datname", "extname"),
	},
}
