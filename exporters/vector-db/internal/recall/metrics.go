package recall

import (
	"strconv"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// forget is after how many intervals without a new one a measurement is no longer told.
const forget = 3

// The families of recall.
var (
	ratio    = perK("recall_ratio", "Share of the k nearest vectors that approximate searches found, in the mean over the sampled queries. Stored vectors as queries are easier than those of users.")
	lower    = perK("recall_lower_ratio", "Lower end of the 95 % interval of the recall.")
	upper    = perK("recall_upper_ratio", "Upper end of the 95 % interval of the recall.")
	worst    = perK("recall_worst_ratio", "Recall of the sampled query that fared worst.")
	sampled  = perPlace("recall_queries", "Sampled queries that the recall was computed from.")
	vectors  = perPlace("recall_vectors", "Vectors that there were when the recall was measured.")
	measured = perPlace("recall_timestamp_seconds", "When the recall was measured, in Unix time.")
	exact    = perPlace("recall_exact_duration_seconds", "Mean time of the exact searches; absent where the exporter compared by itself.")
	search   = perPlace("recall_search_duration_seconds", "Mean time of the approximate searches.")
	method   = perPlace("recall_method_info", "How the exact answers were learned (server: it was told to compare with all; scan: all vectors were read and compared by the exporter); the value is 1.", "method")
	skipped  = perPlace("recall_skipped_info", "Why the recall could not be measured at the last try; the value is 1. Absent where it was.", "reason")
	itself   = perPlace("self_hit_ratio", "Share of searches for a stored vector that found the vector itself. It costs no exact search, and falls where recall does.")
)

// Families lists them.
func Families() []*metric.Family {
	return []*metric.Family{ratio, lower, upper, worst, sampled, vectors, measured, exact, search, method, skipped, itself}
}

func perPlace(name, help string, more ...string) *metric.Family {
	return &metric.Family{Name: "vectordb_search_" + name, Help: help, Labels: append([]string{"collection", "vector"}, more...)}
}

func perK(name, help string) *metric.Family { return perPlace(name, help, "k") }

// Publish adds what is known to a page.
func (m *Monitor) Publish(out *metric.Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, place := range m.settings.Places {
		h := m.places[place]
		labels := []string{place.Collection, h.vector}
		if h.skipped != "" {
			out.Add(skipped, 1, place.Collection, h.vector, string(h.skipped))
		}
		if h.selfHit != nil {
			out.Add(itself, *h.selfHit, labels...)
		}
		if h.last != nil && time.Since(h.at) < forget*m.settings.Every {
			h.last.publish(out, strconv.Itoa(m.settings.K), labels)
			out.Add(measured, float64(h.at.UnixMilli())/1000, labels...)
		}
	}
}

func (m *Measurement) publish(out *metric.Batch, k string, labels []string) {
	withK := []string{labels[0], labels[1], k}
	out.Add(ratio, m.Recall, withK...)
	out.Add(lower, m.Lower, withK...)
	out.Add(upper, m.Upper, withK...)
	out.Add(worst, m.Worst, withK...)
	out.Add(sampled, float64(m.Queries), labels...)
	out.Add(vectors, float64(m.Vectors), labels...)
	out.Add(search, m.Search.Seconds(), labels...)
	out.Add(method, 1, labels[0], labels[1], string(m.Method))
	if m.Method == ByServer {
		out.Add(exact, m.Exact.Seconds(), labels...)
	}
}
