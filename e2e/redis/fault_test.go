package redis

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// wireFault is something that happens to the answers of a whole scrape, at a part of them.
type wireFault struct {
	set     func(line *proxy.Proxy, at int64)
	parts   int64    // at how many places it is tried
	reasons []string // why collectors may fail
}

var wireFaults = map[string]wireFault{
	"cut":   {func(line *proxy.Proxy, at int64) { line.CutAfter(at) }, 7, []string{"unreachable"}},
	"stall": {func(line *proxy.Proxy, at int64) { line.StallAfter(at) }, 5, []string{"timeout"}},
	"garble": {func(line *proxy.Proxy, at int64) { line.Garble(at) }, 9,
		[]string{"malformed", "limited", "timeout", "unreachable", "unsupported", "internal"}}, // a garbled refusal may say anything
	"flood of zeros":    flood("\x00"),
	"flood of texts":    flood("+OK\r\n"),
	"endless text":      flood("x"),
	"flood of pushes":   flood(">2\r\n+a\r\n+b\r\n"),
	"deep nesting":      flood("*1\r\n"),
	"two billion":       flood("*2000000000\r\n"),
	"more than a text":  flood("$99999999999999999\r\n"),
	"a number too long": flood(":" + strings.Repeat("9", 60) + "\r\n"),
}

func flood(block string) wireFault {
	return wireFault{func(line *proxy.Proxy, _ int64) { line.Flood([]byte(block)) }, 1, []string{"malformed", "limited", "timeout", "unreachable", "internal"}}
}

// Whatever happens to the answers, at whatever place: the page comes in time and tells what has failed and why, the
// process stays small, and the scrape after it is good, with nothing held that was not before.
func TestWireFaults(t *testing.T) {
	server := servers.NewRedis(t, servers.RedisOptions{Initial: data})
	for name, fault := range wireFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line := proxy.New(t, server.Addr())
			e := at(t, line.Addr())
			e.Scrape("10").Want(t, "redis_up", 1)
			before := e.Held(line)
			line.ResetStats()
			harness.Freshen()
			e.Scrape("10").Want(t, "redis_up", 1)
			size := line.Stats().Down
			for part := range fault.parts {
				harness.Freshen()
				fault.set(line, size*(2*part+1)/(2*fault.parts))
				p := e.Scrape("1.5")
				line.Resume()
				if p.Code != 200 || p.Took > 1500*time.Millisecond {
					t.Errorf("part %d: code %d after %s", part, p.Code, p.Took)
				}
				for _, reason := range p.FailureReasons("redis") {
					if !slices.Contains(fault.reasons, reason) {
						t.Errorf("part %d: a collector failed by %q", part, reason)
					}
				}
				if up, _ := p.Value("redis_up"); up == 1 && fault.parts == 1 {
					t.Error("the server is up, though it said nothing that can be read")
				}
				e.wantGood()
			}
			e.WantHeld(line, before, 60e6)
		})
	}
}

// wantGood wants the next scrape to have all.
func (e *exporter) wantGood() {
	e.T.Helper()
	harness.Freshen()
	p := e.Scrape("10")
	p.Want(e.T, "redis_up", 1)
	if failing := p.Failing("redis"); len(failing) > 0 {
		e.T.Errorf("collectors fail: %v", failing)
	}
}

// wantDown wants a page in time that says why there is nothing to see.
func (e *exporter) wantDown(reason string) {
	e.T.Helper()
	harness.Freshen()
	p := e.Scrape("2")
	if p.Code != 200 || p.Took > 2*time.Second {
		e.T.Errorf("code %d after %s, want 200 within 2 s", p.Code, p.Took)
	}
	p.Want(e.T, "redis_up", 0)
	p.Want(e.T, fmt.Sprintf("redis_exporter_failure_info{reason=%q}", reason), 1)
	p.Want(e.T, `redis_exporter_collector_success{collector="info"}`, 0)
	p.Want(e.T, `service_health{service="redis"}`, 0)
	if _, shown := p.Value("redis_connected_clients"); shown {
		e.T.Error("a server that does not answer has clients")
	}
}

// A server that hangs, crashes and comes back is seen as that, in time, and healed by the first scrape afterwards.
func TestServerStopsAndReturns(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Valkey8})
	line := proxy.New(t, server.Addr())
	e := at(t, line.Addr())
	e.wantGood()
	before := e.Held(line)
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	e.wantDown("timeout")
	server.Resume()
	e.wantGood()
	server.Kill()
	e.wantDown("unreachable")
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.wantGood()
	e.WantHeld(line, before, 60e6)
}

// A password that is refused is said to be, and the server is left alone for a while after some tries.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{Password: "right"})
	line := proxy.New(t, server.Addr())
	for _, password := range []string{"", "wrong"} {
		e := start(t, []string{"REDIS_ADDR=redis://" + line.Addr(), "REDIS_PASSWORD=" + password})
		for range 3 {
			e.wantDown("auth")
			time.Sleep(500 * time.Millisecond) // it is tried once a second at most
		}
		line.ResetStats()
		for range 3 {
			e.wantDown("auth")
		}
		if n := line.Stats().Conns; n > 1 {
			t.Errorf("password %q: %d connections where the server should be left alone", password, n)
		}
	}
}

// A server that takes no more connections is busy; the exporter's own, once it is there, is kept.
func TestMaxClients(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{})
	late, early := at(t, server.Addr()), at(t, server.Addr())
	early.wantGood()
	run(t, server, []any{"CONFIG", "SET", "maxclients", "2"})
	client := server.Client(t)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	late.wantDown("busy")
	early.wantGood()
	if err := client.ConfigSet(t.Context(), "maxclients", "100").Err(); err != nil {
		t.Fatal(err)
	}
	late.wantGood()
}

// A server whose commands were renamed or are forbidden to the account is up, and what it does not answer is named.
func TestMissingCommands(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{Config: []string{
		`rename-command CONFIG ""`, `rename-command SLOWLOG ""`, `rename-command LATENCY hidden`,
	}})
	e := at(t, server.Addr())
	e.wantGood()
	e.Scrape("10").Want(t, "redis_connected_clients", 1)
	renamed := servers.NewRedis(t, servers.RedisOptions{Config: []string{`rename-command CONFIG settings`}})
	e = at(t, renamed.Addr(), "--config-command=settings")
	e.wantGood()
	e.Scrape("10").Want(t, "redis_config_maxclients", 10000)
	allowed := servers.NewRedis(t, servers.RedisOptions{Config: []string{"user watcher on >word -@all +info +ping", "user nobody on >word -@all"}})
	e = start(t, []string{"REDIS_ADDR=" + allowed.URL(), "REDIS_USER=watcher", "REDIS_PASSWORD=word"})
	harness.Freshen()
	p := e.Scrape("10")
	p.Want(t, "redis_up", 1)
	p.Want(t, `redis_exporter_collector_success{collector="info"}`, 1)
	for _, reason := range p.FailureReasons("redis") {
		if reason != "denied" {
			t.Errorf("a collector failed by %s", reason)
		}
	}
	e = start(t, []string{"REDIS_ADDR=" + allowed.URL(), "REDIS_USER=nobody", "REDIS_PASSWORD=word"})
	p = e.Scrape("10")
	p.Want(t, `redis_exporter_collector_success{collector="info"}`, 0)
	p.Want(t, `redis_exporter_collector_failures_total{collector="info",reason="denied"}`, 1)
}

// A server that is loading its data answers, and says that.
func TestLoading(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{Config: []string{"key-load-delay 1000", "loading-process-events-interval-bytes 1024"}})
	e := at(t, server.Addr())
	e.wantGood()
	var commands [][]any
	commands = append(commands, []any{"DEBUG", "POPULATE", "3000", "key", "100"}, []any{"SAVE"})
	run(t, server, commands...)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := server.StartLoading(t.Context()); err != nil {
		t.Fatal(err)
	}
	harness.Freshen()
	p := e.Scrape("5")
	if p.Code != 200 || p.Took > 5*time.Second {
		t.Errorf("code %d after %s", p.Code, p.Took)
	}
	p.Want(t, "redis_up", 1)
	p.Want(t, "redis_loading_dump_file", 1)
	if health, _ := p.Value(`service_health{service="redis"}`); health == 1 {
		t.Error("a server that is loading is healthy")
	}
	if err := server.WaitInfo(t.Context(), "loading:0"); err != nil {
		t.Fatal(err)
	}
	e.wantGood()
	e.Scrape("5").Want(t, `service_health{service="redis"}`, 1)
}

// refusals are what servers say instead of answering any command but the first ones of a connection.
var refusals = map[string]string{
	"-LOADING Redis is loading the dataset in memory": "busy", "-NOAUTH Authentication required.": "auth",
	"-NOPERM this user has no permissions to run this command": "denied", "-MOVED 3999 127.0.0.1:6381": "config",
	"-MASTERDOWN Link with MASTER is down": "busy", "-BUSY Redis is busy running a script": "busy", "-ERR what nobody foresaw": "internal",
	"-CLUSTERDOWN The cluster is down": "busy", "-ERR unknown command": "unsupported",
}

// Whatever a server says instead of answering is told as what it is, and not for longer than it says it.
func TestRefusals(t *testing.T) {
	server := servers.NewRedis(t, servers.RedisOptions{})
	for text, reason := range refusals {
		t.Run(strings.Fields(text)[0][1:]+" "+reason, func(t *testing.T) {
			t.Parallel()
			fake := servers.NewRedisFake(t, server.Addr())
			e := at(t, fake.Addr())
			e.wantGood()
			fake.Answer("", text+"\r\n")
			harness.Freshen()
			p := e.Scrape("2")
			if reason == "unsupported" { // which is no collector's failure
				p.Want(t, "redis_up", 0)
			} else if reasons := p.FailureReasons("redis"); !slices.Contains(reasons, reason) {
				t.Errorf("collectors failed by %v, want %s", reasons, reason)
			}
			if _, shown := p.Value("redis_connected_clients"); shown {
				t.Error("a server that answers nothing has clients")
			}
			if health, _ := p.Value(`service_health{service="redis"}`); health == 1 {
				t.Error("a server that answers nothing is healthy")
			}
			fake.Forget()
			harness.Eventually(t, 5*time.Second, "the next scrapes are good", func() error {
				harness.Freshen()
				answer := e.Scrape("10")
				if up, _ := answer.Value("redis_up"); up != 1 || len(answer.Failing("redis")) > 0 {
					return fmt.Errorf("up %v, failing %v", up, answer.Failing("redis"))
				}
				return nil
			})
		})
	}
}

// Keys of any name make a page that can be read, and no other key is named.
func TestKeyNames(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{Initial: [][]any{
		{"SET", "odd:a\nb", "1"}, {"SET", "odd:\"quoted\\\"", "2"}, {"SET", "odd:\xff\xfe\r\n", "3"}, {"SET", "odd:snow ☃", "4"}, {"SET", "private", "5"},
	}})
	e := at(t, server.Addr(), "--check-keys=db0=odd:*")
	var sizes map[string]float64
	harness.Eventually(t, 10*time.Second, "all keys are shown", func() error {
		harness.Freshen()
		if family := e.Families()["redis_key_size"]; family != nil {
			sizes = bySeries(family)
		}
		if len(sizes) != 4 {
			return fmt.Errorf("%v", sizes)
		}
		return nil
	})
	for _, name := range []string{"odd:a\nb", `odd:"quoted\"`, "odd:snow ☃"} {
		if _, there := sizes[fmt.Sprintf(`db="db0",key=%q`, name)]; !there {
			t.Errorf("%q is missing: %v", name, sizes)
		}
	}
	if body := e.Scrape("10").Body; strings.Contains(body, "private") {
		t.Error("the page names a key that nobody asked for")
	}
}
