package main

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dnscheck"
)

// maxChecked is how many addresses of a host and family are looked at.
const maxChecked = 8

// ofHost carries out the checks of a host.
func (l *lookup) ofHost(ctx context.Context, host string) []outcome {
	var all []outcome
	found, err := l.addressesOf(ctx, host)
	wants := func(check string) bool { return slices.Contains(l.checks.Checks, check) }
	if wants("addresses") {
		all = append(all, outcome{check: "addresses", err: err, tell: func(out *metric.Batch) {
			for family, addresses := range found {
				out.Add(names.addresses, float64(len(addresses)), strconv.Itoa(family))
			}
		}})
	}
	if wants("ptr") {
		all = append(all, l.reverse(ctx, found, err))
	}
	if _, literal := netip.ParseAddr(host); literal != nil && wants("tlsa") {
		all = append(all, l.authenticity(ctx, host))
	}
	for _, list := range l.checks.Lists {
		all = append(all, l.listed(ctx, list, found, err))
	}
	for i := range all {
		all[i].host = host
	}
	return all
}

// addressesOf gives the addresses of a host by family. A family is absent where it could not be found out; that, or that
// there is no address at all, is the error.
func (l *lookup) addressesOf(ctx context.Context, host string) (map[int][]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return map[int][]netip.Addr{family(address): {address}}, nil
	}
	found := map[int][]netip.Addr{}
	var failed error
	for _, family := range []int{4, 6} {
		addresses, err := l.records.Addresses(ctx, host, family)
		if err != nil {
			failed = err
			continue
		}
		found[family] = addresses
	}
	if failed == nil && len(found[4])+len(found[6]) == 0 {
		failed = &dnscheck.Error{Reason: dnscheck.NotFound, Err: errNoAddress}
	}
	return found, failed
}

// reverse looks whether the addresses have names that lead back to them. Of a family of which one address could not be
// looked at no number is told.
func (l *lookup) reverse(ctx context.Context, found map[int][]netip.Addr, err error) outcome {
	o := outcome{check: "ptr", err: err}
	confirmed := map[int]int{}
	for family, addresses := range found {
		number, known := 0, true
		for _, address := range addresses[:min(len(addresses), maxChecked)] {
			problem := l.records.Confirm(ctx, address)
			switch dnscheck.ReasonOf(problem) {
			case dnscheck.NoReason:
				number++
			case dnscheck.NotFound, dnscheck.Unconfirmed:
			default:
				known = false
			}
			if o.err == nil {
				o.err = problem
			}
		}
		if known && len(addresses) <= maxChecked {
			confirmed[family] = number
		}
	}
	o.tell = func(out *metric.Batch) {
		for family, number := range confirmed {
			out.Add(names.confirmed, float64(number), strconv.Itoa(family))
		}
	}
	return o
}

// authenticity compares the TLSA records with the certificates that the host shows.
func (l *lookup) authenticity(ctx context.Context, host string) outcome {
	records, err := l.records.TLSA(ctx, host, l.place.port)
	o := outcome{check: "tlsa", err: err}
	if err != nil {
		return o
	}
	usable := len(records.Usable)
	o.tell = func(out *metric.Batch) {
		out.Add(names.tlsa, float64(usable), "true")
		out.Add(names.tlsa, float64(records.Unusable), "false")
		if usable+records.Unusable > 0 {
			out.Add(names.authenticated, metric.Truth(records.Authenticated))
		}
	}
	fails := func(reason dnscheck.Reason, text string) outcome {
		o.err = &dnscheck.Error{Reason: reason, Err: errors.New(text)}
		return o
	}
	switch {
	case usable+records.Unusable == 0:
		return fails(dnscheck.NotFound, "there are no TLSA records")
	case !records.Authenticated:
		return fails(dnscheck.Unsigned, "the name server has not verified the TLSA records by DNSSEC")
	case usable == 0:
		return fails(dnscheck.BadRecord, "no TLSA record can be used for mail")
	}
	chain := l.certificates(ctx, host)
	switch {
	case len(chain) == 0:
		return fails(dnscheck.NoCertificate, "the host shows no certificate")
	case !records.Match(chain, host):
		return fails(dnscheck.Mismatch, "no TLSA record fits the certificate")
	}
	return o
}

// certificates gives those that a host shows, its own first, by a dialogue that goes no farther than to TLS.
func (d *driver) certificates(ctx context.Context, host string) []*x509.Certificate {
	m := *d.module
	m.Auth, m.Message, m.RelayTest, m.Require, m.TLSConfig.Insecure = nil, nil, "", require{}, true
	m.Until = dialogue.TLS
	if m.TLS != dialogue.Implicit {
		m.TLS, m.Until = dialogue.StartTLS, dialogue.STARTTLS
	}
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	plan, err := m.planFor(host, time.Now())
	if err != nil {
		return nil
	}
	address, err := d.resolve(ctx, host)
	if err != nil {
		return nil
	}
	plan.Network, plan.Address = "tcp", net.JoinHostPort(address.String(), d.place.port)
	if report := dialogue.Run(ctx, plan); report.TLS != nil {
		return report.TLS.State.PeerCertificates
	}
	return nil
}

// listed asks a list about all addresses of a host. That one is listed is told where another could not be asked about,
// too; that none is only where all were.
func (l *lookup) listed(ctx context.Context, list string, found map[int][]netip.Addr, err error) outcome {
	o := outcome{list: list, err: err}
	codes, known := map[byte]bool{}, false
	for _, addresses := range found {
		for _, address := range addresses[:min(len(addresses), maxChecked)] {
			listing, problem := l.records.Listed(ctx, list, address)
			known = known || listing.Known
			for _, code := range listing.Codes {
				codes[code] = true
			}
			if problem != nil {
				o.err = problem
			}
		}
	}
	o.tell = func(out *metric.Batch) {
		if len(codes) > 0 || known && o.err == nil {
			out.Add(names.listed, metric.Truth(len(codes) > 0), list)
		}
		for code := range codes {
			out.Add(names.listing, 1, list, strconv.Itoa(int(code)))
		}
	}
	return o
}

// examineDNS says which records are missing or wrong.
func (d *driver) examineDNS(ctx context.Context) []app.Finding {
	var all []app.Finding
	for _, o := range d.lookUp(ctx) {
		if o.err == nil {
			continue
		}
		what, remedy := o.check, "correct the records, or leave "+o.check+" out of `dns: checks:`"
		if o.list != "" {
			what, remedy = o.list, "ask it through a name server of your own, or leave it out of `dns: dnsbl:`"
		}
		if o.host != "" {
			what += " of " + o.host
		}
		all = append(all, app.Finding{Problem: "DNS: " + what + ": " + o.err.Error(), Remedy: remedy})
	}
	return all
}
