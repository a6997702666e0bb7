package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// TestBeyondNames lints the names and help texts that are not redis_exporter's.
func TestBeyondNames(t *testing.T) {
	suitetest.Lint(t, beyond(beyondOptions{}), collect.NewSelf("redis", nil), func(name string) bool {
		return strings.HasPrefix(name, "redis_search_index_") || strings.HasPrefix(name, "redis_script_")
	})
}

// TestBeyondCluster scrapes nodes of real clusters: one that is well, and one in which a node has failed and a slot is
// on its way.
func TestBeyondCluster(t *testing.T) {
	for _, kind := range []string{servers.Redis8, servers.Valkey8} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := servers.NewRedisCluster(t, kind, 3, 1)
			first, second := c.Masters[0], c.Masters[1]
			id := func(r *servers.Redis) string {
				text, err := r.Text(t.Context(), "CLUSTER", "MYID")
				if err != nil {
					t.Fatal(err)
				}
				return text
			}
			of := func(r *servers.Redis) string { return fmt.Sprintf(`{address=%q,node=%q}`, r.Addr(), id(r)) }
			do(t, first, []any{"CLUSTER", "SETSLOT", 7, "MIGRATING", id(second)}, []any{"SET", "{06S}a", "x"})
			until(t, "the replica has the key", func() bool {
				keys, err := c.Replicas[0].Do(t.Context(), "DBSIZE")
				return err == nil && keys == int64(1)
			})
			until(t, "the node knows the replica", func() bool {
				return readPage(t, first.Addr(), collect.Catalogue{clusterNodes()})[`cluster_nodes{role="replica"}`] == 1
			})
			lacking := []string{"sentinel_views", "search_indexes", "scripts"}
			if kind == servers.Redis8 {
				lacking = append(lacking, "commandlog_entries", "cluster_slot_stats")
			} else {
				lacking = append(lacking, "key_sizes", "io_threads")
			}
			p := readPage(t, first.Addr(), beyond(beyondOptions{}))
			p.succeeded(t, lacking...)
			p.is(t, `cluster_nodes{role="primary"}`, 3)
			p.is(t, `cluster_nodes{role="replica"}`, 1)
			p.is(t, `cluster_slots_unassigned`, 0)
			p.is(t, `cluster_slots_moving{direction="out"}`, 1)
			p.is(t, `cluster_slots_moving{direction="in"}`, 0)
			p.is(t, `cluster_primaries_without_replica`, 2)
			p.between(t, `cluster_node_slots`+of(second), 5461, 5462)
			p.is(t, `cluster_node_link_up`+of(second), 1)
			p.between(t, `cluster_link_send_buffer_bytes{direction="to",node="`+id(second)+`"}`, 0, 1<<20)
			p.is(t, fmt.Sprintf(`cluster_node_info{address=%q,node=%q,primary=%q,role="replica"}`, c.Replicas[0].Addr(), id(c.Replicas[0]), id(first)), 1)
			p.is(t, `key_sample_keys{db="db0"}`, 1)
			if kind == servers.Valkey8 {
				p.is(t, `cluster_slot_keys{slot="0"}`, 1)
			}
			replica := readPage(t, c.Replicas[0].Addr(), beyond(beyondOptions{sampling: sampling{replicas: true}}))
			replica.succeeded(t, lacking...)
			replica.is(t, `key_sample_keys{db="db0"}`, 1)
			replica.is(t, `key_sample_type_keys{db="db0",type="string"}`, 1)

			gone := of(c.Masters[2])
			c.Masters[2].Kill()
			until(t, "the cluster knows that the node has failed", func() bool {
				p = readPage(t, first.Addr(), collect.Catalogue{clusterNodes()})
				return p[`cluster_node_failed`+gone] == 1
			})
			p.is(t, `cluster_node_link_up`+gone, 0)
		})
	}
}

// TestBeyondSentinel scrapes a real sentinel whose master goes away.
func TestBeyondSentinel(t *testing.T) {
	master := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis7})
	watch := servers.NewSentinel(t, "shop", master, 1)
	p := readPage(t, watch.Addr(), beyond(beyondOptions{}))
	for series := range p {
		if strings.Contains(series, " failed: ") {
			t.Error(series)
		}
	}
	is := func(name string, want float64) {
		t.Helper()
		for series, value := range p {
			if strings.HasPrefix(series, name+"{") {
				if value != want {
					t.Errorf("%s is %v", series, value)
				}
				return
			}
		}
		t.Errorf("%s is missing", name)
	}
	is("sentinel_master_subjectively_down", 0)
	is("sentinel_master_objectively_down", 0)
	is("sentinel_master_role_mismatch", 0)
	is("sentinel_master_failover_in_progress", 0)
	is("sentinel_master_quorum_missing_sentinels", 0)
	master.Kill()
	until(t, "the sentinel finds the master down", func() bool {
		return readPage(t, watch.Addr(), collect.Catalogue{sentinelMasters()})[fmt.Sprintf(`sentinel_master_subjectively_down{master_address=%q,master_name="shop"}`, master.Addr())] == 1
	})
}

// until waits for something to come about.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come about that %s", what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// searchFake stands in for a server with the search module, which no package brings. Its answers have the form of the
// module's documentation.
type searchFake struct {
	recording
	asked []string
}

func (s *searchFake) Do(_ context.Context, questions []collect.Question, read func(int, collect.Answer, error)) error {
	for i, question := range questions {
		args, _ := arguments(question)
		s.asked = append(s.asked, strings.Join(args, " "))
		raw := "*3\r\n$5\r\nbooks\r\n$6\r\nbroken\r\n$5\r\nusers\r\n"
		if args[0] == "FT.INFO" {
			raw = "*12\r\n" + text("index_name") + text(args[1]) + text("num_docs") + text("12") + text("inverted_sz_mb") + text("0.5") +
				text("percent_indexed") + text("1") + text("hash_indexing_failures") + ":3\r\n" + text("number_of_uses") + ":7\r\n"
		}
		v, err := parseReply([]byte(raw))
		if err != nil {
			return err
		}
		if args[0] == "FT.INFO" && args[1] == "broken" {
			read(i, nil, refusal("Unknown index name"))
			continue
		}
		read(i, &reply{tree: &tree{value: v}}, nil)
	}
	return nil
}

func TestSearchIndexes(t *testing.T) {
	s := &searchFake{}
	out := metric.NewBatch(0)
	if err := searchIndexes(regexp.MustCompile("^b|users")).Run(t.Context(), s, out); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"search_index_hash_indexing_failures{books} 3", "search_index_hash_indexing_failures{users} 3", "search_index_inverted_size_bytes{books} 524288", "search_index_inverted_size_bytes{users} 524288",
		"search_index_num_docs{books} 12", "search_index_num_docs{users} 12", "search_index_number_of_uses_total{books} 7", "search_index_number_of_uses_total{users} 7",
		"search_index_percent_indexed{books} 1", "search_index_percent_indexed{users} 1",
	}
	if got := samples(out); !slices.Equal(got, want) {
		t.Errorf("it says %q", got)
	}
	s = &searchFake{}
	if err := searchIndexes(regexp.MustCompile("^users$")).Run(t.Context(), s, metric.NewBatch(0)); err != nil || fmt.Sprint(s.asked) != "[FT._LIST FT.INFO users]" {
		t.Errorf("it asks %q (%v)", s.asked, err)
	}
}

func TestSamplingFlags(t *testing.T) {
	for args, want := range map[string]string{
		"": "30000 5s [] false false",
		"--key-sample.pattern=^a --key-sample.pattern=b$ --key-sample.names --key-sample.commands=10 --key-sample.time=1s --key-sample.replicas-only": "10 1s [^a b$] true true",
		"--key-sample.pattern=(":  "--key-sample.pattern: error parsing regexp: missing closing ): `(`",
		"--key-sample.commands=0": "--key-sample.commands and --key-sample.time must be above 0",
	} {
		var f samplingFlags
		app := kingpin.New("test", "")
		f.flags(app)
		if _, err := app.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		s, err := f.sampling()
		got := fmt.Sprintf("%d %v %v %v %v", s.commands, s.time, s.patterns, s.names, s.replicas)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q gives %s", args, got)
		}
	}
}

func TestMemoryLimit(t *testing.T) {
	for text, want := range map[string]float64{"0": 0, "": 0, "1000": 1000, "5%": 50, "0%": 0, "x": 0, "-1": 0} {
		if got, ok := memoryLimit(text, 1000); ok != (want > 0) || ok && got != want {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
}

// TestBeyondRights has an account with just the rights that redis_exporter asks for: what is on by default gets by with
// them.
func TestBeyondRights(t *testing.T) {
	usual := slices.DeleteFunc(beyond(beyondOptions{}), func(c *collect.Collector) bool { return c.Off })
	as := func(address string) collect.Driver {
		return &driver{settings: func() (*settings, error) {
			return &settings{network: "tcp", address: address, user: "exporter", password: "pw", timeout: 5 * time.Second}, nil
		}}
	}
	for _, kind := range servers.RedisKinds() {
		r := servers.NewRedis(t, servers.RedisOptions{Kind: kind, Initial: [][]any{append([]any{"ACL", "SETUSER", "exporter", "on", ">pw"}, rights(
			"-@all +@connection +memory -readonly +strlen +config|get +xinfo +pfcount -quit +zcard +type +xlen -readwrite -command +client -wait +scard +llen +hlen"+
				" +get +eval +slowlog +cluster|info +cluster|slots +cluster|nodes -hello -echo +info +latency +scan -reset -auth -asking")...)}})
		page := scrapeOnce(t, as(r.Addr()), usual)
		if strings.Contains(page, " failed: ") || !strings.Contains(page, "redis_memory_category_bytes") {
			t.Errorf("%s: %s", kind, page)
		}
		if kind == servers.Redis7 {
			s := servers.NewSentinel(t, "shop", r, 1)
			do(t, s, append([]any{"ACL", "SETUSER", "exporter", "on", ">pw"}, rights(
				"-@all +@connection -command +client -hello +info -auth +sentinel|masters +sentinel|replicas +sentinel|slaves +sentinel|sentinels +sentinel|ckquorum")...))
			page := scrapeOnce(t, as(s.Addr()), usual)
			if strings.Contains(page, " failed: ") || !strings.Contains(page, "redis_sentinel_master_objectively_down") {
				t.Errorf("sentinel: %s", page)
			}
		}
	}
}

func rights(text string) (all []any) {
	for word := range strings.FieldsSeq(text) {
		all = append(all, word)
	}
	return all
}

// TestPendingEntries shows the oldest entry without confirmation of a real stream, also where the group's lag is not
// known, and nothing of a group without one, of what is no stream, and of what is not there.
func TestPendingEntries(t *testing.T) {
	for _, kind := range servers.RedisKinds() {
		r := servers.NewRedis(t, servers.RedisOptions{Kind: kind, Initial: [][]any{
			{"XADD", "orders", "1000-0", "a", "1"}, {"XADD", "orders", "2500-0", "a", "2"}, {"XADD", "orders", "3000-0", "a", "3"},
			{"XGROUP", "CREATE", "orders", "late", "1000-0"}, {"XGROUP", "CREATE", "orders", "idle", "0"}, {"SET", "text", "x"},
			{"XREADGROUP", "GROUP", "late", "one", "STREAMS", "orders", ">"}, {"XREADGROUP", "GROUP", "late", "one", "STREAMS", "orders", "0"}, {"XDEL", "orders", "3000-0"},
		}})
		before := float64(time.Now().Unix())
		p := readPage(t, r.Addr(), collect.Catalogue{pendingEntries(keyChecks{streams: []keyRef{{0, "orders"}, {0, "text"}, {0, "gone"}, {3, "orders"}}})})
		p.succeeded(t)
		p.is(t, `stream_group_oldest_pending_timestamp_seconds{db="db0",group="late",stream="orders"}`, 2.5)
		p.between(t, `stream_group_oldest_pending_delivered_timestamp_seconds{db="db0",group="late",stream="orders"}`, before-20, before+20)
		p.between(t, `stream_group_oldest_pending_deliveries{db="db0",group="late",stream="orders"}`, 1, 2)
		if len(p) != 3 {
			t.Errorf("%s: it says %v", kind, p)
		}
	}
}
