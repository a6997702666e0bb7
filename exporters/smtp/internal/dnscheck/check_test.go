package dnscheck

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestExchangers(t *testing.T) {
	r := NewResolver(newNameServer(t, "two.test. 60 MX 20 b.test.", "two.test. 60 MX 10 A.test.", "null.test. 60 MX 0 .", "none.test. 60 A 127.0.0.1",
		"address.test. 60 MX 10 127.0.0.1.", "alias.test. 60 MX 10 c.test.", "c.test. 60 CNAME a.test.", "a.test. 60 A 127.0.0.1", "down.test. FAIL SERVFAIL").addr)
	for domain, want := range map[string]string{
		"two.test": "[a.test b.test] 2 ", "null.test": "[] 0 null_mx", "none.test": "[] 0 not_found", "missing.test": "[] 0 not_found",
		"address.test": "[] 1 mx_not_host", "alias.test": "[c.test] 1 mx_not_host", "down.test": "[] 0 server_failure",
	} {
		hosts, records, err := r.Exchangers(t.Context(), domain)
		if got := fmt.Sprint(hosts, records, " ", ReasonOf(err)); got != want {
			t.Errorf("%s: %s, want %s: %v", domain, got, want, err)
		}
	}
}

func TestReverse(t *testing.T) {
	r := NewResolver(newNameServer(t, "mail.test. 60 A 192.0.2.1", "mail.test. 60 AAAA 2001:db8::1", "1.2.0.192.in-addr.arpa. 60 PTR other.test.",
		"1.2.0.192.in-addr.arpa. 60 PTR mail.test.", "2.2.0.192.in-addr.arpa. 60 PTR mail.test.", "3.2.0.192.in-addr.arpa. 60 PTR down.test.", "down.test. FAIL SERVFAIL",
		"4.2.0.192.in-addr.arpa. FAIL REFUSED", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 60 PTR MAIL.test.").addr)
	for address, want := range map[string]Reason{
		"192.0.2.1": "", "192.0.2.2": Unconfirmed, "192.0.2.3": ServerFailure, "192.0.2.4": Refused, "192.0.2.5": NotFound, "2001:db8::1": "", "2001:db8::2": NotFound,
		"::ffff:192.0.2.1": "",
	} {
		if err := r.Confirm(t.Context(), netip.MustParseAddr(address)); ReasonOf(err) != want {
			t.Errorf("%s: %v by %s", address, err, ReasonOf(err))
		}
	}
	for family, want := range map[int]string{4: "192.0.2.1", 6: "2001:db8::1"} {
		if all, err := r.Addresses(t.Context(), "mail.test", family); err != nil || len(all) != 1 || all[0].String() != want {
			t.Errorf("%v, %v", all, err)
		}
	}
}

func TestSPF(t *testing.T) {
	records := []string{"down.test. FAIL SERVFAIL"}
	for name, text := range map[string]string{
		"plain": "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", "none": "something else", "upper": "V=SPF1 A ~ALL", "empty": "v=spf1",
		"all": "v=spf1 a mx/24 mx:x.test//64 a:y.test/24 ptr exists:%{i}.x.test include:plain.test ?all a a a", "redirect": "v=spf1 a redirect=plain.test",
		"loop": "v=spf1 include:loop.test -all", "deep": "v=spf1 include:all.test include:all.test +all", "missing": "v=spf1 include:nothing.test -all",
		"unknown": "v=spf1 frob -all", "modifier": "v=spf1 exp=x.test op=y -all", "colon": "v=spf1 include: -all", "macro": "v=spf1 include:%{d}.x.test -all",
		"broken": "v=spf1 include:unknown.test -all", "fails": "v=spf1 include:down.test -all", "prefix": "v=spf10 -all", "ip": "v=spf1 ip4 -all", "ignored": "v=spf1 a -all redirect=loop.test",
		"ten": "v=spf1 " + strings.Repeat("a ", 10) + "-all", "eleven": "v=spf1 " + strings.Repeat("a ", 11) + "-all",
	} {
		records = append(records, fmt.Sprintf("%s.test. 60 TXT %q", name, text), name+`.test. 60 TXT "other"`)
	}
	records = append(records, `twice.test. 60 TXT "v=spf1 -all"`, `twice.test. 60 TXT "v=spf1 ~all"`)
	r := NewResolver(newNameServer(t, records...).addr)
	for name, want := range map[string]string{
		"plain": "0 fail ", "upper": "1 softfail ", "empty": "0 neutral ", "all": "7 neutral ", "redirect": "2 fail ", "loop": "40  too_many_looks",
		"deep": "16 pass too_many_looks", "missing": "1  broken_include", "unknown": "0  bad_record", "modifier": "0 fail ", "colon": "0  bad_record", "macro": "1 fail ",
		"broken": "1  broken_include", "fails": "1  server_failure", "down": "0  server_failure", "none": "0  not_found", "absent": "0  not_found", "prefix": "0  not_found",
		"twice": "0  several", "ip": "0  bad_record", "ignored": "1 fail ", "ten": "10 fail ", "eleven": "11 fail too_many_looks",
	} {
		s, err := r.SPF(t.Context(), name+".test")
		if got := fmt.Sprint(s.Lookups, " ", s.All, " ", ReasonOf(err)); got != want {
			t.Errorf("%s: %q, want %q: %v", name, got, want, err)
		}
	}
}

func TestPolicies(t *testing.T) {
	r := NewResolver(newNameServer(t,
		`_dmarc.a.test. 60 TXT "v=DMARC1; p=reject; pct=50; rua=mailto:x@a.test"`, `_dmarc.b.test. 60 TXT "v=DMARC1;p=quarantine;sp=none"`,
		`_dmarc.twice.test. 60 TXT "v=DMARC1; p=none"`, `_dmarc.twice.test. 60 TXT "v=DMARC1; p=reject"`, `_dmarc.bad.test. 60 TXT "v=DMARC1; p=maybe"`,
		`_dmarc.down.test. FAIL SERVFAIL`, `_dmarc.own.b.test. 60 TXT "v=DMARC1; p=reject"`,
		`_smtp._tls.a.test. 60 TXT "v=TLSRPTv1; rua=mailto:tls@a.test"`, `_smtp._tls.https.test. 60 TXT "v=TLSRPTv1;rua=https://a.test/x,mailto:y@a.test"`,
		`_smtp._tls.bad.test. 60 TXT "v=TLSRPTv1; rua=ftp:x"`, `_smtp._tls.twice.test. 60 TXT "v=TLSRPTv1; rua=mailto:x@a.test"`, `_smtp._tls.twice.test. 60 TXT "v=TLSRPTv1; rua=mailto:y@a.test"`,
	).addr)
	for domain, want := range map[string]string{
		"a.test": "{reject 0.5 false true} ", "b.test": "{quarantine 1 false false} ", "sub.b.test": "{none 1 true false} ", "own.b.test": "{reject 1 false false} ",
		"sub.a.test": "{reject 0.5 true true} ", "twice.test": "{ 0 false false} several", "bad.test": "{ 0 false false} bad_record", "down.test": "{ 0 false false} server_failure",
		"none.test": "{ 0 false false} not_found", "test": "{ 0 false false} not_found",
	} {
		d, err := r.DMARC(t.Context(), domain)
		if got := fmt.Sprint(d, " ", ReasonOf(err)); got != want {
			t.Errorf("%s: %s, want %s: %v", domain, got, want, err)
		}
	}
	for domain, want := range map[string]Reason{"a.test": "", "https.test": "", "bad.test": BadRecord, "twice.test": Several, "none.test": NotFound} {
		if err := r.TLSReporting(t.Context(), domain); ReasonOf(err) != want {
			t.Errorf("%s: %v", domain, err)
		}
	}
}

// A list that works lists one address for tests, and not another; answers that are none are told apart.
func TestLists(t *testing.T) {
	const six = "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"
	records := []string{"2.0.0.127.good.test. 60 A 127.0.0.2", "5.2.0.192.good.test. 60 A 127.0.0.4", "5.2.0.192.good.test. 60 A 127.0.0.11",
		"2.0.0.127.both.test. 60 A 127.0.0.2", six + ".both.test. 60 A 127.0.0.2", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.both.test. 60 A 127.0.0.9",
		"1.0.0.127.all.test. 60 A 127.0.0.2", "2.0.0.127.all.test. 60 A 127.0.0.2", "1.0.0.127.down.test. FAIL SERVFAIL"}
	for zone, answer := range map[string]string{"public": "127.255.255.254", "many": "127.255.255.255", "typo": "127.255.255.252", "shut": "127.255.255.1", "parked": "203.0.113.9", "self": "127.0.0.1"} {
		records = append(records, "2.0.0.127."+zone+".test. 60 A "+answer)
	}
	r := NewResolver(newNameServer(t, records...).addr)
	for _, c := range []struct{ list, address, want string }{
		{"good", "192.0.2.5", "{true [4 11]} "}, {"good", "192.0.2.6", "{true []} "}, {"good", "2001:db8::1", "{false []} "}, {"both", "2001:db8::1", "{true [9]} "},
		{"both", "2001:db8::2", "{true []} "}, {"good", "::ffff:192.0.2.5", "{true [4 11]} "},
		{"all", "192.0.2.5", "{false []} bad_list"}, {"dead", "192.0.2.5", "{false []} bad_list"}, {"down", "192.0.2.5", "{false []} server_failure"},
		{"public", "192.0.2.5", "{false []} public_server"}, {"many", "192.0.2.5", "{false []} too_many"}, {"typo", "192.0.2.5", "{false []} bad_list"},
		{"shut", "192.0.2.5", "{false []} refused"}, {"parked", "192.0.2.5", "{false []} bad_list"}, {"self", "192.0.2.5", "{false []} bad_list"},
	} {
		listing, err := r.Listed(t.Context(), c.list+".test", netip.MustParseAddr(c.address))
		if got := fmt.Sprint(listing, " ", ReasonOf(err)); got != c.want {
			t.Errorf("%s, %s: %s, want %s: %v", c.list, c.address, got, c.want, err)
		}
	}
}

// Each reason is listed once, as the documentation has it.
func TestReasons(t *testing.T) {
	all := Reasons()
	slices.Sort(all)
	if len(slices.Compact(all)) != len(Reasons()) || all[0] == NoReason {
		t.Error(all)
	}
}

func FuzzSPF(f *testing.F) {
	f.Add("v=spf1 include:x.test a:%{i} redirect=y -all")
	f.Fuzz(func(t *testing.T, text string) {
		for _, term := range strings.Fields(text) {
			if m := spfTerm.FindStringSubmatch(term); m != nil {
				w := &spfWalk{} // that may read nothing more
				_, _ = w.mechanism(t.Context(), m)
			}
		}
		_, _ = the([]string{text}, "v=spf1", " ")
		_ = fields(text)
		if p, err := parsePolicy(text); err == nil && p.Mode != "none" && len(p.hosts) == 0 {
			t.Errorf("%q: %+v", text, p)
		}
	})
}
