// Package canary sees whether a server works from end to end: it writes a vector into a collection of its own, reads it,
// searches for it until it is found, and deletes it.
//
// The collection carries a mark, which is set in the request that creates it. One of the name without the mark is
// somebody else's and is not touched. Points have IDs that hold the time when they were made, so that those that an
// exporter has left behind are known from those of another one that works in the same collection right now.
package canary

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// What the canary is by itself.
const (
	Collection = "vectordb_exporter_canary"
	Every      = time.Minute
	mark       = "vectordb_exporter_canary"
	dimensions = 8
)

const (
	roundLimit  = 20 * time.Second
	cleanLimit  = 5 * time.Second // of what is left for deleting
	leftAfter   = 10 * time.Minute
	maxLeft     = 10_000 // points that are looked at for leftovers
	neighbours  = 3      // asked for, for the sake of what may lie near by chance
	near        = 1e-2   // distance within which a vector is the same: some servers round
	firstPause  = 10 * time.Millisecond
	lastPause   = 250 * time.Millisecond
	healthLimit = 2 * time.Second
)

// Operation is one step of a round.
type Operation string

// The operations, in the order of a round.
const (
	Create Operation = "create"
	Write  Operation = "write"
	Read   Operation = "read"
	Search Operation = "search"
	Delete Operation = "delete"
)

func operations() []Operation { return []Operation{Create, Write, Read, Search, Delete} }

// Canary is what is remembered of one server. Its methods may be called at the same time.
type Canary struct {
	name   string
	record *record
	sign   string // the ID of the point that Sign writes

	mu      sync.Mutex
	rounds  bool      // there was one
	failed  error     // of the last one
	cleaned time.Time // when leftovers were last looked for
}

// New returns a canary with a collection of that name.
func New(name string) *Canary {
	return &Canary{name: name, record: newRecord(), sign: newID(time.Now())}
}

// Round does all operations once, within a third of a minute. What fails is counted, and its error returned.
func (c *Canary) Round(ctx context.Context, s backend.Session) error {
	c.record.begin()
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	in, err := c.prepare(ctx, s)
	if err == nil {
		err = c.circle(ctx, s, in)
	}
	c.record.end(time.Now(), err == nil)
	c.remember(err)
	return err
}

// Failed takes note of a round that could not be begun.
func (c *Canary) Failed(err error) {
	c.record.begin()
	_ = c.record.failed(Create, err)
	c.record.end(time.Now(), false)
	c.remember(err)
}

// remember takes note of how a round ended.
func (c *Canary) remember(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rounds, c.failed = true, err
}

// Ready tells whether Sign has something to say: that it can write, or that the last round could not.
func (c *Canary) Ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rounds
}

// Sign writes one point, the same each time, and so tells whether the server takes what is written; only where the
// collection is ours at that moment. Where the last round failed it fails in the same way.
func (c *Canary) Sign(ctx context.Context, s backend.Session) error {
	c.mu.Lock()
	failed := c.failed
	c.mu.Unlock()
	if failed != nil {
		return failed
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	in, own, err := s.Marked(ctx, c.name, mark)
	switch {
	case err != nil:
		return err
	case !own:
		return fault.New(fault.Config, "the collection is no longer the canary's")
	}
	return s.Write(ctx, in, []backend.Point{{ID: c.sign, Vector: randomVector()}})
}

// prepare sees that the collection is there and ours, which may have changed since the last round, and now and then that
// it is free of leftovers.
func (c *Canary) prepare(ctx context.Context, s backend.Session) (backend.Place, error) {
	in, err := c.claim(ctx, s)
	c.mu.Lock()
	clean := time.Since(c.cleaned) > leftAfter
	c.mu.Unlock()
	if err == nil && clean {
		err = c.clean(ctx, s, in)
	}
	if err != nil {
		return in, c.record.failed(Create, err)
	}
	if clean {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cleaned = time.Now()
	}
	return in, nil
}

// claim finds the collection or makes it.
func (c *Canary) claim(ctx context.Context, s backend.Session) (backend.Place, error) {
	in, own, err := s.Marked(ctx, c.name, mark)
	if errors.Is(err, backend.ErrGone) {
		begin := time.Now()
		in, err = s.Create(ctx, c.name, mark, dimensions)
		if err == nil {
			c.record.done(Create, time.Since(begin))
			return in, nil
		}
		if errors.Is(err, backend.ErrExists) { // another exporter was faster
			in, own, err = s.Marked(ctx, c.name, mark)
		}
	}
	if err == nil && !own {
		err = fault.New(fault.Config, "there is a collection "+strconv.Quote(c.name)+" that is not the canary's: it is left alone")
	}
	return in, err
}

// clean deletes what an exporter has left behind that did not end as it should.
func (c *Canary) clean(ctx context.Context, s backend.Session, in backend.Place) error {
	var left []string
	seen := 0
	enough := errors.New("enough")
	err := s.Scan(ctx, in, func(page []backend.Point) error {
		for _, p := range page {
			if made, ok := madeAt(p.ID); !ok || time.Since(made) > leftAfter {
				left = append(left, p.ID)
			}
		}
		if seen += len(page); seen > maxLeft {
			return enough
		}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return err
	}
	for some := range slices.Chunk(left, 100) {
		if err := s.Delete(ctx, in, some); err != nil {
			return err
		}
		c.record.removed(len(some))
	}
	return nil
}

// circle is what a round is about.
func (c *Canary) circle(ctx context.Context, s backend.Session, in backend.Place) error {
	p := backend.Point{ID: newID(time.Now()), Vector: randomVector()}
	early, cancel := shorter(ctx, cleanLimit)
	defer cancel()
	err := c.live(early, s, in, p)
	begin := time.Now()
	deleted := s.Delete(ctx, in, []string{p.ID}) // also what may have been written though we were not told
	if deleted != nil {
		return errors.Join(err, c.record.failed(Delete, deleted))
	}
	c.record.done(Delete, time.Since(begin))
	return err
}

// live is the life of a point until it is deleted.
func (c *Canary) live(ctx context.Context, s backend.Session, in backend.Place, p backend.Point) error {
	begin := time.Now()
	if err := s.Write(ctx, in, []backend.Point{p}); err != nil {
		return c.record.failed(Write, err)
	}
	written := time.Now()
	c.record.done(Write, written.Sub(begin))
	readErr := c.read(ctx, s, in, p)
	found, err := c.search(ctx, s, in, p)
	if err != nil {
		return errors.Join(readErr, c.record.failed(Search, err))
	}
	c.record.fresh(found.Sub(written))
	return readErr
}

func (c *Canary) read(ctx context.Context, s backend.Session, in backend.Place, p backend.Point) error {
	begin := time.Now()
	got, err := s.Read(ctx, in, p.ID)
	if err == nil && !same(got.Vector, p.Vector) {
		err = fault.New(fault.Malformed, "what was read is not what was written")
	}
	if err != nil {
		return c.record.failed(Read, err)
	}
	c.record.done(Read, time.Since(begin))
	return nil
}

// search repeats a search until the point is found, and tells when it was. How long the first search took counts as
// its duration, whatever it found.
func (c *Canary) search(ctx context.Context, s backend.Session, in backend.Place, p backend.Point) (time.Time, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		begin := time.Now()
		found, err := s.Search(ctx, in, p.Vector, neighbours)
		if err != nil {
			return time.Time{}, err
		}
		if pause == firstPause {
			c.record.done(Search, time.Since(begin))
		}
		at := slices.IndexFunc(found.Hits, func(h backend.Hit) bool { return h.ID == p.ID })
		if at >= 0 && math.Abs(found.Hits[at].Distance) < near {
			return time.Now(), nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return time.Time{}, fault.Wrap(fault.Timeout, "searching for what was written", ctx.Err())
		}
	}
}

// shorter leaves some of the time of a context to what comes after.
func shorter(ctx context.Context, left time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(left, time.Until(deadline)/2)))
}

func randomVector() []float32 {
	vector := make([]float32, dimensions)
	for i := range vector {
		vector[i] = float32(rand.NormFloat64())
	}
	return vector
}

// same tells whether two vectors have the same direction: some servers keep no lengths.
func same(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	var product, left, right float64
	for i := range a {
		product += float64(a[i]) * float64(b[i])
		left += float64(a[i]) * float64(a[i])
		right += float64(b[i]) * float64(b[i])
	}
	return product > (1-near)*math.Sqrt(left*right)
}

// newID makes a UUID of version 7: 48 bits of Unix milliseconds, then chance.
func newID(at time.Time) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|0x7000|rand.Uint64N(1<<12))
	binary.BigEndian.PutUint64(id[8:], 1<<63|rand.Uint64N(1<<62))
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// madeAt reads the time of such an ID.
func madeAt(id string) (time.Time, bool) {
	if len(id) != 36 || id[14] != '7' {
		return time.Time{}, false
	}
	raw, err := hex.DecodeString("0000" + id[:8] + id[9:13])
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(raw))), true
}
