// Package recall measures how good the answers of approximate searches are.
//
// Stored vectors, sampled, are searched for as users search, and exactly: by the server where it can be told to, else
// by reading all vectors and comparing here. Recall is the share of the k nearest that the approximate search found,
// where whatever is as near as the k-th nearest counts as found, the vector itself counts in neither, and rows that did
// not come back count as missed. All of it only reads, within bounds of vectors, bytes and time.
//
// What is said of the mean is an interval of 95 %: Wilson's for a share, with the number of queries as the size of the
// sample. A mean of numbers between 0 and 1 varies most where each of them is 0 or 1; so the interval holds however the
// neighbours of one query go together, and is wide: with 20 queries that all find everything it begins at 0.84.
package recall

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// Settings say what is measured, and what it may cost.
type Settings struct {
	Places     []backend.Place // a vector without a name is the only one of its collection
	K          int             // neighbours
	Queries    int             // sampled vectors
	Every      time.Duration   // between two measurements of a place
	MaxVectors int64           // of a place, each of which is compared with each query
	MaxBytes   int64           // of vectors that come here to be compared, at 4 bytes an element
	MaxTime    time.Duration   // for one measurement
}

// Defaults are the settings of which nothing is said.
func Defaults() Settings {
	return Settings{K: 10, Queries: 20, Every: time.Hour, MaxVectors: 1_000_000, MaxBytes: 128 << 20, MaxTime: 20 * time.Second}
}

// selfEvery is how often self hits are looked at, which cost no exact search.
const selfEvery = 5 * time.Minute

// Interval is how often Round has something to do.
func (s Settings) Interval() time.Duration { return min(s.Every, selfEvery) }

// Monitor keeps what was measured of one server. Its methods may be called at the same time.
type Monitor struct {
	settings Settings

	mu     sync.Mutex
	places map[backend.Place]*history
}

// history is what is known of a place.
type history struct {
	tried   time.Time
	skipped Reason // why there was no measurement at the last try; "" where there was
	at      time.Time
	last    *Measurement // nil before the first
	selfHit *float64     // nil where the last look at it failed, or tells nothing
	vector  string       // the name of the vector that was measured
}

// Reason is why something was not measured: one of these, or a kind of fault.
type Reason string

// The reasons that are no fault.
const (
	TooSmall     Reason = "too_small"    // there are not more vectors than neighbours are asked for
	TooLarge     Reason = "too_large"    // more vectors or bytes than the settings allow
	OverBudget   Reason = "over_budget"  // it would take longer than the settings allow
	NotReady     Reason = "not_ready"    // the server works on the collection, or has not loaded it
	NotIndexed   Reason = "not_indexed"  // searches are exact: most vectors are not in the index, or it is not used
	Incomparable Reason = "incomparable" // nobody here can compare vectors in the way that the collection does
)

// skip is an error that carries a reason.
type skip struct{ reason Reason }

func (s skip) Error() string { return "not measured: " + string(s.reason) }

func reasonOf(err error) Reason {
	var skipped skip
	if errors.As(err, &skipped) {
		return skipped.reason
	}
	return Reason(fault.Of(err))
}

// New returns a monitor.
func New(settings Settings) *Monitor {
	m := &Monitor{settings: settings, places: map[backend.Place]*history{}}
	for _, place := range settings.Places {
		m.places[place] = &history{vector: place.Vector}
	}
	return m
}

// Round measures the place that has waited longest, if one is due, and looks at the self hits of the others. Why
// something was not measured is told by Publish; an error is returned for what is worth a new session.
func (m *Monitor) Round(ctx context.Context, s backend.Session) error {
	due, others := m.due()
	var failed error
	if due != nil {
		measured, err := m.measure(ctx, s, *due)
		m.note(*due, measured, err)
		failed = err
	}
	for _, place := range others {
		hits, err := m.lookForSelf(ctx, s, place)
		m.noteSelf(place, hits, err)
		failed = cmp.Or(failed, err)
	}
	if errors.As(failed, new(skip)) {
		return nil
	}
	return failed
}

// Failed takes note of a round that could not be begun.
func (m *Monitor) Failed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.places {
		h.skipped, h.selfHit = reasonOf(err), nil
	}
}

// due gives the place to measure now, and the others.
func (m *Monitor) due() (due *backend.Place, others []backend.Place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, place := range m.settings.Places {
		if tried := m.places[place].tried; time.Since(tried) >= m.settings.Every && (due == nil || tried.Before(m.places[*due].tried)) {
			due = &place
		}
	}
	for _, place := range m.settings.Places {
		if due == nil || place != *due {
			others = append(others, place)
		}
	}
	return due, others
}

func (m *Monitor) note(place backend.Place, measured *Measurement, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.places[place]
	h.tried, h.skipped, h.selfHit = time.Now(), "", nil
	if err != nil {
		h.skipped = reasonOf(err)
		return
	}
	h.at, h.last, h.selfHit, h.vector = time.Now(), measured, measured.SelfHit, measured.vector
}

func (m *Monitor) noteSelf(place backend.Place, hits *float64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.places[place]
	if h.selfHit = hits; err != nil {
		h.skipped = reasonOf(err)
	}
}
