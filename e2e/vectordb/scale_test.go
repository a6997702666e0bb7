package vectordb

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
)

// A thousand collections behind a line of 5 ms each way are told of within two seconds, on connections that are kept, and
// the process stays small.
func TestAThousandCollections(t *testing.T) {
	const many = 1000
	p, r := newPgvector(t), newRedis(t)
	p.exec(t, fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP EXECUTE format('CREATE TABLE t%%s (v vector(3)); CREATE INDEX ON t%%s USING hnsw (v vector_l2_ops)', i, i); END LOOP; END $$`, many))
	pipeline := r.Client(t).Pipeline()
	for i := range many {
		pipeline.Do(t.Context(), "VADD", fmt.Sprint("t", i), "VALUES", 3, 1, 0, 0, "x")
	}
	_, err := pipeline.Exec(t.Context())
	must(t, err)
	for _, s := range []store{p, r} {
		t.Run(s.kind(), func(t *testing.T) {
			address := addressOf(t, s)
			line := proxy.New(t, address)
			line.SetDelay(5 * time.Millisecond)
			e := start(t, "targets:\n  - "+strings.Replace(s.target(), address, line.Addr(), 1)+"\n")
			e.Scrape("10").Want(t, "vectordb_up", 1)
			harness.Freshen()
			line.ResetStats()
			page := e.Scrape("10")
			stats := line.Stats()
			t.Logf("%s: %s, %d turn-arounds on %d connections, %d bytes down", s.kind(), page.Took, stats.TurnArounds, stats.Open, stats.Down)
			if got := strings.Count(page.Body, "\nvectordb_vector_dimensions{"); got != many {
				t.Errorf("%d collections are told of", got)
			}
			if page.Took > 2*time.Second || stats.Conns > 0 || stats.TurnArounds > 10 {
				t.Errorf("%s, %d new connections, %d turn-arounds", page.Took, stats.Conns, stats.TurnArounds)
			}
			size, err := e.RSS()
			must(t, err)
			if size > 100<<20 {
				t.Errorf("%d MiB", size>>20)
			}
		})
	}
}
