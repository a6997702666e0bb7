package postgres

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// moving are the families that change while nobody does anything, by a pattern as for file names. Ours is scraped
// before and after the peer, whose value must lie between the two, or as far outside as the slack says. The values of
// all other families must be equal.
var moving = []struct {
	families string
	slack    float64
	reason   string
}{
	{"pg_long_running_transactions", 2, "before 0.18 the peer counted its own"},
	{"pg_stat_archiver_last_archive_age", 0, "time passes"},
	{"pg_stat_activity_max_tx_duration", 0, "time passes"},
	{"pg_replication_lag_seconds", 0, "time passes"},
	{"pg_replication_last_replay_seconds", 0, "time passes"},
	{"pg_long_running_transactions_oldest_timestamp_seconds", 0, "time passes: it is an age"},
	{"pg_replication_slots_pg_wal_lsn_diff", 0, "a primary with replicas logs its open transactions every 15 seconds"},
	{"pg_replication_slots_slot_current_wal_lsn", 0, "likewise"},
	{"pg_stat_replication_pg_current_wal_lsn_bytes", 0, "likewise"},
	{"pg_stat_replication_pg_wal_lsn_diff", 1 << 17, "likewise, and a busy replica is behind for a moment"},
	{"pg_stat_wal_receiver_*", 0, "likewise, and the link says every 10 seconds that it lives"},
	{"pg_stat_database_numbackends", 1, "the peer opens a connection for each scrape, beside the one it keeps"},
	{"pg_stat_database_*", 0, "the exporters' own statements are counted"},
	{"pg_stat_statements_*", 0, "the exporters' own statements are counted"},
	{"pg_stat_bgwriter_buffers_alloc_total", 0, "the exporters' own statements read catalogues"},
	{"pg_stat_progress_vacuum_*", 0, "a vacuum is under way, if slowly"},
	{"pg_buffercache_summary_*", 64, "the exporters' own statements pin, use and let go of buffers"},
}

// ownSession are settings that the peer makes for its own session, where it then sees them.
var ownSession = []string{"pg_settings_extra_float_digits", "pg_settings_statement_timeout_seconds"}

// bygone is a family that the peer has since 0.18 split into those of the table and its indexes.
const bygone = "pg_stat_user_tables_size_bytes"

// unprovoked are the differences that this test does not bring about, with what it would take.
var unprovoked = map[string]string{
	"pg_stat_activity_autovacuum_timestamp_seconds": "an autovacuum against wraparound, or of two tables of the same name",
	"pg_stat_wal_receiver_upstream_node":            "a link with a slot that is just beginning",
}

// Beside the peer, on the same server, ours has every family of it with the same type, labels, series and values, but
// for what differences.md names, and that does differ.
func TestPeer(t *testing.T) {
	intended := differences(t)
	var mu sync.Mutex
	seen := map[string]bool{}
	t.Run("majors", func(t *testing.T) {
		for _, major := range []int{15, 17} {
			t.Run(fmt.Sprint(major), func(t *testing.T) {
				t.Parallel()
				visitPeerWorld(t, major, func(when, family string, found []string) {
					mu.Lock()
					defer mu.Unlock()
					seen[family] = true
					if len(found) > 0 && !intended[family] {
						t.Errorf("%s: %s:\n\t%s", when, family, strings.Join(found[:min(len(found), 5)], "\n\t"))
					}
				})
			})
		}
	})
	for family := range intended {
		if !seen[family] && unprovoked[family] == "" {
			t.Errorf("differences.md names %s, which does not differ", family)
		}
	}
}

// visitPeerWorld compares while nobody is there, while much goes on, without a slot, and while a table is locked, which
// costs the peer more than its sizes. A report without findings is of a family that the peer lacks.
func visitPeerWorld(t *testing.T, major int, report func(when, family string, found []string)) {
	t.Helper()
	w := newPeerWorld(t, major)
	primary, replica := newPair(t, w.primary), newPair(t, w.replica)
	compare := func(when string, p pair, families string) {
		t.Helper()
		for family, found := range p.compare() {
			if match, _ := path.Match(families, family); match {
				report(when, family, found)
			}
		}
	}
	compare("quiet primary", primary, "pg_long_running_transactions*")
	w.inhabit(t)
	compare("primary", primary, "*")
	compare("replica", replica, "*")
	w.dropLinkSlot(t)
	compare("replica without a slot", replica, "*")
	session(t, w.primary, "", `BEGIN; LOCK TABLE split1 IN ACCESS EXCLUSIVE MODE`)
	compare("locked table", primary, "pg_stat_user_tables_*_size_bytes")
}

// differences are the families that are meant to differ.
func differences(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../exporters/postgres/testdata/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, match := range regexp.MustCompile("`(pg_[a-z0-9_]+)`").FindAllStringSubmatch(string(text), -1) {
		if !ofExporter(match[1]) {
			named[match[1]] = true
		}
	}
	return named
}

// pair is ours and the peer's exporter of one server.
type pair struct{ ours, theirs *exporter }

func newPair(t *testing.T, server *servers.Postgres) pair {
	t.Helper()
	peer, err := servers.Peer()
	if err != nil {
		t.Fatal(err)
	}
	theirs := startExporter(t, peer, named(server.DSN("postgres"), "peer")+"&statement_timeout=2000")
	return pair{startExporter(t, harness.Binary(t, exporterName), server.DSN("postgres")), theirs}
}

// compare scrapes both and says by family what differs; nothing, where only ours has the family. The first scrapes are not looked at: what is done only once,
// at the first connection, is done then.
func (p pair) compare() map[string][]string {
	p.ours.Families()
	p.theirs.Families()
	harness.Freshen()
	before, established := p.ours.Families(), p.theirs.Families()
	harness.Freshen()
	after := p.ours.Families()
	found := map[string][]string{}
	for _, family := range established {
		if !strings.HasPrefix(family.GetName(), "pg_") || strings.HasPrefix(family.GetHelp(), "Unknown metric") || family.GetName() == bygone {
			continue // of the process, or a column of which the peer knows nothing
		}
		modernize(family)
		name := family.GetName()
		if what := compareFamily(family, before[name], after[name]); len(what) > 0 {
			found[name] = what
		}
		delete(before, name)
	}
	for name := range before {
		found[name] = nil
	}
	return found
}

// startExporter runs ours or the peer's with the peer's collectors on.
func startExporter(t *testing.T, path, dsn string) *exporter {
	t.Helper()
	peer, err := servers.Peer()
	if err != nil {
		t.Fatal(err)
	}
	collectors, err := servers.Collectors(t.Context(), peer)
	if err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, name := range collectors {
		if path != peer && name == "replication_slot" {
			name = "replication_slots" // as newer versions of the peer call it
		}
		args = append(args, "--collector."+name)
	}
	started, err := servers.StartExporter(t.Context(), path, []string{"DATA_SOURCE_NAME=" + dsn}, args...)
	if err != nil {
		t.Fatal(err)
	}
	e := &exporter{&harness.Exporter{Process: started.Process, T: t, URL: started.URL}}
	t.Cleanup(func() { _ = e.Stop() })
	return e
}

// compareFamily says what differs between a family of the peer and ours from before and after.
func compareFamily(theirs, before, after *dto.MetricFamily) []string {
	if before == nil || after == nil {
		if len(bySeries(theirs)) == 0 {
			return nil
		}
		return []string{fmt.Sprintf("absent, where the peer has %v", bySeries(theirs))}
	}
	var found []string
	if theirs.GetType() != before.GetType() {
		found = append(found, fmt.Sprintf("type %s, the peer's %s", before.GetType(), theirs.GetType()))
	}
	name := before.GetName()
	if ofExporter(name) || slices.Contains(ownSession, name) {
		return found
	}
	old, now := bySeries(before), bySeries(after)
	for series, v := range bySeries(theirs) {
		was, there := old[series]
		is, stillThere := now[series]
		delete(old, series)
		switch {
		case !there || !stillThere:
			found = append(found, fmt.Sprintf("lacks {%s} %v", series, v))
		case !agrees(name, v, was, is):
			found = append(found, fmt.Sprintf("{%s}: %v and then %v, the peer's between %v", series, was, is, v))
		}
	}
	for _, series := range slices.Sorted(maps.Keys(old)) {
		found = append(found, fmt.Sprintf("has {%s} %v, which the peer has not", series, old[series]))
	}
	return found
}

// modernize gives a family of the peer the name and labels that it has in newer versions of the peer, and so in ours:
// since it got rid of its old engine, whose families had a label server, and a process ID for the name of a slot.
func modernize(family *dto.MetricFamily) {
	name := strings.Replace(family.GetName(), "pg_replication_slot_", "pg_replication_slots_", 1)
	family.Name = &name
	if name == "pg_static" || strings.HasPrefix(name, "pg_stat_database_conflicts_") {
		return
	}
	for _, m := range family.Metric {
		m.Label = slices.DeleteFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == "server" })
		for _, l := range m.Label {
			if l.GetName() == "slot_name" && strings.HasPrefix(name, "pg_stat_replication_") && len(m.Label) == 4 {
				*l.Name = "pid"
			}
		}
	}
}

// ofExporter tells families that describe the exporter itself, whose values are its own.
func ofExporter(family string) bool {
	return strings.HasPrefix(family, "pg_exporter_") || strings.HasPrefix(family, "pg_scrape_")
}

// agrees tells whether the peer's value is what ours shows, as near as the family stands still.
func agrees(family string, theirs, before, after float64) bool {
	lowest, highest, slack := before, before, math.Abs(theirs)*1e-12 // the last digits of a number of milliseconds
	for _, m := range moving {
		if match, _ := path.Match(m.families, family); match {
			lowest, highest, slack = min(before, after), max(before, after), slack+m.slack
			break
		}
	}
	return theirs >= lowest-slack && theirs <= highest+slack
}

// bySeries gives the values of a family, but for the sessions of the exporters and what is not known: ours leaves out
// what the peer calls NaN. A receiver of the log is known by its process, whatever the slot. The value of a histogram is the number of its observations.
func bySeries(family *dto.MetricFamily) map[string]float64 {
	all := map[string]float64{}
	for _, m := range family.Metric {
		var labels []string
		for _, l := range m.Label {
			if l.GetName() != "slot_name" || !strings.HasPrefix(family.GetName(), "pg_stat_replication_") {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
		}
		slices.Sort(labels)
		series := strings.Join(labels, ",")
		value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue() + float64(m.GetHistogram().GetSampleCount())
		if !math.IsNaN(value) && !strings.Contains(series, `application_name="peer"`) && !strings.Contains(series, `application_name="postgres-exporter"`) {
			all[series] = value
		}
	}
	return all
}
