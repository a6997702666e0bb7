package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mailbox"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/roundtrip"
)

// start gives the round trip of a target, which goes on when the target is served.
func (r *roundTrip) start(d *driver, service string) (*roundtrip.Trip, error) {
	if err := r.prepare(d.module); err != nil {
		return nil, err
	}
	line := strings.Join([]string{service, d.place.String(), d.module.name, r.From, r.To}, "\x00")
	marks, err := mark.NewSigner(r.key, line, ownName())
	if err != nil {
		return nil, err
	}
	return roundtrip.New(roundtrip.Config{
		Marks: marks, Box: r.box(marks), Every: r.Every, LostAfter: r.LostAfter, InFlight: r.InFlight,
		Send: func(ctx context.Context, token mark.Token) roundtrip.Sent {
			report := d.deliver(ctx, dialogue.Message{From: r.Bounces, To: r.To, Content: mark.Message(token, r.From, r.To)})
			sent := roundtrip.Sent{Accepted: report.Sent}
			if !sent.Accepted && report.Failure != nil {
				sent.Phase, sent.Reason = string(report.Failure.Phase), string(report.Failure.Reason)
			}
			return sent
		},
	}), nil
}

func (r *roundTrip) box(marks *mark.Signer) mailbox.Box {
	b := r.Mailbox
	switch {
	case b.IMAP != nil:
		return &mailbox.IMAP{Account: b.IMAP.account(), Folders: b.IMAP.Folders, Marks: marks}
	case b.POP3 != nil:
		return &mailbox.POP3{Account: b.POP3.account(), Marks: marks}
	case b.Maildir != nil:
		return &mailbox.Maildir{Path: b.Maildir.Path, Folders: b.Maildir.Folders, Marks: marks}
	case b.Mailpit != nil:
		return &mailbox.Mailpit{API: b.Mailpit.api(), Marks: marks}
	}
	return &mailbox.MailHog{API: b.MailHog.api(), Marks: marks}
}

func (a *accountConfig) account() mailbox.Account {
	return mailbox.Account{
		Address: a.Address, TLS: a.TLS, ServerName: a.TLSConfig.ServerName, Roots: a.roots, Exposed: a.Exposed,
		Username: a.Username, Password: a.Password.Read,
	}
}

func (a *apiConfig) api() mailbox.API {
	api := mailbox.API{URL: a.URL, ServerName: a.TLSConfig.ServerName, Roots: a.roots, Username: a.Username}
	if a.Username != "" {
		api.Password = a.Password.Read
	}
	return api
}

// deliver hands a message over, as the module says.
func (d *driver) deliver(ctx context.Context, message dialogue.Message) *dialogue.Report {
	ctx, cancel := context.WithTimeout(ctx, d.module.Timeout)
	defer cancel()
	begun := time.Now()
	plan, err := d.module.planFor(d.place.host, begun)
	plan.Network, plan.Address = d.place.network, d.place.host
	if err == nil && d.place.network == "tcp" {
		address, problem := d.resolve(ctx, d.place.host)
		plan.Address, err = net.JoinHostPort(address.String(), d.place.port), problem
	}
	if err != nil {
		return unresolved(begun, err)
	}
	plan.Until, plan.Relay, plan.Message = dialogue.Data, "", &message
	loggedIn := d.spare(&plan)
	talk := dialogue.Start(plan)
	defer func() { loggedIn(talk.Report()) }()
	_ = talk.Open(ctx) && talk.Greet(ctx) && talk.Deliver(ctx)
	return talk.End(ctx)
}

// deliveryFamilies are the metrics of round trips.
type deliveryFamilies struct {
	accepted, refused, skipped        *metric.Family
	delivered, late, lost, duplicates *metric.Family
	inFlight, oldest                  *metric.Family
	times, took, arrived              *metric.Family
	hops, folder, verdict             *metric.Family
	readable, blind, removed, present *metric.Family
	all                               []*metric.Family
}

// deliveries declares them once.
var deliveries = declareDeliveries()

func declareDeliveries() *deliveryFamilies {
	f := &deliveryFamilies{}
	add := func(kind metric.Type, name, help string, labels ...string) *metric.Family {
		family := &metric.Family{Name: "smtp_delivery_" + name, Help: help, Type: kind, Labels: labels}
		f.all = append(f.all, family)
		return family
	}
	f.accepted = add(metric.Counter, "accepted_total", "Messages that the server has taken.")
	f.refused = add(metric.Counter, "refused_total", "Messages that could not be handed over, by the phase in which and the reason for which.", "phase", "reason")
	f.skipped = add(metric.Counter, "skipped_total", "Messages that were not sent because as many as allowed were still under way.")
	f.delivered = add(metric.Counter, "delivered_total", "Messages that arrived.")
	f.lost = add(metric.Counter, "lost_total", "Messages that were taken and did not arrive in the time after which they count as lost. Nothing is lost while the mailbox cannot be read.")
	f.late = add(metric.Counter, "late_total", "Messages that arrived after they had been counted as lost.")
	f.duplicates = add(metric.Counter, "duplicates_total", "Further copies of messages that had arrived.")
	f.inFlight = add(metric.Gauge, "in_flight", "Messages under way.")
	f.oldest = add(metric.Gauge, "oldest_seconds", "Time since the oldest message under way was taken by the server; absent where none is.")
	f.times = add(metric.Histogram, "seconds", "Time from when the server has taken a message to when it is seen in the mailbox, for those that could be seen arriving.")
	f.took = add(metric.Gauge, "last_duration_seconds", "The same of the last message; absent where nobody could see it arrive.")
	f.arrived = add(metric.Gauge, "last_timestamp_seconds", "When the last message arrived, in Unix seconds; absent before the first.")
	f.hops = add(metric.Gauge, "hops", "Servers that the last message went through, by its Received fields.")
	f.folder = add(metric.Gauge, "folder_info", "The folder in which the last message arrived.", "folder")
	f.verdict = add(metric.Gauge, "authentication_info", "What the receiving server has found of the last message's sender, by its Authentication-Results.", "check", "result")
	f.readable = add(metric.Gauge, "mailbox_up", "Whether the mailbox could be read when it was looked into last (1) or not (0).")
	f.blind = add(metric.Counter, "mailbox_failures_total", "Attempts to read the mailbox that failed, by reason.", "reason")
	f.removed = add(metric.Counter, "removed_total", "Messages of round trips that were removed from the mailbox, leftovers of earlier runs among them.")
	f.present = add(metric.Gauge, "mailbox_messages", "Messages of round trips that are left in the mailbox, such as those of other exporters.")
	return f
}

// deliveryCollector tells of a round trip; nil stands for one that only its description is wanted of.
func deliveryCollector(trip *roundtrip.Trip) *collect.Collector {
	c := &collect.Collector{
		Name: "delivery", Help: "Round trips: whether mail arrives that the server takes.", Families: deliveries.all,
		Run: func(_ context.Context, _ collect.Conn, out *metric.Batch) error {
			tellDelivery(trip.State(), out)
			return nil
		},
	}
	if trip != nil {
		c.Background = trip.Run
	}
	return c
}

func tellDelivery(s roundtrip.State, out *metric.Batch) {
	out.Add(deliveries.accepted, float64(s.Accepted))
	for _, phase := range dialogue.Phases() {
		for _, reason := range dialogue.Reasons() {
			if n := s.Refused[roundtrip.Refusal{Phase: string(phase), Reason: string(reason)}]; n > 0 {
				out.Add(deliveries.refused, float64(n), string(phase), string(reason))
			}
		}
	}
	out.Add(deliveries.skipped, float64(s.Skipped))
	out.Add(deliveries.delivered, float64(s.Delivered))
	out.Add(deliveries.lost, float64(s.Lost))
	out.Add(deliveries.late, float64(s.Late))
	out.Add(deliveries.duplicates, float64(s.Duplicates))
	out.Add(deliveries.inFlight, float64(s.InFlight))
	if s.Oldest > 0 {
		out.Add(deliveries.oldest, s.Oldest.Seconds())
	}
	out.AddHistogram(deliveries.times, s.Times)
	if s.Last != nil {
		tellArrival(s.Last, out)
	}
	if s.Known {
		out.Add(deliveries.readable, metric.Truth(s.Readable))
	}
	if s.Readable {
		out.Add(deliveries.present, float64(s.Present))
	}
	for _, reason := range fault.Kinds() {
		if n := s.Blind[reason]; n > 0 {
			out.Add(deliveries.blind, float64(n), string(reason))
		}
	}
	out.Add(deliveries.removed, float64(s.Removed))
}

func tellArrival(a *roundtrip.Arrival, out *metric.Batch) {
	if a.Took > 0 {
		out.Add(deliveries.took, a.Took.Seconds())
	}
	out.Add(deliveries.arrived, float64(a.At.UnixMilli())/1e3)
	out.Add(deliveries.hops, float64(a.Hops()))
	if a.Folder != "" {
		out.Add(deliveries.folder, 1, a.Folder)
	}
	verdicts := a.Authentication()
	for _, check := range mailbox.Checks() {
		if verdict := verdicts[check]; verdict != "" {
			out.Add(deliveries.verdict, 1, check, verdict)
		}
	}
}

// judgeDelivery gives what the health check is told: nothing before there is anything to tell, else whether mail arrives.
func judgeDelivery(s roundtrip.State) (known bool, err error) {
	switch {
	case s.Known && !s.Readable:
		return true, fault.New(s.Problem, "the mailbox of the round trip cannot be read")
	case s.LastLost:
		return true, fault.New(fault.Timeout, "mail that the server took did not arrive")
	}
	return s.Last != nil, nil
}

// examineMailbox says what keeps a round trip from seeing whether its messages arrive. It sends none.
func examineMailbox(ctx context.Context, trip *roundtrip.Trip) []app.Finding {
	err := trip.Try(ctx)
	if err == nil {
		return nil
	}
	return []app.Finding{{Problem: fmt.Sprintf("the mailbox of the round trip: %v", err), Remedy: map[fault.Kind]string{
		fault.Unreachable: "start its server, correct the address, or name the authority of its certificate in `tls_config: ca_file`",
		fault.Auth:        "correct the username or the password",
		fault.Denied:      "let this user read the mailbox and remove messages from it",
		fault.Config:      "correct the folders, the path or the url",
		fault.Malformed:   "have the address lead to a server that speaks the protocol of this kind of mailbox",
		fault.Limited:     "empty the mailbox: one of its own is best",
	}[fault.Of(err)]}}
}
