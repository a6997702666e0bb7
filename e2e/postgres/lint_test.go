package postgres

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// promtool finds nothing to say of a live page, but of names that others have made established.
func TestPromtoolCheckMetrics(t *testing.T) {
	t.Parallel()
	established, err := os.ReadFile("../../exporters/postgres/testdata/peer_families.tsv")
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]bool{}
	for line := range strings.Lines(string(established)) {
		name, _, _ := strings.Cut(line, "\t")
		kept[name] = true
	}
	db := servers.NewPostgres(t, servers.PostgresOptions{Initial: []string{"CREATE EXTENSION pg_stat_statements", "CREATE TABLE t (a int PRIMARY KEY)"}})
	p := forDatabase(t, db.DSN("postgres"), "--collector.stat_statements").Scrape("10")
	p.Want(t, "pg_up", 1)
	promtool, err := servers.Tool("promtool")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(promtool, "check", "metrics")
	command.Stdin = strings.NewReader(p.Body)
	said, err := command.CombinedOutput()
	if err != nil && len(said) == 0 {
		t.Fatal(err)
	}
	findings := 0
	for line := range strings.Lines(string(said)) {
		name, _, _ := strings.Cut(line, " ")
		if findings++; !kept[name] {
			t.Errorf("promtool: %s", line)
		}
	}
	if findings == 0 {
		t.Error("promtool said nothing, not even of established names: did it read the page?")
	}
}
