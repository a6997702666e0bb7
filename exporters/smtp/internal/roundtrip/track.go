package roundtrip

import (
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mailbox"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

const (
	// maxRemembered bounds the messages of which it is known what came of them.
	maxRemembered = 1000
	// foreignAge is how old another exporter's messages must be to be removed: younger ones it still looks for.
	foreignAge = 24 * time.Hour
)

// buckets suit deliveries from one on the same host to one that waits in queues for an hour.
func buckets() []float64 {
	return []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}
}

// Refusal is why a message could not be handed over.
type Refusal struct{ Phase, Reason string }

// Counts are what happened since the start.
type Counts struct {
	Accepted, Skipped                 uint64
	Delivered, Late, Lost, Duplicates uint64
	Removed                           uint64
	Refused                           map[Refusal]uint64
	Blind                             map[fault.Kind]uint64 // looks into the mailbox that failed
}

// State is what is known of a round trip.
type State struct {
	Counts
	InFlight int
	Oldest   time.Duration // the age of the oldest message under way, since it was accepted
	Times    *metric.HistogramValue
	Last     *Arrival   // the last message that arrived, nil before the first
	Known    bool       // there was a look into the mailbox
	Readable bool       // the last one succeeded
	Problem  fault.Kind // why the last one failed
	LastLost bool       // of the messages of which something is known, the last was lost
	Present  int        // messages of the round trip that the last look found and left
}

// Arrival is a message that arrived.
type Arrival struct {
	mailbox.Found
	At   time.Time     // when it was found
	Took time.Duration // since it was accepted; 0 where nobody could see when it arrived
}

// fate is what came of a message.
type fate uint8

const (
	delivered fate = iota
	lost
	refused
)

// flight is a message under way.
type flight struct {
	accepted time.Time // zero while it is being handed over
	unseen   bool      // it may have arrived while nobody looked
}

// track follows messages. Times are taken from the monotonic clock.
type track struct {
	lostAfter time.Duration
	flights   map[string]*flight
	fates     map[string]fate
	order     []string // of fates, the oldest first
	counts    Counts
	times     *metric.Recorder
	last      *Arrival
	seeing    bool // somebody looks into the mailbox
	known     bool // whether it can be read
	readable  bool
	problem   fault.Kind
	lastLost  bool
	present   int
}

func newTrack(lostAfter time.Duration) track {
	return track{
		lostAfter: lostAfter,
		flights:   make(map[string]*flight), fates: make(map[string]fate), times: metric.NewRecorder(buckets()),
		counts: Counts{Refused: make(map[Refusal]uint64), Blind: make(map[fault.Kind]uint64)},
	}
}

// begin notes a message that is about to be sent. It tells whether it may be.
func (t *track) begin(token mark.Token, limit int) bool {
	if len(t.flights) >= limit {
		t.counts.Skipped++
		return false
	}
	t.flights[token.Text] = &flight{}
	return true
}

// sent notes what came of handing it over. One that was not accepted may arrive all the same, where the server's answer
// was lost; it is removed then and counts as nothing.
func (t *track) sent(token mark.Token, s Sent, now time.Time) {
	if !s.Accepted {
		t.counts.Refused[Refusal{s.Phase, s.Reason}]++
		t.settle(token.Text, refused)
		return
	}
	t.counts.Accepted++
	t.flights[token.Text].accepted = now
	t.flights[token.Text].unseen = !t.seeing
}

// settle notes what came of a message.
func (t *track) settle(text string, what fate) {
	delete(t.flights, text)
	if _, known := t.fates[text]; !known {
		t.order = append(t.order, text)
	}
	t.fates[text] = what
	if len(t.order) > maxRemembered {
		delete(t.fates, t.order[0])
		t.order = t.order[1:]
	}
}

// cut notes that nobody looks into the mailbox for now.
func (t *track) cut() {
	t.seeing = false
	for _, f := range t.flights {
		f.unseen = true // for one that is being handed over this is settled when it was
	}
}

// blind notes that the mailbox could not be read.
func (t *track) blind(kind fault.Kind) {
	t.counts.Blind[kind]++
	t.known, t.readable, t.problem = true, false, kind
}

// looked notes what a look found that began and ended at these times. It gives what is to be removed.
func (t *track) looked(found []mailbox.Found, begun, now time.Time) (gone []mailbox.Found) {
	t.seeing, t.known, t.readable, t.problem = true, true, true, fault.None
	for _, message := range found {
		if t.arrived(message, now) {
			gone = append(gone, message)
		}
	}
	t.present = len(found) - len(gone)
	for text, f := range t.flights {
		f.unseen = false // it has not arrived, so that somebody looks when it does
		if !f.accepted.IsZero() && begun.Sub(f.accepted) > t.lostAfter {
			t.counts.Lost++
			t.lastLost = true
			t.settle(text, lost)
		}
	}
	return gone
}

// arrived notes a message that is there, and tells whether it has served its purpose.
func (t *track) arrived(message mailbox.Found, now time.Time) bool {
	if f := t.flights[message.Text]; f != nil {
		if f.accepted.IsZero() {
			return false // the server is about to say that it has accepted it
		}
		t.arrive(message, f, now)
		return true
	}
	what, known := t.fates[message.Text]
	switch {
	case known && what == delivered:
		t.counts.Duplicates++
	case known && what == lost:
		t.counts.Late++
		t.last = &Arrival{Found: message, At: now}
		t.settle(message.Text, delivered)
	case !known && !message.Own:
		return now.Sub(message.Sent) > foreignAge
	}
	return true // a leftover of an earlier run among them
}

// arrive notes a delivery. How long it took is told only if somebody could see it arrive.
func (t *track) arrive(message mailbox.Found, f *flight, now time.Time) {
	t.counts.Delivered++
	t.lastLost = false
	t.last = &Arrival{Found: message, At: now}
	if !f.unseen {
		t.last.Took = max(now.Sub(f.accepted), time.Nanosecond)
		t.times.Observe(t.last.Took.Seconds())
	}
	t.settle(message.Text, delivered)
}

// youngest gives the age of the youngest message under way.
func (t *track) youngest(now time.Time) (age time.Duration, found bool) {
	for _, f := range t.flights {
		own := time.Duration(0)
		if !f.accepted.IsZero() {
			own = now.Sub(f.accepted)
		}
		if !found || own < age {
			age, found = own, true
		}
	}
	return age, found
}

func (t *track) state(now time.Time) State {
	s := State{
		Counts: t.counts, InFlight: len(t.flights), Times: t.times.Value(), Last: t.last,
		Known: t.known, Readable: t.readable, Problem: t.problem, LastLost: t.lastLost, Present: t.present,
	}
	s.Refused, s.Blind = make(map[Refusal]uint64), make(map[fault.Kind]uint64)
	for why, n := range t.counts.Refused {
		s.Refused[why] = n
	}
	for why, n := range t.counts.Blind {
		s.Blind[why] = n
	}
	for _, f := range t.flights {
		if !f.accepted.IsZero() {
			s.Oldest = max(s.Oldest, now.Sub(f.accepted))
		}
	}
	return s
}
