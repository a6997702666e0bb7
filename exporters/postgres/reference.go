package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
)

// Files tells what the configuration files may hold, and what counts without them.
func (b *backend) Files() []app.File {
	return []app.File{
		{Flag: "config.file", Holds: file{
			Targets:    []source{{Health: &writeProbe{Table: defaultHealthTable}}},
			Dependents: health.DefaultDependents(),
		}},
		{Flag: "queries.file", Holds: customFile{Tables: []customTable{{TableYAML: collect.TableYAML{Limit: collect.DefaultSeriesLimit}}}}},
	}
}

// Environment lists the variables that name a server without a configuration file. The first that is set counts.
func (b *backend) Environment() []app.Variable {
	return []app.Variable{
		{Name: "DATA_SOURCE_NAME", Help: "A connection string, as a URL or keywords; several, separated by commas, make several targets."},
		{Name: "DATA_SOURCE_URI, DATA_SOURCE_URI_FILE", Help: "host:port/database?options, with the two below; itself, or the file that holds it."},
		{Name: "DATA_SOURCE_USER, DATA_SOURCE_USER_FILE", Help: "The role, or the file that holds it."},
		{Name: "DATA_SOURCE_PASS, DATA_SOURCE_PASS_FILE", Help: "Its password, or the file that holds it."},
		{Name: "PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGPASSFILE", Help: "As psql reads them; they also fill in what the above leave out. PGHOST or PGSERVICE alone make a target."},
		{Name: "PGSERVICE, PGSERVICEFILE", Help: "A service of the file of services, as for psql."},
		{Name: "PGSSLMODE, PGSSLROOTCERT, PGSSLCERT, PGSSLKEY", Help: "TLS, as psql reads them."},
	}
}

var (
	_ app.Configurable  = (*backend)(nil)
	_ app.Environmental = (*backend)(nil)
)
