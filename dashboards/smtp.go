package main

import "github.com/alfred-agent-platform/backend-exporters/dashboards/board"

var smtpOverview = board.Board{
	UID: "backend-exporters-smtp", Title: "SMTP", Tag: "smtp", Source: "smtp_up",
	Description: "Whether mail servers take mail, which step fails, whether their certificates hold, and whether mail arrives.",
	Top: []board.Panel{
		{
			Title: "Servers down", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Servers whose last probe failed in any of its steps. Normal: 0. The step and the reason are below.",
			Queries:     []board.Query{{Expr: `count(smtp_up{@} == 0) or vector(0)`, Legend: "down"}},
		},
		{
			Title: "Certificates", Kind: board.Stat, Unit: "s", Steps: board.Bad(3*86400, 20*86400),
			Description: "Until the first certificate expires. Normal: weeks. Below 20 days the renewal does not work; below 3 it is urgent.",
			Queries:     []board.Query{{Expr: `min(smtp_probe_certificate_expiry_timestamp_seconds{@, certificate="leaf"}) - time()`, Legend: "left"}},
		},
		{
			Title: "Certificates not trusted", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Servers whose certificate cannot be verified: expired, of another name, or of an unknown authority. Normal: 0.",
			Queries:     []board.Query{{Expr: `count(smtp_probe_tls_verified{@} == 0) or vector(0)`, Legend: "not trusted"}},
		},
		{
			Title: "Mail lost", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Messages of round trips within an hour that were taken and did not arrive in time. Normal: 0.",
			Queries:     []board.Query{{Expr: `sum(increase(smtp_delivery_lost_total{@}[1h])) or vector(0)`, Legend: "lost"}},
		},
		{
			Title: "Delivery, 90 of 100", Kind: board.Stat, Unit: "s", Steps: board.Good(30, 300),
			Description: "From when a server has taken a message to when it is in the mailbox. Normal: seconds. Minutes: greylisting, a full queue or a slow filter.",
			Queries:     []board.Query{{Expr: `histogram_quantile(0.9, sum by (le) (rate(smtp_delivery_seconds_bucket{@}[$__rate_interval])))`, Legend: "delivery"}},
		},
		{
			Title: "Mailboxes that cannot be read", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Mailboxes in which nobody can look whether mail arrived. Normal: 0. Nothing counts as lost meanwhile.",
			Queries:     []board.Query{{Expr: `count(smtp_delivery_mailbox_up{@} == 0) or vector(0)`, Legend: "closed"}},
		},
		{
			Title: "Servers", Kind: board.Timeline, Width: 12, Height: 8, Unit: "short", Steps: board.Up(), States: board.Health,
			Description: "When each server passed its probe. Red: it did not.",
			Queries:     []board.Query{{Expr: `smtp_up{@}`, Legend: "{{instance}}"}},
		},
		{
			Title: "Where probes fail now", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target", "phase", "reason"},
			Description: "The step in which the last probe of a server failed, and why. Empty is normal. smtp-exporter scrape --once HOST shows the whole dialogue.",
			Queries:     []board.Query{{Expr: `smtp_probe_failure_info{@}`, Legend: "Now"}},
		},
		{
			Title: "Time of each step", Kind: board.Stack, Unit: "s", Height: 8,
			Description: "How long each step of the last probe took, the mean over the chosen servers. A slow banner: the server looks names up or is overloaded. A slow connect: the network.",
			Queries:     []board.Query{{Expr: `avg by (phase) (smtp_probe_phase_duration_seconds{@})`, Legend: "{{phase}}"}},
		},
		{
			Title: "Failures", Unit: "short",
			Description: "Probes that failed within an hour, by step and reason. Normal: none.",
			Queries:     []board.Query{{Expr: `sum by (phase, reason) (increase(smtp_probe_failures_total{@}[1h])) > 0`, Legend: "{{phase}}: {{reason}}"}},
		},
	},
	Rows: []board.Row{
		{Title: "Round trips", Panels: []board.Panel{
			{
				Title: "Messages", Unit: "short",
				Description: "Messages of round trips within an hour: taken, arrived, lost, late, arrived twice. The first two should be equal, the others 0.",
				Queries: []board.Query{
					{Expr: `sum(increase(smtp_delivery_accepted_total{@}[1h]))`, Legend: "taken"},
					{Expr: `sum(increase(smtp_delivery_delivered_total{@}[1h]))`, Legend: "arrived"},
					{Expr: `sum(increase(smtp_delivery_lost_total{@}[1h]))`, Legend: "lost"},
					{Expr: `sum(increase(smtp_delivery_late_total{@}[1h]))`, Legend: "late"},
					{Expr: `sum(increase(smtp_delivery_duplicates_total{@}[1h]))`, Legend: "twice"},
				},
			},
			{
				Title: "Delivery", Unit: "s",
				Description: "From when a server has taken a message to when it is in the mailbox: half of them, 90 and 99 of 100.",
				Queries: []board.Query{
					{Expr: `histogram_quantile(0.5, sum by (le) (rate(smtp_delivery_seconds_bucket{@}[$__rate_interval])))`, Legend: "half"},
					{Expr: `histogram_quantile(0.9, sum by (le) (rate(smtp_delivery_seconds_bucket{@}[$__rate_interval])))`, Legend: "90 of 100"},
					{Expr: `histogram_quantile(0.99, sum by (le) (rate(smtp_delivery_seconds_bucket{@}[$__rate_interval])))`, Legend: "99 of 100"},
				},
			},
		}},
		{Title: "Queues", Panels: []board.Panel{
			{
				Title: "Waiting messages", Kind: board.Stack, Unit: "short",
				Description: "Messages in each queue of the servers that are asked for it. Deferred ones could not be handed over yet; those on hold or frozen wait for a person.",
				Queries:     []board.Query{{Expr: `sum by (queue) (smtp_queue_messages{@})`, Legend: "{{queue}}"}},
			},
			{
				Title: "Oldest message", Unit: "s",
				Description: "Age of what has waited longest. Hours in another queue than hold or frozen: a receiver is down, or the server itself hands nothing over.",
				Queries:     []board.Query{{Expr: `max by (job, instance, target, queue) (smtp_queue_oldest_age_seconds{@})`, Legend: "{{instance}} {{queue}}"}},
			},
			{
				Title: "Age of what waits", Unit: "s",
				Description: "Ages of the messages that are in the queues at each moment: half of them are younger than this, 90 of 100 younger than that.",
				Queries: []board.Query{
					{Expr: `histogram_quantile(0.5, sum by (le) (smtp_queue_message_age_seconds_bucket{@}))`, Legend: "half"},
					{Expr: `histogram_quantile(0.9, sum by (le) (smtp_queue_message_age_seconds_bucket{@}))`, Legend: "90 of 100"},
				},
			},
			{
				Title: "Size", Kind: board.Stack, Unit: "bytes",
				Description: "Size of the messages in each queue, as they are kept.",
				Queries:     []board.Query{{Expr: `sum by (queue) (smtp_queue_size_bytes{@})`, Legend: "{{queue}}"}},
			},
		}},
		{Title: "DNS and lists of blocked addresses", Panels: []board.Panel{
			{
				Title: "Checks of DNS", Kind: board.Timeline, Width: 12, Height: 8, Unit: "short", Steps: board.Up(),
				States:      map[int]board.State{0: {Text: "fails", Color: board.Red}, 1: {Text: "in order", Color: board.Green}},
				Description: "Whether what each check is about is there and in order. Many receivers refuse mail of a domain without SPF, or of an address without a name.",
				Queries:     []board.Query{{Expr: `smtp_dns_check_success{@}`, Legend: "{{instance}} {{check}}"}},
			},
			{
				Title: "Checks that fail now", Kind: board.Table, Width: 12, Height: 8, Unit: "short", Labels: []string{"instance", "target", "check", "reason"},
				Description: "Why a check fails. Empty is normal. What you do not want to have can be left out of the checks.",
				Queries:     []board.Query{{Expr: `smtp_dns_check_failure_info{@}`, Legend: "Now"}},
			},
			{
				Title: "Lists of blocked addresses", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target", "list"}, Steps: board.Zero(),
				Description: "Whether a list has an address of the server: 1, and whoever goes by the list refuses its mail. Normal: 0.",
				Queries:     []board.Query{{Expr: `smtp_dnsbl_listed{@}`, Legend: "Listed"}},
			},
			{
				Title: "Lists that do not say", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target", "list", "reason"},
				Description: "Lists that are asked and do not answer, or not in a way that can be believed. public_server: set a resolver of your own.",
				Queries:     []board.Query{{Expr: `smtp_dnsbl_failure_info{@}`, Legend: "Now"}},
			},
			{
				Title: "Look-ups of SPF", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target"}, Steps: board.Good(9, 11),
				Description: "What the SPF record may cost a receiver. After 10 look-ups it gives up, and the record counts as broken.",
				Queries:     []board.Query{{Expr: `smtp_dns_spf_lookups{@}`, Legend: "Look-ups"}},
			},
			{
				Title: "Policies of DMARC", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target", "policy"},
				Description: "What is wanted for mail that fails DMARC: none, quarantine or reject.",
				Queries:     []board.Query{{Expr: `smtp_dns_dmarc_policy_info{@}`, Legend: "Wanted"}},
			},
		}},
		{Title: "TLS and extensions", Panels: []board.Panel{
			{
				Title: "TLS", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"instance", "target", "version", "cipher"},
				Description: "The version and cipher that each server settled on. TLS 1.2 and 1.3 are normal.",
				Queries:     []board.Query{{Expr: `smtp_probe_tls_info{@}`, Legend: "Used"}},
			},
			{
				Title: "Until certificates expire", Kind: board.Table, Width: 12, Unit: "s", Labels: []string{"instance", "target"}, Steps: board.Bad(3*86400, 20*86400),
				Description: "Of each server's own certificate. Below 20 days the renewal does not work.",
				Queries:     []board.Query{{Expr: `smtp_probe_certificate_expiry_timestamp_seconds{@, certificate="leaf"} - time()`, Legend: "Left"}},
			},
			{
				Title: "Extensions", Kind: board.Table, Unit: "short", Labels: []string{"instance", "target", "extension"},
				Description: "What each server offers. STARTTLS that has gone means that somebody strips it, or that its certificate could not be loaded.",
				Queries:     []board.Query{{Expr: `smtp_probe_extension_info{@}`, Legend: "Offered"}},
			},
		}},
	},
}
