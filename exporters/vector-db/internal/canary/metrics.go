package canary

import (
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// The families of the canary.
var (
	success     = family(metric.Gauge, "success", "Whether the last round of the canary succeeded as a whole (1) or not (0).")
	succeeded   = family(metric.Gauge, "operation_success", "Whether the operation succeeded in the last round (1) or not (0); absent where it was not tried.", "operation")
	duration    = family(metric.Histogram, "operation_duration_seconds", "Time that operations of the canary took that succeeded.", "operation")
	freshness   = family(metric.Histogram, "freshness_seconds", "Time from when the server had taken a vector until a search found it.")
	failures    = family(metric.Counter, "failures_total", "Operations of the canary that failed, by reason.", "operation", "reason")
	removed     = family(metric.Counter, "leftovers_removed_total", "Vectors removed that an exporter had left behind.")
	lastSuccess = family(metric.Gauge, "last_success_timestamp_seconds", "When a round of the canary last succeeded, in Unix time; absent before the first.")
)

// Families lists them.
func Families() []*metric.Family {
	return []*metric.Family{success, succeeded, duration, freshness, failures, removed, lastSuccess}
}

func family(kind metric.Type, name, help string, labels ...string) *metric.Family {
	return &metric.Family{Name: "vectordb_canary_" + name, Help: help, Type: kind, Labels: labels}
}

// bounds are those of the histograms, in seconds: a local server answers within a millisecond, an index that is built
// in the background takes seconds.
func bounds() []float64 {
	return []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
}

// failure is one way in which an operation failed.
type failure struct {
	operation Operation
	reason    fault.Kind
}

// record counts over the life of the exporter, and knows how the last round fared.
type record struct {
	durations map[Operation]*metric.Recorder
	freshness *metric.Recorder

	mu       sync.Mutex
	rounds   bool // there was one
	whole    bool // the last one succeeded
	outcome  map[Operation]bool
	failures map[failure]uint64
	left     uint64
	last     time.Time
}

func newRecord() *record {
	r := &record{durations: map[Operation]*metric.Recorder{}, freshness: metric.NewRecorder(bounds()), failures: map[failure]uint64{}}
	for _, operation := range operations() {
		r.durations[operation] = metric.NewRecorder(bounds())
	}
	return r
}

func (r *record) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcome = map[Operation]bool{}
}

func (r *record) end(at time.Time, whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rounds, r.whole = true, whole; whole {
		r.last = at
	}
}

func (r *record) done(operation Operation, took time.Duration) {
	r.durations[operation].Observe(took.Seconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcome[operation] = true
}

func (r *record) fresh(took time.Duration) { r.freshness.Observe(took.Seconds()) }

// failed takes note of an error and gives it back.
func (r *record) failed(operation Operation, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcome[operation] = false
	r.failures[failure{operation, fault.Of(err)}]++
	return err
}

func (r *record) removed(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left += uint64(n)
}

// Publish adds what is known to a page.
func (c *Canary) Publish(out *metric.Batch) {
	r := c.record
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rounds {
		out.Add(success, metric.Truth(r.whole))
	}
	for _, operation := range operations() {
		if ok, tried := r.outcome[operation]; tried {
			out.Add(succeeded, metric.Truth(ok), string(operation))
		}
		if value := r.durations[operation].Value(); value.Count() > 0 {
			out.AddHistogram(duration, value, string(operation))
		}
	}
	if value := r.freshness.Value(); value.Count() > 0 {
		out.AddHistogram(freshness, value)
	}
	for one, count := range r.failures {
		out.Add(failures, float64(count), string(one.operation), string(one.reason))
	}
	out.Add(removed, float64(r.left))
	if !r.last.IsZero() {
		out.Add(lastSuccess, float64(r.last.UnixMilli())/1000)
	}
}
