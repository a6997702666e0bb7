package smtp

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	fake "github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

// manyTargets is how many targets one page tells of.
const manyTargets = 1000

// took finds the times of whole probes that succeeded, or not, by the target.
var took = regexp.MustCompile(`(?m)^smtp_probe_(duration_seconds|success)\{[^}]*target="([^"]+)"[^}]*\} (\S+)$`)

// TestManyTargets holds that one page tells of a thousand targets within its time, though a tenth of them is silent, and
// that the living answer as quickly as without the dead. The targets are fakes: no real server listens at so many
// addresses.
func TestManyTargets(t *testing.T) {
	var alive, mixed []string
	for i := range manyTargets {
		address := listen(t, func(conn net.Conn) {
			_ = fake.Follow(conn, nil, "S 220 mail.test\nC EHLO\nS 250-mail.test\nS 250 PIPELINING\nC QUIT\nS 221 bye")
		})
		alive = append(alive, address)
		if i%10 == 0 {
			address = listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		}
		mixed = append(mixed, address)
	}
	quiet := manyPages(t, alive, 0)
	disturbed := manyPages(t, mixed, manyTargets/10)
	if disturbed > 2*quiet+0.05 {
		t.Errorf("p99 of the living is %v s beside the dead, %v s without", disturbed, quiet)
	}
	t.Logf("p99 of the living: %.1f ms without dead ones, %.1f ms with", quiet*1000, disturbed*1000)
}

// manyPages asks for a page of all targets several times, and gives the least p99 of the probes that succeeded.
func manyPages(t *testing.T, addresses []string, dead int) (p99 float64) {
	t.Helper()
	var list strings.Builder
	for _, address := range addresses {
		fmt.Fprintf(&list, "- {target: '%s', module: quick}\n", address)
	}
	e := start(t, "modules: {quick: {tls: none, until: ehlo, timeout: 2s}}\ntargets:\n"+list.String())
	slowest := time.Duration(0)
	for range 3 {
		harness.Freshen()
		page := e.Scrape("10")
		if page.Took > 5*time.Second { // the dead take 2 s
			t.Errorf("the page took %s", page.Took)
		}
		slowest = max(slowest, page.Took)
		times, good := map[string]float64{}, 0
		for _, match := range took.FindAllStringSubmatch(page.Body, -1) {
			value, err := strconv.ParseFloat(match[3], 64)
			switch {
			case err != nil:
				t.Fatal(err)
			case match[1] == "duration_seconds":
				times[match[2]] = value
			case value == 1:
				good++
			default:
				times[match[2]] = -1 // success comes after the time
			}
		}
		if good != len(addresses)-dead || len(times) != len(addresses) {
			t.Errorf("%d of %d targets are told of, %d are good", len(times), len(addresses), good)
		}
		var living []float64
		for _, value := range times {
			if value >= 0 {
				living = append(living, value)
			}
		}
		slices.Sort(living)
		if own := living[len(living)*99/100]; p99 == 0 || own < p99 {
			p99 = own
		}
	}
	t.Logf("%d dead: the page takes %s at most", dead, slowest)
	if err := e.Stop(); err != nil {
		t.Error(err)
	}
	return p99
}
