package rest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// maxLost is how many requests of a wave may get no answer that can be read before the rest is given up.
const maxLost = 3

// Each calls ask for 0 to n-1, as many at once as there are connections. What ask returns tells how that one fared;
// each has to be patient no longer than the endpoint says, so that one that stalls costs only itself. The wave ends
// with an error where the rest would fare alike: the server is gone, refuses us or wants to be left alone.
func (c *Client) Each(ctx context.Context, n int, ask func(ctx context.Context, i int) error) error {
	if until := time.Unix(0, c.pause.Load()); time.Now().Before(until) {
		return fault.New(fault.Busy, "the server asked to be left alone for a while")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &wave{n: n}
	var workers sync.WaitGroup
	for range min(n, c.most) {
		workers.Go(func() {
			for i, ok := w.take(); ok; i, ok = w.take() {
				if w.judge(ctx, c.bound(ctx, i, ask)) {
					cancel()
				}
			}
		})
	}
	workers.Wait()
	return w.failed
}

func (c *Client) bound(ctx context.Context, i int, ask func(ctx context.Context, i int) error) error {
	if c.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.patience)
		defer cancel()
	}
	return Guarded(func() error { return ask(ctx, i) })
}

// Guarded turns a panic into an error that says where it was: one in a goroutine of our own would end the process.
func Guarded(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &fault.Error{Kind: fault.Internal, Op: "panic", Err: &panicError{fmt.Sprintf("%v\n%s", p, debug.Stack())}}
		}
	}()
	return call()
}

type panicError struct{ text string }

func (p *panicError) Error() string { return p.text }

// wave is how far a wave has got.
type wave struct {
	mu      sync.Mutex
	n, next int
	lost    int
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
	switch kind := fault.Of(err); {
	case answered && status.RetryAfter > 0, kind == fault.Auth, ctx.Err() != nil, errors.As(err, new(*panicError)):
		w.failed = err
	case !answered && (kind == fault.Timeout || kind == fault.Unreachable || kind == fault.Limited):
		if w.lost++; w.lost > maxLost {
			w.failed = err
		}
	}
	return w.failed != nil
}
