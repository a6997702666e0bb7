package redis

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
	"time"

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
	{"redis_commands_*", 0, "the exporters' own commands are counted"},
	{"redis_latency_percentiles_usec", 0, "likewise; what is compared of a summary is how often"},
	{"redis_total_*_processed", 0, "likewise"},
	{"redis_net_*_bytes_total", 0, "likewise"},
	{"redis_io_threaded_*", 0, "likewise"},
	{"redis_cpu_*_seconds_total", 0, "likewise"},
	{"redis_eventloop_*", 0, "likewise"},
	{"redis_expire_cycle_cpu_time_ms_total", 0, "time passes"},
	{"redis_keyspace_*_total", 0, "keys that are checked are read"},
	{"redis_connections_received_total", 1, "the peer opens one for each scrape"},
	{"redis_connected_clients", 1, "the peer opens one for each scrape, and ours keeps one"},
	{"redis_clients_in_timeout_table", 1, "likewise"},
	{"redis_uptime_in_seconds", 0, "time passes"},
	{"redis_start_time_seconds", 1, "it is what is left of the time when the uptime is taken off"},
	{"redis_connected_slave_lag_seconds", 1, "a replica reports once a second"},
	{"redis_connected_slave_offset_bytes", 100, "a primary pings its replicas"},
	{"redis_*_repl_offset", 100, "likewise"},
	{"redis_master_last_io_seconds_ago", 1, "likewise"},
	{"redis_repl_backlog_*", 100, "likewise"},
	{"redis_slave_repl*", 100, "likewise"},
	{"redis_master_repl*", 100, "likewise"},
	{"redis_cluster_*messages_*", 10, "nodes talk to each other"},
	{"redis_client_recent_max_*", 200e3, "the exporters are clients themselves"},
	{"redis_mem_clients_normal", 200e3, "likewise"},
	{"redis_mem_*replication_*", 100e3, "a primary pings its replicas"},
	{"redis_db_avg_ttl_seconds", 1, "the server finds it out by and by"},
	{"redis_stream_group_consumer_idle_seconds", 60, "streams of a pattern are looked for in the background"},
	{"redis_connected_client_*_bytes", 100e3, "the server takes back what a client does not use any longer"},
	{"redis_instantaneous_*", 1e3, "it is of the last moments"},
	{"redis_connected_client_*_timestamp", 1, "it is what is left of the time when the age is taken off"},
	{"redis_last_key_groups_scrape_duration_milliseconds", 1e3, "it is about the exporter"},
	{"redis_memory_used_rss_bytes", 5e6, "likewise"},
	{"redis_memory_used*", 500e3, "likewise"},
	{"redis_mem_fragmentation_ratio", 2, "likewise"},
	{"redis_mem_fragmentation_bytes", 5e6, "likewise"},
	{"redis_mem_cluster_links_bytes", 1e6, "nodes talk to each other"},
	{"redis_allocator_*_ratio", 2, "the server uses its memory"},
	{"redis_allocator_*_bytes", 5e6, "likewise"},
	{"redis_sentinel_*_last_ok_ping_reply_seconds", 2, "time passes"},
	{"redis_hz", 20, "a sentinel changes it, so that sentinels do not vote at once"},
	{"redis_reply_buffer_*", 0, "the exporters' answers fill it"},
	{"redis_exporter_*", 1e9, "it is about the exporter"},
}

// Beside the peer, on the same server, ours has every family of it with the same type, labels, series and values, but
// for what differences.md names, and that does differ.
func TestPeer(t *testing.T) {
	intended := differences(t)
	var mu sync.Mutex
	differ := map[string]bool{}
	t.Run("worlds", func(t *testing.T) {
		for name, create := range worlds {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := create(t)
				for how, v := range variants(w) {
					t.Run(how, func(t *testing.T) {
						for family, found := range newPair(t, append(login(w.server), v.env...), v.args).compare(t) {
							mu.Lock()
							differ[family] = true
							mu.Unlock()
							if !intended[family] {
								t.Errorf("%s:\n\t%s", family, strings.Join(found[:min(len(found), 5)], "\n\t"))
							}
						}
					})
				}
			})
		}
	})
	for family := range intended {
		if !differ[family] {
			t.Errorf("differences.md names %s, which does not differ", family)
		}
	}
}

// variant is what both exporters are told.
type variant struct{ env, args []string }

// variants are the default settings, everything switched on, and on a server alone also what changes or hides families.
func variants(w world) map[string]variant {
	all := map[string]variant{"default": {}, "everything": {args: w.args}}
	if w.name != "redis7" {
		return all
	}
	keys := []string{"--check-single-keys=db0=text,db0=number,db0=hash"}
	all["role"] = variant{[]string{"REDIS_EXPORTER_APPEND_INSTANCE_ROLE_LABEL=true"}, keys}
	all["no values"] = variant{[]string{"REDIS_EXPORTER_DISABLE_EXPORTING_KEY_VALUES=true"}, keys}
	all["no empty databases"] = variant{[]string{"REDIS_EXPORTER_INCL_METRICS_FOR_EMPTY_DATABASES=false"}, nil}
	all["no histograms"] = variant{[]string{"REDIS_EXPORTER_EXCLUDE_LATENCY_HISTOGRAM_METRICS=true"}, nil}
	all["no consumers"] = variant{[]string{"REDIS_EXPORTER_STREAMS_EXCLUDE_CONSUMER_METRICS=true", "REDIS_EXPORTER_CHECK_SINGLE_STREAMS=db0=stream"}, nil}
	all["secret settings"] = variant{[]string{"REDIS_EXPORTER_INCL_CONFIG_METRICS=true", "REDIS_EXPORTER_REDACT_CONFIG_METRICS=false"}, nil}
	all["master's keys"] = variant{[]string{"REDIS_EXPORTER_SKIP_CHECKKEYS_FOR_ROLE_MASTER=true"}, keys}
	return all
}

// differences are the families that are meant to differ.
func differences(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../exporters/redis/testdata/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, match := range regexp.MustCompile("`(redis_[a-z0-9_]+)`").FindAllStringSubmatch(string(text), -1) {
		named[match[1]] = true
	}
	return named
}

// pair is ours and the peer's exporter of one server.
type pair struct{ ours, theirs *exporter }

func newPair(t *testing.T, env, args []string) pair {
	t.Helper()
	path, err := servers.RedisPeer()
	if err != nil {
		t.Fatal(err)
	}
	started, err := servers.StartExporter(t.Context(), path, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Stop() })
	theirs := &exporter{&harness.Exporter{Process: started.Process, T: t, URL: started.URL}}
	return pair{start(t, env, args...), theirs}
}

// compare scrapes both and says by family what differs. The first scrapes are not looked at: what is done only once, at
// the first connection, is done then, and what is scanned in the background has been.
func (p pair) compare(t *testing.T) map[string][]string {
	t.Helper()
	p.theirs.Families()
	settle(t, p.ours)
	before, established := p.ours.Families(), p.theirs.Families()
	harness.Freshen()
	after := p.ours.Families()
	found := map[string][]string{}
	for name, family := range established {
		if !strings.HasPrefix(name, "redis_") {
			continue // of the process
		}
		if what := compareFamily(family, before[name], after[name]); len(what) > 0 {
			found[name] = what
		}
	}
	return found
}

// settle waits until all collectors of ours have something to show.
func settle(t *testing.T, e *exporter) {
	t.Helper()
	settleAs(t, e, "redis")
}

// settleAs is settle for one whose metrics begin with a word.
func settleAs(t *testing.T, e *exporter, word string) {
	t.Helper()
	harness.Eventually(t, 20*time.Second, "all collectors succeed", func() error {
		answer := e.Scrape("10")
		harness.Freshen()
		if failing := answer.Failing(word); len(failing) > 0 {
			return fmt.Errorf("%v fail", failing)
		}
		return nil
	})
}

// compareFamily says what differs between a family of the peer and ours from before and after.
func compareFamily(theirs, before, after *dto.MetricFamily) []string {
	if before == nil || after == nil {
		return []string{fmt.Sprintf("absent, where the peer has %v", bySeries(theirs))}
	}
	var found []string
	if theirs.GetType() != before.GetType() {
		found = append(found, fmt.Sprintf("type %s, the peer's %s", before.GetType(), theirs.GetType()))
	}
	name := before.GetName()
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

// agrees tells whether the peer's value is what ours shows, as near as the family stands still.
func agrees(family string, theirs, before, after float64) bool {
	lowest, highest, slack := before, before, math.Abs(theirs)*1e-12 // the last digits of a fraction
	for _, m := range moving {
		if match, _ := path.Match(m.families, family); match {
			lowest, highest, slack = min(before, after), max(before, after), slack+m.slack
			break
		}
	}
	return theirs >= lowest-slack && theirs <= highest+slack
}

// bySeries gives the values of a family, but for the connections of the exporters. The value of a histogram is the
// number of its observations.
func bySeries(family *dto.MetricFamily) map[string]float64 {
	all := map[string]float64{}
	for _, m := range family.Metric {
		var labels []string
		for _, l := range m.Label {
			labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
		slices.Sort(labels)
		series := strings.Join(labels, ",")
		value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue() +
			float64(m.GetHistogram().GetSampleCount()) + float64(m.GetSummary().GetSampleCount())
		if !strings.Contains(series, `name="redis_exporter"`) && !strings.Contains(series, `name="redis-exporter"`) {
			all[series] = value
		}
	}
	return all
}
