package redis

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// nodesOf reads what the discovery of a cluster's nodes tells Prometheus.
func nodesOf(t *testing.T, e *exporter) []string {
	t.Helper()
	p := e.Get("/discover-cluster-nodes")
	var groups []struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	if err := json.Unmarshal([]byte(p.Body), &groups); err != nil || p.Code != 200 {
		t.Fatalf("code %d: %v: %s", p.Code, err, p.Body)
	}
	var nodes []string
	for _, g := range groups {
		nodes = append(nodes, g.Targets...)
	}
	slices.Sort(nodes)
	return nodes
}

// The nodes of a cluster are told to Prometheus as the peer tells them, and each can be scraped by that name.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	c := servers.NewRedisCluster(t, servers.Redis7, 3, 1)
	p := newPair(t, []string{"REDIS_ADDR=" + c.Masters[0].URL(), "REDIS_EXPORTER_IS_CLUSTER=true"}, nil)
	ours, theirs := nodesOf(t, p.ours), nodesOf(t, p.theirs)
	if !slices.Equal(ours, theirs) || len(ours) != 4 {
		t.Errorf("nodes %v, the peer's %v", ours, theirs)
	}
	for _, node := range c.Nodes() {
		if !slices.ContainsFunc(ours, func(found string) bool { return strings.HasSuffix(found, fmt.Sprint(":", node.Port())) }) {
			t.Errorf("%s is missing: %v", node.Addr(), ours)
		}
	}
}

// Servers of a list are scraped by /scrape and by /probe, by their address alone or as a URL, each with its own password.
func TestScrapeTarget(t *testing.T) {
	t.Parallel()
	open, closed := servers.NewRedis(t, servers.RedisOptions{}), servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis8, Password: "word"})
	passwords := harness.File(t, "passwords.json", fmt.Sprintf(`{"redis://%s": "", "redis://%s": "word"}`, open.Addr(), closed.Addr()))
	e := start(t, []string{"REDIS_ADDR=" + open.URL(), "REDIS_PASSWORD_FILE=" + passwords})
	for _, path := range []string{"/scrape", "/probe"} {
		for _, server := range []*servers.Redis{open, closed} {
			for _, target := range []string{"redis://" + server.Addr(), server.Addr()} {
				p := e.Get(path + "?target=" + url.QueryEscape(target))
				if p.Code != 200 {
					t.Errorf("%s?target=%s: code %d: %s", path, target, p.Code, p.Body)
					continue
				}
				p.Want(t, "redis_up", 1)
				p.Want(t, "redis_process_id", float64(server.Process().PID()))
				if strings.Contains(p.Body, "\ngo_") {
					t.Errorf("%s tells of the exporter's own process", path)
				}
			}
		}
	}
	if p := e.Get("/scrape"); p.Code != 400 {
		t.Errorf("/scrape without a target: code %d", p.Code)
	}
}
