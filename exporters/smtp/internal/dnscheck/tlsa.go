package dnscheck

import (
	"context"
	"crypto/x509"
	"encoding/hex"

	"github.com/miekg/dns"
)

// maxTLSA is how many records of a host are looked at.
const maxTLSA = 32

// Usages of TLSA records that hold for SMTP, by RFC 7672.
const (
	usageAnchor = 2
	usageLeaf   = 3
)

// TLSA are the records that say by which certificates a host is known.
type TLSA struct {
	Usable        []*dns.TLSA // those that hold for SMTP
	Unusable      int
	Authenticated bool // by DNSSEC; else they mean nothing
}

// TLSA gives the records of a port of a host. None is no error.
func (r *Resolver) TLSA(ctx context.Context, host, port string) (TLSA, error) {
	answer, err := r.Ask(ctx, "_"+port+"._tcp."+host, dns.TypeTLSA)
	t := TLSA{Authenticated: answer.Authenticated}
	for _, record := range answer.Records {
		tlsa, ok := record.(*dns.TLSA)
		if ok && len(t.Usable) < maxTLSA && isUsable(tlsa) {
			t.Usable = append(t.Usable, tlsa)
		} else {
			t.Unusable++
		}
	}
	return t, err
}

func isUsable(t *dns.TLSA) bool {
	data, err := hex.DecodeString(t.Certificate)
	digest := map[uint8]int{1: 32, 2: 64}[t.MatchingType]
	return err == nil && len(data) > 0 && (t.Usage == usageAnchor || t.Usage == usageLeaf) && t.Selector <= 1 && t.MatchingType <= 2 &&
		(t.MatchingType == 0 || len(data) == digest)
}

// Match tells whether one of the usable records fits the certificates that a host has shown, its own first. A record for
// an anchor fits where a chain to it is good for the name; one for the certificate itself knows neither names nor dates.
func (t TLSA) Match(chain []*x509.Certificate, host string) bool {
	if len(chain) == 0 {
		return false
	}
	anchors, rest := x509.NewCertPool(), x509.NewCertPool()
	for _, certificate := range chain {
		rest.AddCert(certificate)
	}
	for _, record := range t.Usable {
		if record.Usage == usageLeaf {
			if fits(record, chain[0]) {
				return true
			}
			continue
		}
		for _, certificate := range chain {
			if fits(record, certificate) {
				anchors.AddCert(certificate)
			}
		}
		if whole, err := hex.DecodeString(record.Certificate); err == nil && record.Selector == 0 && record.MatchingType == 0 {
			if certificate, err := x509.ParseCertificate(whole); err == nil {
				anchors.AddCert(certificate) // it need not be sent
			}
		}
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: anchors, Intermediates: rest, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err == nil
}

// fits tells whether a record is for this certificate.
func fits(record *dns.TLSA, certificate *x509.Certificate) bool {
	data, err := dns.CertificateToDANE(record.Selector, record.MatchingType, certificate)
	return err == nil && equalHex(data, record.Certificate)
}

func equalHex(a, b string) bool {
	x, errX := hex.DecodeString(a)
	y, errY := hex.DecodeString(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
