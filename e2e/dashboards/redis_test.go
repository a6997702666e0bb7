package dashboards

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// startRedis starts a primary with a limit on memory, its replica, a node of a cluster and a sentinel, with an exporter
// for each.
func startRedis(t *testing.T) []*harness.Exporter {
	t.Helper()
	primary := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis8, Config: []string{"maxmemory 64mb", "slowlog-log-slower-than 0"}})
	must(t, bulk(t.Context(), primary, 120)) // above 100 MB the fragmentation is shown
	replica := primary.NewReplica(t)
	cluster := servers.NewRedisCluster(t, servers.Redis7, 3, 0)
	sentinel := servers.NewSentinel(t, "shop", primary, 1)
	keepBusy(t, primary)
	var exporters []*harness.Exporter
	for _, server := range []*servers.Redis{primary, replica, cluster.Masters[0], sentinel} {
		exporters = append(exporters, harness.Start(t, "redis-exporter", []string{"REDIS_ADDR=" + server.URL()}, "--collector.command_latency"))
	}
	return exporters
}

// bulk fills a server with some megabytes more than its limit, then sets the limit.
func bulk(ctx context.Context, server *servers.Redis, megabytes int) error {
	if _, err := server.Do(ctx, "CONFIG", "SET", "maxmemory", fmt.Sprint(2*megabytes, "mb")); err != nil {
		return err
	}
	_, err := server.Do(ctx, "SETRANGE", "bulk", megabytes<<20, "x")
	return err
}

func keepBusy(t *testing.T, server *servers.Redis) {
	t.Helper()
	client := server.Client(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for n := 0; ctx.Err() == nil; n++ {
			client.Set(ctx, fmt.Sprint("visitor:", n%100), n, time.Minute)
			client.Get(ctx, fmt.Sprint("visitor:", n%100))
			client.Get(ctx, "nobody")
			client.Do(ctx, "LPUSH", "visitor:1", "x") // an error, since that is text
			time.Sleep(50 * time.Millisecond)
		}
	}()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
