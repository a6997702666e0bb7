package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
)

// renewal is when a certificate should have been renewed.
const renewal = 14 * 24 * time.Hour

// Examine looks at the target once more and says what its operator should know, also where the module asks for less.
func (b *backend) Examine(ctx context.Context, target collect.Spec) ([]app.Finding, error) {
	d, ok := target.Driver.(*driver)
	if !ok {
		return nil, nil
	}
	once := *d
	once.history = nil // this is no probe
	var all []app.Finding
	for _, h := range once.look(ctx, func(string, *dialogue.Failure) {}).hosts {
		for _, f := range examine(h.report, d.module, time.Now()) {
			if h.mx != "" {
				f.Problem = h.mx + ": " + f.Problem
			}
			all = append(all, f)
		}
	}
	if d.module.DNS != nil {
		all = append(all, d.examineDNS(ctx)...)
	}
	if d.queue != nil {
		all = append(all, examineQueue(ctx, d.queue)...)
	}
	if d.delivery != nil {
		all = append(all, examineMailbox(ctx, d.delivery)...)
	}
	return all, nil
}

// examine says what a report gives reason to mend.
func examine(r *dialogue.Report, m *module, now time.Time) []app.Finding {
	var all []app.Finding
	say := func(remedy, problem string, arguments ...any) {
		all = append(all, app.Finding{Problem: fmt.Sprintf(problem, arguments...), Remedy: remedy})
	}
	for _, f := range []*dialogue.Failure{r.Failure, r.Farewell} {
		if f != nil {
			say(remedies()[f.Reason], "%s", f)
		}
	}
	if h := r.Hello; h != nil && !h.Protected && slices.ContainsFunc(h.Auth, func(name string) bool { return name == "PLAIN" || name == "LOGIN" }) {
		say("Postfix: smtpd_tls_auth_only = yes", "the server takes passwords without TLS")
	}
	if h := r.Hello; h != nil && m.TLS == dialogue.NoTLS && !h.Offers("STARTTLS") && !m.local() {
		say("Postfix: smtpd_tls_security_level = may, with smtpd_tls_chain_files", "the server does not offer STARTTLS")
	}
	if r.TLS == nil {
		return all
	}
	if !r.TLS.Verified && (r.Failure == nil || r.Failure.Phase != dialogue.TLS) {
		say(remedies()[r.TLS.Problem], "the certificate does not verify: %s", r.TLS.Problem)
	}
	if r.TLS.State.Version < tls.VersionTLS12 {
		say("let the server speak TLS 1.2 and 1.3 alone", "the server chose %s", tls.VersionName(r.TLS.State.Version))
	}
	if end := r.TLS.Earliest(); end.After(now) && end.Before(now.Add(renewal)) {
		say("renew it", "a certificate ends at %s", end.UTC().Format(time.RFC3339))
	}
	return all
}

// local tells whether the module is for a server that nobody reaches over a network.
func (m *module) local() bool { return m.Protocol == "lmtp" }

// remedies say what to do about a reason; for those that are not here the server's words say more.
func remedies() map[dialogue.Reason]string {
	return map[dialogue.Reason]string{
		dialogue.NotResolved:     "check the name, and the DNS server that `resolver` names",
		dialogue.NotAllowed:      "allow the address under `probe: networks:`, or find out why the name leads there",
		dialogue.Refused:         "start the server, or correct the port",
		dialogue.Timeout:         "look for a firewall that drops packets, a server without free processes or a slow DNS look-up of this host; raise `timeout` where it must be so slow",
		dialogue.NoSTARTTLS:      "have the server offer STARTTLS, or say `tls: opportunistic`",
		dialogue.STARTTLSHidden:  "switch off the inspection of SMTP in the firewall between",
		dialogue.NoTLSSpoken:     "the port speaks SMTP without TLS at first: say `tls: starttls`",
		dialogue.TLSVersion:      "have the server speak TLS 1.2 or newer, or lower `tls_config: min_version`",
		dialogue.Expired:         "renew the certificate, and have the server load it",
		dialogue.ExpiresSoon:     "renew the certificate, and have the server load it",
		dialogue.WrongName:       "get a certificate for the name, or say `tls_config: server_name`",
		dialogue.UnknownCA:       "have the server send its intermediate certificates, or name its authority in `tls_config: ca_file`",
		dialogue.NoAuth:          "have the server offer PLAIN or LOGIN within TLS, or name others in `auth: mechanisms`",
		dialogue.ExposedPassword: "say `tls: starttls` or `tls: implicit`, with a certificate that verifies",
		dialogue.AuthRejected:    "correct the username or the password",
		dialogue.RelayDenied:     "take a recipient in a domain of this server, or log in",
		dialogue.RelayOpen:       "have the server refuse mail for domains that are not its own, at once: it will be abused",
		dialogue.Greylisted:      "put this host on the server's list of those it does not greylist",
	}
}
