package smtp

import (
	"fmt"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// TestExim holds that what was found on Postfix is found on another server, in its own words.
func TestExim(t *testing.T) {
	mailpit := servers.NewMailpit(t)
	exim := servers.NewExim(t, servers.EximOptions{Routes: map[string]string{"mailpit.test": "smtp:" + mailpit.SMTPAddr()}})
	e := start(t, fill(`
probe: {targets: ['127.0.0.1']}
modules:
  starttls: {tls: starttls, tls_config: {ca_file: CA}, until: starttls}
  implicit: {tls: implicit, tls_config: {ca_file: CA}, until: ehlo}
  full:
    tls: starttls
    tls_config: {ca_file: CA}
    auth: {username: probe, password: PASSWORD}
    message: {from: a@probe.test, to: probe@mailpit.test}
    probe: {targets: ['127.0.0.1']}
  grey: {tls: starttls, tls_config: {ca_file: CA}, message: {from: a@probe.test, to: grey@mailpit.test}}
  refused: {tls: starttls, tls_config: {ca_file: CA}, message: {from: a@probe.test, to: refused@mailpit.test}}
  denied: {tls: starttls, tls_config: {ca_file: CA}, message: {from: a@probe.test, to: b@elsewhere.test}}
  relay: {tls: starttls, tls_config: {ca_file: CA}, relay_test: nobody@relay-test.invalid}
`, "CA", exim.CAFile(), "PASSWORD", exim.Password()))
	for module, want := range map[string]map[string]float64{
		"starttls": {"smtp_probe_success": 1, "smtp_probe_tls_verified": 1},
		"full":     {"smtp_probe_success": 1, "smtp_probe_turnarounds": 6, "smtp_probe_message_accepted": 1},
		"grey":     {`smtp_probe_failure_info{phase="rcpt",reason="greylisted"}`: 1},
		"refused":  {`smtp_probe_failure_info{phase="rcpt",reason="rcpt_rejected"}`: 1, `smtp_probe_reply_code{phase="rcpt"}`: 550},
		"denied":   {`smtp_probe_failure_info{phase="rcpt",reason="relay_denied"}`: 1, `smtp_probe_reply_code{phase="rcpt"}`: 550},
		"relay":    {"smtp_probe_success": 1, "smtp_probe_relay_open": 0},
	} {
		p := e.probe(module, exim.Addr())
		for series, value := range want {
			p.Want(t, series, value)
		}
		if t.Failed() {
			t.Fatal(module, e.Get(fmt.Sprintf("/probe?debug=true&module=%s&target=%s", module, exim.Addr())).Body)
		}
	}
	e.probe("implicit", exim.SMTPSAddr()).Want(t, "smtp_probe_success", 1)
}
