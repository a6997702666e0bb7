package smtp

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// modules go as far as can be on Postfix.
const modules = `
probe: {targets: ['127.0.0.1', localhost]}
modules:
  open: {tls: none, until: ehlo}
  starttls: {tls: starttls, tls_config: {ca_file: CA}, until: starttls}
  implicit: {tls: implicit, tls_config: {ca_file: CA}, until: ehlo}
  unknown_ca: {tls: starttls, until: starttls}
  wrong_name: {tls: starttls, tls_config: {ca_file: CA, server_name: mail.example}, until: starttls}
  reported: {tls: opportunistic}
  expires: {tls: starttls, tls_config: {ca_file: CA}, require: {min_validity: 87600h}}
  full:
    tls: starttls
    tls_config: {ca_file: CA}
    auth: {username: USER, password: PASSWORD}
    message: {from: probe@maildir.test, to: probe@maildir.test}
    probe: {targets: ['127.0.0.1']}
  wrong_password:
    tls: starttls
    tls_config: {ca_file: CA}
    auth: {username: USER, password: wrong}
    probe: {targets: ['127.0.0.1']}
  unsafe:
    tls: none
    auth: {username: USER, password: PASSWORD}
    probe: {targets: ['127.0.0.1']}
  no_sender: {tls: starttls, tls_config: {ca_file: CA}, message: {to: probe@maildir.test}, until: rcpt}
  grey: {tls: starttls, tls_config: {ca_file: CA}, message: {from: a@probe.test, to: grey@maildir.test}}
  refused: {tls: starttls, tls_config: {ca_file: CA}, message: {from: a@probe.test, to: refused@maildir.test}}
  wanted_refusal: {tls: starttls, tls_config: {ca_file: CA}, message: {from: a@probe.test, to: refused@maildir.test}, require: {codes: {rcpt: [550]}}}
  denied: {tls: starttls, tls_config: {ca_file: CA}, message: {from: a@probe.test, to: b@elsewhere.test}}
  relay: {tls: starttls, tls_config: {ca_file: CA}, relay_test: nobody@relay-test.invalid}
  large: {tls: starttls, tls_config: {ca_file: CA}, message: {from: a@probe.test, to: probe@maildir.test, size: 200000}}
`

func moduleFile(p *servers.Postfix, d *servers.Dovecot) string {
	return fill(modules, "CA", p.CAFile(), "USER", d.User(), "PASSWORD", d.Password())
}

// TestPostfix holds, on a real server, what each module finds.
func TestPostfix(t *testing.T) {
	postfix, dovecot := mailServers(t, map[string]string{"message_size_limit": "100000"})
	e := start(t, moduleFile(postfix, dovecot))
	for name, c := range map[string]struct {
		address string
		failure string // phase:reason, or "" where all is well
		code    float64
		health  float64
	}{
		"open":           {postfix.Addr(), "", 0, 1},
		"starttls":       {postfix.Addr(), "", 0, 1},
		"implicit":       {postfix.SMTPSAddr(), "", 0, 1},
		"unknown_ca":     {postfix.Addr(), "tls:unknown_ca", 0, 0},
		"wrong_name":     {postfix.Addr(), "tls:wrong_name", 0, 0},
		"reported":       {postfix.Addr(), "", 0, 1},
		"expires":        {postfix.Addr(), "tls:expires_soon", 0, 0},
		"full":           {postfix.SubmissionAddr(), "", 0, 1},
		"wrong_password": {postfix.SubmissionAddr(), "auth:auth_rejected", 535, 0.5},
		"unsafe":         {postfix.SubmissionAddr(), "auth:exposed_password", 0, 0.5},
		"no_sender":      {postfix.Addr(), "", 0, 1},
		"grey":           {postfix.Addr(), "rcpt:greylisted", 450, 0.5},
		"refused":        {postfix.Addr(), "rcpt:rcpt_rejected", 550, 0.5},
		"wanted_refusal": {postfix.Addr(), "", 0, 1},
		"denied":         {postfix.Addr(), "rcpt:relay_denied", 554, 0.5},
		"relay":          {postfix.Addr(), "", 0, 1},
		"large":          {postfix.Addr(), "mail:too_large", 552, 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			p := e.probe(name, c.address)
			want := 1.0
			if c.failure != "" {
				want = 0
				phase, reason, _ := strings.Cut(c.failure, ":")
				p.Want(t, fmt.Sprintf("smtp_probe_failure_info{phase=%q,reason=%q}", phase, reason), 1)
				if c.code > 0 {
					p.Want(t, fmt.Sprintf("smtp_probe_reply_code{phase=%q}", phase), c.code)
				}
			} else if strings.Contains(p.Body, "smtp_probe_failure_info{") {
				t.Error("there is a failure")
			}
			p.Want(t, "smtp_probe_success", want)
			p.Want(t, "probe_success", want)
			p.Want(t, fmt.Sprintf("service_health{service=%q}", c.address), c.health)
			if t.Failed() {
				t.Log(p.Body, e.probe(name, c.address+"&debug=true").Body)
			}
		})
	}
	relay := e.probe("relay", postfix.Addr())
	relay.Want(t, "smtp_probe_relay_open", 0)
	unverified := e.probe("reported", postfix.Addr())
	unverified.Want(t, "smtp_probe_tls_verified", 0)
	unverified.Want(t, `smtp_probe_tls_problem_info{reason="unknown_ca"}`, 1)
}

// TestTurnArounds holds that a whole dialogue with TLS, AUTH and a message takes 7 turn-arounds, and 6 where the message
// can travel with its envelope, also as a line between sees it; that 25 ms of delay each way cost less than 400 ms; and
// that nothing waits for an acknowledgement after TLS has begun.
func TestTurnArounds(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]string
		want     float64
	}{
		"DATA": {map[string]string{"smtpd_discard_ehlo_keywords": "chunking"}, 7},
		"BDAT": {nil, 6},
	} {
		t.Run(name, func(t *testing.T) {
			postfix, dovecot := mailServers(t, c.settings)
			line := proxy.New(t, postfix.SubmissionAddr())
			e := start(t, moduleFile(postfix, dovecot))
			sent, longest := 0, 1.0
			for ; longest > 0.03 && sent < 4; sent++ { // what waits for an acknowledgement does so every time
				harness.Freshen()
				direct := e.probe("full", postfix.SubmissionAddr())
				direct.Want(t, "smtp_probe_turnarounds", c.want)
				direct.Want(t, "smtp_probe_message_accepted", 1)
				longest = 0
				for _, phase := range []string{"ehlo", "mail", "rcpt"} {
					took, ok := direct.Value(fmt.Sprintf("smtp_probe_phase_duration_seconds{phase=%q}", phase))
					if !ok {
						t.Errorf("the phase %s is not there", phase)
					}
					longest = max(longest, took)
				}
			}
			if longest > 0.03 {
				t.Errorf("a phase took %v s", longest)
			}
			line.SetDelay(25 * time.Millisecond)
			took := 1.0
			for left := 4; took > 0.4 && left > 0; left-- { // 350 ms are on the line: other work on the machine can take the rest
				harness.Freshen()
				line.ResetStats()
				slow := e.probe("full", line.Addr())
				slow.Want(t, "smtp_probe_success", 1)
				slow.Want(t, "smtp_probe_turnarounds", c.want)
				took, _ = slow.Value("smtp_probe_duration_seconds")
				sent++
			}
			if took > 0.4 {
				t.Errorf("with 25 ms each way it took %v s", took)
			}
			harness.Eventually(t, 3*time.Second, "the QUIT has passed", func() error {
				if got := line.Stats().TurnArounds; float64(got) != c.want+1 { // with the QUIT
					return fmt.Errorf("%d turn-arounds on the line", got)
				}
				return nil
			})
			t.Logf("%s: %.0f turn-arounds, %.0f ms at 25 ms one-way", name, c.want, took*1000)
			harness.Eventually(t, 10*time.Second, "all messages are delivered", func() error {
				entries, _ := os.ReadDir(filepath.Join(postfix.Maildir("maildir.test"), "new"))
				if len(entries) != sent {
					return fmt.Errorf("there are %d", len(entries))
				}
				return nil
			})
		})
	}
}
