package pool

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

type fake struct {
	broken bool
	open   *atomic.Int32
}

func (f *fake) Broken() bool { return f.broken }
func (f *fake) Close()       { f.open.Add(-1) }

func TestPool(t *testing.T) {
	var opened, open atomic.Int32
	p := New(2, func(context.Context) (*fake, error) {
		opened.Add(1)
		open.Add(1)
		return &fake{open: &open}, nil
	})
	use := func(do func(*fake) error) error { return p.Use(t.Context(), do) }
	for range 3 {
		if err := use(func(*fake) error { return nil }); err != nil || opened.Load() != 1 {
			t.Fatalf("%v, %d opened", err, opened.Load())
		}
	}
	mistake := errors.New("mistake")
	if err := use(func(f *fake) error { f.broken = true; return mistake }); !errors.Is(err, mistake) || open.Load() != 0 {
		t.Errorf("a broken one: %v, %d open", err, open.Load())
	}
	err := use(func(*fake) error {
		return use(func(*fake) error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if err := p.Use(ctx, func(*fake) error { return nil }); fault.Of(err) != fault.Busy {
				t.Errorf("a third at once: %v", err)
			}
			p.Close()
			return nil
		})
	})
	if err != nil || open.Load() != 0 {
		t.Errorf("%v, %d open after the end", err, open.Load())
	}
}
