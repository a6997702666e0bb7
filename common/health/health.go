// Package health says of each service whether it is up, degraded or down, in one standard way: as JSON for people and
// load balancers, and as metrics.
package health

import (
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Status is how a service is.
type Status uint8

// The three states.
const (
	Down Status = iota
	Degraded
	Up
)

// String gives the word of the JSON answers.
func (s Status) String() string { return [...]string{"error", "degraded", "ok"}[s] }

// Value gives the value of service_health: 1 up, 0.5 degraded, 0 down.
func (s Status) Value() float64 { return float64(s) / 2 }

// Outcome is one step of a check: not asked at all, answered after some time, or failed in a known way. Kept marks a
// connection that was there already: its latency is that of the time when it was made.
type Outcome struct {
	Asked   bool
	Kept    bool
	Fault   fault.Kind
	Latency time.Duration
}

// OK tells whether the step was asked and answered.
func (o Outcome) OK() bool { return o.Asked && o.Fault == fault.None }

// Check is what one look at a backend found. Write is asked only where it is configured, and never of a replica.
type Check struct {
	Connect, Ping, Read, Write Outcome
}

// Status judges the check: down without a connection that answers, degraded when it answers but a read or a write that
// was asked fails.
func (c Check) Status() Status {
	switch {
	case !c.Connect.OK() || !c.Ping.OK():
		return Down
	case c.Read.Asked && !c.Read.OK(), c.Write.Asked && !c.Write.OK():
		return Degraded
	}
	return Up
}

// Fault is why the status is not up: the first step that failed.
func (c Check) Fault() fault.Kind {
	for _, step := range []Outcome{c.Connect, c.Ping, c.Read, c.Write} {
		if step.Fault != fault.None {
			return step.Fault
		}
	}
	return fault.None
}

// steps lists the check with the names of its operations.
func (c Check) steps() []step {
	return []step{{"connect", "connection", c.Connect}, {"ping", "ping", c.Ping}, {"read", "read", c.Read}, {"write", "write", c.Write}}
}

type step struct {
	operation string
	metric    string // the middle of its metrics' names
	Outcome
}

// Report is the state of one service as it is handed out.
type Report struct {
	Service string
	Status  Status
	Fault   fault.Kind
	Check   Check
	Since   time.Time // when the status last changed
	At      time.Time // when it was last looked at
}

// Service keeps the state of one backend over time. It is safe for concurrent use.
type Service struct {
	name, database string
	driverType     int
	recorders      []*metric.Recorder // of each step of a check

	mu   sync.Mutex
	last Report
}

// The driver types that the standard names.
const (
	PostgreSQL = 1
	MySQL      = 2
	SQLite     = 3
	MSSQL      = 4
)

// queryBounds are the buckets of db_query_duration_seconds; the platform's alert looks at 1 s.
var queryBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// NewService returns the state of a backend. DriverType 0 leaves db_driver_type out.
func NewService(name, database string, driverType int) *Service {
	s := &Service{name: name, database: database, driverType: driverType, recorders: make([]*metric.Recorder, len(Check{}.steps()))}
	for i := range s.recorders {
		s.recorders[i] = metric.NewRecorder(queryBounds)
	}
	return s
}

// Record takes note of a check.
func (s *Service) Record(check Check, now time.Time) {
	for i, step := range check.steps() {
		if step.OK() && !step.Kept {
			s.recorders[i].Observe(step.Latency.Seconds())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	report := Report{Service: s.name, Status: check.Status(), Fault: check.Fault(), Check: check, Since: now, At: now}
	if !s.last.At.IsZero() && s.last.Status == report.Status {
		report.Since = s.last.Since
	}
	s.last = report
}

// Report gives the newest state; its At is zero before the first check.
func (s *Service) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	report := s.last
	report.Service = s.name
	return report
}
