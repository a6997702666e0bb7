// Package roundtrip shows whether mail that a server accepts arrives: it sends marked messages on a schedule of its own,
// and looks for them in the mailbox for which they are meant.
//
// It tells messages that are delivered in time from late, lost and duplicated ones, and says nothing about what it could
// not see: no message is lost as long as the mailbox cannot be read. It removes its own messages, and nothing else.
package roundtrip

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mailbox"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

const (
	// lookLimit bounds one look into the mailbox, or the removal of what it found.
	lookLimit = 30 * time.Second
	// Pauses between looks: a fraction of the age of the youngest message under way, so that the time it took is known to
	// that fraction, within bounds; and a long one where none is under way.
	shortestPause = 20 * time.Millisecond
	longestPause  = 5 * time.Second
	agePerPause   = 10
	restPause     = time.Minute
	// Pauses after a failure, each twice as long as that before.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// A login that was refused so often in a row is tried no more often than that, lest the account be locked.
	maxRefusals  = 3
	refusedRetry = 30 * time.Second
)

// Config says what to do.
type Config struct {
	Marks     *mark.Signer
	Box       mailbox.Box
	Every     time.Duration // from one message to the next
	LostAfter time.Duration // from when a message was accepted
	InFlight  int           // how many messages may be under way
	// Send hands a message over. It ends with its context or before.
	Send func(ctx context.Context, token mark.Token) Sent
}

// Sent is what came of handing a message over.
type Sent struct {
	Accepted      bool
	Phase, Reason string // where it was not accepted
}

// Trip is a round trip that goes on and on.
type Trip struct {
	config Config
	wake   chan struct{}
	ready  chan struct{} // closed once it is known whether the mailbox can be read
	once   sync.Once

	mu    sync.Mutex
	track track
}

// New prepares a round trip.
func New(c Config) *Trip {
	return &Trip{config: c, wake: make(chan struct{}, 1), ready: make(chan struct{}), track: newTrack(c.LostAfter)}
}

// Run sends and looks until the context ends.
func (t *Trip) Run(ctx context.Context) {
	var looking sync.WaitGroup
	looking.Go(func() { t.watch(ctx) })
	defer looking.Wait()
	select { // a message that arrived before anybody looked would be taken for a slow one
	case <-t.ready:
	case <-ctx.Done():
		return
	}
	ticks := time.NewTicker(t.config.Every)
	defer ticks.Stop()
	for ctx.Err() == nil {
		t.send(ctx)
		select {
		case <-ticks.C:
		case <-ctx.Done():
		}
	}
}

// State gives what is known now.
func (t *Trip) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.track.state(time.Now())
}

// Try looks into the mailbox once. It sends and removes nothing.
func (t *Trip) Try(ctx context.Context) error {
	session, err := t.config.Box.Open(ctx)
	if err != nil {
		return err
	}
	defer session.Close()
	_, err = session.Look(ctx)
	return err
}

// send sends one message, unless there are enough under way.
func (t *Trip) send(ctx context.Context) {
	token := t.config.Marks.New(time.Now())
	t.mu.Lock()
	begun := t.track.begin(token, t.config.InFlight)
	t.mu.Unlock()
	if !begun {
		return
	}
	t.kick() // so that the mailbox is open when the message arrives
	sent := t.config.Send(ctx, token)
	t.mu.Lock()
	t.track.sent(token, sent, time.Now())
	t.mu.Unlock()
	t.kick()
}

// kick wakes whoever looks.
func (t *Trip) kick() {
	select {
	case t.wake <- struct{}{}:
	default: // it is awake
	}
}

// watch looks into the mailbox, and opens it anew after a failure: at once where it could be read before, as servers
// hang up after a while.
func (t *Trip) watch(ctx context.Context) {
	retry, refusals := firstRetry, 0
	for ctx.Err() == nil {
		looked, err := t.session(ctx)
		if ctx.Err() != nil {
			return
		}
		t.mu.Lock()
		t.track.cut()
		if !looked {
			t.track.blind(fault.Of(err))
		}
		t.mu.Unlock()
		if looked {
			retry, refusals = firstRetry, 0
			continue
		}
		if fault.Of(err) == fault.Auth {
			if refusals++; refusals >= maxRefusals {
				retry = max(retry, refusedRetry)
			}
		}
		t.once.Do(func() { close(t.ready) })
		pause := time.NewTimer(retry)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
		retry = min(2*retry, lastRetry)
	}
}

// session looks until something fails, and tells whether it could look at all.
func (t *Trip) session(ctx context.Context) (looked bool, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fault.New(fault.Internal, fmt.Sprint("panic: ", problem))
		}
	}()
	open, cancel := context.WithTimeout(ctx, lookLimit)
	session, err := t.config.Box.Open(open)
	cancel()
	if err != nil {
		return false, err
	}
	defer session.Close()
	for {
		if err := t.look(ctx, session); err != nil {
			return looked, err
		}
		looked = true
		t.once.Do(func() { close(t.ready) })
		pause := t.pause()
		wait, cancel := context.WithTimeout(ctx, pause+lookLimit)
		err := session.Wait(wait, pause, t.wake)
		cancel()
		if err != nil {
			return looked, err
		}
	}
}

// look looks once and removes what need not stay.
func (t *Trip) look(ctx context.Context, session mailbox.Session) error {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	begun := time.Now()
	found, err := session.Look(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	gone := t.track.looked(found, begun, time.Now())
	t.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	removed, err := session.Remove(ctx, gone)
	t.mu.Lock()
	t.track.counts.Removed += uint64(removed) //nolint:gosec // not negative
	t.mu.Unlock()
	return err
}

// pause is how long to wait before the next look.
func (t *Trip) pause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	age, underWay := t.track.youngest(time.Now())
	switch {
	case !underWay && t.track.lastLost: // it may come late
		return longestPause
	case !underWay:
		return restPause
	}
	return min(max(age/agePerPause, shortestPause), longestPause)
}
