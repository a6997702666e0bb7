package postgres

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// ownQuery is a file with one query.
func ownQuery(query string) string {
	return "tables:\n- name: own\n  query: " + query + "\n  columns:\n  - {value: n, help: Number.}\n"
}

// A wrong file of queries fails check-config and the start; at a reload what was good stays in use.
func TestOwnQueries(t *testing.T) {
	t.Parallel()
	server := servers.NewPostgres(t, servers.PostgresOptions{})
	dir := t.TempDir()
	path := filepath.Join(dir, "own.yml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings := filepath.Join(dir, "postgres_exporter.yml")
	if err := os.WriteFile(settings, []byte("queries: [own*.yml]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"DATA_SOURCE_NAME=" + server.DSN("postgres")}
	write("tables:\n- name: own\n  frob: 1\n")
	for _, args := range [][]string{{"check-config", "--config.file=" + settings}, {"--queries.file=" + path}, {"check-config", "--extend.query-path=" + path}} {
		code, _, errors := run(t, env, args...)
		if code != 1 || strings.Count(errors, "\n") != 1 || !strings.Contains(errors, path+": ") {
			t.Errorf("%v: exit code %d: %s", args, code, errors)
		}
	}
	write(ownQuery("SELECT 1 AS n"))
	e := start(t, env, "--config.file="+settings)
	e.Scrape("10").Want(t, "own_n", 1)
	reload := func(code int) {
		t.Helper()
		answer, err := http.Post(e.URL+"/-/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != code {
			t.Errorf("reload: %s\n%s", answer.Status, e.Output())
		}
	}
	write(ownQuery("BEGIN"))
	reload(http.StatusInternalServerError)
	p := e.Scrape("10")
	p.Want(t, "own_n", 1)
	p.Want(t, "postgres_exporter_config_last_reload_successful", 0)
	write(ownQuery("SELECT n FROM nowhere"))
	reload(http.StatusOK)
	p = e.Scrape("10")
	p.Want(t, `pg_exporter_collector_failures_total{collector="own",reason="config"}`, 1)
	p.Want(t, "pg_up", 1)
	if failing := p.Failing("pg"); len(failing) != 1 || failing[0] != "own" {
		t.Error(failing)
	}
	if !strings.Contains(e.Output(), `relation \"nowhere\" does not exist`) {
		t.Error(e.Output())
	}
	write(ownQuery("SELECT 2 AS n"))
	reload(http.StatusOK)
	e.Scrape("10").Want(t, "own_n", 2)
}
