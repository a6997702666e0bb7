package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
)

// asProgram has the test's binary be the exporter: whom the system trusts can be set for a whole process only.
const asProgram = "SMTP_EXPORTER_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if arguments := os.Getenv(asProgram); arguments != "" {
		os.Exit(exporter().Run(strings.Fields(arguments), os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// scrapeOnce runs the exporter as a process that trusts an authority, and gives what it prints.
func scrapeOnce(t *testing.T, authority []byte, configuration string) string {
	t.Helper()
	folder := t.TempDir()
	ca, file := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "config.yml")
	for path, text := range map[string][]byte{ca: authority, file: []byte(configuration)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = []string{asProgram + "=scrape --once --config.file=" + file, "SSL_CERT_FILE=" + ca, "SSL_CERT_DIR=" + folder, "HOME=" + folder}
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		t.Logf("%v: %s", err, problems.String()) // the mail servers are down, and so the scrape fails
	}
	return out.String()
}

// TestTransportSecurity holds that a policy is fetched from where the standard has it, port 443 of a host of its own,
// and compared with the hosts of the domain. That needs root, or else a system where all may listen on small ports.
func TestTransportSecurity(t *testing.T) {
	authority := smtp.NewAuthority()
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "version: STSv1\nmode: enforce\nmx: *.good.test\nmx: good.test\nmax_age: 600\n")
	}))
	listener, err := net.Listen("tcp", "127.0.0.98:443")
	if err != nil {
		t.Fatal(err)
	}
	_ = web.Listener.Close()
	web.Listener = listener
	web.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return &authority.Server(hello.ServerName, -time.Hour, time.Hour).Certificates[0], nil
	}}
	web.StartTLS()
	defer web.Close()
	resolver := nameServer(t, "good.test. 60 MX 10 a.good.test.", "a.good.test. 60 A 127.0.0.97", `_mta-sts.good.test. 60 TXT "v=STSv1; id=1"`, "mta-sts.good.test. 60 A 127.0.0.98",
		"other.test. 60 MX 10 a.good.test.", "other.test. 60 MX 20 b.other.test.", `_mta-sts.other.test. 60 TXT "v=STSv1; id=1"`, "mta-sts.other.test. 60 A 127.0.0.98")
	for domain, want := range map[string]string{
		"good.test":  "smtp_dns_check_success{check=\"mta_sts\"} 1\nsmtp_dns_mta_sts_max_age_seconds 600\nsmtp_dns_mta_sts_policy_info{mode=\"enforce\"} 1\n",
		"other.test": "smtp_dns_check_failure_info{check=\"mta_sts\",reason=\"mismatch\"} 1\nsmtp_dns_check_success{check=\"mta_sts\"} 0\nsmtp_dns_mta_sts_max_age_seconds 600\nsmtp_dns_mta_sts_policy_info{mode=\"enforce\"} 1\n",
	} {
		page := scrapeOnce(t, authority.PEM(), fmt.Sprintf("resolver: %q\ntargets: [{target: '%s:1', module: x}]\nmodules: {x: {mx: true, tls: none, timeout: 1s, dns: {checks: [mta_sts]}}}", resolver, domain))
		if got := series(page, "smtp_dns"); got != want {
			t.Errorf("%s:\n%s\nin\n%s", domain, got, page)
		}
	}
}
