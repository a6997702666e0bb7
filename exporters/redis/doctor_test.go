package main

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// TestLeastRule has the doctor examine an account without rights, gives it what the doctor says, and finds that
// everything works with just that.
func TestLeastRule(t *testing.T) {
	o := options{emptyDatabases: true, redactConfig: true, keys: keyChecks{
		keys: []keyRef{{0, "text"}, {0, "list"}, {3, "hll"}}, keyPatterns: []keyRef{{0, "t*"}}, counts: []keyRef{{0, "*"}},
		streams: []keyRef{{0, "stream"}}, streamPatterns: []keyRef{{0, "s*"}}, groups: []string{"^(.)"}, maxGroups: 10, batch: 100, values: true, consumers: true,
	}}
	for _, kind := range servers.RedisKinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := servers.NewRedis(t, servers.RedisOptions{Kind: kind, Initial: [][]any{
				{"SET", "text", "hello"}, {"LPUSH", "list", "a", "b"}, {"XADD", "stream", "*", "f", "v"}, {"XGROUP", "CREATE", "stream", "g", "0"},
				{"ACL", "SETUSER", "poor", "on", ">pw", "-@all", "+ping", "+info"},
			}})
			d := &driver{settings: func() (*settings, error) {
				return &settings{network: "tcp", address: r.Addr(), user: "poor", password: "pw", clientName: "redis_exporter", timeout: 5 * time.Second}, nil
			}}
			all, err := catalogue(o)
			if err != nil {
				t.Fatal(err)
			}
			all = slices.DeleteFunc(all, func(c *collect.Collector) bool { return c.Off && c.Name != "client_list" || o.idle(c.Name) })
			spec := collect.Spec{Name: "test", Service: "redis", Driver: d, Collectors: all}
			findings, err := (&backend{}).Examine(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			rule := ""
			for _, f := range findings {
				if strings.HasPrefix(f.Problem, "the account lacks") && strings.Contains(f.Problem, "config|get") {
					rule = f.Remedy
				}
			}
			rule = strings.ReplaceAll(strings.ReplaceAll(rule, "'>PASSWORD'", ">pw2"), "monitor", "rich")
			rule, _, _ = strings.Cut(rule, "   ")
			if !strings.HasPrefix(rule, "ACL SETUSER rich on >pw2 -@all ") || strings.Contains(rule, "+@") {
				t.Fatalf("the doctor says %+v", findings)
			}
			do(t, r, rights(rule))
			d.settings = func() (*settings, error) {
				return &settings{network: "tcp", address: r.Addr(), user: "rich", password: "pw2", clientName: "redis_exporter", timeout: 5 * time.Second}, nil
			}
			target := collect.NewTarget(spec, collect.NewSelf("redis", nil), slog.New(slog.DiscardHandler))
			defer target.Close()
			result := target.Scrape(t.Context())
			for _, c := range result.Collectors {
				if c.Fault != fault.None && c.Fault != fault.Unsupported {
					t.Errorf("%s: %s: %v", c.Name, c.Fault, c.Err)
				}
			}
			if !result.Up || result.Fault != fault.None {
				t.Errorf("the server is not well: %v", result.Err)
			}
			findings, err = (&backend{}).Examine(t.Context(), spec)
			if err != nil || len(findings) > 1 || len(findings) == 1 && !strings.Contains(findings[0].Problem, "latency-monitor-threshold") {
				t.Errorf("the doctor still says %+v, %v", findings, err)
			}
		})
	}
}
