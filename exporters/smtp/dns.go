package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dnscheck"
)

// What holds for checks of DNS where the configuration says nothing, and their bounds.
const (
	defaultDNSEvery  = 5 * time.Minute
	shortestDNSEvery = 10 * time.Second
	dnsLimit         = 25 * time.Second // of all checks of a target
	maxLists         = 20
)

// The checks by what they are of.
var (
	domainChecks = []string{"mx", "spf", "dmarc", "mta_sts", "tls_rpt"}
	hostChecks   = []string{"addresses", "ptr", "tlsa"}
)

// dnsChecks says what of a target's records in DNS is looked at.
type dnsChecks struct {
	Domain string        `yaml:"domain" help:"Domain whose mail goes to the target; the target itself where it is a domain."`
	Checks []string      `yaml:"checks" help:"What is looked at; all that make sense without it."`
	Lists  []string      `yaml:"dnsbl" help:"Zones of lists of blocked addresses that are asked."`
	Every  time.Duration `yaml:"every" help:"How often."`
}

// prepare fills in what the configuration leaves out and reports what cannot work.
func (c *dnsChecks) prepare(m *module) error {
	c.Every = cmp.Or(c.Every, defaultDNSEvery)
	if len(c.Checks) == 0 {
		c.Checks = slices.Clone(hostChecks)
		if m.MX || c.Domain != "" {
			c.Checks = slices.Concat(domainChecks, hostChecks)
		}
	}
	for _, check := range c.Checks {
		if ofDomain := slices.Contains(domainChecks, check); !ofDomain && !slices.Contains(hostChecks, check) {
			return fmt.Errorf("checks: %q is none of %s", check, strings.Join(slices.Concat(domainChecks, hostChecks), ", "))
		} else if ofDomain && !m.MX && c.Domain == "" {
			return fmt.Errorf("checks: %s needs a domain", check)
		}
	}
	for _, list := range c.Lists {
		if !isDomain(list) {
			return fmt.Errorf("dnsbl: %q is no zone", list)
		}
	}
	switch {
	case m.MX && c.Domain != "":
		return errors.New("domain is the target itself where mx is true")
	case c.Domain != "" && !isDomain(c.Domain):
		return errors.New("domain must be one such as example.org")
	case len(c.Lists) > maxLists:
		return fmt.Errorf("dnsbl: more than %d lists", maxLists)
	case c.Every < shortestDNSEvery:
		return fmt.Errorf("every must be %v or longer", shortestDNSEvery)
	}
	return nil
}

// isDomain tells whether a text is a name and no address.
func isDomain(text string) bool {
	_, err := netip.ParseAddr(text)
	return err != nil && isHost(text)
}

// dnsFamilies are the metrics of DNS.
type dnsFamilies struct {
	success, failure, records      *metric.Family
	addresses, confirmed           *metric.Family
	spfLookups, spfAll             *metric.Family
	dmarc, dmarcRatio, sts, stsAge *metric.Family
	tlsa, authenticated            *metric.Family
	listed, listing, listFailure   *metric.Family
	all                            []*metric.Family
}

// names declares them once.
var names = declareDNS()

func declareDNS() *dnsFamilies {
	f := &dnsFamilies{}
	add := func(name, help string, labels ...string) *metric.Family {
		family := &metric.Family{Name: "smtp_" + name, Help: help, Labels: labels}
		f.all = append(f.all, family)
		return family
	}
	f.success = add("dns_check_success", "Whether what the check is about is there and in order (1) or not (0).", "check")
	f.failure = add("dns_check_failure_info", "Why the check failed; absent on success.", "check", "reason")
	f.records = add("dns_mx_records", "MX records of the domain.")
	f.addresses = add("dns_addresses", "Addresses of the host by family, 4 or 6; absent where that could not be found out.", "family")
	f.confirmed = add("dns_confirmed_addresses", "Addresses of the host that have a name which leads back to them; absent where that could not be found out.", "family")
	f.spfLookups = add("dns_spf_lookups", "Look-ups that the SPF record may cost a receiver, who makes 10 at most.")
	f.spfAll = add("dns_spf_all_info", "What the SPF record says of everybody whom it does not name.", "result")
	f.dmarc = add("dns_dmarc_policy_info", "What is wanted for mail that fails DMARC.", "policy")
	f.dmarcRatio = add("dns_dmarc_policy_ratio", "Part of the mail for which the policy of DMARC holds.")
	f.sts = add("dns_mta_sts_policy_info", "Mode of the MTA-STS policy.", "mode")
	f.stsAge = add("dns_mta_sts_max_age_seconds", "How long the MTA-STS policy may be kept.")
	f.tlsa = add("dns_tlsa_records", "TLSA records of the host's port, by whether they can be used for mail.", "usable")
	f.authenticated = add("dns_tlsa_authenticated", "Whether the name server has verified the TLSA records by DNSSEC (1) or not (0).")
	f.listed = add("dnsbl_listed", "Whether the list has an address of the host (1) or not (0); absent where it does not say.", "list")
	f.listing = add("dnsbl_listing_info", "Codes that the list gives for the host, the x of 127.0.0.x.", "list", "code")
	f.listFailure = add("dnsbl_failure_info", "Why the list does not say.", "list", "reason")
	return f
}

// outcome is what came of one check.
type outcome struct {
	check, list string // one of them
	host        string // "" for checks of the domain
	err         error
	tell        func(*metric.Batch) // of what was found; nil where there is nothing more
}

// lookup looks at the records of one target.
type lookup struct {
	*driver
	checks *dnsChecks
	domain string
}

// dnsCollector tells of a target's records; nil stands for one that only its description is wanted of.
func (d *driver) dnsCollector() *collect.Collector {
	c := &collect.Collector{
		Name: "dns", Help: "What DNS says of the domain and its hosts, where the module has dns.", Families: names.all,
		Class: collect.Slow, Every: defaultDNSEvery, Apart: true,
		Run: func(ctx context.Context, _ collect.Conn, out *metric.Batch) error {
			for _, o := range d.lookUp(ctx) {
				if d.module.MX && o.host != "" {
					out.Label(metric.Label{Name: "mx", Value: o.host})
				}
				o.tellAll(out)
				out.Label()
			}
			return nil
		},
	}
	if d.module != nil {
		c.Every = d.module.DNS.Every
	}
	return c
}

func (o outcome) tellAll(out *metric.Batch) {
	reason := string(dnscheck.ReasonOf(o.err))
	switch {
	case o.list == "":
		out.Add(names.success, metric.Truth(o.err == nil), o.check)
		if o.err != nil {
			out.Add(names.failure, 1, o.check, reason)
		}
	case o.err != nil:
		out.Add(names.listFailure, 1, o.list, reason)
	}
	if o.tell != nil {
		o.tell(out)
	}
}

// lookUp carries out all checks at once and gives what came of them in the order of the configuration.
func (d *driver) lookUp(ctx context.Context) []outcome {
	ctx, cancel := context.WithTimeout(ctx, dnsLimit)
	defer cancel()
	l := &lookup{driver: d, checks: d.module.DNS, domain: d.module.DNS.Domain}
	hosts, mx := []string{d.place.host}, outcome{}
	if d.place.network != "tcp" {
		hosts = nil
	}
	if d.module.MX {
		l.domain = d.place.host
	}
	if l.domain != "" {
		mx = l.exchangers(ctx, &hosts)
	}
	var tasks []func() []outcome
	for _, check := range l.checks.Checks {
		switch {
		case check == "mx":
			tasks = append(tasks, func() []outcome { return []outcome{mx} })
		case slices.Contains(domainChecks, check):
			tasks = append(tasks, func() []outcome { return []outcome{l.ofDomain(ctx, check)} })
		}
	}
	for _, host := range hosts {
		tasks = append(tasks, func() []outcome { return l.ofHost(ctx, host) })
	}
	results := make([][]outcome, len(tasks))
	var wg sync.WaitGroup
	for i, task := range tasks {
		wg.Go(func() { results[i] = task() })
	}
	wg.Wait()
	return slices.Concat(results...)
}

// exchangers finds the hosts of the domain; they are those of the target where that is a domain.
func (l *lookup) exchangers(ctx context.Context, hosts *[]string) outcome {
	found, records, err := l.records.Exchangers(ctx, l.domain)
	o := outcome{check: "mx", err: err}
	if records > 0 || err == nil {
		o.tell = func(out *metric.Batch) { out.Add(names.records, float64(records)) }
	}
	if l.module.MX {
		*hosts = found
		if dnscheck.ReasonOf(err) == dnscheck.NotFound {
			*hosts = []string{l.domain} // a domain without MX records takes its mail itself
		}
	}
	return o
}

func (l *lookup) ofDomain(ctx context.Context, check string) outcome {
	o := outcome{check: check}
	switch check {
	case "spf":
		var spf dnscheck.SPF
		spf, o.err = l.records.SPF(ctx, l.domain)
		if o.err == nil || dnscheck.ReasonOf(o.err) == dnscheck.TooManyLooks {
			o.tell = func(out *metric.Batch) {
				out.Add(names.spfLookups, float64(spf.Lookups))
				if spf.All != "" {
					out.Add(names.spfAll, 1, spf.All)
				}
			}
		}
	case "dmarc":
		var dmarc dnscheck.DMARC
		if dmarc, o.err = l.records.DMARC(ctx, l.domain); o.err == nil {
			o.tell = func(out *metric.Batch) {
				out.Add(names.dmarc, 1, dmarc.Policy)
				out.Add(names.dmarcRatio, dmarc.Ratio)
			}
		}
	case "mta_sts":
		return l.transportSecurity(ctx)
	case "tls_rpt":
		o.err = l.records.TLSReporting(ctx, l.domain)
	}
	return o
}

// transportSecurity fetches the policy and compares it with all hosts of the domain.
func (l *lookup) transportSecurity(ctx context.Context) outcome {
	o := outcome{check: "mta_sts"}
	fetcher := dnscheck.Fetcher{Resolver: l.records, Allow: l.guard.allowsAddress}
	policy, err := fetcher.Fetch(ctx, l.domain)
	if o.err = err; err != nil {
		return o
	}
	o.tell = func(out *metric.Batch) {
		out.Add(names.sts, 1, policy.Mode)
		out.Add(names.stsAge, policy.MaxAge.Seconds())
	}
	hosts, _, err := l.records.Exchangers(ctx, l.domain)
	if dnscheck.ReasonOf(err) == dnscheck.NotFound {
		hosts, err = []string{l.domain}, nil
	}
	for _, host := range hosts {
		if !policy.Matches(host) {
			o.err = &dnscheck.Error{Reason: dnscheck.Mismatch, Err: fmt.Errorf("the policy does not name %s", host)}
			return o
		}
	}
	o.err = err
	return o
}
