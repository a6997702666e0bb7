package collect

import (
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// primaryOnly and replicaOnly limit a collector to one role.
func primaryOnly(c *Collector) { c.Needs.Primary = true }
func replicaOnly(c *Collector) { c.Needs.Replica = true }

// A replica becomes a primary between two scrapes. The first batch after it was planned for a replica; the scrape is
// whole nevertheless, and nothing of that batch is on the page.
func TestPromotion(t *testing.T) {
	s := newServer()
	s.replies["any"], s.replies["first"], s.replies["second"] = table("key value", "a 1"), table("key value", "a 2"), table("key value", "a 3")
	s.probes = append(s.probes, Probe{Operation: Write, Question: Question{Text: "write"}, Skip: func(id Identity) bool { return id.Replica }})
	s.replies["write"] = reply{err: fault.New(fault.Denied, "the server is read-only")}
	s.identity.Replica = true
	bubble(t, s, Catalogue{gauge("any"), gauge("first", primaryOnly), gauge("second", replicaOnly)}, func(f *fixture) {
		f.scrape(time.Second)
		later()
		if r := f.scrape(time.Second); !r.Identity.Replica || r.Health.Write.Asked {
			t.Errorf("the replica is %+v, its health %+v", r.Identity, r.Health)
		}
		later()
		s.mu.Lock()
		s.identity.Replica = false
		s.mu.Unlock()
		s.set("any", table("key value", "a 4"))
		s.set("write", table("ok", "1"))
		before := s.count("any")
		r := f.scrape(time.Second)
		if !r.Up || r.Identity.Replica || !r.Health.Write.OK() || s.count("any") != before+2 {
			t.Errorf("up %v, %+v, health %+v, asked %d times", r.Up, r.Identity, r.Health, s.count("any")-before)
		}
		f.expect(r, "fake_any fake_first fake_second fake_exporter_collector_success", `
			fake_any{key="a"} 4
			fake_exporter_collector_success{collector="any"} 1
			fake_exporter_collector_success{collector="first"} 1
			fake_exporter_collector_success{collector="second"} 1
			fake_first{key="a"} 2
		`)
		later()
		before = s.count("any")
		if f.scrape(time.Second); s.count("any") != before+1 {
			t.Errorf("the next scrape asked %d times", s.count("any")-before)
		}
	})
}
