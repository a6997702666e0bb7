package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dnscheck"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/lockout"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/queue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/roundtrip"
)

// driver looks at one target by one module, anew at each scrape.
type driver struct {
	module   *module
	place    place
	names    *net.Resolver
	records  *dnscheck.Resolver // asks for more than addresses
	guard    *allowed           // nil where the configuration names the target
	history  *history           // nil where each look is a caller's own
	delivery *roundtrip.Trip    // nil where there is none
	queue    queue.Source       // likewise
	logins   *lockout.Guard     // that of all targets
	crowd    *crowd             // likewise
	// transcript has what was said kept, for people.
	transcript bool
}

// The questions of a scrape: the steps of the health check as far as the module goes, and all that was found.
const (
	askConnection = "connect"
	askPing       = "greet"
	askWrite      = "deliver"
	askRead       = "every host"
	askArrival    = "round trip"
	askFound      = "all"
)

// Connect goes nowhere yet: how connecting fares is part of what is measured. It waits until the look may begin, so that
// the wait is not.
func (d *driver) Connect(ctx context.Context) (collect.Conn, error) {
	leave, err := d.crowd.enter(ctx)
	if err != nil {
		return nil, err
	}
	return &attempt{driver: d, leave: leave}, nil
}

// Classify tells the kind of an error.
func (d *driver) Classify(err error) fault.Kind { return fault.Of(err) }

// Probes are the steps of the health check: the connection; the greeting with TLS; what is delivered, where the module
// goes so far; whether mail arrives, where there is a round trip. Of a domain with several hosts one must do, and the
// others degrade it.
func (d *driver) Probes() []collect.Probe {
	probes := []collect.Probe{
		{Operation: collect.Connection, Question: collect.Question{Text: askConnection}},
		{Operation: collect.Ping, Question: collect.Question{Text: askPing}},
	}
	if d.module.MX {
		probes = append(probes, collect.Probe{Operation: collect.Read, Question: collect.Question{Text: askRead}})
	}
	if d.module.delivers() {
		probes = append(probes, collect.Probe{Operation: collect.Write, Question: collect.Question{Text: askWrite}})
	}
	if d.delivery != nil {
		if known, _ := judgeDelivery(d.delivery.State()); known {
			probes = append(probes, collect.Probe{Operation: collect.Read, Question: collect.Question{Text: askArrival}})
		}
	}
	return probes
}

// attempt is one look at the target.
type attempt struct {
	driver *driver
	banner string
	usage  collect.Usage
	leave  func()
}

// Once says that each look is its own.
func (a *attempt) Once() {}

// Identity gives the server's own words, for people.
func (a *attempt) Identity() collect.Identity {
	return collect.Identity{Product: "SMTP", Text: a.banner}
}

// Usage tells what the look cost.
func (a *attempt) Usage() collect.Usage { return a.usage }

// Close makes room for others. There is nothing to close: a dialogue ends itself.
func (a *attempt) Close() { a.leave() }

// Do looks at the target and answers all questions with what it finds.
func (a *attempt) Do(ctx context.Context, questions []collect.Question, read func(int, collect.Answer, error)) error {
	if len(questions) == 0 {
		return nil
	}
	next := 0
	// told answers the question that is due, if it is the one that was asked.
	told := func(question string, failure *dialogue.Failure) {
		if next < len(questions) && questions[next].Text == question {
			next++
			read(next-1, nothing{}, failed(failure))
		}
	}
	found := a.driver.look(ctx, told)
	for ; next < len(questions); next++ {
		switch questions[next].Text {
		case askArrival:
			_, err := judgeDelivery(a.driver.delivery.State())
			read(next, nothing{}, err)
		case askFound:
			read(next, found, nil)
		default:
			return fault.New(fault.Internal, "nobody answers "+questions[next].Text)
		}
	}
	for _, host := range found.hosts {
		a.usage.TurnArounds += host.report.TurnArounds
		a.usage.Received += host.report.BytesReceived
		a.usage.Sent += host.report.BytesSent
		if a.banner == "" {
			a.banner = host.report.Banner
		}
	}
	return nil
}

// failed gives a failure as an error with its kind.
func failed(f *dialogue.Failure) error {
	if f == nil {
		return nil
	}
	return fault.Wrap(kindOf(f.Reason), fmt.Sprintf("%s: %s", f.Phase, f.Reason), f.Err)
}

// kindOf tells which of the suite's ways to fail a reason is.
func kindOf(reason dialogue.Reason) fault.Kind {
	switch reason {
	case dialogue.Timeout:
		return fault.Timeout
	case dialogue.NotResolved, dialogue.Refused, dialogue.Unreachable, dialogue.Reset, dialogue.Closed:
		return fault.Unreachable
	case dialogue.BadReply, dialogue.EarlyData, dialogue.NoTLSSpoken:
		return fault.Malformed
	case dialogue.ReplyTooLarge:
		return fault.Limited
	case dialogue.Unavailable, dialogue.Temporary, dialogue.Greylisted:
		return fault.Busy
	case dialogue.NoExtension, dialogue.NoSTARTTLS, dialogue.STARTTLSHidden, dialogue.NoAuth:
		return fault.Unsupported
	case dialogue.Handshake, dialogue.TLSVersion, dialogue.Expired, dialogue.NotYetValid, dialogue.ExpiresSoon, dialogue.WrongName,
		dialogue.UnknownCA, dialogue.BadCertificate, dialogue.AuthRejected:
		return fault.Auth
	case dialogue.ExposedPassword, dialogue.Misconfigured:
		return fault.Config
	case dialogue.Internal:
		return fault.Internal
	}
	return fault.Denied
}

// nothing is an answer that says only that there is one.
type nothing struct{}

// Fields gives none.
func (nothing) Fields() []string { return nil }

// Next gives no row.
func (nothing) Next() bool { return false }

// Value gives nothing.
func (nothing) Value(int) []byte { return nil }

// Err gives no error.
func (nothing) Err() error { return nil }

// limit is how long a look may take: what the module says, and less where the caller leaves earlier, so that he is told
// why the server did not answer in time, and not only that it did not.
func (m *module) limit(ctx context.Context) time.Duration {
	limit := m.Timeout
	if until, ok := collect.Patience(ctx); ok {
		left := time.Until(until)
		limit = min(limit, left-min(left/20, 100*time.Millisecond))
	}
	return limit
}
