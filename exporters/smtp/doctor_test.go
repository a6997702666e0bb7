package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
)

// The doctor says what is wrong and what to do about it, and exits with 1.
func TestDoctor(t *testing.T) {
	const greeting = "S 220 mail.test\nC EHLO\nS 250-mail.test\nS 250-AUTH PLAIN\nS 250 SIZE 1\nC QUIT\nS 221 bye"
	address := smtp.Serve(t, nil, greeting)
	var out, problems bytes.Buffer
	code := exporter().Run([]string{"doctor", "--target", address}, &out, &problems)
	if code != 1 || !strings.Contains(out.String(), "up: SMTP mail.test") {
		t.Errorf("code %d: %s%s", code, out.String(), problems.String())
	}
	authority := smtp.NewAuthority()
	for name, c := range map[string]struct{ module, text, problem, remedy string }{
		"open":       {"tls: none, until: ehlo", greeting, "takes passwords without TLS", "smtpd_tls_auth_only"},
		"no TLS":     {"tls: none, until: ehlo", greeting, "does not offer STARTTLS", "smtpd_tls_security_level"},
		"missing":    {"tls: starttls", greeting, "starttls: no_starttls", "tls: opportunistic"},
		"unverified": {"tls: opportunistic", "S 220 a\nC EHLO\nS 250-a\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nTLS\nC EHLO\nS 250 a\nC QUIT\nS 221 bye", "does not verify: wrong_name", "server_name"},
		"greylisted": {"tls: none, message: {to: a@b.test}", "S 220 a\nC EHLO\nS 250 a\nC MAIL\nS 250 ok\nC RCPT\nS 450 4.2.0 later\nC QUIT\nS 221 bye", "rcpt: greylisted", "does not greylist"},
	} {
		t.Run(name, func(t *testing.T) {
			server := smtp.New(t, authority.Good(), c.text)
			setup, b, err := load(t, "targets: [{target: '"+server.Addr+"', module: x}]\nmodules: {x: {"+c.module+"}}")
			if err != nil {
				t.Fatal(err)
			}
			findings, err := b.Examine(t.Context(), setup.Targets[0].Spec)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range findings {
				if strings.Contains(f.Problem, c.problem) && strings.Contains(f.Remedy, c.remedy) {
					return
				}
			}
			t.Errorf("%q is not among %v", c.problem, findings)
		})
	}
}
