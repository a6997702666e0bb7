package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// startSMTP starts MailHog, which takes all mail and delivers it nowhere, and has round trips made through it.
func startSMTP(ctx context.Context, dir string) (*pair, error) {
	server, err := servers.StartMailHog(ctx)
	if err != nil {
		return nil, err
	}
	say("MailHog runs on %s", server.SMTPAddr())
	config := filepath.Join(dir, "smtp_exporter.yml")
	p := &pair{
		kind: "smtp", title: "SMTP", backend: server,
		up: "smtp_up", rises: "sum(smtp_delivery_delivered_total)",
		queries: []string{`smtp_probe_phase_duration_seconds`, `histogram_quantile(0.9, rate(smtp_delivery_seconds_bucket[1m]))`},
		talk:    "a browser on " + server.URL(),
		args:    []string{"--config.file=" + config},
	}
	text := fmt.Sprintf(`targets:
- target: %q
  module: smtp
  round_trip: {from: probe@demo.test, bounces: bounces@demo.test, to: probe@demo.test, every: 5s, secret: %s, mailbox: {mailhog: {url: %q}}}
`, server.SMTPAddr(), rand.Text(), server.URL())
	return p, os.WriteFile(config, []byte(text), 0o600)
}
