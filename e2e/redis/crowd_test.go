package redis

import (
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// A server with very many commands, or very many clients, is scraped in little time and memory.
func TestCrowds(t *testing.T) {
	server := servers.NewRedis(t, servers.RedisOptions{})
	info, err := server.Text(t.Context(), "INFO", "ALL")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		answers map[string]string
		args    []string
		within  time.Duration
		memory  int64
		series  string
		value   float64
	}{
		"2000 commands with histograms": {
			map[string]string{"INFO": servers.BulkText(servers.ManyCommands(info, 2000)), "LATENCY HISTOGRAM": servers.ManyHistograms(2000)}, nil,
			500 * time.Millisecond, 80e6, `redis_commands_latencies_usec_count{cmd="made1999"}`, 2009,
		},
		"10000 commands": {
			map[string]string{"INFO": servers.BulkText(servers.ManyCommands(info, 10000))}, nil,
			time.Second, 100e6, `redis_commands_total{cmd="made9999"}`, 10000,
		},
		"20000 clients": {
			map[string]string{"CLIENT LIST": servers.ManyClients(20000)}, []string{"--export-client-list"},
			time.Second, 60e6, "redis_up", 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := servers.NewRedisFake(t, server.Addr())
			for command, answer := range c.answers {
				fake.Answer(command, answer)
			}
			e := at(t, fake.Addr(), c.args...)
			e.Scrape("10")
			harness.Freshen()
			p := e.Scrape("10")
			p.Want(t, "redis_up", 1)
			p.Want(t, c.series, c.value)
			if failing := p.Failing("redis"); len(failing) > 0 {
				t.Errorf("collectors fail: %v", failing)
			}
			if p.Took > c.within {
				t.Errorf("a scrape took %s, want under %s", p.Took, c.within)
			}
			e.WantSmall(c.memory)
			rss, _ := e.RSS()
			t.Logf("%s, %.1f MB resident, %.1f MB of page", p.Took, float64(rss)/1e6, float64(len(p.Body))/1e6)
		})
	}
}
