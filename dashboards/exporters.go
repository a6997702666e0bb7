package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/dashboards/board"
)

// ofAll asks for a metric that each exporter has under its own prefix.
func ofAll(expr string) string {
	var all []string
	for _, prefix := range []string{"pg", "redis", "vectordb", "smtp"} {
		all = append(all, strings.ReplaceAll(expr, "PREFIX", prefix))
	}
	return strings.Join(all, "\n  or ")
}

var exporters = board.Board{
	UID: "backend-exporters-exporters", Title: "Exporters", Tag: "exporters", Source: "service_health",
	Description: "Whether the exporters themselves do their work, what it costs, and what they had to leave out.",
	Top: []board.Panel{
		{
			Title: "Exporters down", Kind: board.Stat, Unit: "short", Width: 6, Steps: board.Zero(),
			Description: "Exporters that Prometheus does not reach. Normal: 0. Nothing is known of their backends.",
			Queries:     []board.Query{{Expr: `count(up{@} == 0) or vector(0)`, Legend: "down"}},
		},
		{
			Title: "Collectors that fail", Kind: board.Stat, Unit: "short", Width: 6, Steps: board.Zero(),
			Description: "Parts of scrapes without an answer, of backends that are up. Normal: 0. The doctor command of the exporter says what is missing.",
			Queries:     []board.Query{{Expr: "count(" + ofAll(`PREFIX_exporter_collector_success{@} == 0 and on (job, instance, target) PREFIX_up{@} == 1`) + ") or vector(0)", Legend: "failing"}},
		},
		{
			Title: "Slowest scrape", Kind: board.Stat, Unit: "s", Width: 6, Steps: board.Good(3, 8),
			Description: "As Prometheus sees it. Near its scrape_timeout (10 s by default) collectors are left out: look at the slowest collectors below.",
			Queries:     []board.Query{{Expr: `max(scrape_duration_seconds{@})`, Legend: "slowest"}},
		},
		{
			Title: "Samples", Kind: board.Stat, Unit: "short", Width: 6, Steps: []board.Step{{From: 0, Color: board.Blue}, {From: 1, Color: board.Blue}},
			Description: "Samples of all these exporters in one scrape: what Prometheus has to store.",
			Queries:     []board.Query{{Expr: `sum(scrape_samples_scraped{@})`, Legend: "samples"}},
		},
		{
			Title: "Time of scrapes", Unit: "s",
			Description: "As Prometheus sees it. Normal: a turn-around to the backend, and what it needs for the answer.",
			Queries:     []board.Query{{Expr: `scrape_duration_seconds{@}`, Legend: "{{job}} {{instance}}"}},
		},
		{
			Title: "Turn-arounds of scrapes", Unit: "short",
			Description: "How often the exporter had to wait for the backend's answer before it could ask on. Normal: 1 or 2.",
			Queries:     []board.Query{{Expr: ofAll(`PREFIX_exporter_last_scrape_turnarounds{@}`), Legend: "{{job}} {{instance}}"}},
		},
		{
			Title: "Collectors that fail, by name", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"job", "instance", "target", "collector"},
			Description: "Parts of scrapes without an answer. Empty is normal.",
			Queries:     []board.Query{{Expr: ofAll(`PREFIX_exporter_collector_success{@} == 0`), Legend: "Success"}},
		},
		{
			Title: "Samples left out", Kind: board.Table, Width: 12, Unit: "short", Labels: []string{"job", "instance", "target", "collector"},
			Description: "Collectors that had more to show than their limit. Empty is normal; what is left out is the least.",
			Queries:     []board.Query{{Expr: ofAll(`PREFIX_exporter_collector_series_limited{@}`), Legend: "Left out"}},
		},
		{
			Title: "Slowest collectors", Unit: "s",
			Description: "The ten collectors that take longest. What you do not need can be switched off by --no-collector.NAME.",
			Queries:     []board.Query{{Expr: "topk(10, " + ofAll(`PREFIX_exporter_collector_duration_seconds{@}`) + ")", Legend: "{{job}} {{instance}} {{collector}}"}},
		},
		{
			Title: "Failures by reason", Unit: "short",
			Description: "Collectors that failed within an hour, by reason. Normal: none.",
			Queries:     []board.Query{{Expr: "sum by (job, reason) (" + ofAll(`increase(PREFIX_exporter_collector_failures_total{@}[1h]) > 0`) + ")", Legend: "{{job}}: {{reason}}"}},
		},
		{
			Title: "Memory", Unit: "bytes",
			Description: "Resident memory of the exporters. Normal: some 20 to 60 MB, and level.",
			Queries:     []board.Query{{Expr: `process_resident_memory_bytes{@}`, Legend: "{{job}} {{instance}}"}},
		},
		{
			Title: "Processor", Unit: "percentunit",
			Description: "Processors that the exporters keep busy. Normal: a percent or two.",
			Queries:     []board.Query{{Expr: `rate(process_cpu_seconds_total{@}[$__rate_interval])`, Legend: "{{job}} {{instance}}"}},
		},
	},
}
