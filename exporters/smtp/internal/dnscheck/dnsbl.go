package dnscheck

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// The addresses by which a list shows that it works, by RFC 5782: the first is always listed, the second never.
var (
	alwaysListed = map[bool]netip.Addr{true: netip.MustParseAddr("127.0.0.2"), false: netip.MustParseAddr("::ffff:7f00:2")}
	neverListed  = netip.MustParseAddr("127.0.0.1")
)

// Listing is what a list says of an address.
type Listing struct {
	// Known says that the list has an opinion on addresses of this family.
	Known bool
	// Codes are the last parts of the answers 127.0.0.x, which tell why the address is listed; empty where it is not.
	Codes []byte
}

// Listed asks a list about an address. A list that lists nobody, or everybody, tells nothing: it is asked about addresses
// of which the answer is known, too.
func (r *Resolver) Listed(ctx context.Context, list string, address netip.Addr) (Listing, error) {
	address = address.Unmap().WithZone("")
	never, err := r.listing(ctx, list, neverListed)
	if err == nil && len(never) > 0 {
		err = failf(BadList, "%s lists everybody", list)
	}
	if err != nil {
		return Listing{}, err
	}
	always, err := r.listing(ctx, list, alwaysListed[address.Is4()])
	if err != nil {
		return Listing{}, err
	}
	if len(always) == 0 {
		if address.Is6() {
			return Listing{}, nil // it is for the other family
		}
		return Listing{}, failf(BadList, "%s lists nobody, not even the address for tests", list)
	}
	codes, err := r.listing(ctx, list, address)
	return Listing{err == nil, codes}, err
}

// listing gives the codes for one address.
func (r *Resolver) listing(ctx context.Context, list string, address netip.Addr) (codes []byte, err error) {
	answer, err := r.Ask(ctx, backwards(address)+list, dns.TypeA)
	if err != nil {
		return nil, err
	}
	for _, record := range answer.Records {
		a, ok := record.(*dns.A)
		if !ok || len(a.A.To4()) != 4 {
			continue
		}
		code, err := codeOf(list, a.A.To4())
		if err != nil {
			return nil, err
		}
		codes = append(codes, code)
	}
	return codes, nil
}

// backwards writes the parts of an address the last one first, each with a dot after it: bytes, or half bytes of IPv6.
func backwards(address netip.Addr) string {
	var b strings.Builder
	for _, part := range slices.Backward(address.AsSlice()) {
		if address.Is4() {
			fmt.Fprintf(&b, "%d.", part)
		} else {
			fmt.Fprintf(&b, "%x.%x.", part&15, part>>4)
		}
	}
	return b.String()
}

// codeOf reads an answer. Those of 127.255.255.0/24 say that the list does not want to answer us; what is none of
// 127.0.0.0/8, or is the address of this host, comes from no list but from whoever has taken over its name.
func codeOf(list string, a []byte) (byte, error) {
	switch {
	case a[0] != 127 || a[1] == 0 && a[2] == 0 && a[3] <= 1:
		return 0, failf(BadList, "%s answers what means nothing", list)
	case a[1] == 255 && a[2] == 255:
		switch a[3] {
		case 252:
			return 0, failf(BadList, "%s says that the name of the list is wrong", list)
		case 254:
			return 0, failf(PublicServer, "%s does not answer name servers that many use", list)
		case 255:
			return 0, failf(TooMany, "%s is asked too often", list)
		}
		return 0, failf(Refused, "%s refuses to answer", list)
	}
	return a[3], nil
}
