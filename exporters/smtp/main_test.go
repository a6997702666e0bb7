package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/miekg/dns"
	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
)

// TestNames lints all names and help texts but those of blackbox_exporter.
func TestNames(t *testing.T) {
	all, err := (&backend{}).Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	suitetest.Lint(t, all, collect.NewSelf("smtp", nil), func(name string) bool { return strings.HasPrefix(name, "probe_") })
}

// load reads a configuration with arguments, as the program does.
func load(t testing.TB, text string, args ...string) (*app.Setup, *backend, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b, a := &backend{}, kingpin.New("test", "")
	b.Flags(a)
	if _, err := a.Parse(append([]string{"--config.file=" + path}, args...)); err != nil {
		t.Fatal(err)
	}
	setup, err := b.Load(func(string) bool { return true }, 10*time.Second)
	return setup, b, err
}

func TestConfiguration(t *testing.T) {
	const target = "targets: [{target: mail.test, module: x}]\nmodules:\n  x: "
	for text, want := range map[string]string{
		"targets: [{target: mail.test}]":                                            "",
		"targets: [{target: 'mail.test:2525', module: submission, service: mail}]":  "",
		"targets: [{target: '[::1]:25'}, {target: '::1'}, {target: 'unix:/run/x'}]": "",
		"probe: {networks: [192.0.2.0/24]}":                                         "",
		"":                                                                          "no target",
		"frob: 1":                                                                   `unknown key "frob"`,
		"targets: [{target: 'a b'}]":                                                "a target must be host or host:port",
		"targets: [{target: 'user@host:25'}]":                                       "a target must be host or host:port",
		"targets: [{target: 'host:0'}]":                                             "a target must be host or host:port",
		"targets: [{target: 'host:25/x'}]":                                          "a target must be host or host:port",
		"targets: [{target: a, module: unknown}]":                                   "module must name one",
		"targets: [{target: a}, {target: a}]":                                       "",
		"probe: {networks: [nonsense]}":                                             "is no network",
		"probe: {targets: ['[']}":                                                   "is no pattern",
		"resolver: nonsense":                                                        "resolver must be host:port",
		target:                                                                      "modules: x: it is empty",
		target + "{until: ehlo}":                                                    "",
		target + "{until: nowhere}":                                                 `cannot end with "nowhere"`,
		target + "{until: quit}":                                                    `cannot end with "quit"`,
		target + "{until: auth}":                                                    "no credentials",
		target + "{until: data}":                                                    "no message",
		target + "{until: tls, tls: starttls}":                                      "must begin with it",
		target + "{tls: perhaps}":                                                   "is no mode of TLS",
		target + "{timeout: 5}":                                                     "wrong type",
		target + "{timeout: -5s}":                                                   "longer than nothing",
		target + "{timeouts: {lunch: 5s}}":                                          "is no phase",
		target + "{protocol: uucp}":                                                 "smtp or lmtp",
		target + "{protocol: lmtp}":                                                 "",
		target + "{proxy_protocol: 3}":                                              "versions 1 and 2",
		target + "{preferred_ip_protocol: ip5}":                                     "ip4 or ip6",
		target + "{source_ip_address: here}":                                        "must be an address",
		target + "{port: mail}":                                                     "port must be a number",
		target + `{hello: "a b"}`:                                                   "must be a host name",
		target + `{hello: "a\r\nRSET"}`:                                             "must be a host name",
		target + "{tls_config: {min_version: TLS9}}":                                "min_version must be",
		target + "{tls_config: {ca_file: /nowhere}}":                                "cannot read ca_file",
		target + "{auth: {username: a}}":                                            "username and password",
		target + "{auth: {username: a, password: hunter2, mechanisms: [CRAM-MD5]}}":                  "CRAM-MD5",
		target + "{auth: {username: a, password: hunter2}, mx: true}":                                "exclude each other",
		target + "{message: {from: a@b.test, to: nobody}}":                                           "is no mail address",
		target + `{message: {from: "a@b.test>\r\nRCPT TO:<x@y.test", to: c@d.test}}`:                 "is no mail address",
		target + "{message: {to: a@b.test, size: 99999999999}}":                                      "size must be at most",
		target + "{relay_test: nobody}":                                                              "is no mail address",
		target + "{require: {codes: {connect: [220]}}}":                                              "is no phase that a reply ends",
		target + "{auth: {username: a, password: x, send_password_where_others_can_steal_it: true}}": "",
	} {
		_, _, err := load(t, text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want %q", text, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("the error is %q", err)
		}
	}
}

// What the documentation shows can be loaded.
func TestDocumentedConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../docs/smtp.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Fatal("there is none")
	}
	files := regexp.MustCompile(`(?m)^ +(ca_file|cert_file|key_file): .*\n`) // which are not here
	for _, block := range blocks {
		if _, _, err := load(t, files.ReplaceAllString(block[1], "")+"\n"); err != nil {
			t.Errorf("%v\n%s", err, block[1])
		}
	}
}

// The flags alone make a target of the default module.
func TestFlags(t *testing.T) {
	setup, _, err := load(t, "", "--target=mail.test", "--module=submission", "--probe.allow=*.test:25")
	if err != nil || len(setup.Targets) != 1 || setup.Targets[0].Name != "mail.test:587 submission" || setup.Probe == nil {
		t.Fatalf("%+v, %v", setup, err)
	}
	if _, err := setup.Probe(url.Values{"target": {"a.test"}, "module": {"smtp"}}); err != nil {
		t.Error(err)
	}
}

// /probe reaches what it may and nothing else, and credentials go only where their own module says.
func TestProbeAllowance(t *testing.T) {
	setup, _, err := load(t, `
probe: {targets: [mail.test, '127.0.0.1']}
modules:
  own: {probe: {targets: ['own.test:26']}}
  login: {auth: {username: a, password: b}}
  login_there: {auth: {username: a, password: b}, probe: {targets: [there.test]}}
  networks: {probe: {networks: [127.0.0.0/8]}}
`)
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]error{
		"target=mail.test": nil, "target=MAIL.test:99": nil, "target=mail.test.evil.test": app.ErrNotAllowed, "target=other.test": app.ErrNotAllowed,
		"module=own&target=own.test:26": nil, "module=own&target=own.test": app.ErrNotAllowed, "module=own&target=mail.test": app.ErrNotAllowed,
		"module=login&target=mail.test": app.ErrNotAllowed, "module=login_there&target=there.test": nil, "module=login_there&target=mail.test": app.ErrNotAllowed,
		"module=networks&target=any.test": nil,
	} {
		values, _ := url.ParseQuery(query)
		if _, err := setup.Probe(values); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", query, err, want)
		}
	}
	for _, query := range []string{"", "target=", "target=unix:/run/x", "target=a/b", "target=a%0d%0ab", "target=a%00", "target=mail.test&module=none", "target=-a"} {
		values, _ := url.ParseQuery(query)
		if _, err := setup.Probe(values); err == nil || errors.Is(err, app.ErrNotAllowed) {
			t.Errorf("%q: %v", query, err)
		}
	}
}

// A target is another one as soon as anything of its module is other, the certificate in a file or a secret too.
func TestKeys(t *testing.T) {
	dir := t.TempDir()
	ca, secret := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "secret")
	write := func(path string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ca, smtp.NewAuthority().PEM())
	write(secret, []byte("one"))
	key := func(more string) string {
		t.Helper()
		setup, _, err := load(t, fmt.Sprintf("targets: [{target: a, module: x}]\nmodules: {x: {tls_config: {ca_file: %s}, auth: {username: a, password: {file: %s}}%s}}", ca, secret, more))
		if err != nil {
			t.Fatal(err)
		}
		return setup.Targets[0].Key
	}
	first := key("")
	if key("") != first {
		t.Error("the same module has two keys")
	}
	if key(", timeout: 7s") == first {
		t.Error("another timeout has the same key")
	}
	write(secret, []byte("two"))
	second := key("")
	write(ca, smtp.NewAuthority().PEM())
	if second == first || key("") == second {
		t.Error("another secret or certificate has the same key")
	}
}

// probed describes the target of a query.
func probed(t testing.TB, setup *app.Setup, query url.Values) collect.Spec {
	t.Helper()
	named, err := setup.Probe(query)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := named.Describe()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// look scrapes a target and gives the result with its page.
func look(t *testing.T, target collect.Spec, limit time.Duration) (*collect.Result, string) {
	t.Helper()
	tt := collect.NewTarget(target, collect.NewSelf("smtp", nil), slog.New(slog.DiscardHandler))
	defer tt.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r := tt.Scrape(ctx)
	var page metric.Page
	var text bytes.Buffer
	r.AddTo(&page)
	if err := page.Encode(&text, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
		t.Fatal(err)
	}
	return r, text.String()
}

func want(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+page, "\n"+line+"\n") {
			t.Errorf("the page lacks %s", line)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

var times = regexp.MustCompile(`(?m)^(\w*(?:seconds|hash)(?:\{[^}]*\})?) [0-9.e+-]+$`)

const greeting = `
	S 220 mail.test ESMTP ready
	C EHLO probe.test
	S 250-mail.test
	S 250-SIZE 1000
	S 250-AUTH PLAIN X-ODD
	S 250-X-OWN
	S 250-PIPELINING
	S 250 DSN
	C MAIL FROM:<>
	C RCPT TO:<b@mail.test>
	C DATA
	S 250 2.1.0 ok
	S 451 4.7.1 come again
	S 503 5.5.1 no
	C QUIT
	S 221 2.0.0 bye
`

// TestPage holds the whole page of a probe, but for times.
func TestPage(t *testing.T) {
	server := smtp.New(t, nil, greeting)
	setup, _, err := load(t, "probe: {targets: ['127.0.0.1']}\nmodules: {x: {tls: none, hello: probe.test, message: {to: b@mail.test}}}")
	if err != nil {
		t.Fatal(err)
	}
	target := probed(t, setup, url.Values{"target": {server.Addr}, "module": {"x"}})
	_, page := look(t, target, 3*time.Second)
	if err := server.Wait(); err != nil {
		t.Error(err)
	}
	page = strings.ReplaceAll(times.ReplaceAllString(page, "$1 TIME"), server.Addr, "HOST:PORT")
	page = regexp.MustCompile(`(?m)^(# (HELP|TYPE) )?(db_|smtp_exporter_).*\n`).ReplaceAllString(page, "") // the suite's own
	suitetest.Golden(t, "testdata/page.txt", page, os.Getenv("UPDATE_GOLDEN") != "")
}

// A target of the configuration has a history, and labels beside others.
func TestHistory(t *testing.T) {
	server := smtp.New(t, nil, "S 554 no\nC QUIT\nS 221 bye")
	setup, _, err := load(t, fmt.Sprintf("targets: [{target: '%s'}, {target: other.test}]", server.Addr))
	if err != nil {
		t.Fatal(err)
	}
	r, page := look(t, setup.Targets[0].Spec, 3*time.Second)
	labels := fmt.Sprintf(`module="smtp",%%starget="%s"`, server.Addr)
	with := func(more string) string { return fmt.Sprintf(labels, more) }
	want(t, page, "smtp_up{"+with("")+"} 0", "smtp_probes_total{"+with("")+"} 1",
		"smtp_probe_failures_total{"+with(`phase="banner",reason="rejected",`)+"} 1", "smtp_probe_failure_info{"+with(`phase="banner",reason="rejected",`)+"} 1",
		"smtp_phase_duration_seconds_count{"+with(`phase="banner",`)+"} 1", "smtp_probe_reply_code{"+with(`phase="banner",`)+"} 554",
		"db_connection_success{db_name=\"127.0.0.1\","+with(fmt.Sprintf("service=%q,", server.Addr+" smtp"))+"} 1")
	if strings.Contains(page, "\nprobe_success") || r.Fault != fault.Denied {
		t.Errorf("%s: %v", r.Fault, r.Err)
	}
}

// A caller who waits less than the module would is told, too, in which phase the server fell silent.
func TestImpatientCaller(t *testing.T) {
	server := smtp.New(t, nil, "S 220 mail.test\nWAIT")
	setup, _, err := load(t, "", "--target="+server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	r, page := look(t, setup.Targets[0].Spec, 400*time.Millisecond)
	want(t, page, `smtp_probe_failure_info{phase="ehlo",reason="timeout"} 1`, "smtp_up 0")
	if r.Fault != fault.Timeout || r.Health.Connect.Fault != fault.None || r.Health.Ping.Fault != fault.Timeout {
		t.Errorf("%s, %+v", r.Fault, r.Health)
	}
}

// nameServer answers from a table of records. What is below signed.test counts as verified by DNSSEC.
func nameServer(t *testing.T, records ...string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(q)
		answer.RecursionAvailable = true // else no answer means that another server is to be asked
		answer.AuthenticatedData = strings.HasSuffix(q.Question[0].Name, ".signed.test.")
		known := false
		for _, text := range records {
			record, err := dns.NewRR(text)
			if err != nil {
				panic(err)
			}
			if strings.EqualFold(record.Header().Name, q.Question[0].Name) {
				known = true
				if record.Header().Rrtype == q.Question[0].Qtype {
					answer.Answer = append(answer.Answer, record)
				}
			}
		}
		if !known {
			answer.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(answer)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return conn.LocalAddr().String()
}

// Of a domain each MX host is probed. One that fails degrades it; it is down when all do.
func TestDomain(t *testing.T) {
	good := smtp.New(t, nil, "S 220 mail.test\nC EHLO\nS 250 mail.test\nC QUIT\nS 221 bye")
	_, port, _ := net.SplitHostPort(good.Addr)
	resolver := nameServer(t, "two.test. MX 10 a.test.", "two.test. MX 20 b.test.", "a.test. A 127.0.0.1", "b.test. A 127.0.0.9",
		"null.test. MX 0 .", "dead.test. MX 5 b.test.", "plain.test. A 127.0.0.9", "evil.test. MX 5 metadata.test.", "metadata.test. A 169.254.169.254")
	setup, _, err := load(t, fmt.Sprintf(`
resolver: %s
probe: {targets: ['*.test']}
modules: {mx: {mx: true, port: %s, until: ehlo, tls: none, timeout: 2s}}
`, resolver, port))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		domain string
		status health.Status
		reason fault.Kind
		lines  []string
	}{
		{"two.test", health.Degraded, fault.Unreachable, []string{`smtp_probe_success{mx="a.test"} 1`, `smtp_probe_success{mx="b.test"} 0`,
			`smtp_probe_failure_info{mx="b.test",phase="connect",reason="refused"} 1`, "probe_success 0", "smtp_up 1"}},
		{"dead.test", health.Down, fault.Unreachable, []string{`smtp_probe_success{mx="b.test"} 0`, "smtp_up 0"}},
		{"null.test", health.Down, fault.Unreachable, []string{`smtp_probe_failure_info{phase="dns",reason="not_resolved"} 1`, "smtp_up 0"}},
		{"plain.test", health.Down, fault.Unreachable, []string{`smtp_probe_failure_info{mx="plain.test",phase="connect",reason="refused"} 1`}},
		{"missing.test", health.Down, fault.Unreachable, []string{`smtp_probe_failure_info{mx="missing.test",phase="dns",reason="not_resolved"} 1`}},
		{"evil.test", health.Down, fault.Denied, []string{`smtp_probe_failure_info{mx="metadata.test",phase="dns",reason="not_allowed"} 1`}},
	} {
		t.Run(c.domain, func(t *testing.T) {
			target := probed(t, setup, url.Values{"target": {c.domain}, "module": {"mx"}})
			r, page := look(t, target, 5*time.Second)
			want(t, page, c.lines...)
			if r.Health.Status() != c.status || r.Fault != c.reason {
				t.Errorf("%v by %s: %v", r.Health.Status(), r.Fault, r.Err)
			}
		})
	}
}

// A name that leads out of the allowed networks is not followed.
func TestNetworks(t *testing.T) {
	resolver := nameServer(t, "in.test. A 127.0.0.9", "out.test. A 10.1.2.3")
	setup, _, err := load(t, fmt.Sprintf("resolver: %s\nprobe: {networks: [127.0.0.0/8]}\nmodules: {x: {port: 1}}", resolver))
	if err != nil {
		t.Fatal(err)
	}
	for host, reason := range map[string]string{
		"in.test": `{phase="connect",reason="refused"}`, "out.test": `{phase="dns",reason="not_allowed"}`, "10.1.2.3": `{phase="dns",reason="not_allowed"}`,
	} {
		target := probed(t, setup, url.Values{"target": {host}, "module": {"x"}})
		_, page := look(t, target, 3*time.Second)
		want(t, page, "smtp_probe_failure_info"+reason+" 1")
	}
}

// scrape TARGET tells what was said, and fails where the probe does.
func TestNarration(t *testing.T) {
	for text, code := range map[string]int{"S 220 mail.test\nC EHLO\nS 250 mail.test\nC QUIT\nS 221 bye": 0, "S 554 no\nC QUIT\nS 221 bye": 1} {
		server := smtp.New(t, nil, text)
		var out, problems bytes.Buffer
		if got := exporter().Run([]string{"scrape", "--once", "--module", "smtp", server.Addr}, &out, &problems); got != code {
			t.Errorf("code %d: %s", got, problems.String())
		}
		for _, part := range []string{"* connected to " + server.Addr, "S  ", "C  QUIT", "banner", "turn-arounds"} {
			if !strings.Contains(strings.ReplaceAll(out.String(), "*  ", "* "), part) {
				t.Errorf("the story lacks %q:\n%s", part, out.String())
			}
		}
	}
}

// A message of the wanted size says that nobody should answer it.
func TestCompose(t *testing.T) {
	for _, size := range []int{0, 1000, 1001, 1002, 100_000} {
		content := string((&message{To: "a@b.test", Size: size}).compose("probe.test", time.Now()))
		if size > 0 && len(content) != size || !strings.Contains(content, "\r\nAuto-Submitted: auto-generated\r\n") || !strings.HasSuffix(content, "\n") {
			t.Errorf("%d bytes instead of %d:\n%.800s", len(content), size, content)
		}
	}
}

// Every reason has a kind, and only those that are ours count as such.
func TestKinds(t *testing.T) {
	for _, reason := range dialogue.Reasons() {
		if kind := kindOf(reason); (kind == fault.Internal) != (reason == dialogue.Internal) || kind == fault.None {
			t.Errorf("%s is %s", reason, kind)
		}
	}
}
