package redis

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// world is a server as it is in one of the cases that the list of the peer's families knows, in which something is to
// be seen in every family, and which otherwise stands still.
type world struct {
	name   string // as in the list
	server *servers.Redis
	args   []string         // that switch on what the peer has for such a server
	others []*servers.Redis // of the same cluster
}

// worlds are the cases, each made when it is asked for.
var worlds = map[string]func(*testing.T) world{
	"redis7":   func(t *testing.T) world { return alone(t, servers.Redis7) },
	"redis8":   func(t *testing.T) world { return alone(t, servers.Redis8) },
	"valkey8":  func(t *testing.T) world { return alone(t, servers.Valkey8) },
	"replica":  replica,
	"cluster":  clusterNode,
	"sentinel": sentinel,
}

// alone is a server with data, users' connections and a replica.
func alone(t *testing.T, kind string) world {
	t.Helper()
	server := servers.NewRedis(t, servers.RedisOptions{Kind: kind, Config: worldConfig, Initial: data})
	server.NewReplica(t)
	live(t, server, "nothing")
	mistake(t, server)
	return world{filepath.Base(strings.ReplaceAll(kind, "/", "")), server, everything(t), nil}
}

func replica(t *testing.T) world {
	t.Helper()
	primary := servers.NewRedis(t, servers.RedisOptions{Config: worldConfig, Initial: data})
	server := primary.NewReplica(t, worldConfig...)
	live(t, server, "nothing")
	mistake(t, server)
	return world{"replica", server, everything(t), nil}
}

func clusterNode(t *testing.T) world {
	t.Helper()
	c := servers.NewRedisCluster(t, servers.Redis7, 3, 0, worldConfig...)
	for _, node := range c.Masters {
		for i := range 50 {
			_, _ = node.Do(t.Context(), "SET", fmt.Sprint("key:", i), i) // those of other nodes are refused
		}
	}
	live(t, c.Masters[0], "{key:}1")
	return world{"cluster", c.Masters[0], []string{
		"--is-cluster", "--check-single-keys=db0=key:11,db0=key:12,db0=key:15,db0=key:16", "--export-client-list", "--export-client-port", "--include-config-metrics", "--include-modules-metrics",
		"--include-system-metrics",
	}, c.Masters[1:]}
}

func sentinel(t *testing.T) world {
	t.Helper()
	primary := servers.NewRedis(t, servers.RedisOptions{})
	primary.NewReplica(t)
	server, other := servers.NewSentinel(t, "main", primary, 2), servers.NewSentinel(t, "main", primary, 2)
	for _, s := range []*servers.Redis{server, other} {
		for field, value := range map[string]string{"num-slaves": "1", "num-other-sentinels": "1"} {
			if err := s.WaitSentinel(t.Context(), "main", field, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	live(t, server, "")
	return world{"sentinel", server, []string{
		"--ping-on-connect", "--export-client-list", "--export-client-port", "--include-config-metrics", "--include-sentinel-peer-info",
	}, nil}
}

// worldConfig has the server note what is slow, and nothing that happens by itself.
var worldConfig = []string{
	"latency-monitor-threshold 10", "slowlog-log-slower-than 10000", "maxmemory 200mb", "maxmemory-policy allkeys-lru",
	"hz 1", "dynamic-hz no", "client-query-buffer-limit 1gb", "user clerk on >clerk ~* &* +@all",
}

// data is something of every kind. The script, the slow command and the message are no data, but leave traces.
var data = [][]any{
	{"MSET", "text", "a line of text", "number", "42", "key:1", "1", "key:2", "two"},
	{"SET", "mortal", "x", "EX", "86400"},
	{"HSET", "hash", "a", "1", "b", "2"},
	{"RPUSH", "list", "a", "b", "c"},
	{"SADD", "set", "a", "b"},
	{"ZADD", "zset", "1", "a", "2", "b"},
	{"PFADD", "hyperloglog", "a", "b"},
	{"MSET", "group:one:1", "1", "group:one:2", "2", "group:two:1", "3"},
	{"XADD", "stream", "1-1", "a", "1"},
	{"XADD", "stream", "2-1", "a", "2"},
	{"XADD", "stream", "3-1", "a", "3"},
	{"XDEL", "stream", "2-1"},
	{"XGROUP", "CREATE", "stream", "readers", "0"},
	{"XGROUP", "CREATE", "stream", "idlers", "$"},
	{"XREADGROUP", "GROUP", "readers", "anna", "COUNT", "1", "STREAMS", "stream", ">"},
	{"XADD", "stream:steady", "1-1", "a", "1"},
	{"XGROUP", "CREATE", "stream:steady", "readers", "0"},
	{"XREADGROUP", "GROUP", "readers", "anna", "COUNT", "1", "STREAMS", "stream:steady", ">"},
	{"FUNCTION", "LOAD", "#!lua name=library\nredis.register_function('answer', function() return 42 end)"},
	{"EVAL", "return 1", "0"},
	{"PUBLISH", "news", "none"},
	{"CONFIG", "SET", "slowlog-max-len", "64"},
	{"DEBUG", "SLEEP", "0.02"},
}

// mistake makes the server say that something went wrong.
func mistake(t *testing.T, server *servers.Redis) {
	t.Helper()
	if _, err := server.Do(t.Context(), "GET"); err == nil {
		t.Fatal("a command without its argument is no error")
	}
}

// live keeps connections open that do something: a named user's, a subscriber's and one that waits for a stream, if any.
func live(t *testing.T, server *servers.Redis, stream string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	idler := server.Client(t)
	if err := idler.Do(ctx, "CLIENT", "SETNAME", "idler").Err(); err != nil {
		t.Fatal(err)
	}
	subscription := server.Client(t).Subscribe(ctx, "news")
	if _, err := subscription.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = subscription.Close() })
	if stream == "" {
		return
	}
	waiter, done := server.Client(t), make(chan struct{})
	go func() {
		defer close(done)
		_ = waiter.Do(ctx, "XREAD", "BLOCK", "0", "STREAMS", stream, "$").Err()
	}()
	t.Cleanup(func() { _ = waiter.Close(); <-done })
	harness.Eventually(t, 10*time.Second, "a client is blocked", func() error { return server.WaitInfo(ctx, "blocked_clients:1") })
}

// everything are the peer's flags that switch all on, but for what a server must be made for.
func everything(t *testing.T) []string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "collect.lua")
	if err := os.WriteFile(script, []byte("return {'answer', '42', 'length', tostring(redis.call('HLEN', 'hash'))}"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"--check-keys=db0=key:*", "--check-single-keys=db0=text,db0=number,db0=hash,db0=list,db0=zset,db0=nowhere",
		"--check-streams=db0=str*", "--check-single-streams=db0=stream", "--check-key-groups=^(group:[a-z]+):", "--count-keys=db0=group:*",
		"--script=" + script, "--export-client-list", "--export-client-port", "--include-config-metrics", "--include-modules-metrics",
		"--include-system-metrics", "--include-rdb-file-size-metric", "--ping-on-connect",
	}
}
