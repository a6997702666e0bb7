package smtp

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// TestKinds probes servers of other kinds: catchers of mail, and a Dovecot by LMTP.
func TestKinds(t *testing.T) {
	mailpit, mailhog, dovecot := servers.NewMailpit(t), servers.NewMailHog(t), servers.NewDovecot(t)
	e := start(t, fill(`
probe: {targets: ['127.0.0.1']}
modules:
  message: {tls: none, message: {from: a@probe.test, to: b@probe.test}}
  null_sender: {tls: none, message: {to: b@probe.test}}
  lmtp: {protocol: lmtp, tls: none, message: {from: a@probe.test, to: USER@imap.test}}
`, "USER", dovecot.User()))
	for _, c := range []struct {
		module, address string
		series          map[string]float64
	}{
		{"smtp", mailpit.SMTPAddr(), map[string]float64{"smtp_up": 1, "smtp_probe_success": 1}},
		{"message", mailpit.SMTPAddr(), map[string]float64{"smtp_probe_success": 1, "smtp_probe_message_accepted": 1}},
		{"smtp", mailhog.SMTPAddr(), map[string]float64{"smtp_up": 1, "smtp_probe_success": 1}},
		{"message", mailhog.SMTPAddr(), map[string]float64{"smtp_probe_success": 1, "smtp_probe_message_accepted": 1}},
		{"null_sender", mailhog.SMTPAddr(), map[string]float64{"smtp_up": 1, "smtp_probe_success": 0, `smtp_probe_failure_info{phase="mail",reason="sender_rejected"}`: 1, `smtp_probe_reply_code{phase="mail"}`: 550}},
		{"smtp_starttls", mailhog.SMTPAddr(), map[string]float64{"smtp_probe_success": 0, `smtp_probe_failure_info{phase="starttls",reason="no_starttls"}`: 1}},
		{"lmtp", dovecot.LMTPAddr(), map[string]float64{"smtp_probe_success": 1, "smtp_probe_message_accepted": 1, `smtp_probe_reply_code{phase="data"}`: 250}},
	} {
		p := e.probe(c.module, c.address)
		for series, want := range c.series {
			p.Want(t, series, want)
		}
		if t.Failed() {
			t.Fatal(c.module, e.probe(c.module, c.address+"&debug=true").Body)
		}
	}
	if n := mailpit.Count(t); n != 1 {
		t.Errorf("mailpit has %d messages", n)
	}
}

// TestProxyHeader holds that a server which stands behind a proxy is told who we are.
func TestProxyHeader(t *testing.T) {
	postfix, _ := mailServers(t, map[string]string{"smtpd_upstream_proxy_protocol": "haproxy"})
	e := start(t, "probe: {targets: ['127.0.0.1']}\nmodules: {one: {proxy_protocol: 1, tls: none}, two: {proxy_protocol: 2, tls: none}, none: {tls: none, timeouts: {banner: 300ms}}}")
	for module, want := range map[string]float64{"one": 1, "two": 1, "none": 0} {
		e.probe(module, postfix.Addr()).Want(t, "smtp_probe_success", want)
	}
}

// TestConfiguredTargets holds what /metrics and /health say of targets of the configuration, of which one is down.
func TestConfiguredTargets(t *testing.T) {
	mailhog := servers.NewMailHog(t)
	free, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	e := start(t, fmt.Sprintf("targets: [{target: '%s', service: mail-server}, {target: '127.0.0.1:%d', service: dead}]", mailhog.SMTPAddr(), free))
	for range 2 {
		harness.Freshen()
		e.Scrape("5")
	}
	harness.Freshen()
	p := e.Scrape("5")
	labels := fmt.Sprintf(`module="smtp",target="%s"`, mailhog.SMTPAddr())
	p.Want(t, "smtp_up{"+labels+"}", 1)
	p.Want(t, "smtp_probes_total{"+labels+"}", 3)
	p.Want(t, `smtp_phase_duration_seconds_count{module="smtp",phase="banner",target="`+mailhog.SMTPAddr()+`"}`, 3)
	p.Want(t, fmt.Sprintf(`smtp_probe_failures_total{module="smtp",phase="connect",reason="refused",target="127.0.0.1:%d"}`, free), 3)
	if strings.Contains(p.Body, "\nprobe_") {
		t.Error("/metrics has the names of blackbox_exporter")
	}
	var health struct {
		Status   string            `json:"status"`
		Services map[string]string `json:"services"`
	}
	answer := e.Get("/health")
	if err := json.Unmarshal([]byte(answer.Body), &health); err != nil || health.Services["mail-server"] != "ok" || health.Services["dead"] != "error" {
		t.Errorf("%d %s: %v", answer.Code, answer.Body, err)
	}
	if code := e.probe("smtp", mailhog.SMTPAddr()).Code; code != 403 {
		t.Errorf("/probe answers %d without a list", code)
	}
}

// TestNoConfiguration holds that the default modules work without a file.
func TestNoConfiguration(t *testing.T) {
	postfix, _ := mailServers(t, nil)
	e := &exporter{harness.Start(t, exporterName, nil, "--probe.allow=127.0.0.1")}
	for module, want := range map[string]string{
		"smtp":          "",
		"smtp_starttls": `smtp_probe_failure_info{phase="tls",reason="unknown_ca"}`,
		"submission":    `smtp_probe_failure_info{phase="tls",reason="unknown_ca"}`,
		"smtps":         `smtp_probe_failure_info{phase="tls",reason="unknown_ca"}`,
	} {
		address := postfix.Addr()
		if module == "smtps" {
			address = postfix.SMTPSAddr()
		}
		p := e.probe(module, address)
		if want == "" {
			p.Want(t, "smtp_probe_success", 1)
			continue
		}
		p.Want(t, want, 1)
		if _, ok := p.Value("probe_ssl_earliest_cert_expiry"); !ok {
			t.Errorf("%s: the end of the certificate is not told", module)
		}
	}
	if code := e.probe("smtp", "127.0.0.2").Code; code != 403 {
		t.Errorf("another host is answered with %d", code)
	}
}

// TestSecrets holds that a password shows nowhere, whatever happens to it.
func TestSecrets(t *testing.T) {
	postfix, dovecot := mailServers(t, nil)
	e := start(t, fill(`
targets: [{target: 'HOST', module: good}, {target: 'HOST', module: bad}]
modules:
  good: {tls: starttls, tls_config: {ca_file: CA}, auth: {username: USER, password: PASSWORD}, probe: {targets: ['127.0.0.1']}}
  bad: {tls: starttls, tls_config: {ca_file: CA}, auth: {username: USER, password: canary-hunter2, mechanisms: [LOGIN]}, probe: {targets: ['127.0.0.1']}}
`, "HOST", postfix.SubmissionAddr(), "CA", postfix.CAFile(), "USER", dovecot.User(), "PASSWORD", dovecot.Password()))
	pages := e.Scrape("9").Body
	for _, module := range []string{"good", "bad"} {
		pages += e.probe(module, postfix.SubmissionAddr()).Body + e.Get("/probe?module="+module+"&debug=true&target="+postfix.SubmissionAddr()).Body
	}
	pages += e.Get("/").Body + e.Get("/health").Body + e.Output()
	if !strings.Contains(pages, "AUTH PLAIN <secret>") || !strings.Contains(pages, "C  <secret>") {
		t.Errorf("the transcripts are not there:\n%s", pages)
	}
	for _, secret := range append(encoded(dovecot.User(), dovecot.Password()), encoded(dovecot.User(), "canary-hunter2")...) {
		if strings.Contains(pages, secret) {
			t.Errorf("%s shows", secret)
		}
	}
}
