package collect

import (
	"context"
	"sync"
	"time"
)

// restart is how long a Background that panicked is left alone.
const restart = time.Minute

// work is what the collectors of a target do in the background.
type work struct {
	mu      sync.Mutex
	cancel  context.CancelFunc // nil before the start
	stopped bool
	running sync.WaitGroup
}

// Serve begins what the collectors do in the background, once. Close ends it and waits for the end.
func (t *Target) Serve() {
	t.work.mu.Lock()
	defer t.work.mu.Unlock()
	if t.work.cancel != nil || t.work.stopped {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.work.cancel = cancel
	for _, c := range t.spec.Collectors {
		if c.Background != nil {
			t.work.running.Go(func() { t.background(ctx, c) })
		}
	}
}

// background goes on until the context ends. A panic ends neither the process nor, for good, the work.
func (t *Target) background(ctx context.Context, c *Collector) {
	for ctx.Err() == nil {
		if err := guard(func() error { c.Background(ctx); return nil }); err != nil {
			t.log.Error("work in the background failed", "collector", c.Name, "err", err)
		}
		pause := time.NewTimer(restart)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

func (w *work) stop() {
	w.mu.Lock()
	w.stopped = true
	cancel := w.cancel
	w.mu.Unlock()
	if cancel != nil {
		cancel()
		w.running.Wait()
	}
}
