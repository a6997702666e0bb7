package dnscheck

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Bounds on what is looked at.
const (
	maxHosts        = 16 // of a domain
	maxAddresses    = 8  // of a host and family
	maxReverseNames = 8  // of an address
)

// Exchangers gives the hosts of a domain's MX records, the preferred ones first, 16 at most, and how many records there
// are. They are given beside the reason MXNotHost, too, where some are good.
func (r *Resolver) Exchangers(ctx context.Context, domain string) (hosts []string, records int, err error) {
	answer, err := r.Ask(ctx, domain, dns.TypeMX)
	if err != nil {
		return nil, 0, err
	}
	var all []*dns.MX
	for _, record := range answer.Records {
		if mx, ok := record.(*dns.MX); ok {
			all = append(all, mx)
		}
	}
	if len(all) == 0 {
		return nil, 0, failf(NotFound, "the domain has no MX records")
	}
	if len(all) == 1 && all[0].Mx == "." {
		return nil, 0, failf(NullMX, "the domain says that it takes no mail")
	}
	slices.SortStableFunc(all, func(a, b *dns.MX) int { return int(a.Preference) - int(b.Preference) })
	for _, mx := range all {
		name := plain(mx.Mx)
		if _, bad := netip.ParseAddr(name); bad == nil || name == "" {
			err = failf(MXNotHost, "the domain has an MX record for %q", mx.Mx)
			continue
		}
		if len(hosts) < maxHosts && !slices.Contains(hosts, name) {
			hosts = append(hosts, name)
		}
	}
	for _, host := range hosts {
		if alias, problem := r.Ask(ctx, host, dns.TypeCNAME); problem == nil && len(alias.Records) > 0 && err == nil {
			err = failf(MXNotHost, "the domain has an MX record for %s, which is an alias", host)
		}
	}
	return hosts, len(all), err
}

// plain gives a name without the dot at its end.
func plain(name string) string { return strings.TrimSuffix(dns.CanonicalName(name), ".") }

// Addresses gives the addresses of a host of one family, 4 or 6. None is no error.
func (r *Resolver) Addresses(ctx context.Context, host string, family int) ([]netip.Addr, error) {
	kind := dns.TypeA
	if family == 6 {
		kind = dns.TypeAAAA
	}
	answer, err := r.Ask(ctx, host, kind)
	var all []netip.Addr
	for _, record := range answer.Records {
		var address netip.Addr
		switch record := record.(type) {
		case *dns.A:
			address, _ = netip.AddrFromSlice(record.A.To4())
		case *dns.AAAA:
			address, _ = netip.AddrFromSlice(record.AAAA)
		}
		if address.IsValid() {
			all = append(all, address)
		}
	}
	return all, err
}

// Confirm tells whether an address has names, and whether one of them leads back to it. It gives nil where one does,
// NotFound without a name, Unconfirmed where none leads back, and why it cannot be told.
func (r *Resolver) Confirm(ctx context.Context, address netip.Addr) error {
	reverse, err := dns.ReverseAddr(address.Unmap().WithZone("").String())
	if err != nil {
		return failf(BadName, "%w", err)
	}
	answer, err := r.Ask(ctx, reverse, dns.TypePTR)
	if err != nil {
		return err
	}
	if len(answer.Records) == 0 {
		return failf(NotFound, "%s has no name", address)
	}
	family := 6
	if address.Unmap().Is4() {
		family = 4
	}
	var unknown error
	for _, record := range answer.Records[:min(len(answer.Records), maxReverseNames)] {
		ptr, ok := record.(*dns.PTR)
		if !ok {
			continue
		}
		back, err := r.Addresses(ctx, ptr.Ptr, family)
		if slices.Contains(back, address.Unmap()) {
			return nil
		}
		if unanswered(err) {
			unknown = err
		}
	}
	if unknown != nil {
		return unknown
	}
	return failf(Unconfirmed, "the names of %s do not lead back to it", address)
}
