package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// wantPrimary wants the page of a server, as a primary.
func (e *exporter) wantPrimary(server *servers.Redis) {
	e.T.Helper()
	harness.Eventually(e.T, 20*time.Second, "the primary is at "+server.Addr(), func() error {
		harness.Freshen()
		p := e.Scrape("5")
		found := role.FindStringSubmatch(p.Body)
		if up, _ := p.Value("redis_up"); up != 1 || found == nil || !strings.Contains(found[0], fmt.Sprintf(`process_id="%d"`, server.Process().PID())) {
			return fmt.Errorf("up %v, %v", up, found)
		}
		if found[1] != "master" {
			e.T.Errorf("a page with up 1 is that of a %s", found[1])
		}
		return nil
	})
}

// An exporter that is told the name of a primary follows it, when it dies and when it is changed on purpose, whichever
// sentinels are silent.
func TestPrimaryThroughSentinels(t *testing.T) {
	t.Parallel()
	master := servers.NewRedis(t, servers.RedisOptions{Password: "word", Config: []string{"masterauth word"}})
	replica := master.NewReplica(t)
	var watchers []*servers.Redis
	addresses := []string{"127.0.0.1:1"} // where nobody is
	for range 3 {
		w := servers.NewSentinel(t, "main", master, 2)
		watchers, addresses = append(watchers, w), append(addresses, w.Addr())
	}
	for _, w := range watchers {
		for field, value := range map[string]string{"num-slaves": "1", "num-other-sentinels": "2"} {
			if err := w.WaitSentinel(t.Context(), "main", field, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := watchers[0].Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watchers[0].Resume)
	e := start(t, []string{"REDIS_ADDR=redis-sentinel://" + strings.Join(addresses, ",") + "/0#main", "REDIS_PASSWORD=word"})
	e.wantPrimary(master)
	master.Kill()
	e.wantPrimary(replica)
	if err := master.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := watchers[1].WaitSentinel(t.Context(), "main", "num-slaves", "1"); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 20*time.Second, "the primary is changed on purpose", func() error {
		_, err := watchers[1].Do(t.Context(), "SENTINEL", "FAILOVER", "main")
		return err
	})
	e.wantPrimary(master)
	start(t, []string{"REDIS_ADDR=redis-sentinel://" + watchers[1].Addr() + "#other", "REDIS_PASSWORD=word"}).wantDown("config")
}
