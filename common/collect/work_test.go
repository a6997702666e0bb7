package collect

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestBackground holds that work in the background begins with serving, goes on after a panic, and ends with the target.
func TestBackground(t *testing.T) {
	var begun, ended atomic.Int64
	worker := gauge("good")
	worker.Background = func(ctx context.Context) {
		if begun.Add(1) == 1 {
			panic("for the test")
		}
		<-ctx.Done()
		time.Sleep(time.Second)
		ended.Add(1)
	}
	s := newServer()
	s.replies["good"] = table("key value", "a 1")
	bubble(t, s, Catalogue{worker}, func(f *fixture) {
		f.scrape(10 * second)
		if begun.Load() != 0 {
			t.Error("it begins although nobody serves the target")
		}
		f.Serve()
		f.Serve()
		time.Sleep(second)
		if log := f.logs.take(); begun.Load() != 1 || !strings.Contains(log, "ERROR work in the background failed collector=good") {
			t.Errorf("it was begun %d times; log: %s", begun.Load(), log)
		}
		time.Sleep(restart)
		if begun.Load() != 2 {
			t.Errorf("it was begun %d times, want once more after the panic", begun.Load())
		}
		f.Close()
		if ended.Load() != 1 {
			t.Error("the target is closed before its work has ended")
		}
		f.Serve()
		time.Sleep(2 * restart)
		if begun.Load() != 2 {
			t.Error("it begins on a closed target")
		}
	})
}
