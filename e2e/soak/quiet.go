package soak

import (
	"context"
	"sync"
	"time"
)

const listenEvery = 50 * time.Millisecond

// quiet remembers when anything came from a server last, by the count of bytes that its line has let pass.
type quiet struct {
	mu    sync.Mutex
	begun time.Time // zero before anybody listens
	heard time.Time
	bytes int64
}

// listen looks at the count again and again, until the soak ends.
func (q *quiet) listen(ctx context.Context, count func() int64) {
	q.begin()
	q.hear(count())
	for sleep(ctx, listenEvery) {
		q.hear(count())
	}
}

func (q *quiet) begin() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.begun = time.Now()
}

func (q *quiet) hear(bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if bytes != q.bytes {
		q.bytes, q.heard = bytes, time.Now()
	}
}

// since tells that nothing at all has come from a moment until now, when the count is this.
func (q *quiet) since(moment time.Time, bytes int64) bool {
	q.hear(bytes)
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.begun.IsZero() && q.begun.Before(moment) && q.heard.Before(moment)
}
