package rest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// maxStalled is how many requests of a wave may be left without an answer before the rest is given up.
const maxStalled = 3

// Each calls ask for 0 to n-1, as many at once as there are connections. What ask returns tells how that one fared;
// each gets at most half of the time that is left, so that one that stalls costs only itself. The wave ends with an
// error where the rest would fare alike: the server is gone, refuses us or wants to be left alone.
func (c *Client) Each(ctx context.Context, n int, ask func(ctx context.Context, i int) error) error {
	if until := time.Unix(0, c.pause.Load()); time.Now().Before(until) {
		return fault.New(fault.Busy, "the server asked to be left alone for a while")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &wave{n: n}
	var workers sync.WaitGroup
	for range min(n, Connections) {
		workers.Go(func() {
			for i, ok := w.take(); ok; i, ok = w.take() {
				if w.judge(ctx, bound(ctx, i, ask)) {
					cancel()
				}
			}
		})
	}
	workers.Wait()
	return w.failed
}

func bound(ctx context.Context, i int, ask func(ctx context.Context, i int) error) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	return ask(ctx, i)
}

// wave is how far a wave has got.
type wave struct {
	mu      sync.Mutex
	n, next int
	stalled int
	failed  error
}

func (w *wave) take() (i int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil || w.next == w.n {
		return 0, false
	}
	w.next++
	return w.next - 1, true
}

// judge tells whether the wave has to end.
func (w *wave) judge(ctx context.Context, err error) (over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil || w.failed != nil {
		return false
	}
	var status *StatusError
	answered := errors.As(err, &status)
	kind := fault.Of(err)
	switch {
	case answered && status.RetryAfter > 0, kind == fault.Auth, !answered && kind == fault.Unreachable, ctx.Err() != nil:
		w.failed = err
	case !answered && kind == fault.Timeout:
		if w.stalled++; w.stalled > maxStalled {
			w.failed = err
		}
	}
	return w.failed != nil
}
