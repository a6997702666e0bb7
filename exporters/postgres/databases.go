package main

import (
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// discovery is which databases of a server are asked beside the one that the target names. Per-table statistics can
// only be had over a connection to the table's database.
type discovery struct {
	on               *bool
	include, exclude *[]string
	connections      *int
}

func (d *discovery) flags(a *kingpin.Application) {
	d.on = a.Flag("auto-discover-databases", "Ask every database of a server for its tables and indexes, not only the one that the target names.").
		Envar("PG_EXPORTER_AUTO_DISCOVER_DATABASES").Bool()
	d.include = a.Flag("include-databases", "Databases to discover, with * and ? as in file names; separated by commas or repeated. All, where nothing is said.").
		Envar("PG_EXPORTER_INCLUDE_DATABASES").Strings()
	d.exclude = a.Flag("exclude-databases", "Databases to leave out, likewise.").
		Envar("PG_EXPORTER_EXCLUDE_DATABASES").Strings()
	d.connections = a.Flag("database-connections", "Connections to one server in all, while its databases are discovered.").
		Default("3").Envar("PG_EXPORTER_DATABASE_CONNECTIONS").Int()
}

// check reports patterns that cannot be read, and a number of connections that leaves none for the databases.
func (d *discovery) check() error {
	for _, pattern := range slices.Concat(*d.include, *d.exclude) {
		for name := range splitList(pattern) {
			if _, err := path.Match(name, ""); err != nil {
				return fmt.Errorf("%q is no pattern for a database: use * and ? as in file names", name)
			}
		}
	}
	if *d.connections < 2 {
		return errors.New("--database-connections must be 2 or more: one is the target's own")
	}
	return nil
}

// listDatabases leaves out the database that the target asks itself; busy ones come first, so that a limit costs the
// quiet ones.
const listDatabases = `
SELECT d.datname FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid
WHERE d.datallowconn AND NOT d.datistemplate AND d.datname <> current_database()
ORDER BY coalesce(s.blks_hit + s.blks_read, 0) DESC, d.datname`

// members describes the other databases of a server, or nothing where they are not wanted.
func (d *discovery) members(server *driver) *collect.Members {
	if d.on == nil || !*d.on {
		return nil
	}
	return &collect.Members{
		Label: "datname", Question: collect.Question{Text: listDatabases}, Admit: d.admits, Connections: *d.connections - 1,
		Driver: func(name string) collect.Driver {
			one := *server
			one.database = name
			return &one
		},
	}
}

// admits tells whether a database is wanted: included, or nothing is included by name, and not excluded.
func (d *discovery) admits(name string) bool {
	included := len(*d.include) == 0 || matchesAny(*d.include, name)
	return included && !matchesAny(*d.exclude, name)
}

// splitList gives the entries of a list that is separated by commas.
func splitList(list string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for entry := range strings.SplitSeq(list, ",") {
			if entry = strings.TrimSpace(entry); entry != "" && !yield(entry) {
				return
			}
		}
	}
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(list string) bool {
		for pattern := range splitList(list) {
			if ok, err := path.Match(pattern, name); err == nil && ok {
				return true
			}
		}
		return false
	})
}
