package alerts

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// addVectorDB adds a table of vectors that is lost, and a Chroma that ends.
func (w *world) addVectorDB(t *testing.T) {
	t.Helper()
	db := servers.NewPgvector(t, servers.PostgresOptions{Initial: []string{
		"CREATE TABLE docs (id bigint PRIMARY KEY, v vector(4))", "CREATE TABLE notes (id bigint PRIMARY KEY, v vector(4))",
		"INSERT INTO docs SELECT n, '[1,2,3,4]' FROM generate_series(1, 5000) AS n", "INSERT INTO notes SELECT n, '[1,2,3,4]' FROM generate_series(1, 5000) AS n",
		"ANALYZE",
	}})
	config := filepath.Join(t.TempDir(), "vector-db.yml")
	write(t, config, fmt.Sprintf("targets:\n- url: postgres://%s/postgres?sslmode=disable\n  user: postgres\n  password: %s\n  canary: {every: 1s}\n", db.Addr(), db.Password()))
	_, table := w.watch(t, "vector-db", nil, "--config.file="+config)
	w.fault(func(t *testing.T) { execute(t, db, "DELETE FROM docs WHERE id > 1000", "ANALYZE docs") }, "VectorDBObjectsDropped "+table)
	w.fault(func(t *testing.T) { execute(t, db, "DROP TABLE notes") }, "VectorDBCollectionGone "+table)
	w.fault(func(t *testing.T) { execute(t, db, "ALTER TABLE vectordb_exporter_canary ADD CHECK (false) NOT VALID") }, "VectorDBCanaryFailing "+table)

	chroma := servers.NewChroma(t)
	_, down := w.watch(t, "vector-db", []string{"VECTORDB_URL=" + chroma.URL()})
	w.fault(func(t *testing.T) {
		if err := chroma.Stop(); err != nil {
			t.Error(err)
		}
	}, "VectorDBDown "+down)
}

// addSMTP adds a mail server whose certificate is not trusted and which loses mail, a mailbox that cannot be read, and a
// server that ends.
func (w *world) addSMTP(t *testing.T) {
	t.Helper()
	mailpit, lost := servers.NewMailpit(t), servers.NewMailpit(t)
	postfix := servers.NewPostfix(t, servers.PostfixOptions{Routes: map[string]string{"mailpit.test": "smtp:[127.0.0.1]:" + lost.SMTPAddr()[len("127.0.0.1:"):]}})
	config := filepath.Join(t.TempDir(), "smtp.yml")
	configure := func(t *testing.T, module, options string) {
		write(t, config, fmt.Sprintf(`
modules:
  plain: {tls: none}
  untrusted: {tls: starttls, tls_config: {insecure_skip_verify: true}}
targets:
- target: %q
  module: %s
  round_trip: {from: probe@mailpit.test, bounces: probe@mailpit.test, every: 1s, secret: 0123456789abcdef0123456789abcdef, mailbox: {mailpit: {url: %q}}, %s}
`, postfix.Addr(), module, lost.URL(), options))
	}
	configure(t, "plain", "to: probe@mailpit.test")
	e, mail := w.watch(t, "smtp", nil, "--config.file="+config)
	w.fault(func(t *testing.T) {
		configure(t, "untrusted", "to: lost@mailpit.test, lost_after: 2s")
		reload(t, e)
	}, "SMTPCertificateUntrusted "+mail, "SMTPRoundTripLost "+mail)

	_, down := w.watch(t, "smtp", nil, "--target="+mailpit.SMTPAddr())
	w.fault(func(t *testing.T) {
		if err := mailpit.Stop(); err != nil {
			t.Error(err)
		}
	}, "SMTPDown "+down)
}

// reload has an exporter read its configuration again.
func reload(t *testing.T, e *harness.Exporter) {
	t.Helper()
	answer, err := http.Post(e.URL+"/-/reload", "", nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("the configuration is not read again: %v\n%s", err, e.Output())
	}
	_ = answer.Body.Close()
}
