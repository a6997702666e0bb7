package health

import (
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Families declares the metrics of the standard.
type Families struct {
	health     *metric.Family
	failure    *metric.Family
	probe      *metric.Family
	driverType *metric.Family
	success    map[string]*metric.Family
	latency    map[string]*metric.Family
	duration   *metric.Family
}

// NewFamilies declares the metrics of the health standard.
func NewFamilies() *Families {
	labels := []string{"service", "db_name"}
	f := &Families{
		health: &metric.Family{Name: "service_health", Labels: []string{"service"},
			Help: "Whether the service is up (1), degraded (0.5) or down (0)."},
		failure: &metric.Family{Name: "service_health_failure_info", Labels: []string{"service", "reason"},
			Help: "Why the service is degraded or down; absent while it is up."},
		probe: &metric.Family{Name: "service_health_probe_duration_seconds", Labels: []string{"service"},
			Help: "Time that the last look at a dependent service took, whatever it found."},
		driverType: &metric.Family{Name: "db_driver_type", Labels: labels,
			Help: "Kind of the database: 1 PostgreSQL, 2 MySQL, 3 SQLite, 4 MSSQL."},
		duration: &metric.Family{Name: "db_query_duration_seconds", Type: metric.Histogram,
			Labels: []string{"service", "database", "operation"},
			Help:   "Time that the steps of the health check took: connect, ping, read, write."},
		success: map[string]*metric.Family{}, latency: map[string]*metric.Family{},
	}
	for _, step := range (Check{}).steps() {
		f.success[step.metric] = &metric.Family{Name: "db_" + step.metric + "_success", Labels: labels,
			Help: "Whether the " + step.metric + " step of the last health check succeeded; absent where it was not asked."}
		f.latency[step.metric] = &metric.Family{Name: "db_" + step.metric + "_latency_seconds", Labels: labels,
			Help: "Time of the " + step.metric + " step of the last health check; absent where it did not succeed."}
	}
	return f
}

// All lists the families in the order of the documentation.
func (f *Families) All() []*metric.Family {
	all := []*metric.Family{f.health, f.failure, f.probe}
	for _, step := range (Check{}).steps() {
		all = append(all, f.success[step.metric], f.latency[step.metric])
	}
	return append(all, f.driverType, f.duration)
}

// Append writes the state of a service as a check found it, which may be newer than what Record was told: a caller
// whose time is up is handed what holds for that moment.
func (f *Families) Append(out *metric.Batch, s *Service, check Check) {
	f.appendState(out, s.name, check)
	if s.driverType > 0 {
		out.Add(f.driverType, float64(s.driverType), s.name, s.database)
	}
	for i, step := range check.steps() {
		if step.Asked {
			out.Add(f.success[step.metric], metric.Truth(step.OK()), s.name, s.database)
		}
		if step.OK() {
			out.Add(f.latency[step.metric], step.Latency.Seconds(), s.name, s.database)
		}
		if value := s.recorders[i].Value(); value.Count() > 0 {
			out.AddHistogram(f.duration, value, s.name, s.database, step.operation)
		}
	}
}

func (f *Families) appendState(out *metric.Batch, service string, check Check) {
	out.Add(f.health, check.Status().Value(), service)
	if reason := check.Fault(); reason != fault.None {
		out.Add(f.failure, 1, service, string(reason))
	}
}

// appendDependent writes the state of a dependent.
func (f *Families) appendDependent(out *metric.Batch, r Report) {
	f.appendState(out, r.Service, r.Check)
	out.Add(f.probe, r.Check.Ping.Latency.Seconds(), r.Service)
}
