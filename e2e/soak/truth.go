package soak

import (
	"fmt"
	"sync"
	"time"
)

// truth is a value that the soak itself gives to a server and raises from time to time; it never falls. A page has to show
// a value that was true at some time of its scrape, or none.
type truth struct {
	series string // as seriesName writes it

	mu    sync.Mutex
	tried []step // values that were sent
	known []step // values that the server has taken
}

type step struct {
	at    time.Time
	value float64
}

// newTruth knows a value that the server has from the beginning.
func newTruth(series string, value float64) *truth {
	first := []step{{time.Time{}, value}}
	return &truth{series: series, tried: first, known: first}
}

func (t *truth) try(value float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tried = append(t.tried[:len(t.tried):len(t.tried)], step{time.Now(), value})
}

func (t *truth) know(value float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = append(t.known[:len(t.known):len(t.known)], step{time.Now(), value})
}

// next gives the value to raise to: the same until the server has taken it.
func (t *truth) next() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[len(t.known)-1].value + 1
}

// check compares a value that was asked for between two moments.
func (t *truth) check(got float64, from, to time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	low, high := lastBefore(t.known, from), lastBefore(t.tried, to)
	if got < low || got > high {
		return fmt.Errorf("%s is %v, the truth lies between %v and %v", t.series, got, low, high)
	}
	return nil
}

func lastBefore(steps []step, moment time.Time) float64 {
	for i := len(steps) - 1; i > 0; i-- {
		if steps[i].at.Before(moment) {
			return steps[i].value
		}
	}
	return steps[0].value
}
