package dnscheck

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// authority makes certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	pair := a.issue(t, "", time.Hour)
	a.certificate, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue makes a certificate for a name, which ends after a while; without a name that of the authority.
func (a *authority) issue(t *testing.T, name string, ends time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "test " + name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(ends),
		BasicConstraintsValid: true, IsCA: name == "", KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	parent, signer := template, key
	if name != "" {
		template.DNSNames, template.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		parent, signer = a.certificate, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestTLSA(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	leaf := ca.issue(t, "mail.test", time.Hour).Leaf
	old := ca.issue(t, "mail.test", -time.Hour).Leaf
	tlsa := func(usage, selector, matching int, c *x509.Certificate) string {
		data, err := dns.CertificateToDANE(uint8(selector), uint8(matching), c)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(usage, " ", selector, " ", matching, " ", data)
	}
	chain, alone := []*x509.Certificate{leaf, ca.certificate}, []*x509.Certificate{leaf}
	for name, c := range map[string]struct {
		records []string
		chain   []*x509.Certificate
		host    string
		want    string
	}{
		"leaf key":               {[]string{tlsa(3, 1, 1, leaf)}, alone, "mail.test", "1 0 true"},
		"leaf whole":             {[]string{tlsa(3, 0, 0, leaf)}, alone, "mail.test", "1 0 true"},
		"leaf long digest":       {[]string{tlsa(3, 0, 2, leaf)}, alone, "mail.test", "1 0 true"},
		"leaf of another name":   {[]string{tlsa(3, 1, 1, leaf)}, alone, "other.test", "1 0 true"},
		"leaf that has ended":    {[]string{tlsa(3, 1, 1, old)}, []*x509.Certificate{old}, "mail.test", "1 0 true"},
		"other leaf":             {[]string{tlsa(3, 1, 1, old)}, chain, "mail.test", "1 0 false"},
		"anchor":                 {[]string{tlsa(2, 0, 1, ca.certificate)}, chain, "mail.test", "1 0 true"},
		"anchor key":             {[]string{tlsa(2, 1, 2, ca.certificate)}, chain, "mail.test", "1 0 true"},
		"anchor not sent":        {[]string{tlsa(2, 0, 1, ca.certificate)}, alone, "mail.test", "1 0 false"},
		"anchor in the record":   {[]string{tlsa(2, 0, 0, ca.certificate)}, alone, "mail.test", "1 0 true"},
		"anchor, wrong name":     {[]string{tlsa(2, 0, 1, ca.certificate)}, chain, "other.test", "1 0 false"},
		"anchor, ended":          {[]string{tlsa(2, 0, 1, ca.certificate)}, []*x509.Certificate{old, ca.certificate}, "mail.test", "1 0 false"},
		"anchor of somebody":     {[]string{tlsa(2, 0, 1, other.certificate)}, []*x509.Certificate{leaf, other.certificate}, "mail.test", "1 0 false"},
		"one of two":             {[]string{tlsa(3, 1, 1, old), tlsa(3, 1, 1, leaf)}, chain, "mail.test", "2 0 true"},
		"usages of the web":      {[]string{tlsa(1, 1, 1, leaf), tlsa(0, 0, 1, ca.certificate)}, chain, "mail.test", "0 2 false"},
		"unknown and cut":        {[]string{"3 2 1 " + strings.Repeat("00", 32), "3 1 3 00", "3 1 1 00", "3 1 2 " + strings.Repeat("00", 32)}, chain, "mail.test", "0 4 false"},
		"no certificate":         {[]string{tlsa(3, 1, 1, leaf)}, nil, "mail.test", "1 0 false"},
		"a key taken for anchor": {[]string{tlsa(2, 1, 1, leaf)}, alone, "mail.test", "1 0 true"},
	} {
		var records []string
		for _, data := range c.records {
			records = append(records, "_25._tcp.mail.test. 60 TLSA "+data)
		}
		r := NewResolver(newNameServer(t, append(records, "_25._tcp.mail.test. SIGNED")...).addr)
		found, err := r.TLSA(t.Context(), "mail.test", "25")
		if err != nil || !found.Authenticated {
			t.Fatal(name, err)
		}
		if got := fmt.Sprint(len(found.Usable), found.Unusable, found.Match(c.chain, c.host)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

const goodPolicy = "version: STSv1\r\nmode: enforce\r\nmx: mail.a.test\r\nmx: *.mx.a.test\r\nmax_age: 86400\r\n"

func TestParsePolicy(t *testing.T) {
	p, err := parsePolicy(goodPolicy)
	if err != nil || p.Mode != "enforce" || p.MaxAge != 24*time.Hour {
		t.Fatalf("%+v, %v", p, err)
	}
	for host, want := range map[string]bool{"mail.a.test": true, "MAIL.a.test.": true, "x.mx.a.test": true, "mx.a.test": false, "x.y.mx.a.test": false, "other.test": false, "": false} {
		if p.Matches(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
	for text, want := range map[string]Reason{
		"version: STSv1\nmode: none\nmax_age: 1": "", "version: STSv1\nmode: testing\nmx: a\nmax_age: 1\nown: x\nmode: enforce": "",
		"": BadPolicy, "version: STSv2\nmode: none\nmax_age: 1": BadPolicy, "version: STSv1\nmode: enforce\nmax_age: 1": BadPolicy, "version: STSv1\nmode: maybe\nmx: a\nmax_age: 1": BadPolicy,
		"version: STSv1\nmode: none\nmax_age: 31557601": BadPolicy, "version: STSv1\nmode: none\nmax_age: -1": BadPolicy, "version STSv1": BadPolicy, "mode: none\nmax_age: 1": BadPolicy,
		"version: STSv1\nmode: none\nmax_age: 1\n" + strings.Repeat("x", 100_000): BadPolicy,
	} {
		if _, err := parsePolicy(text); ReasonOf(err) != want {
			t.Errorf("%.80q: %v", text, err)
		}
	}
}

// policyServer serves one answer for mta-sts.a.test and gives its port.
func policyServer(t *testing.T, pair tls.Certificate, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	return port
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "mta-sts.a.test" && !strings.HasPrefix(r.Host, "mta-sts.a.test:") || r.URL.Path != "/.well-known/mta-sts.txt" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(body))
	}
}

// A policy comes from a server with a good certificate, at once, from where it may, and is what it should be.
func TestFetch(t *testing.T) {
	ca := newAuthority(t)
	good, roots := ca.issue(t, "mta-sts.a.test", time.Hour), x509.NewCertPool()
	roots.AddCert(ca.certificate)
	names := newNameServer(t, `_mta-sts.a.test. 60 TXT "v=STSv1; id=20260101T00;"`, "mta-sts.a.test. 60 A 127.0.0.1", `_mta-sts.b.test. 60 TXT "v=STSv1; id=1"`,
		`_mta-sts.bad.test. 60 TXT "v=STSv1; id=a-b"`, `_mta-sts.two.test. 60 TXT "v=STSv1; id=1"`, `_mta-sts.two.test. 60 TXT "v=STSv1; id=2"`,
		`_mta-sts.down.test. 60 TXT "v=STSv1; id=1"`, "mta-sts.down.test. FAIL SERVFAIL")
	for name, c := range map[string]struct {
		domain  string
		pair    tls.Certificate
		handler http.HandlerFunc
		want    Reason
	}{
		"good":        {"a.test", good, text(goodPolicy), ""},
		"none":        {"none.test", good, text(goodPolicy), NotFound},
		"bad record":  {"bad.test", good, text(goodPolicy), BadRecord},
		"two records": {"two.test", good, text(goodPolicy), Several},
		"no address":  {"b.test", good, text(goodPolicy), NoPolicy},
		"no name":     {"down.test", good, text(goodPolicy), ServerFailure},
		"wrong name":  {"a.test", ca.issue(t, "www.a.test", time.Hour), text(goodPolicy), BadTLS},
		"expired":     {"a.test", ca.issue(t, "mta-sts.a.test", -time.Hour), text(goodPolicy), BadTLS},
		"unknown CA":  {"a.test", newAuthority(t).issue(t, "mta-sts.a.test", time.Hour), text(goodPolicy), BadTLS},
		"garbage":     {"a.test", good, text("<html>"), BadPolicy},
		"huge":        {"a.test", good, text(strings.Repeat("x", maxPolicy+1)), TooLarge},
		"not found":   {"a.test", good, http.NotFound, NoPolicy},
		"a page":      {"a.test", good, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, NoPolicy},
		"leads away":  {"a.test", good, http.RedirectHandler("https://mta-sts.a.test/", http.StatusFound).ServeHTTP, NoPolicy},
		"long header": {"a.test", good, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 2*maxPolicy)) }, NoPolicy},
		"never ending": {"a.test", good, func(w http.ResponseWriter, r *http.Request) {
			text("x")(w, r)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, Timeout},
		"silent": {"a.test", good, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &Fetcher{Resolver: NewResolver(names.addr), Roots: roots, Port: policyServer(t, c.pair, c.handler)}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			p, err := f.Fetch(ctx, c.domain)
			if ReasonOf(err) != c.want || (err == nil) != p.Matches("mail.a.test") {
				t.Errorf("%+v, %v by %s", p, err, ReasonOf(err))
			}
		})
	}
	var asked []netip.Addr
	f := &Fetcher{Resolver: NewResolver(names.addr), Roots: roots, Port: policyServer(t, good, text(goodPolicy)), Allow: func(a netip.Addr) error {
		asked = append(asked, a)
		return errors.New("not there")
	}}
	if _, err := f.Fetch(t.Context(), "a.test"); ReasonOf(err) != NotAllowed || !slices.Equal(asked, []netip.Addr{netip.MustParseAddr("127.0.0.1")}) {
		t.Errorf("%v, %v", asked, err)
	}
	f = &Fetcher{Resolver: NewResolver(names.addr), Roots: roots, Port: "1"}
	if _, err := f.Fetch(t.Context(), "a.test"); ReasonOf(err) != NoPolicy {
		t.Errorf("%v by %s", err, ReasonOf(err))
	}
}
