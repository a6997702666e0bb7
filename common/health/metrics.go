package health

import (
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Families declares the metrics of the standard.
type Families struct {
	health     *metric.Family
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
	all := []*metric.Family{f.health}
	for _, step := range (Check{}).steps() {
		all = append(all, f.success[step.metric], f.latency[step.metric])
	}
	return append(all, f.driverType, f.duration)
}

// Append writes the state of a service as a check found it, which may be newer than what Record was told: a caller
// whose time is up is handed what holds for that moment.
func (f *Families) Append(out *metric.Batch, s *Service, check Check) {
	out.Add(f.health, check.Status().Value(), s.name)
	if s.driverType > 0 {
		out.Add(f.driverType, float64(s.driverType), s.name, s.database)
	}
	for _, step := range check.steps() {
		if step.Asked {
			out.Add(f.success[step.metric], truth(step.OK()), s.name, s.database)
		}
		if step.OK() {
			out.Add(f.latency[step.metric], step.Latency.Seconds(), s.name, s.database)
		}
		if value := s.recorders[step.operation].Value(); value.Count() > 0 {
			out.AddHistogram(f.duration, value, s.name, s.database, step.operation)
		}
	}
}

func truth(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}
