package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
)

// tlsServer is a mail server that offers STARTTLS again and again, and a TLSA record for its certificate.
func tlsServer(t *testing.T) (port, record string) {
	t.Helper()
	config := smtp.NewAuthority().Good()
	address := smtp.Serve(t, config, "S 220 mail.test\nC EHLO\nS 250-mail.test\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nTLS\nC EHLO\nS 250 mail.test\nC QUIT\nS 221 bye")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(config.Certificates[0].Certificate[0])
	return port, "3 0 1 " + hex.EncodeToString(digest[:])
}

// series gives the lines of a page that begin with a prefix.
func series(page, prefix string) string {
	var all []string
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, prefix) {
			all = append(all, line)
		}
	}
	return strings.Join(all, "")
}

// TestDNS holds all that is told of a domain with two hosts: one has all in order, the other nothing.
func TestDNS(t *testing.T) {
	port, record := tlsServer(t)
	resolver := nameServer(t, "d.test. 60 MX 10 good.signed.test.", "d.test. 60 MX 20 bad.test.", "good.signed.test. 60 A 127.0.0.1", "1.0.0.127.in-addr.arpa. 60 PTR good.signed.test.",
		"bad.test. 60 A 127.0.0.3", "bad.test. 60 AAAA ::1", "3.0.0.127.in-addr.arpa. 60 PTR good.signed.test.", "_"+port+"._tcp.good.signed.test. 60 TLSA "+record,
		"_"+port+"._tcp.bad.test. 60 TLSA "+record, `d.test. 60 TXT "v=spf1 mx a -all"`, `_dmarc.d.test. 60 TXT "v=DMARC1; p=quarantine; pct=25"`,
		`_smtp._tls.d.test. 60 TXT "v=TLSRPTv1; rua=mailto:tls@d.test"`, `_mta-sts.d.test. 60 TXT "v=STSv1; id=1"`, "mta-sts.d.test. 60 A 127.0.0.9",
		"2.0.0.127.one.test. 60 A 127.0.0.2", "3.0.0.127.one.test. 60 A 127.0.0.4", "2.0.0.127.shut.test. 60 A 127.255.255.254")
	setup, _, err := load(t, fmt.Sprintf(`
resolver: %s
probe: {targets: ['*.test']}
modules: {x: {mx: true, port: %s, tls: none, timeout: 2s, preferred_ip_protocol: ip4, dns: {dnsbl: [one.test, shut.test]}}}
`, resolver, port))
	if err != nil {
		t.Fatal(err)
	}
	target := probed(t, setup, url.Values{"target": {"d.test"}, "module": {"x"}})
	_, page := look(t, target, 8*time.Second)
	const wanted = `smtp_dns_addresses{family="4",mx="bad.test"} 1
smtp_dns_addresses{family="4",mx="good.signed.test"} 1
smtp_dns_addresses{family="6",mx="bad.test"} 1
smtp_dns_addresses{family="6",mx="good.signed.test"} 0
smtp_dns_check_failure_info{check="mta_sts",reason="no_policy"} 1
smtp_dns_check_failure_info{check="ptr",mx="bad.test",reason="REASON"} 1
smtp_dns_check_failure_info{check="tlsa",mx="bad.test",reason="unsigned"} 1
smtp_dns_check_success{check="addresses",mx="bad.test"} 1
smtp_dns_check_success{check="addresses",mx="good.signed.test"} 1
smtp_dns_check_success{check="dmarc"} 1
smtp_dns_check_success{check="mta_sts"} 0
smtp_dns_check_success{check="mx"} 1
smtp_dns_check_success{check="ptr",mx="bad.test"} 0
smtp_dns_check_success{check="ptr",mx="good.signed.test"} 1
smtp_dns_check_success{check="spf"} 1
smtp_dns_check_success{check="tls_rpt"} 1
smtp_dns_check_success{check="tlsa",mx="bad.test"} 0
smtp_dns_check_success{check="tlsa",mx="good.signed.test"} 1
smtp_dns_confirmed_addresses{family="4",mx="bad.test"} 0
smtp_dns_confirmed_addresses{family="4",mx="good.signed.test"} 1
smtp_dns_confirmed_addresses{family="6",mx="bad.test"} 0
smtp_dns_confirmed_addresses{family="6",mx="good.signed.test"} 0
smtp_dns_dmarc_policy_info{policy="quarantine"} 1
smtp_dns_dmarc_policy_ratio 0.25
smtp_dns_mx_records 2
smtp_dns_spf_all_info{result="fail"} 1
smtp_dns_spf_lookups 2
smtp_dns_tlsa_authenticated{mx="bad.test"} 0
smtp_dns_tlsa_authenticated{mx="good.signed.test"} 1
smtp_dns_tlsa_records{mx="bad.test",usable="false"} 0
smtp_dns_tlsa_records{mx="bad.test",usable="true"} 1
smtp_dns_tlsa_records{mx="good.signed.test",usable="false"} 0
smtp_dns_tlsa_records{mx="good.signed.test",usable="true"} 1
smtp_dnsbl_failure_info{list="shut.test",mx="bad.test",reason="public_server"} 1
smtp_dnsbl_failure_info{list="shut.test",mx="good.signed.test",reason="public_server"} 1
smtp_dnsbl_listed{list="one.test",mx="bad.test"} 1
smtp_dnsbl_listed{list="one.test",mx="good.signed.test"} 0
smtp_dnsbl_listing_info{code="4",list="one.test",mx="bad.test"} 1
`
	got := regexp.MustCompile(`"(unconfirmed|not_found)"`).ReplaceAllString(series(page, "smtp_dns"), `"REASON"`) // of its two addresses
	lines := strings.SplitAfter(got, "\n")
	slices.Sort(lines)
	if got := strings.Join(lines, ""); got != wanted {
		t.Errorf("the page has\n%s", got)
	}
}

// Where no name server answers, nothing is told but that. A literal address has no records but of its name.
func TestDNSSilence(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	server := smtp.New(t, nil, "S 220 mail.test\nC EHLO\nS 250 mail.test\nC QUIT\nS 221 bye")
	setup, _, err := load(t, fmt.Sprintf("resolver: %q\nprobe: {targets: ['127.0.0.1']}\nmodules: {x: {until: ehlo, tls: none, dns: {domain: d.test, checks: [spf, mx, ptr, addresses, tlsa], dnsbl: [one.test]}}}",
		silent.LocalAddr()))
	if err != nil {
		t.Fatal(err)
	}
	target := probed(t, setup, url.Values{"target": {server.Addr}, "module": {"x"}})
	_, page := look(t, target, 20*time.Second)
	want(t, page, "smtp_up 1", `smtp_exporter_collector_success{collector="dns"} 1`, `smtp_dns_check_success{check="addresses"} 1`, `smtp_dns_addresses{family="4"} 1`,
		`smtp_dns_check_failure_info{check="spf",reason="timeout"} 1`, `smtp_dns_check_failure_info{check="mx",reason="timeout"} 1`,
		`smtp_dns_check_failure_info{check="ptr",reason="timeout"} 1`, `smtp_dnsbl_failure_info{list="one.test",reason="timeout"} 1`)
	for _, absent := range []string{"smtp_dns_mx_records", "smtp_dns_spf", "smtp_dns_confirmed", "smtp_dnsbl_listed", "smtp_dns_tlsa", `smtp_dns_addresses{family="6"}`} {
		if found := series(page, absent); found != "" {
			t.Errorf("the page has %s", found)
		}
	}
}

// Neither a policy nor a certificate is fetched from where a probe may not go.
func TestDNSGuard(t *testing.T) {
	port, record := tlsServer(t)
	resolver := nameServer(t, "h.signed.test. 60 A 127.0.0.1", "_"+port+"._tcp.h.signed.test. 60 TLSA "+record, `_mta-sts.d.test. 60 TXT "v=STSv1; id=1"`, "mta-sts.d.test. 60 A 169.254.169.254")
	setup, _, err := load(t, fmt.Sprintf("resolver: %q\nprobe: {networks: [192.0.2.0/24]}\nmodules: {x: {tls: none, dns: {domain: d.test, checks: [mta_sts, tlsa]}}}", resolver))
	if err != nil {
		t.Fatal(err)
	}
	target := probed(t, setup, url.Values{"target": {"h.signed.test:" + port}, "module": {"x"}})
	_, page := look(t, target, 5*time.Second)
	want(t, page, `smtp_dns_check_failure_info{check="mta_sts",reason="not_allowed"} 1`, `smtp_dns_check_failure_info{check="tlsa",reason="no_certificate"} 1`)
}

func TestDNSConfiguration(t *testing.T) {
	for text, wanted := range map[string]string{
		"dns: {}": "", "dns: {domain: example.org, every: 1m}": "", "mx: true, dns: {}": "",
		"dns: {checks: [frob]}": `checks: "frob" is none of`, "dns: {checks: [spf]}": "checks: spf needs a domain", "dns: {domain: 127.0.0.1}": "domain must be one",
		"mx: true, dns: {domain: a.test}": "domain is the target itself", "dns: {every: 1s}": "every must be", "dns: {dnsbl: ['a b']}": `dnsbl: "a b" is no zone`,
		"dns: {dnsbl: [" + strings.Repeat("a.test,", 21) + "]}": "more than 20 lists", "dns: {own: 1}": `unknown key "own"`,
	} {
		_, _, err := load(t, "targets: [{target: a.test, module: x}]\nmodules: {x: {"+text+"}}")
		if (err == nil) != (wanted == "") || err != nil && !strings.Contains(err.Error(), wanted) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestQueueConfiguration(t *testing.T) {
	for text, wanted := range map[string]string{
		"{postfix_showq: /run/x}": "", "{postfix_spool: /run/x}": "", "{exim_spool: /run/x}": "", "{}": "it must have one of", "{exim_spool: x}": "must begin with /",
		"{exim_spool: /x, postfix_spool: /x}": "it must have one of",
	} {
		_, _, err := load(t, "targets: [{target: a.test, queue: "+text+"}]")
		if (err == nil) != (wanted == "") || err != nil && !strings.Contains(err.Error(), wanted) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// doctor says which records are missing, and why a queue cannot be read.
func TestDoctorBeyond(t *testing.T) {
	server := smtp.Serve(t, nil, "S 220 mail.test\nC EHLO\nS 250 mail.test\nC QUIT\nS 221 bye")
	setup, b, err := load(t, fmt.Sprintf("resolver: %q\ntargets: [{target: %q, module: x, queue: {postfix_showq: %q}}]\nmodules: {x: {until: ehlo, tls: none, dns: {domain: d.test, checks: [spf], dnsbl: [dead.test]}}}",
		nameServer(t), server, t.TempDir()+"/none"))
	if err != nil {
		t.Fatal(err)
	}
	findings, err := b.Examine(t.Context(), setup.Targets[0].Spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range []string{"DNS: spf: there is no record", "DNS: dead.test of 127.0.0.1: dead.test lists nobody", "the queue cannot be read: "} {
		if !slices.ContainsFunc(findings, func(f app.Finding) bool { return strings.HasPrefix(f.Problem, problem) && f.Remedy != "" }) {
			t.Errorf("%q is not among %q", problem, findings)
		}
	}
	r, page := look(t, setup.Targets[0].Spec, 5*time.Second)
	want(t, page, "smtp_up 1", `smtp_exporter_collector_success{collector="queue"} 0`)
	if series(page, "smtp_queue") != "" || r.Fault != fault.None {
		t.Errorf("%s\n%v", page, r.Err)
	}
}
