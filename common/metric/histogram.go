package metric

import (
	"slices"
	"sync"
)

// HistogramValue is a histogram at one moment. Counts are per bucket, not cumulative; the last one, beyond the
// largest bound, makes len(Counts) == len(Bounds)+1.
type HistogramValue struct {
	Bounds []float64
	Counts []uint64
	Sum    float64
}

// Count gives the number of observations.
func (h *HistogramValue) Count() uint64 {
	var total uint64
	for _, count := range h.Counts {
		total += count
	}
	return total
}

// Recorder counts observations over the life of a process. It is safe for concurrent use.
type Recorder struct {
	mu    sync.Mutex
	value HistogramValue
}

// NewRecorder returns a recorder with the given upper bounds, ascending.
func NewRecorder(bounds []float64) *Recorder {
	return &Recorder{value: HistogramValue{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}}
}

// Observe counts one value.
func (r *Recorder) Observe(value float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, _ := slices.BinarySearch(r.value.Bounds, value)
	r.value.Counts[at]++
	r.value.Sum += value
}

// Value gives a copy of the present state.
func (r *Recorder) Value() *HistogramValue {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &HistogramValue{Bounds: r.value.Bounds, Counts: slices.Clone(r.value.Counts), Sum: r.value.Sum}
}
