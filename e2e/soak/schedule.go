package soak

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Fault is a way in which a server, or the line to it, goes wrong.
type Fault string

// The faults of a line, and those of a server itself.
const (
	Stall      Fault = "stall"       // nothing is forwarded
	StallAfter Fault = "stall-after" // nothing is forwarded to the exporter after some bytes
	Cut        Fault = "cut"         // each connection is closed at the first byte of an answer
	CutAfter   Fault = "cut-after"   // each connection is closed after some bytes of answers
	CutOnce    Fault = "cut-once"    // what is open is closed once
	Garble     Fault = "garble"      // one byte of an answer is inverted
	Flood      Fault = "flood"       // a flood of bytes instead of answers
	Refuse     Fault = "refuse"      // new connections are closed, and so are those that are open
	Slow       Fault = "slow"        // bytes take their time
	Pause      Fault = "pause"       // the server is frozen
	Kill       Fault = "kill"        // the server is ended at once, and started again later
	Restart    Fault = "restart"     // the server is shut down, and started again later
)

// lineFaults can happen to every line.
var lineFaults = []Fault{Stall, StallAfter, Cut, CutAfter, CutOnce, Garble, Garble, Flood, Refuse, Slow}

// floods are blocks of which none is an answer that a server gives to the first question.
var floods = []string{"\x00", "+OK\r\n", ">2\r\n+a\r\n+b\r\n", "x"}

// silent tells that nothing of what a server says can arrive while the fault is there.
func (f Fault) silent() bool {
	return slices.Contains([]Fault{Stall, Cut, Flood, Refuse, Pause, Kill, Restart}, f)
}

// restarts tells that the server begins anew, and with it its counters.
func (f Fault) restarts() bool { return f == Kill || f == Restart }

// Event is a fault of one line of the schedule.
type Event struct {
	At   time.Duration `json:"at"` // after the beginning
	For  time.Duration `json:"for"`
	Line string        `json:"line"`
	Kind Fault         `json:"fault"`
	// Bytes says after how many bytes of answers it happens, for those that happen after some; of Garble, which one it is.
	Bytes int64         `json:"bytes,omitempty"`
	Delay time.Duration `json:"delay,omitempty"` // one way, of Slow
	Block string        `json:"block,omitempty"` // what Flood repeats
}

func (e Event) String() string {
	text := fmt.Sprintf("%s %s for %s", e.Line, e.Kind, e.For.Round(time.Millisecond))
	if e.Bytes > 0 {
		text += fmt.Sprintf(", %d bytes", e.Bytes)
	}
	return text
}

// Window is a time without faults.
type Window struct {
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
}

// Schedule is what goes wrong in a run: storms, in which each line has one fault after the other, and calm between them.
type Schedule struct {
	Events []Event  `json:"events"` // by their time
	Calm   []Window `json:"calm"`
}

const (
	warmUp    = 8 * time.Second // also the first calm
	storm     = 26 * time.Second
	calm      = 13 * time.Second
	longCalm  = 100 * time.Second // in which also what is asked once a minute has to recover
	longEvery = 5                 // so many storms are followed by a long calm
)

// NewSchedule draws the faults of a run. The same seed, duration and lines make the same schedule.
func NewSchedule(seed uint64, duration time.Duration, lines map[string][]Fault) Schedule {
	s := Schedule{Calm: []Window{{0, warmUp}}}
	names := make([]string, 0, len(lines))
	for name := range lines {
		names = append(names, name)
	}
	slices.Sort(names)
	at := warmUp
	for n := 1; at+storm+calm <= duration; n++ {
		for i, name := range names {
			dice := rand.New(rand.NewPCG(seed, uint64(n)<<16|uint64(i)))
			s.Events = append(s.Events, drawStorm(dice, at, name, lines[name])...)
		}
		rest := calm
		if n%longEvery == 0 && at+storm+longCalm <= duration {
			rest = longCalm
		}
		s.Calm = append(s.Calm, Window{at + storm, at + storm + rest})
		at += storm + rest
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return int(a.At - b.At) })
	return s
}

// drawStorm draws the faults of one line in one storm, which do not overlap.
func drawStorm(dice *rand.Rand, from time.Duration, line string, kinds []Fault) []Event {
	var events []Event
	at := from + between(dice, 0, 2*time.Second)
	for {
		e := Event{At: at, For: between(dice, time.Second, 11*time.Second), Line: line, Kind: kinds[dice.IntN(len(kinds))]}
		bytes, delay, block := 1+dice.Int64N(256<<dice.IntN(9)), between(dice, 5*time.Millisecond, 400*time.Millisecond), floods[dice.IntN(len(floods))]
		switch e.Kind {
		case StallAfter, CutAfter, Garble:
			e.Bytes = bytes
		case Slow:
			e.Delay = delay
		case Flood:
			e.Block = block
		}
		if at+e.For > from+storm {
			return events
		}
		events = append(events, e)
		at += e.For + between(dice, 300*time.Millisecond, 3*time.Second)
	}
}

func between(dice *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(dice.Int64N(int64(high-low)))
}
