package dashboards

import (
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// startSMTP starts a Postfix that is probed with TLS, whose names are looked up, whose queue is counted and whose mail is
// followed into Mailpit, and a port at which nobody listens.
func startSMTP(t *testing.T) []*harness.Exporter {
	t.Helper()
	mailpit := servers.NewMailpit(t)
	postfix := servers.NewPostfix(t, servers.PostfixOptions{Routes: map[string]string{"mailpit.test": "smtp:[127.0.0.1]:" + port(mailpit.SMTPAddr()), "dead.test": "smtp:[127.0.0.1]:1"}})
	handToWait(t, postfix.Addr(), "probe@dead.test")
	dead, err := servers.FreePort()
	must(t, err)
	config := filepath.Join(t.TempDir(), "smtp.yml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
modules:
  starttls:
    tls: starttls
    tls_config: {ca_file: %q, server_name: localhost}
    dns: {domain: mailpit.test, checks: [mx, spf, dmarc, tls_rpt], dnsbl: [list.test, dead.test], every: 30s}
resolver: %q
targets:
- {target: %q, module: starttls, queue: {postfix_showq: %q}}
- target: %q
  module: smtp
  round_trip: {from: probe@mailpit.test, bounces: probe@mailpit.test, to: probe@mailpit.test, every: 1s, secret: 0123456789abcdef0123456789abcdef, mailbox: {mailpit: {url: %q}}}
- {target: "127.0.0.1:%d", module: smtp}
`, postfix.CAFile(), fakeNames(t), postfix.Addr(), postfix.Showq(), postfix.Addr(), mailpit.URL(), dead), 0o600))
	return []*harness.Exporter{harness.Start(t, "smtp-exporter", nil, "--config.file="+config)}
}

func port(address string) string { return address[len("127.0.0.1:"):] }

// handToWait hands over a message that waits in the queue, as its receiver is down.
func handToWait(t *testing.T, address, to string) {
	t.Helper()
	client, err := smtp.Dial(address)
	must(t, err)
	defer client.Close()
	must(t, errors.Join(client.Mail("probe@mailpit.test"), client.Rcpt(to)))
	data, err := client.Data()
	must(t, err)
	fmt.Fprint(data, "Subject: x\r\n\r\nhello\r\n")
	must(t, data.Close())
}

// fakeNames is a fake name server, which knows a domain that takes mail and a list of blocked addresses.
func fakeNames(t *testing.T) string {
	t.Helper()
	zone := map[dns.Question][]dns.RR{}
	for _, text := range []string{
		"mailpit.test. MX 10 mx.mailpit.test.", "mx.mailpit.test. A 127.0.0.1", `mailpit.test. TXT "v=spf1 mx -all"`,
		`_dmarc.mailpit.test. TXT "v=DMARC1; p=reject"`, "2.0.0.127.list.test. A 127.0.0.2",
	} {
		record, err := dns.NewRR(text)
		must(t, err)
		question := dns.Question{Name: record.Header().Name, Qtype: record.Header().Rrtype, Qclass: dns.ClassINET}
		zone[question] = append(zone[question], record)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		answer := new(dns.Msg).SetReply(r)
		question := r.Question[0]
		question.Name = strings.ToLower(question.Name)
		if answer.Answer = zone[question]; answer.Answer == nil {
			answer.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(answer) // whoever asked waits no longer
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = packets.Close() })
	return packets.LocalAddr().String()
}
