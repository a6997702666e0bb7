package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// oneWay is how far the server is away.
const oneWay = 25 * time.Millisecond

// distances are what is switched on, and how much less time a scrape takes than the peer's.
var distances = map[string]struct {
	args   func(*testing.T) []string
	turns  int64
	faster time.Duration
}{
	"default":              {func(*testing.T) []string { return nil }, 1, 4}, // on a machine with nothing else to do, 6
	"everything about it":  {withoutKeys, 1, 4},
	"keys and streams too": {withoutScans, 1, 12}, // likewise, 16; with more keys and streams the peer takes longer, ours does not
	"1000 keys":            {thousandKeys, 1, 2},
}

// withoutScans is everything but what goes through all keys, which ours does in the background.
func withoutScans(t *testing.T) []string {
	return slices.DeleteFunc(everything(t), func(arg string) bool {
		return strings.HasPrefix(arg, "--check-keys=") || strings.HasPrefix(arg, "--check-key-groups=") ||
			strings.HasPrefix(arg, "--check-streams=") || strings.HasPrefix(arg, "--count-keys=")
	})
}

// withoutKeys is everything but what looks at keys.
func withoutKeys(t *testing.T) []string {
	return slices.DeleteFunc(withoutScans(t), func(arg string) bool { return strings.HasPrefix(arg, "--check-") })
}

func thousandKeys(*testing.T) []string {
	var keys []string
	for i := range 1000 {
		keys = append(keys, fmt.Sprintf("db0=many:%d", i))
	}
	return []string{"--check-single-keys=" + strings.Join(keys, ",")}
}

// A scrape on a warm connection is one turn-around and no new connection, so distance costs one trip, where the peer
// pays for many.
func TestDistance(t *testing.T) {
	peer, err := servers.RedisPeer()
	if err != nil {
		t.Fatal(err)
	}
	server := servers.NewRedis(t, servers.RedisOptions{Config: worldConfig, Initial: append(data, []any{"DEBUG", "POPULATE", "1000", "many"})})
	for name, d := range distances {
		t.Run(name, func(t *testing.T) {
			far, farther := proxy.New(t, server.Addr()), proxy.New(t, server.Addr())
			args := d.args(t)
			e := at(t, far.Addr(), args...)
			theirs, err := servers.StartExporter(t.Context(), peer, []string{"REDIS_ADDR=redis://" + farther.Addr()}, args...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = theirs.Stop() })
			p := &exporter{&harness.Exporter{Process: theirs.Process, T: t, URL: theirs.URL}}
			e.Scrape("10").Want(t, "redis_up", 1)
			e.wantGood()
			far.SetDelay(oneWay)
			farther.SetDelay(oneWay)
			var ours, peers []time.Duration
			for range 3 {
				harness.Freshen()
				far.ResetStats()
				answer := e.Scrape("10")
				stats := far.Stats()
				answer.Want(t, "redis_up", 1)
				answer.Want(t, "redis_exporter_last_scrape_turnarounds", float64(stats.TurnArounds))
				if failing := answer.Failing("redis"); len(failing) > 0 {
					t.Errorf("collectors fail: %v", failing)
				}
				if stats.TurnArounds > d.turns || stats.Conns != 0 {
					t.Errorf("a warm scrape took %d turn-arounds and %d new connections, want at most %d and 0", stats.TurnArounds, stats.Conns, d.turns)
				}
				ours, peers = append(ours, answer.Took), append(peers, p.Scrape("10").Took)
				t.Logf("%d turn-arounds, %s; the peer's %s", stats.TurnArounds, answer.Took, peers[len(peers)-1])
			}
			if best, theirs := slices.Min(ours), slices.Min(peers); best > theirs/d.faster {
				t.Errorf("a scrape takes %s, want at most 1/%d of the peer's %s", best, d.faster, theirs)
			}
		})
	}
}

// Two Prometheis that come at the same time cost the server one scrape.
func TestConcurrentScrapesShareOneRun(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis8})
	far := proxy.New(t, server.Addr())
	far.SetDelay(oneWay)
	e := at(t, far.Addr())
	e.Scrape("10")
	harness.Freshen()
	far.ResetStats()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { e.Scrape("10").Want(t, "redis_up", 1) })
	}
	both.Wait()
	if n := far.Stats().TurnArounds; n != 1 {
		t.Errorf("two scrapes at once took %d turn-arounds, want 1", n)
	}
}

// TLS and a user with a password cost a connection and no scrape.
func TestTLS(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{TLS: true, Password: "word", Config: []string{"tls-auth-clients yes"}, Kind: servers.Redis7})
	far := proxy.New(t, server.Addr())
	certificate, key := server.Certificate()
	env := []string{
		"REDIS_ADDR=rediss://" + far.Addr(), "REDIS_PASSWORD=word", "REDIS_EXPORTER_TLS_CA_CERT_FILE=" + server.CAFile(),
		"REDIS_EXPORTER_TLS_CLIENT_CERT_FILE=" + certificate, "REDIS_EXPORTER_TLS_CLIENT_KEY_FILE=" + key,
	}
	e := start(t, env)
	e.wantGood()
	far.SetDelay(oneWay)
	harness.Freshen()
	far.ResetStats()
	e.Scrape("10").Want(t, "redis_up", 1)
	if stats := far.Stats(); stats.TurnArounds != 1 || stats.Conns != 0 {
		t.Errorf("a warm scrape over TLS: %+v", stats)
	}
	for why, env := range map[string][]string{
		"no authority":   {env[0], env[1], env[3], env[4]},
		"no certificate": {env[0], env[1], env[2]},
		"another name":   append(slices.Clone(env), "REDIS_EXPORTER_TLS_SERVER_NAME=elsewhere.example"),
	} {
		t.Run(why, func(t *testing.T) {
			e := start(t, env)
			// In TLS 1.3 the client speaks before the server has looked at its certificate. Where the server closes the
			// connection on that, its alert may be lost on the way; then the next connection tells.
			harness.Eventually(t, 10*time.Second, "the reason is known", func() error {
				if value, _ := e.Scrape("2").Value(`redis_exporter_failure_info{reason="auth"}`); value != 1 {
					harness.Freshen()
					return errors.New("it is not auth")
				}
				return nil
			})
			e.wantDown("auth")
		})
	}
	insecure := append(slices.Clone(env), "REDIS_EXPORTER_SKIP_TLS_VERIFICATION=true", "REDIS_EXPORTER_TLS_SERVER_NAME=elsewhere.example")
	start(t, insecure).wantGood()
}
