package redis

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// wantHealth wants /health to say a state of the server, and why.
func (e *exporter) wantHealth(code int, state, reason string) {
	e.T.Helper()
	harness.Freshen()
	p := e.Get("/health")
	var answer struct {
		Services map[string]string `json:"services"`
		Details  map[string]struct {
			Reason string `json:"reason"`
		} `json:"details"`
	}
	if err := json.Unmarshal([]byte(p.Body), &answer); err != nil {
		e.T.Fatalf("%v: %s", err, p.Body)
	}
	if p.Code != code || answer.Services["redis"] != state || answer.Details["redis"].Reason != reason {
		e.T.Errorf("/health: code %d, %+v, want %d %s %s", p.Code, answer, code, state, reason)
	}
}

const writeSuccess = `db_write_success{db_name="0",service="redis"}`

// A write probe keeps one key that expires, in the one turn-around of a scrape; where nobody asked for it, nothing is
// written, nor on a replica; a server that cannot be written is degraded.
func TestHealthWriteProbe(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{Config: []string{"user reader on >word ~* -@all +info +ping +dbsize"}})
	replica := server.NewReplica(t)
	at(t, server.Addr()).wantGood()
	if n, err := server.Do(t.Context(), "DBSIZE"); err != nil || n != int64(0) {
		t.Errorf("uninvited, the exporter left %v keys: %v", n, err)
	}
	far := proxy.New(t, server.Addr())
	far.SetDelay(10 * time.Millisecond)
	e := at(t, far.Addr(), "--health.write", "--health.key=checked", "--health.ttl=1m")
	e.wantGood()
	harness.Freshen()
	far.ResetStats()
	p := e.Scrape("5")
	p.Want(t, writeSuccess, 1)
	if n := far.Stats().TurnArounds; n != 1 {
		t.Errorf("a scrape with a write took %d turn-arounds", n)
	}
	if ttl, err := server.Do(t.Context(), "TTL", "checked"); err != nil || ttl.(int64) < 30 || ttl.(int64) > 60 {
		t.Errorf("the key expires in %v s: %v", ttl, err)
	}
	e.wantHealth(200, "ok", "")
	p = at(t, replica.Addr(), "--health.write").Scrape("5")
	p.Want(t, `service_health{service="redis"}`, 1)
	if _, asked := p.Value(writeSuccess); asked {
		t.Error("the replica was asked to write")
	}
	reader := start(t, []string{"REDIS_ADDR=" + server.URL(), "REDIS_USER=reader", "REDIS_PASSWORD=word", "REDIS_EXPORTER_HEALTH_WRITE=true"})
	reader.wantHealth(200, "degraded", "denied")
	reader.Scrape("5").Want(t, writeSuccess, 0)
	run(t, server, []any{"CONFIG", "SET", "min-replicas-to-write", "5"})
	e.wantHealth(200, "degraded", "busy")
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	e.wantHealth(503, "error", "timeout")
	server.Resume()
	run(t, server, []any{"CONFIG", "SET", "min-replicas-to-write", "0"})
	e.wantHealth(200, "ok", "")
}
