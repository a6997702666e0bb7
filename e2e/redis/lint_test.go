package redis

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// promtool finds nothing to say of a live page, but of names that others have made established.
func TestPromtoolCheckMetrics(t *testing.T) {
	t.Parallel()
	promtool, err := servers.Tool("promtool")
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, f := range establishedFamilies(t) {
		kept = append(kept, f.name)
	}
	for name, create := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := create(t)
			e := start(t, login(w.server), w.args...)
			settle(t, e)
			command := exec.Command(promtool, "check", "metrics")
			command.Stdin = strings.NewReader(e.Scrape("10").Body)
			said, err := command.CombinedOutput()
			if err != nil && len(said) == 0 {
				t.Fatal(err)
			}
			findings := 0
			for line := range strings.Lines(string(said)) {
				family, _, _ := strings.Cut(line, " ")
				if findings++; !slices.Contains(kept, family) {
					t.Errorf("promtool: %s", line)
				}
			}
			if findings == 0 {
				t.Error("promtool said nothing, not even of established names: did it read the page?")
			}
		})
	}
}
