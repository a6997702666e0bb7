package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// connectTo opens a connection to a real server.
func connectTo(t *testing.T, address string) collect.Conn {
	t.Helper()
	c, err := driverFor(address).Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func driverFor(address string) *driver {
	return &driver{settings: func() (*settings, error) {
		return &settings{network: "tcp", address: address, timeout: 5 * time.Second}, nil
	}}
}

// runSample runs a collector once and gives its samples.
func runSample(t *testing.T, c *collect.Collector, conn collect.Conn) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out := metric.NewBatch(0)
	if err := c.Run(ctx, conn, out); err != nil {
		t.Fatal(err)
	}
	return samples(out)
}

// number gives the value of a sample of which there must be one.
func number(t *testing.T, all []string, name string) float64 {
	t.Helper()
	for _, s := range all {
		if rest, ok := strings.CutPrefix(s, name+" "); ok {
			n, _ := strconv.ParseFloat(rest, 64)
			return n
		}
	}
	t.Fatalf("there is no %s in %q", name, all)
	return 0
}

// fill writes 3,000 strings of which a third expires within an hour and a third within ten days, 500 hashes that do not
// expire, a big list and a key whose name is no text, and a few keys to another database.
func fill(t *testing.T, r *servers.Redis) {
	t.Helper()
	for _, command := range [][]any{
		{"EVAL", `
			for i = 1, 1000 do
				redis.call('SET', 'session:' .. i, 'x', 'EX', 3000)
				redis.call('SET', 'cache:' .. i, 'x', 'EX', 800000)
				redis.call('SET', 'user:' .. i, string.rep('x', 100))
				if i <= 500 then redis.call('HSET', 'cart:' .. i, 'a', 1) end
				redis.call('RPUSH', 'jobs', string.rep('y', 1000))
			end`, 0},
		{"SET", "\xff\x00\nodd", "x"},
		{"EVAL", `redis.call('SELECT', 3); for i = 1, 10 do redis.call('SET', 'other:' .. i, 'x') end`, 0},
	} {
		if _, err := r.Do(t.Context(), command...); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKeySample looks at all keys of a real server in one run.
func TestKeySample(t *testing.T) {
	for _, kind := range servers.RedisKinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := servers.NewRedis(t, servers.RedisOptions{Kind: kind})
			fill(t, r)
			sampler := keySampler(sampling{patterns: []*regexp.Regexp{regexp.MustCompile(`^session:`), regexp.MustCompile(`^ca`)}})
			conn := connectTo(t, r.Addr())
			got := runSample(t, sampler, conn)
			for _, want := range []string{
				"key_sample_keys{db0} 3502", "key_sample_coverage_ratio{db0} 1", "key_sample_keys{db3} 10",
				"key_sample_type_keys{db0,string} 3001", "key_sample_type_keys{db0,hash} 500", "key_sample_type_keys{db0,list} 1",
				"key_sample_persistent_keys{db0} 1502", "key_sample_persistent_keys{db3} 10",
				"key_sample_expiring_keys{db0,60} 0", "key_sample_expiring_keys{db0,3600} 1000", "key_sample_expiring_keys{db0,604800} 1000", "key_sample_expiring_keys{db0,2.592e+06} 2000",
				"db_expiry_forecast_keys{db0,3600} 1000", "key_sample_idle_keys{db0,3600} 0",
				"key_sample_pattern_keys{db0,^session:} 1000", "key_sample_pattern_expiring_keys{db0,^session:,3600} 1000",
				"key_sample_pattern_keys{db0,^ca} 1500", "key_sample_pattern_persistent_keys{db0,^ca} 500", "key_sample_pattern_keys{db0,(other)} 1002",
			} {
				if want = strings.ReplaceAll(want, "2.592e+06", "2592000"); !slices.Contains(got, want) {
					t.Errorf("%s is missing", want)
				}
			}
			usage, err := r.Do(t.Context(), "MEMORY", "USAGE", "jobs")
			if largest := number(t, got, "key_sample_type_largest_bytes{db0,list}"); err != nil || largest != float64(usage.(int64)) {
				t.Errorf("the list has %v bytes, not %v (%v)", usage, largest, err)
			}
			if page := strings.Join(got, "\n"); strings.Contains(page, "jobs") || strings.Contains(page, "user:1") || strings.Contains(page, "odd") {
				t.Error("names of keys are shown that nobody asked for")
			}
			if got := number(t, got, "key_sample_commands{}"); got > 4*3512+60 {
				t.Errorf("%v commands were sent for 3,512 keys", got)
			}
		})
	}
}

// TestKeySampleBudget holds that a run stays within its budget, that the runs together get to see all keys, and that a
// sample that is done stays until the next one is.
func TestKeySampleBudget(t *testing.T) {
	r := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis7})
	fill(t, r)
	sampler := keySampler(sampling{commands: 3000, names: true})
	conn := connectTo(t, r.Addr())
	var seen []float64
	for range 6 {
		before := conn.Usage().TurnArounds
		got := runSample(t, sampler, conn)
		seen = append(seen, number(t, got, "key_sample_keys{db0}"))
		if sent := number(t, got, "key_sample_commands{}"); sent > 3000+perKey*2*scanCount {
			t.Errorf("a run sent %v commands", sent)
		}
		if turns := conn.Usage().TurnArounds - before; turns > 3000/(perKey*scanCount)+5 {
			t.Errorf("a run took %d turn-arounds", turns)
		}
		coverage := number(t, got, "key_sample_coverage_ratio{db0}")
		if want := seen[len(seen)-1] / 3502; coverage < want*0.999 || coverage > want*1.001 {
			t.Errorf("%v keys are a share of %v", seen[len(seen)-1], coverage)
		}
	}
	if seen[0] < 500 || seen[0] > 1300 || !slices.IsSorted(seen) || seen[5] != 3502 {
		t.Errorf("the samples had %v keys", seen)
	}
	got := runSample(t, sampler, conn)
	if n := number(t, got, "key_sample_keys{db3}"); n != 10 {
		t.Errorf("the other database has %v keys", n)
	}
	if big := number(t, got, "key_sample_big_key_bytes{db0,jobs,list}"); big < 1e6 {
		t.Errorf("the list has %v bytes", big)
	}
	if n := len(slices.DeleteFunc(got, func(s string) bool { return !strings.HasPrefix(s, "key_sample_big_key_bytes{db0") })); n != topKeys {
		t.Errorf("%d big keys are shown", n)
	}
	if _, err := r.Do(t.Context(), "FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	if got := runSample(t, sampler, conn); len(got) != 1 {
		t.Errorf("of an empty server it says %q", got)
	}
}

// TestKeySampleCap ends a sample at the number of keys that it is to have, and goes on from there with the next one.
func TestKeySampleCap(t *testing.T) {
	r := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis7})
	fill(t, r)
	sampler := keySampler(sampling{keys: 1000})
	conn := connectTo(t, r.Addr())
	total := 0.0
	for range 5 {
		n := number(t, runSample(t, sampler, conn), "key_sample_keys{db0}")
		if n > 1000+2*scanCount {
			t.Errorf("a sample has %v keys", n)
		}
		total += n
	}
	if total < 3502 {
		t.Errorf("five samples saw %v keys together", total)
	}
}

// TestKeySampleHot has a server that counts how often keys are used.
func TestKeySampleHot(t *testing.T) {
	r := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Valkey8, Config: []string{"maxmemory-policy allkeys-lfu", "lfu-log-factor 0"}, Initial: [][]any{
		{"SET", "cold", "x"}, {"SET", "hot", "x"},
	}})
	for range 50 {
		if _, err := r.Do(t.Context(), "GET", "hot"); err != nil {
			t.Fatal(err)
		}
	}
	got := runSample(t, keySampler(sampling{names: true}), connectTo(t, r.Addr()))
	if hot, cold := number(t, got, "key_sample_hot_key_frequency{db0,hot,string}"), number(t, got, "key_sample_hot_key_frequency{db0,cold,string}"); hot < 40 || cold > 10 {
		t.Errorf("the hot key has %v, the cold one %v", hot, cold)
	}
	if strings.Contains(fmt.Sprint(got), "idle_keys") {
		t.Error("it tells how long keys were idle, which the server does not count")
	}
}

// TestKeySampleRights lacks the right to what a sample needs: it is denied, and says nothing.
func TestKeySampleRights(t *testing.T) {
	r := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis7, Initial: [][]any{
		{"SET", "k", "v"}, {"ACL", "SETUSER", "default", "-memory|usage"},
	}})
	out := metric.NewBatch(0)
	err := keySampler(sampling{}).Run(t.Context(), connectTo(t, r.Addr()), out)
	if !denied(err) || out.Len() != 0 {
		t.Errorf("%v, with %d samples", err, out.Len())
	}
}

// endless is a fake server whose SCAN never comes to an end, and gives so many keys each time.
type endless struct {
	recording
	page, asked int
}

func (e *endless) Do(_ context.Context, questions []collect.Question, read func(int, collect.Answer, error)) error {
	e.asked += len(questions)
	for i, question := range questions {
		args, err := arguments(question)
		if err != nil {
			return err
		}
		raw := ":1\r\n"
		switch args[0] {
		case "INFO":
			raw = text("# Keyspace\r\ndb0:keys=5,expires=0,avg_ttl=0\r\n")
		case "SCAN":
			raw = "*2\r\n" + text("7") + fmt.Sprintf("*%d\r\n", e.page) + strings.Repeat(text("k"), e.page)
		}
		v, err := parseReply([]byte(raw))
		if err != nil {
			return err
		}
		read(i, &reply{tree: &tree{value: v}}, nil)
	}
	return nil
}

// TestKeySampleEnds holds that a server cannot keep a run going, nor make it ask without end, by what it says.
func TestKeySampleEnds(t *testing.T) {
	for _, page := range []int{0, 1, 500000} {
		server, began := &endless{page: page}, time.Now()
		got := runSample(t, keySampler(sampling{commands: 2000, time: time.Second}), server)
		if server.asked > 2000+perKey*maxPage || time.Since(began) > 5*time.Second {
			t.Errorf("with pages of %d keys it asked %d times in %v", page, server.asked, time.Since(began))
		}
		if ratio := number(t, got, "key_sample_coverage_ratio{db0}"); ratio > 1 {
			t.Errorf("a share of %v is in the sample", ratio)
		}
	}
}
