package soak

import (
	"context"
	"fmt"
	"time"
)

// act makes a line's part of the schedule happen, one fault after the other. It leaves the line and its server well.
func (l *line) act(ctx context.Context, begin time.Time, events []Event) error {
	for _, e := range events {
		if e.Line != l.name {
			continue
		}
		if !sleep(ctx, time.Until(begin.Add(e.At))) {
			return nil
		}
		if err := l.suffer(ctx, e); err != nil {
			return fmt.Errorf("%s: %w", e, err)
		}
	}
	return nil
}

// suffer makes one fault happen, from its beginning to its end.
func (l *line) suffer(ctx context.Context, e Event) error {
	l.past.touch(e, time.Now())
	err := l.begin(e)
	l.past.mark(func(i *incident) { i.begun = time.Now() })
	if err == nil {
		sleep(ctx, e.For)
	}
	l.past.mark(func(i *incident) { i.ending = time.Now() })
	if err == nil {
		err = l.undo(e)
	}
	l.past.mark(func(i *incident) { i.ended = time.Now() })
	return err
}

func (l *line) begin(e Event) error {
	switch e.Kind {
	case Stall:
		l.proxy.Stall()
	case StallAfter:
		l.proxy.StallAfter(e.Bytes)
	case Cut:
		l.proxy.CutAfter(0)
		l.proxy.Cut()
	case CutAfter:
		l.proxy.CutAfter(e.Bytes)
	case CutOnce:
		l.proxy.Cut()
	case Garble:
		l.proxy.Garble(e.Bytes)
	case Flood:
		l.proxy.Flood([]byte(e.Block))
	case Refuse:
		l.proxy.Refuse()
		time.Sleep(50 * time.Millisecond) // one that was let in just before has come through by then
		l.proxy.Cut()
	case Slow:
		l.proxy.SetDelay(e.Delay)
	case Pause:
		return l.machine.pause()
	case Kill:
		return l.machine.kill()
	case Restart:
		return l.machine.stop()
	}
	return nil
}

func (l *line) undo(e Event) error {
	l.proxy.Resume()
	l.proxy.SetDelay(0)
	switch e.Kind {
	case Pause:
		l.machine.resume()
	case Kill, Restart:
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second) // also where the soak is to end
		defer cancel()
		return l.machine.start(ctx)
	}
	return nil
}

// tell raises the line's first truth again and again. A server that does not take it is part of the soak: the same value
// is tried again.
func (l *line) tell(ctx context.Context) {
	for l.raise != nil && sleep(ctx, 700*time.Millisecond) {
		value := l.truths[0].next()
		l.truths[0].try(value)
		limited, cancel := context.WithTimeout(ctx, 3*time.Second)
		if l.raise(limited, value) == nil {
			l.truths[0].know(value)
		}
		cancel()
	}
}

// sleep waits, and tells whether it did so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
