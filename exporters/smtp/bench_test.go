package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
)

// BenchmarkProbe measures a probe with STARTTLS, with the fake server that it speaks to in the same process.
func BenchmarkProbe(b *testing.B) {
	authority := smtp.NewAuthority()
	address := smtp.Serve(b, authority.Good(),
		"S 220 a\nC EHLO\nS 250-a\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nTLS\nC EHLO\nS 250-a\nS 250-PIPELINING\nS 250 SIZE 1\nC QUIT\nS 221 bye")
	ca := filepath.Join(b.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
		b.Fatal(err)
	}
	setup, _, err := load(b, fmt.Sprintf("probe: {targets: ['127.0.0.1']}\nmodules: {x: {tls: starttls, tls_config: {ca_file: %s, server_name: mail.test}}}", ca))
	if err != nil {
		b.Fatal(err)
	}
	self := collect.NewSelf("smtp", nil)
	b.ReportAllocs()
	for b.Loop() {
		target := probed(b, setup, url.Values{"target": {address}, "module": {"x"}})
		t := collect.NewTarget(target, self, slog.New(slog.DiscardHandler))
		r := t.Scrape(context.Background())
		if !r.Up {
			b.Fatal(r.Err)
		}
		var page metric.Page
		r.AddTo(&page)
		if err := page.Encode(io.Discard, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
			b.Fatal(err)
		}
		t.Close()
	}
}
