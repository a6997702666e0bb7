// Package queue tells how much mail waits in the queues of a mail server on the same machine, and for how long. It reads
// and changes nothing, and nothing of senders, recipients or messages leaves it.
package queue

import (
	"context"
	"math"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// maxMessages is how many messages are looked at. With more there is no answer: a part of a queue would be a wrong number.
const maxMessages = 1_000_000

// Queue is what waits in one queue.
type Queue struct {
	Messages int64
	Bytes    int64         // of the messages as they are kept
	Oldest   time.Duration // age of the oldest message, 0 where there is none
	Ages     []uint64      // messages by age: those up to Bounds()[i], and at the end all others
	AgeSum   time.Duration // of all messages, as far as that can be told
}

// Queues are the queues of a server by their names. Those that the server has are all there, the empty ones too.
type Queues map[string]*Queue

// Source is where the queues of a server can be read.
type Source interface {
	// Read looks at all queues. It ends with the context. Its errors have their kind: Unreachable where there is no such
	// server, Denied where it may not be read, Malformed, Limited and Timeout; then there are no queues.
	Read(ctx context.Context) (Queues, error)
}

// Bounds are the ages in seconds by which messages are told apart, from a minute to the five days after which mail is
// mostly given up.
func Bounds() []float64 {
	return []float64{60, 300, 900, 3600, 4 * 3600, 24 * 3600, 3 * 24 * 3600, 5 * 24 * 3600}
}

func newQueues(names ...string) Queues {
	all := Queues{}
	for _, name := range names {
		all[name] = &Queue{Ages: make([]uint64, len(Bounds())+1)}
	}
	return all
}

// add counts a message. One from the future, as where a clock was set back, has just come.
func (q *Queue) add(bytes int64, arrived, now time.Time) {
	age := max(now.Sub(arrived), 0)
	q.Messages++
	q.Bytes += bytes
	q.Oldest = max(q.Oldest, age)
	q.AgeSum += min(age, math.MaxInt64-q.AgeSum) // a million messages of ten years overflow it
	at := 0
	for at < len(q.Ages)-1 && age.Seconds() > Bounds()[at] {
		at++
	}
	q.Ages[at]++
}

// total tells how many messages there are in all queues.
func (qs Queues) total() (n int64) {
	for _, q := range qs {
		n += q.Messages
	}
	return n
}

// full gives an error once there are more messages than are looked at.
func (qs Queues) full() error {
	if qs.total() >= maxMessages {
		return fault.New(fault.Limited, "more messages are in the queues than are looked at")
	}
	return nil
}
