package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/lockout"
)

// maxHosts bounds the MX hosts of a domain that are looked at, the preferred ones first.
const maxHosts = 16

// found is what a look at a target brought.
type found struct {
	nothing
	hosts   []host
	took    time.Duration // up to the verdict on the slowest host
	timeout time.Duration
}

// host is what was found of one server.
type host struct {
	mx     string // its name, where the target is a domain
	family int    // 4 or 6, 0 where no address was found
	report *dialogue.Report
}

// ok tells whether every host did all that was wanted.
func (f *found) ok() bool {
	return !slices.ContainsFunc(f.hosts, func(h host) bool { return !h.report.OK() })
}

// delivers tells whether the module goes beyond the greeting.
func (m *module) delivers() bool {
	all := dialogue.Phases()
	return slices.Index(all, m.Until) >= slices.Index(all, dialogue.Auth)
}

// look probes the target and tells of each step of the health check as soon as it is known.
func (d *driver) look(ctx context.Context, told func(question string, failure *dialogue.Failure)) *found {
	f := &found{timeout: d.module.limit(ctx)}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if d.module.MX {
		f.hosts = d.lookAtAll(ctx, told)
	} else {
		f.hosts = []host{d.lookAt(ctx, d.place.host, told)}
	}
	for _, h := range f.hosts {
		f.took = max(f.took, h.report.Took)
	}
	if d.history != nil {
		d.history.add(f)
	}
	return f
}

// lookAtAll looks at the hosts of a domain at once.
func (d *driver) lookAtAll(ctx context.Context, told func(string, *dialogue.Failure)) []host {
	begun := time.Now()
	names, err := exchangers(ctx, d.names, d.place.host)
	if err != nil {
		told(askConnection, notFound(err))
		told(askPing, notFound(err))
		told(askRead, notFound(err))
		told(askWrite, notFound(err))
		return []host{{report: unresolved(begun, err)}}
	}
	hosts, steps := make([]host, len(names)), make([]map[string]*dialogue.Failure, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		steps[i] = map[string]*dialogue.Failure{}
		wg.Go(func() {
			hosts[i] = d.lookAt(ctx, name, func(question string, failure *dialogue.Failure) { steps[i][question] = failure })
			hosts[i].mx = name
		})
	}
	wg.Wait()
	told(askConnection, anyOf(steps, askConnection))
	told(askPing, anyOf(steps, askPing))
	told(askRead, firstOf(hosts))
	told(askWrite, anyOf(steps, askWrite))
	return hosts
}

// anyOf gives no failure where the step succeeded on one of the hosts.
func anyOf(steps []map[string]*dialogue.Failure, question string) *dialogue.Failure {
	for _, step := range steps {
		if step[question] == nil {
			return nil
		}
	}
	return steps[0][question]
}

// firstOf gives the failure of the first host that has one.
func firstOf(hosts []host) *dialogue.Failure {
	for _, h := range hosts {
		if !h.report.OK() {
			return h.report.Failure
		}
	}
	return nil
}

// lookAt probes one server.
func (d *driver) lookAt(ctx context.Context, name string, told func(string, *dialogue.Failure)) host {
	begun := time.Now()
	plan, err := d.module.planFor(name, begun)
	plan.Transcript = d.transcript
	var address netip.Addr
	lookedUp := time.Duration(0)
	if err == nil && d.place.network == "tcp" {
		address, err = d.resolve(ctx, name)
		if _, literal := netip.ParseAddr(name); literal != nil {
			lookedUp = max(time.Since(begun), 1)
		}
	}
	if err != nil {
		report := unresolved(begun, err)
		for _, step := range []string{askConnection, askPing, askWrite} {
			told(step, report.Failure)
		}
		return host{report: report}
	}
	h := host{}
	plan.Network, plan.Address = d.place.network, d.place.host
	if address.IsValid() {
		plan.Address, h.family = net.JoinHostPort(address.String(), d.place.port), family(address)
	}
	loggedIn := d.spare(&plan)
	talk := dialogue.Start(plan)
	defer func() { loggedIn(talk.Report()) }()
	ok := talk.Open(ctx)
	told(askConnection, talk.Report().Failure)
	ok = ok && talk.Greet(ctx)
	told(askPing, talk.Report().Failure)
	_ = ok && talk.Deliver(ctx)
	told(askWrite, talk.Report().Failure)
	h.report = talk.End(ctx)
	if lookedUp > 0 {
		h.report.Took += lookedUp
		h.report.Steps = append([]dialogue.Step{{Phase: dialogue.DNS, Took: lookedUp, OK: true}}, h.report.Steps...)
	}
	return h
}

// spare has the plan leave out a login that the server has refused often enough. What it gives takes the report.
func (d *driver) spare(plan *dialogue.Plan) func(*dialogue.Report) {
	if plan.Auth == nil {
		return func(*dialogue.Report) {}
	}
	end, ok := d.logins.Try(d.place.String(), plan.Auth.Username, plan.Auth.Password)
	if !ok {
		plan.Auth.Spared = true
		return func(*dialogue.Report) {}
	}
	return func(r *dialogue.Report) {
		verdict := lockout.Unknown
		if step, _ := r.Step(dialogue.Auth); step.OK && step.Code/100 == 2 {
			verdict = lockout.Accepted
		}
		if f := r.Failure; f != nil && f.Reason == dialogue.AuthRejected {
			verdict = lockout.Refused
		}
		end(verdict)
	}
}

// unresolved is the report on a server for which there is no address.
func unresolved(begun time.Time, err error) *dialogue.Report {
	took := max(time.Since(begun), 1)
	failure := notFound(err)
	return &dialogue.Report{Begun: begun, Took: took, Failure: failure, Steps: []dialogue.Step{{Phase: failure.Phase, Took: took}}}
}

// errUnready is a module that cannot be carried out just now, as its secret cannot be read.
var errUnready = errors.New("the module cannot be carried out")

// notFound says why there is no address to connect to.
func notFound(err error) *dialogue.Failure {
	f := &dialogue.Failure{Phase: dialogue.DNS, Reason: dialogue.NotResolved, Err: err}
	var lookup *net.DNSError
	switch {
	case errors.Is(err, errUnready):
		f.Phase, f.Reason = dialogue.Connect, dialogue.Misconfigured
	case errors.Is(err, errNotAllowed):
		f.Reason = dialogue.NotAllowed
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &lookup) && lookup.IsTimeout:
		f.Reason = dialogue.Timeout
	}
	return f
}

var errNotAllowed = errors.New("the address is not allowed")

// resolve gives the address of the preferred family, or of the other one where the module allows it.
func (d *driver) resolve(ctx context.Context, name string) (netip.Addr, error) {
	address, err := netip.ParseAddr(name)
	if err != nil {
		all, err := d.names.LookupNetIP(ctx, "ip", name)
		if err != nil {
			return netip.Addr{}, err
		}
		if address = d.module.prefer(all); !address.IsValid() {
			return netip.Addr{}, errNoAddress
		}
	}
	if err := d.guard.allowsAddress(address); err != nil {
		return netip.Addr{}, fmt.Errorf("%w: %w", errNotAllowed, err)
	}
	return address, nil
}

// prefer picks the address to connect to, the invalid one where there is none.
func (m *module) prefer(all []netip.Addr) (other netip.Addr) {
	for _, address := range all {
		address = address.Unmap()
		if (family(address) == 6) == (m.PreferredIP == "ip6") {
			return address
		}
		if !other.IsValid() {
			other = address
		}
	}
	if m.Fallback != nil && !*m.Fallback {
		return netip.Addr{}
	}
	return other
}

func family(address netip.Addr) int {
	if address.Unmap().Is4() {
		return 4
	}
	return 6
}

// exchangers gives the hosts that take mail for a domain: those of its MX records, or itself where it has none.
func exchangers(ctx context.Context, names *net.Resolver, domain string) ([]string, error) {
	records, err := names.LookupMX(ctx, domain+".")
	var lookup *net.DNSError
	switch {
	case len(records) > 0: // some may have been unreadable
	case err == nil, errors.As(err, &lookup) && lookup.IsNotFound:
		return []string{domain}, nil
	default:
		return nil, err
	}
	var hosts []string
	for _, record := range records {
		name := strings.TrimSuffix(strings.ToLower(record.Host), ".")
		if isHost(name) && !slices.Contains(hosts, name) && len(hosts) < maxHosts {
			hosts = append(hosts, name)
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("the domain takes no mail: its MX record says so")
	}
	return hosts, nil
}
