package smtp

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

const exporterName = "smtp-exporter"

// exporter is a running smtp-exporter, the binary that users run.
type exporter struct{ *harness.Exporter }

// page is an answer of the exporter.
type page = harness.Page

// start runs the exporter with a configuration file and arguments and waits until it listens.
func start(t testing.TB, configuration string, args ...string) *exporter {
	t.Helper()
	return &exporter{harness.Start(t, exporterName, nil, append([]string{configured(t, configuration)}, args...)...)}
}

// configured gives the flag that names a file with a configuration.
func configured(t testing.TB, configuration string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smtp_exporter.yml")
	if err := os.WriteFile(path, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	return "--config.file=" + path
}

// probe asks for a target by a module.
func (e *exporter) probe(module, target string) page {
	e.T.Helper()
	return e.Get("/probe?module="+module+"&target="+target, "X-Prometheus-Scrape-Timeout-Seconds", "5")
}

// mailServers are a Postfix whose users are those of a Dovecot. It delivers to the Dovecot and to a Maildir.
func mailServers(t testing.TB, settings map[string]string) (*servers.Postfix, *servers.Dovecot) {
	t.Helper()
	dovecot := servers.NewDovecot(t)
	return servers.NewPostfix(t, servers.PostfixOptions{Auth: dovecot, Settings: settings, Routes: map[string]string{
		"imap.test": "lmtp:inet:" + dovecot.LMTPAddr(), "maildir.test": "maildir",
	}}), dovecot
}

// fill puts values into a text, written as NAME in capitals.
func fill(text string, values ...string) string { return strings.NewReplacer(values...).Replace(text) }

// encoded gives a password in all forms in which it could show.
func encoded(user, password string) []string {
	encode := base64.StdEncoding.EncodeToString
	return []string{password, encode([]byte(password)), encode([]byte("\x00" + user + "\x00" + password))}
}
