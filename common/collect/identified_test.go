package collect

import (
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// TestIdentified holds that labels which only the server tells are on what is collected, and change with it.
func TestIdentified(t *testing.T) {
	s := newServer()
	s.replies["g"], s.replies["slowly"] = table("key value", "k 7"), table("key value", "k 8")
	bubble(t, s, Catalogue{gauge("g"), gauge("slowly", slow(second))}, func(f *fixture) {
		f.spec.Identified = func(id Identity) []metric.Label {
			if id.Replica {
				return []metric.Label{{Name: "role", Value: "replica"}}
			}
			return []metric.Label{{Name: "role", Value: "primary"}}
		}
		for _, role := range []string{"primary", "replica"} {
			s.mu.Lock()
			s.identity.Replica = role == "replica"
			s.mu.Unlock()
			f.scrape(second)
			later()
			got := lines(page(t, f.scrape(second)), "fake_g", "fake_slowly")
			if want := `fake_g{key="k",role="` + role + `"} 7` + "\n"; lines(got, "fake_g") != want {
				t.Errorf("the page says\n%s, want\n%s", got, want)
			}
			if want := `fake_slowly{key="k",role="primary"} 8` + "\n"; role == "primary" && lines(got, "fake_slowly") != want {
				t.Errorf("the page says\n%s, want\n%s", got, want)
			}
		}
	})
}
