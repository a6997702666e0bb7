package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// page is what a scrape gives, by series.
type beyondPage map[string]float64

func readPage(t *testing.T, address string, list collect.Catalogue) beyondPage {
	t.Helper()
	p := beyondPage{}
	for line := range strings.Lines(scrapeOnce(t, driverFor(address), list)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "# HELP") && !strings.HasPrefix(line, "# TYPE") {
			p[line] = math.NaN()
		}
		if at := strings.LastIndexByte(line, ' '); !strings.HasPrefix(line, "#") {
			var value float64
			if _, err := fmt.Sscan(line[at+1:], &value); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			p[strings.TrimPrefix(line[:at], "redis_")] = value
		}
	}
	return p
}

// between holds that a series is there and not outside of bounds.
func (p beyondPage) between(t *testing.T, series string, least, most float64) {
	t.Helper()
	if value, ok := p[series]; !ok {
		t.Errorf("%s is missing", series)
	} else if value < least || value > most {
		t.Errorf("%s is %v, not from %v to %v", series, value, least, most)
	}
}

func (p beyondPage) is(t *testing.T, series string, want float64) {
	t.Helper()
	p.between(t, series, want, want)
}

func (p beyondPage) absent(t *testing.T, prefix string) {
	t.Helper()
	for series := range p {
		if strings.HasPrefix(series, prefix) {
			t.Errorf("%s is there", series)
		}
	}
}

// succeeded holds that no collector failed, and which ones are not for the server.
func (p beyondPage) succeeded(t *testing.T, lacking ...string) {
	t.Helper()
	for series := range p {
		said, ok := strings.CutPrefix(series, "# ")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(said, " ")
		if !strings.Contains(" "+strings.Join(lacking, " ")+" ", " "+name+" ") {
			t.Error(said)
		}
	}
	for _, name := range lacking {
		found := false
		for series := range p {
			found = found || strings.HasPrefix(series, "# "+name+" is not for")
		}
		if !found {
			t.Errorf("%s is asked", name)
		}
	}
}

func do(t *testing.T, r *servers.Redis, commands ...[]any) {
	t.Helper()
	for _, command := range commands {
		if _, err := r.Do(t.Context(), command...); err != nil {
			t.Fatalf("%v: %v", command, err)
		}
	}
}

// TestBeyond scrapes a real server of each kind and its replica with everything on, and compares with what was done to it.
func TestBeyond(t *testing.T) {
	for _, kind := range servers.RedisKinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			config := []string{"latency-monitor-threshold 10", "slowlog-log-slower-than 10000", "maxmemory 1gb", "maxmemory-clients 10%", "repl-backlog-size 1mb"}
			if kind == servers.Valkey8 {
				config = append(config, "commandlog-reply-larger-than 100000", "commandlog-request-larger-than 100000")
			}
			r := servers.NewRedis(t, servers.RedisOptions{Kind: kind, Config: config})
			replica := r.NewReplica(t)
			work(t, r)
			list := beyond(beyondOptions{scripts: []script{{"a.lua", `return {'a', '1.5', 'b', '2'}`}, {"empty.lua", `return {}`}, {"bad.lua", `return {'a', 'x'}`}, {"wrong.lua", `return nothing()`}}})
			lacking := []string{"cluster_nodes", "cluster_links", "cluster_slot_stats", "sentinel_views", "search_indexes"}
			if kind != servers.Redis8 {
				lacking = append(lacking, "key_sizes", "io_threads")
			}
			if kind != servers.Valkey8 {
				lacking = append(lacking, "commandlog_entries")
			}
			p := readPage(t, r.Addr(), list)
			p.succeeded(t, lacking...)
			checkWork(t, p, kind)
			checkMemory(t, r)
			checkReplica(t, p, r, replica, lacking)
		})
	}
}

// work gives a server something to tell of.
func work(t *testing.T, r *servers.Redis) {
	for i := range 40 {
		do(t, r, []any{"SET", fmt.Sprint("k", i), strings.Repeat("x", 10)})
	}
	do(t, r, []any{"EXPIRE", "k1", 3000}, []any{"SET", "big", strings.Repeat("x", 200000)}, []any{"GET", "big"}, []any{"RPUSH", "l", 1, 2, 3, 4, 5}, []any{"DEBUG", "SLEEP", "0.06"},
		[]any{"FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('one', function() return 1 end)\nredis.register_function('two', function() return 2 end)"},
		[]any{"ACL", "SETUSER", "app", "on", ">pw", "~k*", "+get", "+client"},
	)
	app := redis.NewClient(&redis.Options{Addr: r.Addr(), Username: "app", Password: "pw", ClientName: "the-app", PoolSize: 1, Protocol: 2})
	t.Cleanup(func() { _ = app.Close() })
	for range 2 {
		if err := app.Get(t.Context(), "other").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Fatal(err)
		}
	}
	wrong := redis.NewClient(&redis.Options{Addr: r.Addr(), Username: "hunter2", Password: "secret", MaxRetries: -1})
	if err := wrong.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a wrong password is good")
	}
	_ = wrong.Close()
}

func checkWork(t *testing.T, p beyondPage, kind string) {
	p.is(t, `command_duration_seconds_count{cmd="set"}`, 41)
	p.is(t, `command_duration_seconds_bucket{cmd="debug",le="0.033816"}`, 0)
	p.is(t, `command_duration_seconds_bucket{cmd="debug",le="0.135266"}`, 1)
	p.between(t, `command_duration_seconds_sum{cmd="debug"}`, 0.06, 0.5)
	p.between(t, `command_duration_quantiles_seconds{cmd="debug",quantile="0.99"}`, 0.06, 0.5)
	p.is(t, `command_duration_quantiles_seconds_count{cmd="rpush"}`, 1)
	p.between(t, `latency_spike_max_seconds{event_name="command"}`, 0.06, 0.5)
	p.is(t, `slowlog_command_entries{cmd="debug"}`, 1)
	p.between(t, `slowlog_command_longest_seconds{cmd="debug"}`, 0.06, 0.5)
	p.between(t, `slowlog_recent_entries{seconds="60"}`, 1, 5)
	p.between(t, `slowlog_newest_timestamp_seconds`, float64(time.Now().Unix()-60), float64(time.Now().Unix()+2))
	p.is(t, `clients_by_name{name="the-app"}`, 1)
	p.is(t, `clients_by_user{user="app"}`, 1)
	p.is(t, `clients_by_kind{kind="replica"}`, 1)
	p.is(t, `acl_log_refusals{reason="key",user="app"}`, 2)
	p.between(t, `acl_log_refusals{reason="auth",user=""}`, 1, 4) // the client tries in several ways
	p.between(t, `acl_log_newest_age_seconds{reason="auth"}`, 0, 60)
	p.is(t, `function_library_functions{engine="LUA",library="lib"}`, 2)
	p.is(t, `function_engine_functions{engine="LUA"}`, 2)
	p.between(t, `clients_memory_limit_bytes`, 1<<30/10-1, 1<<30/10+1)
	p.between(t, `clients_memory_limit_used_ratio`, 0, 0.01)
	p.between(t, `rdb_last_save_age_seconds`, 0, 120)
	p.is(t, `db_keys_persistent{db="db0"}`, 41)
	p.is(t, `key_sample_keys{db="db0"}`, 42)
	p.is(t, `script_values{filename="a.lua",key="a"}`, 1.5)
	for name, result := range map[string]float64{"a.lua": 1, "empty.lua": 2, "bad.lua": 0, "wrong.lua": 0} {
		p.is(t, fmt.Sprintf("script_result{filename=%q}", name), result)
	}
	p.absent(t, `script_values{filename="bad.lua"`)
	switch kind {
	case servers.Redis8:
		p.is(t, `db_key_size_keys{db="db0",size="8",type="strings",unit="bytes"}`, 40)
		p.is(t, `db_key_size_keys{db="db0",size="131072",type="strings",unit="bytes"}`, 1)
		p.is(t, `db_key_size_largest{db="db0",type="lists",unit="items"}`, 4)
		p.between(t, `io_thread_clients{thread="0"}`, 1, 10)
		p.is(t, `db_keys_with_expiring_fields{db="db0"}`, 0)
	case servers.Valkey8:
		p.between(t, `commandlog_command_largest_bytes{cmd="get",type="large-reply"}`, 200000, 200100)
		p.between(t, `commandlog_command_largest_bytes{cmd="set",type="large-request"}`, 200000, 200100)
		p.is(t, `latency_spikes_recorded{event_name="command"}`, 1)
		p.between(t, `latency_spikes_recorded_seconds{event_name="command"}`, 0.06, 0.5)
	}
	for series := range p {
		if strings.Contains(series, "hunter2") || strings.Contains(series, `"k1"`) || strings.Contains(series, "other") && !strings.Contains(series, others) {
			t.Errorf("nobody asked for what %s tells", series)
		}
	}
}

// checkMemory holds that the categories come to what the server has allocated at the same moment: no byte is counted
// twice, and none is missing.
func checkMemory(t *testing.T, r *servers.Redis) {
	c, out, total := memoryCategories(), metric.NewBatch(0), 0.0
	err := connectTo(t, r.Addr()).Do(t.Context(), c.Ask(collect.Identity{}), func(i int, answer collect.Answer, err error) {
		if err == nil {
			total, _ = answered(answer).Get("total.allocated").Number()
			err = c.Read(i, answer, out)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	got := 0.0
	for _, s := range samples(out) {
		if strings.HasPrefix(s, "memory_category_bytes") || strings.HasPrefix(s, "memory_db_overhead_bytes") {
			got += number(t, []string{s}, s[:strings.LastIndexByte(s, ' ')])
		}
	}
	if got != total || total == 0 {
		t.Errorf("the categories come to %v bytes, of %v", got, total)
	}
}

// checkReplica freezes the replica while the primary is written to, and then takes the primary away.
func checkReplica(t *testing.T, p beyondPage, r, replica *servers.Redis, lacking []string) {
	_, port, _ := strings.Cut(replica.Addr(), ":")
	labels := fmt.Sprintf(`{slave_ip="127.0.0.1",slave_port=%q}`, port)
	p.is(t, "connected_slave_online"+labels, 1)
	p.between(t, "connected_slave_lag_bytes"+labels, 0, 1<<20)
	p.between(t, "repl_backlog_filled_ratio", 0.01, 1)
	p.is(t, "failover_in_progress", 0)
	if err := replica.Pause(); err != nil {
		t.Fatal(err)
	}
	do(t, r, []any{"SET", "more", strings.Repeat("x", 400000)})
	behind := readPage(t, r.Addr(), beyond(beyondOptions{}))
	behind.between(t, "connected_slave_lag_bytes"+labels, 400000, 1<<20)
	behind.between(t, "connected_slave_backlog_left_bytes"+labels, 0, 1<<20-400000)
	replica.Resume()
	if err := replica.WaitInfo(t.Context(), "master_link_status:up"); err != nil {
		t.Fatal(err)
	}
	own := readPage(t, replica.Addr(), beyond(beyondOptions{}))
	own.succeeded(t, append(lacking, "scripts")...)
	own.absent(t, "master_link_down_seconds")
	own.absent(t, "connected_slave_")
	own.between(t, "slave_unapplied_bytes", 0, 1<<20)
	r.Kill()
	if err := replica.WaitInfo(t.Context(), "master_link_status:down"); err != nil {
		t.Fatal(err)
	}
	readPage(t, replica.Addr(), beyond(beyondOptions{})).between(t, "master_link_down_seconds", 0, 60)
}
