package dnscheck

import (
	"context"
	"strings"

	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"
)

// DMARC is what a domain wants done with mail that is not its own.
type DMARC struct {
	Policy    string  // none, quarantine or reject: what holds for this domain
	Ratio     float64 // of the mail for which it holds
	Inherited bool    // it is said by the domain above
	Reports   bool    // somebody wants to be told
}

// DMARC reads the record of a domain, or else of the organisation's domain above it.
func (r *Resolver) DMARC(ctx context.Context, domain string) (DMARC, error) {
	d := DMARC{Ratio: 1}
	text, err := r.dmarc(ctx, domain)
	if above, known := publicsuffix.EffectiveTLDPlusOne(plain(domain)); ReasonOf(err) == NotFound && known == nil && above != plain(domain) {
		d.Inherited = true
		text, err = r.dmarc(ctx, above)
	}
	if err != nil {
		return DMARC{}, err
	}
	record, err := dmarc.Parse(text)
	if err != nil {
		return DMARC{}, failf(BadRecord, "the DMARC record: %w", err)
	}
	d.Policy = string(record.Policy)
	if d.Inherited && record.SubdomainPolicy != "" {
		d.Policy = string(record.SubdomainPolicy)
	}
	if record.Percent != nil {
		d.Ratio = float64(*record.Percent) / 100
	}
	d.Reports = len(record.ReportURIAggregate) > 0
	return d, nil
}

func (r *Resolver) dmarc(ctx context.Context, domain string) (string, error) {
	texts, err := r.texts(ctx, "_dmarc."+domain)
	if err != nil {
		return "", err
	}
	return the(texts, "v=DMARC1", "; ")
}

// TLSReporting tells whether a domain wants to be told of failures of TLS: nil where it says where to.
func (r *Resolver) TLSReporting(ctx context.Context, domain string) error {
	texts, err := r.texts(ctx, "_smtp._tls."+domain)
	if err != nil {
		return err
	}
	text, err := the(texts, "v=TLSRPTv1", "; ")
	if err != nil {
		return err
	}
	for uri := range strings.SplitSeq(fields(text)["rua"], ",") {
		uri = strings.ToLower(strings.TrimSpace(uri))
		if strings.HasPrefix(uri, "mailto:") || strings.HasPrefix(uri, "https:") {
			return nil
		}
	}
	return failf(BadRecord, "the TLSRPT record names nobody to be told")
}

// fields reads "a=b; c=d".
func fields(text string) map[string]string {
	all := map[string]string{}
	for field := range strings.SplitSeq(text, ";") {
		if name, value, ok := strings.Cut(field, "="); ok {
			all[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
		}
	}
	return all
}
