package vectordb

import (
	"fmt"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

// The recall that the exporter measures is that of a computation over all vectors which shares nothing with it: the true
// one lies in the exporter's interval, with an index that finds little, and is 1 where the index looks at everything.
func TestRecallAgreesWithBruteForce(t *testing.T) {
	const k, amount = 10, 3000
	for _, s := range everyStore(t) {
		t.Run(s.kind(), func(t *testing.T) {
			t.Parallel()
			all := vectors(amount, 48)
			qualities := map[string]quality{"poorly": poor, "exactly": exact}
			if s.kind() == "redis" { // its searches have no setting that is kept with the set
				qualities = map[string]quality{"usually": usual}
			}
			yaml := "targets:\n  - " + s.target() + "\n    recall:\n      every: 1s\n      k: 10\n      queries: 60\n      collections:\n"
			for name, how := range qualities {
				s.fill(t, name, all, how)
				collection, _ := s.named(name)
				yaml += fmt.Sprintf("        - name: %q\n", collection)
			}
			e := start(t, yaml)
			for name, how := range qualities {
				truth := trueRecall(t, s, name, all, 150, k)
				collection, vector := s.named(name)
				ratio := func(kind string) string {
					return fmt.Sprintf(`vectordb_search_recall%s_ratio{collection=%q,k="10",vector=%q}`, kind, collection, vector)
				}
				page := eventually(t, e, 40*time.Second, ratio(""))
				got, _ := page.Value(ratio(""))
				lower, _ := page.Value(ratio("_lower"))
				upper, _ := page.Value(ratio("_upper"))
				t.Logf("%s: true %.3f, measured %.3f (%.3f to %.3f)", name, truth, got, lower, upper)
				if truth < lower || truth > upper {
					t.Errorf("%s: the true recall %v is not within %v and %v", name, truth, lower, upper)
				}
				switch {
				case how == exact && (got < 0.999 || truth < 0.999):
					t.Errorf("%s: an index that looks at everything: true %v, measured %v", name, truth, got)
				case how == poor && (truth > 0.95 || upper > 0.999):
					t.Errorf("%s: an index that is poor on purpose: true %v, measured %v up to %v", name, truth, got, upper)
				}
				self := fmt.Sprintf(`vectordb_search_self_hit_ratio{collection=%q,vector=%q}`, collection, vector)
				if value, ok := page.Value(self); !ok || how == exact && value != 1 {
					t.Errorf("%s is %v (present: %v)", self, value, ok)
				}
			}
		})
	}
}

// eventually scrapes until a series is there.
func eventually(t *testing.T, e *harness.Exporter, limit time.Duration, series string) (page harness.Page) {
	t.Helper()
	harness.Eventually(t, limit, series, func() error {
		if page = e.Scrape("10"); page.Code != 200 {
			return fmt.Errorf("status %d", page.Code)
		}
		if _, ok := page.Value(series); !ok {
			return fmt.Errorf("it is not on the page:\n%.6000s", about(page.Body, "search", "collector_success", "_up"))
		}
		return nil
	})
	return page
}
