package main

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// shortest is the time below which an answer is not worth keeping: it would be one scrape old, and the sharing of
// scrapes by callers who come together serves the same end.
const shortest = time.Minute

// start begins a table with what both formats have.
func (c *conversion) start(peer peerTable, prefix string) (customTable, bool) {
	for _, key := range slices.Sorted(maps.Keys(peer.Unknown)) {
		c.note(peer.Line, "%s: the key %s means nothing to either exporter", peer.Key, key)
	}
	if strings.TrimSpace(peer.Query) == "" {
		c.note(peer.Line, "%s: it has no query and is left out", peer.Key)
		return customTable{}, false
	}
	table := customTable{}
	table.Name, table.Help = collect.Word{Text: peer.Key, Line: peer.Line}, peer.Desc
	table.Query = strings.TrimSpace(peer.Query)
	if prefix != peer.Key {
		table.Prefix = prefix
	}
	return table, true
}

// keep says how long an answer is good.
func (c *conversion) keep(table *customTable, peer peerTable, seconds float64) {
	every := time.Duration(seconds * float64(time.Second))
	switch {
	case every >= shortest:
		table.Every = every
	case every > 0:
		c.note(peer.Line, "%s: its answer is not kept for %s: it is asked at each scrape", peer.Key, every)
	}
}

// carryPostgresExporter makes a table of an entry of postgres_exporter, which puts the label server on every series.
func (c *conversion) carryPostgresExporter(peer peerTable) (customTable, bool) {
	table, ok := c.start(peer, peer.Key)
	if !ok {
		return table, false
	}
	c.keep(&table, peer, peer.CacheSeconds)
	table.EachDatabase = !peer.Master
	c.versions(&table, peer)
	table.Columns = append(table.Columns, collect.ColumnYAML{Const: collect.Word{Text: "server"}, Text: "{server}"})
	for _, column := range peer.last() {
		c.unknownKeys(peer, column)
		if column.Versions != "" {
			c.note(column.Line, "%s: the column %s is read whatever the version: pg_version means nothing in a file", peer.Key, column.field)
		}
		switch column.Usage {
		case "MAPPEDMETRIC":
			c.lose(column.Line, "%s: the column %s: texts are not mapped to numbers (postgres_exporter does not either, from a file): use CASE in the query", peer.Key, column.field)
		case "DURATION":
			c.lose(column.Line, "%s: the column %s: a duration in words is not read: give milliseconds in the query, and the name %s_milliseconds", peer.Key, column.field, column.field)
		case "HISTOGRAM":
			table.Columns = append(table.Columns, collect.ColumnYAML{Histogram: collect.Word{Text: column.field}, Help: column.help(peer)})
		default:
			c.simple(&table, peer, column, column.field)
		}
	}
	return table, true
}

// simple carries over the usages that both formats have.
func (c *conversion) simple(table *customTable, peer peerTable, column namedPeerColumn, name string) {
	word := collect.Word{Text: column.field, Line: column.Line}
	out := collect.ColumnYAML{Help: column.help(peer)}
	if name != column.field {
		out.Name = name
	}
	switch usage := column.Usage; {
	case usage == "LABEL":
		out.Label, out.Help = word, ""
	case usage == "GAUGE":
		out.Value = word
	case usage == "COUNTER" && strings.HasSuffix(name, "_total"):
		out.Count = word
	case usage == "COUNTER":
		out.Untyped = word
		c.note(column.Line, "%s: the counter %s keeps its name, and has no type as that does not end with _total", peer.Key, name)
	case usage == "DISCARD":
		return
	default:
		c.lose(column.Line, "%s: the column %s: the usage %q is unknown", peer.Key, column.field, usage)
		return
	}
	table.Columns = append(table.Columns, out)
}

func (n namedPeerColumn) help(peer peerTable) string {
	if n.Description != "" {
		return n.Description
	}
	return "Column " + n.field + " of the query " + peer.Key + "."
}

// last gives the columns in order; of one that is there twice, the last counts.
func (t peerTable) last() []namedPeerColumn {
	var columns []namedPeerColumn
	for i, column := range t.columns {
		if !slices.ContainsFunc(t.columns[i+1:], func(later namedPeerColumn) bool { return later.field == column.field }) {
			columns = append(columns, column)
		}
	}
	return columns
}

func (c *conversion) unknownKeys(peer peerTable, column namedPeerColumn) {
	for _, key := range slices.Sorted(maps.Keys(column.Unknown)) {
		c.note(column.Line, "%s: the key %s of the column %s means nothing to either exporter", peer.Key, key, column.field)
	}
}

// versionBound is one condition on a version as postgres_exporter has them: >=14.0.0.
var versionBound = regexp.MustCompile(`^(>=|>|<=|<|=|==|)v?(\d+)(?:\.(\d+|x))?(?:\.(\d+|x))?$`)

// versions reads ">=13.0.0 <17.0.0".
func (c *conversion) versions(table *customTable, peer peerTable) {
	if peer.RunOnServer == "" {
		return
	}
	c.note(peer.Line, "%s: runonserver counts here; postgres_exporter reads it and asks every version", peer.Key)
	source := collect.SourceYAML{Query: table.Query}
	for _, condition := range strings.Fields(strings.NewReplacer("> ", ">", "< ", "<", "= ", "=").Replace(peer.RunOnServer)) {
		from, below, ok := bounds(condition)
		if !ok {
			c.lose(peer.Line, "%s: the versions %q: write since and until into sources", peer.Key, peer.RunOnServer)
			return
		}
		source.Since = max(source.Since, from)
		if below > 0 && (source.Until == 0 || below < source.Until) {
			source.Until = below
		}
	}
	table.Query, table.Sources = "", []collect.SourceYAML{source}
}

// bounds turns a condition into from <= version < below. A version is that of a major, whose minor counts in the
// second place as in 14.2.
func bounds(condition string) (from, below int, ok bool) {
	match := versionBound.FindStringSubmatch(condition)
	if match == nil {
		return 0, 0, false
	}
	major, _ := strconv.Atoi(match[2])
	minor, _ := strconv.Atoi(match[3]) // x and nothing are 0
	version := major*10000 + minor
	switch match[1] {
	case ">=":
		return version, 0, true
	case ">":
		return version + 1, 0, true
	case "<=":
		return 0, version + 1, true
	case "<":
		return 0, version, true
	}
	if match[3] == "x" || match[3] == "" {
		return version, version + 10000, true
	}
	return version, version + 1, true
}

// carryPgExporter makes a table of an entry of pg_exporter.
func (c *conversion) carryPgExporter(peer peerTable) (customTable, bool) {
	prefix := peer.Key
	if peer.Name != "" {
		prefix = peer.Name
	}
	table, ok := c.start(peer, prefix)
	switch {
	case !ok:
		return table, false
	case peer.Skip:
		c.note(peer.Line, "%s: it is left out, as skip tells pg_exporter to", peer.Key)
		return table, false
	case slices.Contains(peer.Tags, "pgbouncer"):
		c.lose(peer.Line, "%s: it asks pgbouncer; queries of your own are asked of PostgreSQL only", peer.Key)
		return table, false
	}
	c.keep(&table, peer, peer.TTL)
	if peer.Timeout > 0 {
		table.Timeout = time.Duration(peer.Timeout * float64(time.Second))
	}
	c.versionNumbers(&table, peer)
	table.EachDatabase = !slices.Contains(peer.Tags, "cluster")
	for _, tag := range peer.Tags {
		c.tag(&table, peer, tag)
	}
	if peer.Fatal {
		c.lose(peer.Line, "%s: fatal: a failure costs this query only, and pg_up stays 1", peer.Key)
	}
	if len(peer.Predicates) > 0 {
		c.lose(peer.Line, "%s: predicate_queries: the query is always asked; put the condition into it", peer.Key)
	}
	for _, column := range peer.last() {
		c.pgExporterColumn(&table, peer, column)
	}
	return table, true
}

func (c *conversion) versionNumbers(table *customTable, peer peerTable) {
	since, err := versionBoundary(peer.MinVersion)
	until, untilErr := versionBoundary(peer.MaxVersion)
	switch {
	case err != nil || untilErr != nil:
		c.lose(peer.Line, "%s: the versions %q and %q: write since and until into sources", peer.Key, peer.MinVersion, peer.MaxVersion)
	case since > 0 || until > 0:
		table.Sources = []collect.SourceYAML{{Since: since, Until: until, Query: table.Query}}
		table.Query = ""
	}
}

// versionBoundary reads a number such as 090600; nothing is no boundary.
func versionBoundary(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	return strconv.Atoi(text)
}

// tag carries over what a tag asks for. All of a query's tags must hold.
func (c *conversion) tag(table *customTable, peer peerTable, tag string) {
	kind, name, _ := strings.Cut(tag, ":")
	switch {
	case tag == "cluster":
	case tag == "primary", tag == "master", tag == "leader":
		table.Needs.Primary = true
	case tag == "standby", tag == "replica", tag == "slave":
		table.Needs.Replica = true
	case kind == "extension" && table.Needs.Extension == "":
		table.Needs.Extension = name
	case kind == "dbname" && len(table.Databases) == 0:
		table.Databases, table.EachDatabase = []string{name}, false
	default:
		c.lose(peer.Line, "%s: the tag %s: the query is asked whether it holds or not", peer.Key, tag)
	}
}

func (c *conversion) pgExporterColumn(table *customTable, peer peerTable, column namedPeerColumn) {
	c.unknownKeys(peer, column)
	if column.Name != "" {
		column.field = column.Name
	}
	name := column.field
	if column.Rename != "" {
		name = column.Rename
	}
	if column.Usage == "HISTOGRAM" {
		c.note(column.Line, "%s: the histogram %s is left out: pg_exporter shows none either", peer.Key, name)
		return
	}
	before := len(table.Columns)
	c.simple(table, peer, column, name)
	if len(table.Columns) == before || column.Usage == "LABEL" {
		return
	}
	if column.Default != "" {
		c.lose(column.Line, "%s: the default %s of %s: NULL gives no sample; use coalesce in the query", peer.Key, column.Default, name)
	}
	if column.Scale == "" {
		return
	}
	scale, err := strconv.ParseFloat(column.Scale, 64)
	if err != nil || scale == 0 {
		c.lose(column.Line, "%s: the scale %q of %s is none", peer.Key, column.Scale, name)
		return
	}
	table.Columns[before].Scale = &scale
}
