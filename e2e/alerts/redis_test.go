package alerts

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

func (w *world) addRedis(t *testing.T) {
	t.Helper()
	w.addFullRedis(t)
	w.addReplicas(t)
	w.addCluster(t)
	w.addDistantAndDead(t)
}

func (w *world) watchRedis(t *testing.T, server *servers.Redis) string {
	t.Helper()
	_, instance := w.watch(t, "redis", []string{"REDIS_ADDR=" + server.URL()})
	return instance
}

// addFullRedis adds a server that runs out of memory and connections and cannot save, and a cache too small for its keys.
func (w *world) addFullRedis(t *testing.T) {
	t.Helper()
	store := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis8, Config: []string{
		"maxmemory 64mb", "maxmemory-policy noeviction", "maxclients 20", "enable-protected-configs yes",
	}})
	full := w.watchRedis(t, store)
	w.fault(func(t *testing.T) {
		command(t, store, "CONFIG", "SET", "dir", "/proc")
		command(t, store, "BGSAVE")
	}, "RedisSnapshotFailing "+full)
	w.fault(func(t *testing.T) { command(t, store, "SETRANGE", "bulk", 60<<20, "x") }, "RedisMemoryNearLimit "+full)
	w.fault(func(t *testing.T) {
		for range 24 { // the last ones are turned away
			client := store.Dial()
			t.Cleanup(func() { _ = client.Close() })
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			client.Ping(ctx)
			cancel()
		}
	}, "RedisClientsNearLimit "+full, "RedisRejectsConnections "+full)

	cache := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Valkey8, Config: []string{"maxmemory 8mb", "maxmemory-policy allkeys-lru"}})
	evicting := w.watchRedis(t, cache)
	w.fault(func(t *testing.T) {
		client := cache.Dial()
		defer client.Close()
		pipeline := client.Pipeline()
		for n := range 20000 {
			pipeline.Set(t.Context(), fmt.Sprint("page:", n), fmt.Sprintf("%01000d", n), 0)
		}
		if _, err := pipeline.Exec(t.Context()); err != nil {
			t.Error(err)
		}
	}, "RedisEvicting "+evicting)
}

// addReplicas adds a primary with two replicas: one loses it, the other leaves it.
func (w *world) addReplicas(t *testing.T) {
	t.Helper()
	primary := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis7})
	one, other := primary.NewReplica(t), primary.NewReplica(t)
	followed, lost, turned := w.watchRedis(t, primary), w.watchRedis(t, one), w.watchRedis(t, other)
	w.fault(func(t *testing.T) { command(t, one, "REPLICAOF", "127.0.0.1", "1") }, "RedisReplicationBroken "+lost)
	w.fault(func(t *testing.T) { command(t, other, "REPLICAOF", "NO", "ONE") }, "RedisRoleChanged "+turned, "RedisReplicasFewer "+followed)
}

// addCluster adds a cluster that loses a node, and with it a third of the slots.
func (w *world) addCluster(t *testing.T) {
	t.Helper()
	cluster := servers.NewRedisCluster(t, servers.Redis7, 3, 0)
	node := w.watchRedis(t, cluster.Masters[0])
	w.fault(func(*testing.T) { cluster.Masters[1].Kill() }, "RedisClusterDown "+node, "RedisClusterSlotsNotServed "+node)
}

// addDistantAndDead adds a server far away, and one that ends, which a sentinel sees too.
func (w *world) addDistantAndDead(t *testing.T) {
	t.Helper()
	far := servers.NewRedis(t, servers.RedisOptions{})
	line := proxy.New(t, far.Addr())
	_, slow := w.watch(t, "redis-slow", []string{"REDIS_ADDR=redis://" + line.Addr()})
	w.fault(func(*testing.T) { line.SetDelay(500 * time.Millisecond) }, "RedisSlow "+slow)

	ends := servers.NewRedis(t, servers.RedisOptions{})
	sentinel := servers.NewSentinel(t, "shop", ends, 1, "sentinel down-after-milliseconds shop 1000")
	down, watcher := w.watchRedis(t, ends), w.watchRedis(t, sentinel)
	w.fault(func(*testing.T) { ends.Kill() }, "RedisDown "+down, "ServiceDown "+down, "RedisMasterDown "+watcher)
	w.suppressed = append(w.suppressed, "ServiceDown "+down)
}

func command(t *testing.T, server *servers.Redis, words ...any) {
	t.Helper()
	if _, err := server.Do(t.Context(), words...); err != nil {
		t.Fatalf("%v: %v", words[0], err)
	}
}
