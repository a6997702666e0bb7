package postgres

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// wireFault is something that happens to the answers of a whole scrape, at a part of them.
type wireFault struct {
	set     func(line *proxy.Proxy, at int64)
	parts   int64    // at how many places it is tried
	reasons []string // why collectors may fail
}

var wireFaults = map[string]wireFault{
	"cut":   {func(line *proxy.Proxy, at int64) { line.CutAfter(at) }, 7, []string{"unreachable"}},
	"stall": {func(line *proxy.Proxy, at int64) { line.StallAfter(at) }, 5, []string{"timeout"}},
	"garble": {func(line *proxy.Proxy, at int64) { line.Garble(at) }, 9,
		[]string{"malformed", "limited", "timeout", "unreachable", "unsupported", "internal"}}, // a garbled SQLSTATE may say anything
	"flood of zeros": {func(line *proxy.Proxy, _ int64) { line.Flood(nil) }, 1, []string{"malformed"}},
	"flood of notices": {func(line *proxy.Proxy, _ int64) { line.Flood([]byte("N\x00\x00\x00\x0eSNOTICE\x00\x00\x00")) }, 1,
		[]string{"limited", "timeout", "malformed"}},
	"flood of parameters": {func(line *proxy.Proxy, _ int64) { line.Flood([]byte("S\x00\x00\x00\x0ename\x00valu\x00")) }, 1,
		[]string{"limited", "timeout", "malformed"}},
}

// Whatever happens to the answers, at whatever place: the page comes in time and tells what has failed and why, the
// process stays small, and the scrape after it is good, with nothing held that was not before.
func TestWireFaults(t *testing.T) {
	db := servers.NewPostgres(t, servers.PostgresOptions{})
	for name, fault := range wireFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line := proxy.New(t, db.Addr())
			e := forDatabase(t, through(db, line)+"&application_name="+fmt.Sprintf("wire-%x", name))
			e.Scrape("10").Want(t, "pg_up", 1)
			before := e.Held(line)
			line.ResetStats()
			harness.Freshen()
			e.Scrape("10").Want(t, "pg_up", 1)
			size := line.Stats().Down
			for part := range fault.parts {
				harness.Freshen()
				fault.set(line, size*(2*part+1)/(2*fault.parts))
				p := e.Scrape("1.5")
				line.Resume()
				if p.Code != 200 || p.Took > 1500*time.Millisecond {
					t.Errorf("part %d: code %d after %s", part, p.Code, p.Took)
				}
				for _, reason := range p.FailureReasons("pg") {
					if !slices.Contains(fault.reasons, reason) {
						t.Errorf("part %d: a collector failed by %q", part, reason)
					}
				}
				harness.Freshen()
				again := e.Scrape("10")
				again.Want(t, "pg_up", 1)
				if failing := again.Failing("pg"); len(failing) > 0 {
					t.Errorf("part %d: collectors fail afterwards: %v", part, failing)
				}
			}
			e.WantHeld(line, before, 120e6)
		})
	}
}
