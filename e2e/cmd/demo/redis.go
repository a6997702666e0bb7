package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// startRedis starts a Redis server with a password.
func startRedis(ctx context.Context, dir string) (*pair, error) {
	passwordFile, password := filepath.Join(dir, "redis-password"), rand.Text()
	server, err := servers.StartRedis(ctx, servers.RedisOptions{Kind: servers.Redis8, Password: password})
	if err != nil {
		return nil, err
	}
	say("Redis runs on %s", server.Addr())
	text := fmt.Sprintf(`{"redis://%s": %q}`, server.Addr(), password)
	p := &pair{
		kind: "redis", title: "Redis", backend: server,
		up: "redis_up", rises: "sum(redis_commands_processed_total)",
		queries: []string{`rate(redis_commands_processed_total[30s])`, `redis_memory_used_bytes`},
		talk:    fmt.Sprintf("redis-cli -p %d", server.Port()),
		env:     []string{"REDIS_ADDR=redis://" + server.Addr(), "REDIS_PASSWORD_FILE=" + passwordFile},
	}
	if err := os.WriteFile(passwordFile, []byte(text), 0o600); err != nil {
		return p, err
	}
	p.endLoad = startRedisLoad(server)
	return p, nil
}

// startRedisLoad keeps a server busy until the returned function is called, which waits for the end. While the server
// is down it tries again and again.
func startRedisLoad(server *servers.Redis) func() {
	ctx, cancel := context.WithCancel(context.Background())
	client := server.Dial()
	var load sync.WaitGroup
	load.Go(func() {
		for n := 0; pause(ctx, 50*time.Millisecond); n++ {
			key := fmt.Sprintf("visitor:%d", n%500)
			for _, command := range [][]any{{"INCR", key}, {"EXPIRE", key, 60}, {"GET", key}, {"GET", "nobody"}} {
				client.Do(ctx, command...) // a server that is being stopped is part of the demo
			}
		}
	})
	return func() {
		cancel()
		load.Wait()
		_ = client.Close()
	}
}
