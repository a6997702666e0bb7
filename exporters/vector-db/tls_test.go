package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
)

// A certificate is verified by authority and name, and shown where the server wants one. What does not fit is told apart
// from a server that is not there.
func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(qdrant.New(qdrant.Options{}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	plain := serve(t, qdrant.New(qdrant.Options{}))
	strict := httptest.NewUnstartedServer(qdrant.New(qdrant.Options{}))
	strict.Config.ErrorLog = server.Config.ErrorLog
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	strict.TLS.ClientCAs.AddCert(server.Certificate())
	strict.StartTLS()
	t.Cleanup(strict.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		t.Fatal(err)
	}
	ca := ", tls: {ca_file: " + authority
	for name, is := range map[string]struct{ url, more, want string }{
		"known authority":     {server.URL, ca + "}", ""},
		"another name":        {server.URL, ca + ", server_name: other.example.org}", "auth"},
		"the name it has":     {server.URL, ca + ", server_name: example.com}", ""},
		"unknown authority":   {server.URL, "", "auth"},
		"no TLS there":        {strings.Replace(plain.URL, "http:", "https:", 1), ca + "}", "config"},
		"TLS alone there":     {strings.Replace(server.URL, "https:", "http:", 1), "", "config"},
		"wants a certificate": {strict.URL, ca + "}", "auth"},
		"there is no server":  {"https://127.0.0.1:1", ca + "}", "unreachable"},
	} {
		for _, kind := range []string{", type: qdrant", ""} {
			target := watched(t, written(t, "targets: [{url: '"+is.url+"'"+kind+is.more+"}]"))
			got := scrape(t, target, 3*time.Second)
			if got.Up != (is.want == "") || string(got.Fault) != is.want {
				t.Errorf("%s%s: up %v, %s: %v; want %s", name, kind, got.Up, got.Fault, got.Err, is.want)
			}
		}
	}
}
