package main

import "github.com/alfred-agent-platform/backend-exporters/dashboards/board"

var serviceStates = []board.Step{{From: 0, Color: board.Red}, {From: 0.5, Color: board.Orange}, {From: 1, Color: board.Green}}

var backendHealth = board.Board{
	UID: "backend-exporters-health", Title: "Backend health", Tag: "health", Source: "service_health",
	Description: "Whether each service works: the backends of all exporters, and the services in front of them.",
	Variables:   []board.Variable{{Name: "service", Label: "Service", Metric: "service_health{@}"}},
	Top: []board.Panel{
		{
			Title: "Services down", Kind: board.Stat, Unit: "short", Width: 6, Steps: board.Zero(),
			Description: "Services that do not answer their health check. Normal: 0. Which, and why, is below.",
			Queries:     []board.Query{{Expr: `count(service_health{@, service=~"$service"} == 0) or vector(0)`, Legend: "down"}},
		},
		{
			Title: "Services degraded", Kind: board.Stat, Unit: "short", Width: 6, Steps: []board.Step{{From: 0, Color: board.Green}, {From: 1, Color: board.Orange}},
			Description: "Services that answer, but for which a read or write of the health check fails. Normal: 0.",
			Queries:     []board.Query{{Expr: `count(service_health{@, service=~"$service"} == 0.5) or vector(0)`, Legend: "degraded"}},
		},
		{
			Title: "Slowest health check", Kind: board.Stat, Unit: "s", Width: 6, Steps: board.Good(0.5, 1),
			Description: "95 % of the checks of the slowest service took no longer than this, within five minutes. Normal: some milliseconds.",
			Queries:     []board.Query{{Expr: `max(service:db_query_duration_seconds:p95_5m{@, service=~"$service"})`, Legend: "p95"}},
		},
		{
			Title: "Exporters that do not answer", Kind: board.Stat, Unit: "short", Width: 6, Steps: board.Zero(),
			Description: "Targets that Prometheus does not reach, of the jobs that report a service. Normal: 0. Of their backends nothing is known.",
			Queries:     []board.Query{{Expr: `count(up{@} == 0) or vector(0)`, Legend: "down"}},
		},
		{
			Title: "Services over time", Kind: board.Timeline, Unit: "short", Height: 10, Steps: serviceStates,
			Description: "Green: up. Orange: degraded. Red: down. A gap: its exporter did not answer.",
			Queries:     []board.Query{{Expr: `service_health{@, service=~"$service"}`, Legend: "{{service}} ({{instance}})"}},
		},
		{
			Title: "Services now", Kind: board.Table, Unit: "short", Height: 9, Width: 14, Labels: []string{"service", "job", "instance", "target"}, Steps: serviceStates,
			Description: "The state of each service (1 up, 0.5 degraded, 0 down), how long its health check takes, and how long ago the state last changed, where it did within a day.",
			Queries: []board.Query{
				{Expr: `sum by (service, job, instance, target) (service_health{@, service=~"$service"})`, Legend: "State"},
				{Expr: `max by (service, job, instance, target) (db_ping_latency_seconds{@, service=~"$service"} or service_health_probe_duration_seconds{@, service=~"$service"})`, Legend: "Latency"},
				{Expr: `time() - max by (service, job, instance, target) (max_over_time((timestamp(service_health{@, service=~"$service"})
  and (service_health{@, service=~"$service"} != service_health{@, service=~"$service"} offset 1m))[1d:1m]))`, Legend: "Last change"},
			},
			Units: map[string]string{"Latency": "s", "Last change": "s"},
		},
		{
			Title: "Why", Kind: board.Table, Unit: "short", Height: 9, Width: 10, Labels: []string{"service", "instance", "reason"},
			Description: "The reasons of services that are down or degraded. Empty is normal. unreachable: nobody listens or the name is unknown; auth: the login is refused; timeout: it hangs; denied: a right is missing.",
			Queries:     []board.Query{{Expr: `service_health_failure_info{@, service=~"$service"}`, Legend: "Now"}},
		},
		{
			Title: "Latency of the health check", Unit: "s", Width: 24,
			Description: "Time that a ping of the backend, or a look at the service, took last. A rise before a failure tells of overload.",
			Queries: []board.Query{
				{Expr: `db_ping_latency_seconds{@, service=~"$service"}`, Legend: "{{service}} {{db_name}}"},
				{Expr: `service_health_probe_duration_seconds{@, service=~"$service"}`, Legend: "{{service}}"},
			},
		},
	},
}
