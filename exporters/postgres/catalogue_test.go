package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestCatalogue scrapes a primary and a replica of each major with everything turned on, as a role that may only
// monitor.
func TestCatalogue(t *testing.T) {
	for _, major := range servers.Majors() {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, major)
			primary, replica := scrape(t, monitorDSN(w.primary, "shop")), scrape(t, monitorDSN(w.replica, "shop"))
			works := scrape(t, monitorDSN(w.primary, "works"))
			primary.succeeded(t, lacking(major, "stat_wal_receiver", "replica", "stat_recovery_prefetch", "replica", "vector_indexes", "vector"))
			replica.succeeded(t, lacking(major, "vector_indexes", "vector"))
			t.Run("peer", func(t *testing.T) { comparePeer(t, w, primary, replica) })
			t.Run("golden", func(t *testing.T) { compareGolden(t, major, primary, replica, works) })
			t.Run("values", func(t *testing.T) { checkValues(t, w) })
			t.Run("beyond", func(t *testing.T) { checkBeyond(t, w) })
			t.Run("settings", func(t *testing.T) { checkSettings(t, w.primary, primary) })
			t.Run("oldExtension", func(t *testing.T) { checkOldExtension(t, w.primary) })
			t.Run("anybody", func(t *testing.T) { checkAnybody(t, w) })
		})
	}
}

// TestNames lints all names and help texts but those that were made elsewhere, and looks up what the alerts use.
func TestNames(t *testing.T) {
	list, err := catalogue("", defaultStatements)
	if err != nil {
		t.Fatal(err)
	}
	self := collect.NewSelf("pg", exporter().Aliases)
	var kept []string
	for _, e := range establishedFamilies(t) {
		kept = append(kept, e.name)
	}
	suitetest.Lint(t, list, self, func(name string) bool { return slices.Contains(kept, name) })
	suitetest.Rules(t, "../../alerts/postgres*.yml", suitetest.Families(list, self), "pg_")
}

// TestManyTables has more tables than are shown: the largest stay, whole, and the cut is told.
func TestManyTables(t *testing.T) {
	server := servers.NewPostgres(t, servers.PostgresOptions{
		Initial:  append(slices.Clone(superuserSetup[:1]), `CREATE DATABASE shop`),
		Settings: map[string]string{"max_locks_per_transaction": "1000"},
	})
	do(t, server, "shop", `DO $$ BEGIN FOR n IN 1..1100 LOOP EXECUTE format('CREATE TABLE t%s (id int)', n); END LOOP; END $$`,
		`CREATE TABLE large (id int)`, `INSERT INTO large SELECT generate_series(1, 10000)`, `VACUUM large`)
	p := scrape(t, monitorDSN(server, "shop"))
	for _, name := range []string{"pg_stat_user_tables_seq_scan", "pg_stat_user_tables_n_live_tup", "pg_stat_user_tables_table_size_bytes", "pg_statio_user_tables_heap_blocks_hit"} {
		if n := len(p.values(name)); n != tableLimit {
			t.Errorf("%s has %d samples", name, n)
		}
		p.value(t, name, "relname", "large")
	}
	for _, collector := range []string{"stat_user_tables", "stat_user_tables_size", "statio_user_tables"} {
		p.value(t, "pg_exporter_collector_series_limited", "collector", collector)
	}
	if n := len(p.values("pg_exporter_collector_series_limited")); n != 3 {
		t.Errorf("%d collectors were cut", n)
	}
}

// lacking says what a major has no view for, and what else is expected to be missing.
func lacking(major int, more ...string) map[string]string {
	missing := map[string]string{}
	if major < 14 {
		missing["stat_wal"], missing["stat_progress_copy"], missing["stat_replication_slots"], missing["stat_statements_info"] = "version", "version", "version", "version"
	}
	if major < 15 {
		missing["stat_subscription_stats"], missing["stat_recovery_prefetch"], missing["shmem_allocations"] = "version", "version", "version"
	}
	if major < 16 {
		missing["buffercache_summary"], missing["stat_io"] = "version", "version"
	}
	if major < 17 {
		missing["stat_checkpointer"] = "version"
	}
	for i := 0; i < len(more); i += 2 {
		missing[more[i]] = more[i+1]
	}
	return missing
}

// established is one family of the recorded list: what users' dashboards and alerts rely on.
type established struct {
	name, kind, labels, where string
	from, below               int
}

func establishedFamilies(t *testing.T) []established {
	t.Helper()
	text, err := os.ReadFile("testdata/peer_families.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var all []established
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 6 {
			t.Fatalf("%q has %d fields", line, len(fields))
		}
		e := established{name: fields[0], kind: fields[1], labels: fields[2], where: fields[3]}
		_, _ = fmt.Sscan(fields[4], &e.from)
		_, _ = fmt.Sscan(fields[5], &e.below)
		all = append(all, e)
	}
	return all
}

// comparePeer looks for each established family, with the same type and labels, or for the reason why it differs.
func comparePeer(t *testing.T, w *world, primary, replica page) {
	differences, err := os.ReadFile("testdata/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	settings := strings.Fields(strings.ReplaceAll(ask(t, w.primary, "shop", `SELECT string_agg(name, ' ') FROM pg_settings`), ".", "_"))
	for _, e := range establishedFamilies(t) {
		if e.from > w.primary.Major() || e.below > 0 && e.below <= w.primary.Major() {
			continue
		}
		setting, isSetting := strings.CutPrefix(e.name, "pg_settings_")
		dispensable := strings.Contains(string(differences), "`"+e.name+"`") ||
			isSetting && !slices.ContainsFunc(settings, func(s string) bool { return strings.HasPrefix(setting, s) })
		if e.where != "replica" {
			e.compare(t, "primary", primary, dispensable)
		}
		if e.where != "primary" {
			e.compare(t, "replica", replica, dispensable)
		}
	}
}

func (e established) compare(t *testing.T, where string, p page, dispensable bool) {
	t.Helper()
	family := p.family(e.name)
	if family == nil {
		if !dispensable {
			t.Errorf("%s is missing on the %s", e.name, where)
		}
		return
	}
	if kind, labels := typeName(family), labelNames(family); kind != e.kind || labels != e.labels {
		t.Errorf("%s is a %s with the labels %s on the %s, not a %s with %s", e.name, kind, labels, where, e.kind, e.labels)
	}
}

// sometimes are families that need an accident, or come and go with the moment.
var sometimes = []string{
	"pg_database_checksum_last_failure_timestamp_seconds", "pg_stat_activity_autovacuum_timestamp_seconds",
	"pg_stat_replication_write_lag_seconds", "pg_stat_replication_flush_lag_seconds", "pg_stat_replication_replay_lag_seconds",
	"pg_stat_replication_backend_xmin_age_transactions", // with a slot, it is the slot that keeps rows
	"pg_autovacuum_longest_work_seconds", "pg_archive_status_oldest_ready_timestamp_seconds",
}

// compareGolden holds what a major gives against what was recorded, settings aside: they differ between builds.
func compareGolden(t *testing.T, major int, pages ...page) {
	skip := slices.Clone(sometimes)
	for _, f := range collect.NewSelf("pg", exporter().Aliases).Families() { // not of this catalogue
		skip = append(skip, f.Name)
	}
	lines := map[string]string{}
	for _, p := range pages {
		for _, f := range p.families {
			name := f.GetName()
			if strings.HasPrefix(name, "pg_settings_") && name != "pg_settings_pending_restart" || slices.Contains(skip, name) {
				continue
			}
			lines[name] = fmt.Sprintf("# HELP %s %s\n# TYPE %s %s\n", name, f.GetHelp(), name, typeName(f))
		}
	}
	var got bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		got.WriteString(lines[name])
	}
	suitetest.Golden(t, fmt.Sprintf("testdata/golden_%d.txt", major), got.String(), *update)
}
