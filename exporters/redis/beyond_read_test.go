package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// answerOf makes the answer of a reply as it goes over the wire.
func answerOf(t testing.TB, raw string) *reply {
	t.Helper()
	v, err := parseReply([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return &reply{tree: &tree{value: v}}
}

// samples gives what a batch holds as name{label,...} value, without the prefix.
func samples(out *metric.Batch) []string {
	var all []string
	for _, f := range out.Families() {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetValue())
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			all = append(all, fmt.Sprintf("%s{%s} %v", strings.TrimPrefix(f.GetName(), "redis_"), strings.Join(labels, ","), value))
		}
	}
	return all
}

// readAll gives a collector the same answer to each of its questions.
func readAll(c *collect.Collector, r *reply, out *metric.Batch) error {
	id := collect.Identity{Product: "Valkey", Version: 90000}
	if c.Talk == nil {
		return c.Read(0, r, out)
	}
	talk := c.Talk(id)
	for i := range talk.Ask() {
		if err := talk.Read(i, r, nil, out); err != nil {
			return err
		}
	}
	return nil
}

// text makes a string reply.
func text(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func TestBucketCounts(t *testing.T) {
	for name, test := range map[string]struct {
		buckets string // pairs of bound and count
		calls   float64
		want    string
	}{
		"all are ours":         {"2 1 8 3 33 6 132 10 528 15 2113 21 8454 28 33816 36 135266 45 541065 55", 60, "[1 2 3 4 5 6 7 8 9 10 5]"},
		"between ours":         {"1 1 2 2 4 5 16 7 33 9", 9, "[2 3 4 0 0 0 0 0 0 0 0]"},
		"none is ours":         {"4 5 16 7", 7, "[0 5 2 0 0 0 0 0 0 0 0]"},
		"longer than a second": {"1082130 2", 2, "[0 0 0 0 0 0 0 0 0 0 2]"},
		"calls after the last": {"1 1", 3, "[1 0 0 0 0 0 0 0 0 0 2]"},
		"no buckets":           {"", 0, "[0 0 0 0 0 0 0 0 0 0 0]"},
		"counts fall":          {"1 2 4 1", 2, ""},
		"more than calls":      {"1 2", 1, ""},
		"below nothing":        {"1 -1", 1, ""},
		"no number":            {"1 x", 1, ""},
		"huge":                 {"1 1e19", 1e19, ""},
	} {
		words := strings.Fields(test.buckets)
		raw := fmt.Sprintf("*%d\r\n", len(words))
		for _, word := range words {
			raw += text(word)
		}
		got, err := bucketCounts(answerOf(t, raw).value, test.calls)
		if test.want == "" {
			if fault.Of(err) != fault.Malformed {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		} else if fmt.Sprint(got) != test.want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestBinaryNumber(t *testing.T) {
	for in, want := range map[string]float64{"0": 0, "512": 512, "1K": 1024, "4K": 4096, "1M": 1 << 20, "2G": 2 << 30, "1T": 1 << 40, "8E": 8 << 60} {
		if got, ok := binaryNumber(in); !ok || got != want {
			t.Errorf("%s is %v, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "K", "1KK", "K1", "x", "NaN"} {
		if got, ok := binaryNumber(in); ok {
			t.Errorf("%s is %v", in, got)
		}
	}
}

func TestLoggedCommand(t *testing.T) {
	for in, want := range map[string]string{
		"GET": "get", "CONFIG|SET": "config|set", "json.set": "json.set", "": others, "get x": others, "hunter2\n": others, "é": others,
		strings.Repeat("a", 64): strings.Repeat("a", 64), strings.Repeat("a", 65): others,
	} {
		if got := loggedCommand(answerOf(t, "*1\r\n"+text(in)).Items()); got != want {
			t.Errorf("%q is %q", in, got)
		}
	}
	if got := loggedCommand(nil); got != others {
		t.Errorf("nothing is %q", got)
	}
}

func TestTally(t *testing.T) {
	for names, want := range map[int]int{0: 0, 1: 1, 20: 20, 21: 21, 22: 21, 5000: 21} {
		counts := tally{}
		for i := range names {
			for range i%7 + 1 {
				counts.add(fmt.Sprint("n", i), 2)
			}
		}
		series, count, sum := 0, 0.0, 0.0
		counts.each(func(name string, a amounts) {
			series, count, sum = series+1, count+a.count, sum+a.sum
			if name == others && names <= 21 {
				t.Errorf("of %d names one is left out", names)
			}
		})
		if series != want || sum != 2*count {
			t.Errorf("%d names have %d series that come to %v and %v", names, series, count, sum)
		}
	}
}

// TestClients holds the sums of 20,000 clients, whose number of series does not grow with them, and that what a server
// does not tell of its clients is absent.
func TestClients(t *testing.T) {
	var list strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&list, "id=%d addr=127.0.0.1:%d name=n%d age=%d idle=%d flags=N db=0 multi=-1 qbuf=10 omem=0 tot-mem=%d cmd=get user=u%d lib-name=l lib-ver=1\n", i, i, i, i, i/2, 1<<20+i%2, i%3)
	}
	c, out := clientSummary(), metric.NewBatch(0)
	if err := c.Read(0, answerOf(t, text(list.String())), out); err != nil {
		t.Fatal(err)
	}
	got := samples(out)
	if len(got) > 120 {
		t.Errorf("%d series", len(got))
	}
	for _, want := range []string{
		"clients_by_name{(other)} 19980", "clients_by_user{u0} 6667", "clients_by_user_memory_bytes{u2} 6.989810949e+09", "clients_by_kind{normal} 20000",
		"clients_larger_than{1048576} 10000", "clients_larger_than{16777216} 0", "clients_older_than{60} 19939", "clients_idle_longer_than{3600} 12798",
		"clients_oldest_seconds{} 19999", "clients_longest_idle_seconds{} 9999", "clients_query_buffer_bytes{normal} 200000", "clients_in_transaction{} 0",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	out = metric.NewBatch(0)
	if err := c.Read(0, answerOf(t, text("id=1 addr=:1 name= flags=N\nid=2 addr=:2 name=x flags=S\n")), out); err != nil {
		t.Fatal(err)
	}
	want := []string{"clients_by_kind{normal} 1", "clients_by_kind{replica} 1", "clients_by_name{} 1", "clients_by_name{x} 1", "clients_in_transaction{} 0"}
	slices.Sort(want)
	if got := samples(out); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("of clients of whom little is known it says %q", got)
	}
}

func TestClusterNodes(t *testing.T) {
	for in, want := range map[string]fault.Kind{
		"": fault.None,
		"a 1.2.3.4:1@2,host master - 0 5 1 connected 0-1 7":                  fault.None,
		"a :0@0 master,noaddr - 1 1 0 disconnected":                          fault.None,
		"a 1.2.3.4:1@2 master - 0 5 1":                                       fault.Malformed,
		"a 1.2.3.4:1@2 master - 0 5 1 connected 5-1":                         fault.Malformed,
		"a 1.2.3.4:1@2 master - 0 5 1 connected 0-16384":                     fault.Malformed,
		"a 1.2.3.4:1@2 master - 0 5 1 connected x":                           fault.Malformed,
		"a 1.2.3.4:1@2 master - 0 5 1 connected -1":                          fault.Malformed,
		"a 1.2.3.4:1@2 myself,master - 0 5 1 connected [9->-b] [10-<-b] 3\n": fault.None,
	} {
		nodes, err := readClusterNodes(in)
		if fault.Of(err) != want {
			t.Errorf("%q: %+v, %v", in, nodes, err)
		}
	}
	nodes, _ := readClusterNodes("a [::1]:7@17,host master,fail? - 0 5 1 disconnected 0-1 7 [9->-b]")
	if n := nodes[0]; n.address != "[::1]:7" || n.slots != 3 || n.moving["out"] != 1 || !n.is("fail?") || n.is("fail") || n.connected {
		t.Errorf("the node is %+v", n)
	}
}

// TestReplicas has a primary with replicas in every state.
func TestReplicas(t *testing.T) {
	out := metric.NewBatch(0)
	err := replicationLag().Read(0, answerOf(t, text("# Replication\r\nrole:master\r\nconnected_slaves:4\r\n"+
		"slave0:ip=1.1.1.1,port=1,state=online,offset=900,lag=0,type=main-channel\r\nslave1:ip=2.2.2.2,port=2,state=bg_transfer,offset=0,lag=0,type=main-channel\r\n"+
		"slave2:ip=2.2.2.2,port=2,state=send_bulk,offset=0,lag=0,type=rdb-channel\r\nslave3:ip=::1,port=3,state=online,offset=1001,lag=0\r\nslave_repl_offset:1000\r\nslave_read_repl_offset:1010\r\n"+
		"master_failover_state:waiting-for-sync\r\nmaster_repl_offset:1000\r\nrepl_backlog_active:1\r\nrepl_backlog_size:400\r\nrepl_backlog_histlen:100\r\n"+
		"master_link_down_since_seconds:-1\r\nmin_slaves_good_slaves:2\r\n")), out)
	want := []string{
		"connected_slave_backlog_left_bytes{1.1.1.1,1} 300", "connected_slave_backlog_left_bytes{::1,3} 400", "connected_slave_lag_bytes{1.1.1.1,1} 100", "connected_slave_lag_bytes{::1,3} 0",
		"connected_slave_online{1.1.1.1,1} 1", "connected_slave_online{2.2.2.2,2} 0", "connected_slave_online{::1,3} 1", "failover_in_progress{} 1", "good_replicas{} 2", "repl_backlog_filled_ratio{} 0.25", "slave_unapplied_bytes{} 10",
	}
	if got := slices.Sorted(slices.Values(samples(out))); err != nil || !slices.Equal(got, want) || out.Duplicates > 0 {
		t.Errorf("%v: it says %q", err, got)
	}
}

// TestPersistence has a server that loads its data, and one that saves it.
func TestPersistence(t *testing.T) {
	for in, want := range map[string]string{
		"server_time_usec:1700000100000000\r\nrdb_last_save_time:1700000000\r\ncurrent_save_keys_processed:25\r\ncurrent_save_keys_total:100\r\naof_current_size:300\r\naof_base_size:200\r\n": "[aof_growth_ratio{} 1.5 rdb_current_save_progress_ratio{} 0.25 rdb_last_save_age_seconds{} 100]",
		"loading:1\r\nloading_loaded_bytes:30\r\nloading_total_bytes:40\r\nloading_eta_seconds:7\r\nrdb_last_save_time:1700000000\r\n":                                                         "[loading_left_seconds{} 7 loading_progress_ratio{} 0.75]",
		"current_save_keys_processed:0\r\ncurrent_save_keys_total:0\r\naof_base_size:0\r\naof_current_size:0\r\nloading_eta_seconds:-1\r\n":                                                    "[]",
	} {
		out := metric.NewBatch(0)
		err := persistence().Read(0, answerOf(t, text("# Persistence\r\n"+in)), out)
		if got := fmt.Sprint(slices.Sorted(slices.Values(samples(out)))); err != nil || got != want {
			t.Errorf("%q: %v, it says %s", in, err, got)
		}
	}
}

// TestAbsent holds that what a server does not tell gives no sample, and no failure.
func TestAbsent(t *testing.T) {
	empty := map[string]string{"null": "_\r\n", "no list": "*0\r\n", "no map": "%0\r\n", "no text": "$0\r\n\r\n", "a number": ":7\r\n", "ok": "+OK\r\n", "a list of nothing": "*2\r\n_\r\n_\r\n"}
	said := map[string]bool{ // what holds of nothing, too
		"clients_in_transaction{} 0": true, "cluster_slots_unassigned{} 16384": true, "cluster_nodes{primary} 0": true, "cluster_nodes{replica} 0": true,
		"cluster_primaries_without_replica{} 0": true,
	}
	for _, c := range asked(beyond(beyondOptions{})) {
		for name, raw := range empty {
			out := metric.NewBatch(0)
			err := readAll(c, answerOf(t, raw), out)
			if kind := fault.Of(err); kind != fault.None && kind != fault.Malformed {
				t.Errorf("%s, %s: %v", c.Name, name, err)
			}
			for _, s := range samples(out) {
				if !said[s] && !strings.HasSuffix(s, " 0") {
					t.Errorf("%s, %s: %s", c.Name, name, s)
				}
			}
		}
	}
}

// TestNoSecrets holds that what people wrote into a refused login, and what they wrote or asked for, is on no page.
func TestNoSecrets(t *testing.T) {
	for _, kind := range []string{"redis7", "redis8", "valkey8"} {
		log, err := os.ReadFile("testdata/replies/" + kind + "/acl_log_128.resp")
		if err != nil || !bytes.Contains(log, []byte("hunter2")) {
			t.Fatalf("the recording has no secret: %v", err)
		}
		page := scrapeOnce(t, &recording{dir: "testdata/replies/" + kind}, asked(beyond(beyondOptions{})))
		for _, secret := range []string{"hunter2", "nobody", "127.0.0.1", "session:", "mylib\\n", "xxxx"} {
			if strings.Contains(page, secret) && (secret != "127.0.0.1" || kind != "redis7") { // the replica's address
				t.Errorf("the page of %s has %q", kind, secret)
			}
		}
	}
}

// FuzzBeyond holds that no reply makes a collector panic, and that no sample is declared otherwise.
func FuzzBeyond(f *testing.F) {
	recorded, err := filepath.Glob("testdata/replies/*/*.resp")
	if err != nil || len(recorded) == 0 {
		f.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, file := range recorded {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		for range 20 { // as they may come when something goes wrong on the way
			torn := bytes.Clone(raw)
			for range 1 + random.IntN(5) {
				torn[random.IntN(len(torn))] = ":$*%_+-,0179kK=|\r\n \x00\xff"[random.IntN(19)]
			}
			f.Add(torn)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		follower := frame{}
		if n, ended, err := follower.follow(raw); err != nil || !ended || n != len(raw) {
			return // which the guard does not let through
		}
		v, err := parseReply(raw)
		if err != nil {
			return
		}
		for _, c := range asked(beyond(beyondOptions{})) {
			out := metric.NewBatch(collect.DefaultSeriesLimit)
			if err := readAll(c, &reply{tree: &tree{value: v}}, out); err == nil {
				if f := out.Undeclared(func(f *metric.Family) bool { return slices.Contains(c.Families, f) }); f != nil {
					t.Fatalf("%s does not declare %s", c.Name, f.Name)
				}
			}
		}
	})
}
