package soak

import (
	"slices"
	"sync"
	"time"
)

// incident is a fault as it happened.
type incident struct {
	Event
	touched time.Time // just before anything was done
	begun   time.Time // when it was there for certain
	ending  time.Time // just before it was undone; zero before
	ended   time.Time // when all was well again; zero before
}

// timeline remembers what went wrong with a line, and when.
type timeline struct {
	mu        sync.Mutex
	healthy   time.Time // since when the line is well, before the first incident
	incidents []incident
}

func (t *timeline) touch(e Event, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.incidents = append(t.incidents, incident{Event: e, touched: now})
}

func (t *timeline) mark(set func(last *incident)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	set(&t.incidents[len(t.incidents)-1])
}

func (t *timeline) snapshot() []incident {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.incidents)
}

// deaf tells that nothing that the server said could arrive from a time on, for as long as the other, and names the fault.
func (t *timeline) deaf(from, to time.Time) (Fault, bool) {
	for _, i := range t.snapshot() {
		if i.Kind.silent() && !i.begun.IsZero() && !i.begun.After(from) && (i.ending.IsZero() || !i.ending.Before(to)) {
			return i.Kind, true
		}
	}
	return "", false
}

// wellSince gives the time since when nothing was wrong up to a moment; zero where something was.
func (t *timeline) wellSince(moment time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := t.healthy
	for _, i := range t.incidents {
		switch {
		case i.touched.After(moment):
			return since
		case i.ended.IsZero(), i.ended.After(moment):
			return time.Time{}
		}
		since = i.ended
	}
	return since
}

// restarted tells that the server began anew at some time between two moments.
func (t *timeline) restarted(from, to time.Time) bool {
	return slices.ContainsFunc(t.snapshot(), func(i incident) bool {
		return i.Kind.restarts() && i.touched.Before(to) && (i.ended.IsZero() || i.ended.After(from))
	})
}

// at names what is wrong, or was wrong last, at a moment.
func (t *timeline) at(moment time.Time) string {
	text := ""
	for _, i := range t.snapshot() {
		switch {
		case i.touched.After(moment):
		case i.ended.IsZero(), i.ended.After(moment):
			text = i.String()
		default:
			text = i.String() + ", over since " + moment.Sub(i.ended).Round(time.Millisecond).String()
		}
	}
	return text
}
