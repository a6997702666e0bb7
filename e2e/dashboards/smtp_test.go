package dashboards

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// startSMTP starts a Postfix that is probed with TLS and whose mail is followed into Mailpit, and a port at which nobody
// listens.
func startSMTP(t *testing.T) []*harness.Exporter {
	t.Helper()
	mailpit := servers.NewMailpit(t)
	postfix := servers.NewPostfix(t, servers.PostfixOptions{Routes: map[string]string{"mailpit.test": "smtp:[127.0.0.1]:" + port(mailpit.SMTPAddr())}})
	dead, err := servers.FreePort()
	must(t, err)
	config := filepath.Join(t.TempDir(), "smtp.yml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
modules:
  starttls: {tls: starttls, tls_config: {ca_file: %q, server_name: localhost}}
targets:
- {target: %q, module: starttls}
- target: %q
  module: smtp
  round_trip: {from: probe@mailpit.test, bounces: probe@mailpit.test, to: probe@mailpit.test, every: 1s, secret: 0123456789abcdef0123456789abcdef, mailbox: {mailpit: {url: %q}}}
- {target: "127.0.0.1:%d", module: smtp}
`, postfix.CAFile(), postfix.Addr(), postfix.Addr(), mailpit.URL(), dead), 0o600))
	return []*harness.Exporter{harness.Start(t, "smtp-exporter", nil, "--config.file="+config)}
}

func port(address string) string { return address[len("127.0.0.1:"):] }
