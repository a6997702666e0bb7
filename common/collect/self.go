package collect

import (
	"slices"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Self declares what an exporter says of each target and of its own work on it.
type Self struct {
	up, failure                                *metric.Family
	success, duration, age, missing, overLimit *metric.Family
	failures                                   *metric.Family
	scrapes, took, failed, connections         *metric.Family
	connecting, pinging, durations             *metric.Family
	turnArounds, received, sent                *metric.Family
	duplicates, repaired, limited              *metric.Family
	health                                     *health.Families
	memberSuccess, memberFailure, memberAge    *metric.Family // nil where targets have no members
	aliases                                    []alias
	all                                        []*metric.Family
}

// alias publishes a family under a second, established name.
type alias struct{ family, as *metric.Family }

// NewSelf declares the metrics under a prefix such as "pg". Aliases maps names without the prefix to the names under
// which dashboards already know the same values.
func NewSelf(prefix string, aliases map[string]string) *Self {
	s := &Self{health: health.NewFamilies()}
	gauge := func(name, help string, labels ...string) *metric.Family {
		return s.declare(&metric.Family{Name: prefix + "_" + name, Help: help, Labels: labels})
	}
	count := func(name, help string, labels ...string) *metric.Family {
		return s.declare(&metric.Family{Name: prefix + "_" + name, Help: help, Type: metric.Counter, Labels: labels})
	}
	s.up = gauge("up", "Whether the last scrape reached the server and was answered (1) or not (0).")
	s.failure = gauge("exporter_failure_info", "Why the server is not up; absent while it is.", "reason")
	s.success = gauge("exporter_collector_success", "Whether the collector succeeded (1) or failed (0). One that this server cannot have counts as a success.", "collector")
	s.duration = gauge("exporter_collector_duration_seconds", "Time spent on the collector's answers within the shared batch.", "collector")
	s.age = gauge("exporter_collector_age_seconds", "Age of the answer that a slow collector serves.", "collector")
	s.missing = gauge("exporter_collector_unsupported_info", "What the server lacks for the collector: an extension, a role, a version.", "collector", "missing")
	s.overLimit = gauge("exporter_collector_series_limited", "Samples that the collector had to leave out in its last run because of its limit; absent when none.", "collector")
	s.failures = count("exporter_collector_failures_total", "Failures of the collector by reason.", "collector", "reason")
	s.scrapes = count("exporter_scrapes_total", "Scrapes of the target; callers that share one count once.")
	s.took = gauge("exporter_last_scrape_duration_seconds", "Time that the last scrape took.")
	s.connecting = gauge("exporter_last_scrape_connect_time_seconds", "Time that connecting took when the connection was made that the last scrape used.")
	s.pinging = gauge("exporter_last_scrape_ping_time_seconds", "Time until the server answered the last scrape's ping.")
	s.durations = s.declare(&metric.Family{Name: prefix + "_exporter_scrape_duration_seconds", Help: "Time that scrapes took.", Type: metric.Summary})
	s.failed = gauge("exporter_last_scrape_error", "Whether the last scrape lost something to a failure (1) or not (0).")
	s.connections = count("exporter_connections_total", "Connections that were tried.")
	s.turnArounds = gauge("exporter_last_scrape_turnarounds", "Times that the last scrape had to wait for the server before asking on.")
	s.received = gauge("exporter_last_scrape_received_bytes", "Bytes that the last scrape received.")
	s.sent = gauge("exporter_last_scrape_sent_bytes", "Bytes that the last scrape sent.")
	s.duplicates = count("exporter_duplicate_samples_total", "Samples dropped because one with the same labels was there.")
	s.repaired = count("exporter_repaired_labels_total", "Label values that were no UTF-8 or too long, and were repaired.")
	s.limited = count("exporter_limited_samples_total", "Samples left out because a collector reached its limit.")
	s.alias(prefix, aliases)
	s.all = append(s.all, s.health.All()...)
	return s
}

func (s *Self) declare(f *metric.Family) *metric.Family {
	s.all = append(s.all, f)
	return f
}

func (s *Self) alias(prefix string, aliases map[string]string) {
	for _, f := range slices.Clone(s.all) {
		if name, ok := aliases[strings.TrimPrefix(f.Name, prefix+"_")]; ok {
			as := s.declare(&metric.Family{Name: name, Help: f.Help, Type: f.Type, Labels: f.Labels})
			s.aliases = append(s.aliases, alias{f, as})
		}
	}
}

// Families lists what is declared.
func (s *Self) Families() []*metric.Family { return s.all }

// batch says how a scrape went.
func (s *Self) batch(t *Target, r *Result, parts []*part, members memberParts, sums totals) *metric.Batch {
	out := metric.NewBatch(0, t.spec.Labels...)
	out.Add(s.up, metric.Truth(r.Up))
	if !r.Up {
		out.Add(s.failure, 1, string(r.Fault))
	}
	failed := !r.Up
	for _, p := range parts {
		s.part(out, p, members, r.At)
		failed = failed || p.state == broken || members.failing[p.collector.Name]
	}
	for _, f := range sortedFailures(sums.failures) {
		out.Add(s.failures, float64(sums.failures[f]), f.collector, string(f.reason))
	}
	out.Add(s.scrapes, float64(sums.scrapes))
	out.Add(s.took, r.Took.Seconds())
	if r.Health.Connect.OK() {
		out.Add(s.connecting, r.Health.Connect.Latency.Seconds())
	}
	if r.Health.Ping.OK() {
		out.Add(s.pinging, r.Health.Ping.Latency.Seconds())
	}
	out.AddSummary(s.durations, &metric.SummaryValue{Count: sums.scrapes, Sum: sums.took.Seconds()})
	out.Add(s.failed, metric.Truth(failed))
	out.Add(s.connections, float64(t.link.opened.Load()))
	out.Add(s.turnArounds, float64(r.Usage.TurnArounds))
	out.Add(s.received, float64(r.Usage.Received))
	out.Add(s.sent, float64(r.Usage.Sent))
	out.Add(s.duplicates, float64(sums.duplicates))
	out.Add(s.repaired, float64(sums.repaired))
	out.Add(s.limited, float64(sums.limited))
	for _, alias := range s.aliases {
		out.AppendAs(alias.family, alias.as, out)
	}
	s.health.Append(out, t.service, r.Health)
	return out
}

// DeclareMembers adds the families that say how each member of a target fares, such as each database of a server.
func (s *Self) DeclareMembers(prefix, noun, label string) {
	gauge := func(name, help string, labels ...string) *metric.Family {
		return s.declare(&metric.Family{Name: prefix + "_exporter_" + noun + name, Help: help, Labels: labels})
	}
	s.memberSuccess = gauge("_success", "Whether the "+noun+" could be asked (1) or not (0).", label)
	s.memberFailure = gauge("_failure_info", "Why the "+noun+" could not be asked; absent while it can be.", label, "reason")
	s.memberAge = gauge("_age_seconds", "Age of what the "+noun+" answered; absent where nothing of it is served.", label)
}

// members says how the members of a target fare.
func (s *Self) members(t *Target, states []memberState) *metric.Batch {
	out := metric.NewBatch(0, t.spec.Labels...)
	for _, m := range states {
		out.Add(s.memberSuccess, metric.Truth(m.fault == fault.None), m.name)
		if m.fault != fault.None {
			out.Add(s.memberFailure, 1, m.name, string(m.fault))
		}
		if m.served {
			out.Add(s.memberAge, m.age.Seconds(), m.name)
		}
	}
	return out
}

// part says how one collector fared. A slow one that has not been answered yet is neither success nor failure.
func (s *Self) part(out *metric.Batch, p *part, members memberParts, now time.Time) {
	name := p.collector.Name
	out.Add(s.success, metric.Truth((p.state == finished || p.state == unsupported) && !members.failing[name]), name)
	out.Add(s.duration, p.took.Seconds(), name)
	if p.state == unsupported {
		out.Add(s.missing, 1, name, p.missing)
	}
	if p.batch == nil {
		return
	}
	if limited := p.batch.Limited + p.members.limited + members.limited[name]; limited > 0 {
		out.Add(s.overLimit, float64(limited), name)
	}
	if p.collector.Class == Slow {
		out.Add(s.age, now.Sub(p.at).Seconds(), name)
	}
}

func sortedFailures(counts map[failure]uint64) []failure {
	keys := make([]failure, 0, len(counts))
	for f := range counts {
		keys = append(keys, f)
	}
	slices.SortFunc(keys, func(x, y failure) int {
		if x.collector != y.collector {
			return strings.Compare(x.collector, y.collector)
		}
		return strings.Compare(string(x.reason), string(y.reason))
	})
	return keys
}
