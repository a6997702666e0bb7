package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
)

// accept serves all who come to an address, and ends with the test.
func accept(t *testing.T, network, address string, serve func(net.Conn)) net.Addr {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return listener.Addr()
}

// pageOf probes the target that the configuration lists first.
func pageOf(t *testing.T, configuration string) string {
	t.Helper()
	setup, _, err := load(t, configuration)
	if err != nil {
		t.Fatal(err)
	}
	_, page := look(t, setup.Targets[0].Spec, 3*time.Second)
	return page
}

// doorman is a fake server that tells one password from others, and counts those who try to log in.
type doorman struct {
	password string
	tries    atomic.Int64
}

func (d *doorman) serve(conn net.Conn) {
	defer conn.Close()
	_, _ = fmt.Fprint(conn, "220 mail.test\r\n")
	for in := bufio.NewScanner(conn); in.Scan(); {
		switch verb, rest, _ := strings.Cut(in.Text(), " "); verb {
		case "EHLO":
			_, _ = fmt.Fprint(conn, "250-mail.test\r\n250 AUTH PLAIN\r\n")
		case "AUTH":
			d.tries.Add(1)
			if rest == "PLAIN "+encodePlain("user", d.password) {
				_, _ = fmt.Fprint(conn, "235 2.7.0 ok\r\n")
			} else {
				_, _ = fmt.Fprint(conn, "535 5.7.8 no\r\n")
			}
		default:
			_, _ = fmt.Fprint(conn, "221 bye\r\n")
			return
		}
	}
}

// A login that is refused is tried three times and then spared, by whatever way it is asked for; what is told stays true;
// and a new password in the file heals it at once.
func TestRefusedLogin(t *testing.T) {
	guard := &doorman{password: "right"}
	address := accept(t, "tcp", "127.0.0.1:0", guard.serve).String()
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	setup, b, err := load(t, fmt.Sprintf(`
targets: [{target: '%s', module: login}]
modules:
  login: {tls: none, auth: {username: user, password: {file: %s}, send_password_where_others_can_steal_it: true}, probe: {targets: ['127.0.0.1']}}`, address, file))
	if err != nil {
		t.Fatal(err)
	}
	target := collect.NewTarget(setup.Targets[0].Spec, collect.NewSelf("smtp", nil), slog.New(slog.DiscardHandler))
	defer target.Close()
	scrape := func() string {
		t.Helper()
		time.Sleep(600 * time.Millisecond) // an answer is shared for half a second
		var page metric.Page
		target.Scrape(t.Context()).AddTo(&page)
		var text bytes.Buffer
		if err := page.Encode(&text, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	refused := []string{"smtp_up 1", "smtp_probe_success 0", `smtp_probe_failure_info{phase="auth",reason="auth_rejected"} 1`, `smtp_probe_phase_success{phase="auth"} 0`}
	for range 3 {
		want(t, scrape(), append(refused, "smtp_probe_auth_tried 1", `smtp_probe_reply_code{phase="auth"} 535`)...)
	}
	page := scrape()
	want(t, page, append(refused, "smtp_probe_auth_tried 0", `smtp_phase_duration_seconds_count{phase="auth"} 3`)...)
	for _, untold := range []string{`smtp_probe_reply_code{phase="auth"}`, `smtp_probe_phase_duration_seconds{phase="auth"}`} {
		if strings.Contains(page, untold) {
			t.Errorf("%s is told of a login that was not tried", untold)
		}
	}
	asked := probed(t, setup, url.Values{"target": {address}, "module": {"login"}})
	_, page = look(t, asked, 3*time.Second)
	want(t, page, append(refused, "smtp_probe_auth_tried 0", "probe_success 0")...)
	var story bytes.Buffer
	if good, err := b.Narrate(t.Context(), url.Values{"target": {address}, "module": {"login"}}, false, &story); good || err != nil || !strings.Contains(story.String(), "refused this login before") {
		t.Errorf("%v, %v:\n%s", good, err, story.String())
	}
	if n := guard.tries.Load(); n != 3 {
		t.Errorf("it was tried %d times", n)
	}
	write("right")
	want(t, scrape(), "smtp_probe_success 1", "smtp_probe_auth_tried 1", `smtp_probe_reply_code{phase="auth"} 235`)
}

// A probe goes out from the address that the module names.
func TestSourceAddress(t *testing.T) {
	from := make(chan string, 1)
	address := accept(t, "tcp", "127.0.0.1:0", func(conn net.Conn) {
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		from <- host
		_ = smtp.Follow(conn, nil, "S 220 a\nC QUIT\nS 221 bye")
	})
	page := pageOf(t, fmt.Sprintf("targets: [{target: '%s', module: x}]\nmodules: {x: {until: banner, tls: none, source_ip_address: 127.0.0.77}}", address))
	want(t, page, "smtp_probe_success 1")
	if got := <-from; got != "127.0.0.77" {
		t.Errorf("it came from %s", got)
	}
	page = pageOf(t, fmt.Sprintf("targets: [{target: '%s', module: x}]\nmodules: {x: {until: banner, tls: none, source_ip_address: 192.0.2.1}}", address))
	want(t, page, "smtp_probe_success 0", `smtp_probe_failure_info{phase="connect",reason="unreachable"} 1`)
}

// A server that asks for a certificate is shown that of the module.
func TestClientCertificate(t *testing.T) {
	authority := smtp.NewAuthority()
	dir := t.TempDir()
	write := func(name string, blocks ...*pem.Block) string {
		t.Helper()
		var text []byte
		for _, block := range blocks {
			text = append(text, pem.EncodeToMemory(block)...)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pair := authority.Server("client.test", -time.Hour, smtp.Day).Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := write("client.pem", &pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	keyFile := write("client.key", &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	server := authority.Good()
	server.ClientAuth = tls.RequireAnyClientCert
	shown := make(chan string, 2)
	server.VerifyConnection = func(state tls.ConnectionState) error {
		shown <- state.PeerCertificates[0].Subject.CommonName
		return nil
	}
	address := smtp.Serve(t, server, "TLS\nS 220 a\nC QUIT\nS 221 bye")
	const text = "targets: [{target: '%s', module: x}]\nmodules: {x: {until: banner, tls: implicit, tls_config: {ca_file: %s, server_name: mail.test%s}}}"
	page := pageOf(t, fmt.Sprintf(text, address, ca, fmt.Sprintf(", cert_file: %s, key_file: %s", cert, keyFile)))
	want(t, page, "smtp_probe_success 1")
	if name := <-shown; name != "client.test" {
		t.Errorf("%q was shown", name)
	}
	page = pageOf(t, fmt.Sprintf(text, address, ca, ""))
	want(t, page, "smtp_probe_success 0", `smtp_probe_failure_info{phase="tls",reason="handshake"} 1`, `smtp_probe_phase_success{phase="tls"} 0`)
}

// The preferred family is taken where the name has an address of it, else the other one, unless the module forbids it.
func TestFamilies(t *testing.T) {
	const polite = "S 220 a\nC QUIT\nS 221 bye"
	four := accept(t, "tcp4", "127.0.0.1:0", func(conn net.Conn) { _ = smtp.Follow(conn, nil, polite) })
	_, port, _ := net.SplitHostPort(four.String())
	accept(t, "tcp6", "[::1]:"+port, func(conn net.Conn) { _ = smtp.Follow(conn, nil, polite) })
	resolver := nameServer(t, "both.test. A 127.0.0.1", "both.test. AAAA ::1", "four.test. A 127.0.0.1", "six.test. AAAA ::1")
	for _, c := range []struct {
		host, options string
		want          string
	}{
		{"both.test", "", "smtp_probe_ip_protocol 6"},
		{"both.test", ", preferred_ip_protocol: ip6", "smtp_probe_ip_protocol 6"},
		{"both.test", ", preferred_ip_protocol: ip4", "smtp_probe_ip_protocol 4"},
		{"four.test", ", preferred_ip_protocol: ip6", "smtp_probe_ip_protocol 4"},
		{"six.test", ", preferred_ip_protocol: ip4", "smtp_probe_ip_protocol 6"},
		{"four.test", ", preferred_ip_protocol: ip6, ip_protocol_fallback: false", `smtp_probe_failure_info{phase="dns",reason="not_resolved"} 1`},
		{"six.test", ", preferred_ip_protocol: ip4, ip_protocol_fallback: false", `smtp_probe_failure_info{phase="dns",reason="not_resolved"} 1`},
		{"both.test", ", preferred_ip_protocol: ip4, ip_protocol_fallback: false", "smtp_probe_ip_protocol 4"},
		{"'[::1]:" + port + "'", ", preferred_ip_protocol: ip4", "smtp_probe_ip_protocol 6"},
	} {
		page := pageOf(t, fmt.Sprintf("resolver: %s\ntargets: [{target: %s, module: x}]\nmodules: {x: {port: %s, until: banner, tls: none%s}}", resolver, c.host, port, c.options))
		success := metric.Truth(!strings.Contains(c.want, "failure"))
		want(t, page, c.want, fmt.Sprintf("smtp_probe_success %v", success))
	}
}

// A socket is a target as well, as that of LMTP mostly is.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lmtp")
	accept(t, "unix", path, func(conn net.Conn) {
		_ = smtp.Follow(conn, nil, "S 220 a\nC LHLO\nS 250-a\nS 250 PIPELINING\nC QUIT\nS 221 bye")
	})
	page := pageOf(t, "targets: [{target: 'unix:"+path+"', module: x}]\nmodules: {x: {protocol: lmtp, tls: none}}")
	want(t, page, "smtp_probe_success 1", `smtp_probe_extension_info{extension="PIPELINING"} 1`, "smtp_up 1")
	if strings.Contains(page, "smtp_probe_ip_protocol ") {
		t.Error("a socket has a family of addresses")
	}
	page = pageOf(t, "targets: [{target: 'unix:"+path+".none', module: x}]\nmodules: {x: {protocol: lmtp, tls: none}}")
	want(t, page, "smtp_probe_success 0", "smtp_up 0", `smtp_probe_failure_info{phase="connect",reason="unreachable"} 1`)
}

// encodePlain writes credentials as AUTH PLAIN has them.
func encodePlain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}
