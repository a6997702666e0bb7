package main

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Only so many probes begin at once; one that ends or waits for its server makes room; and whoever leaves gives up.
func TestCrowd(t *testing.T) {
	places := perCPU * runtime.GOMAXPROCS(0)
	synctest.Test(t, func(t *testing.T) {
		var c crowd
		begun := time.Now()
		for range places {
			if _, err := c.enter(t.Context()); err != nil || time.Since(begun) > 0 {
				t.Fatalf("%v after %s", err, time.Since(begun))
			}
		}
		impatient, cancel := context.WithTimeout(t.Context(), briefly/2)
		defer cancel()
		if _, err := c.enter(impatient); fault.Of(err) != fault.Limited {
			t.Errorf("%v", err)
		}
		leave, err := c.enter(t.Context())
		if err != nil || time.Since(begun) != briefly {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		leave()
		leave()
		time.Sleep(2 * briefly)
		if n := len(c.places); n != 0 {
			t.Errorf("%d places are lost", n)
		}
	})
}

// A crowd of which a tenth is silent for long comes through as fast as it is let in.
func TestSilentCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crowd
		var live sync.WaitGroup
		begun := time.Now()
		for i := range 1000 {
			work := func() {
				leave, err := c.enter(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer leave()
				if i%10 == 0 {
					time.Sleep(5 * time.Second)
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			if i%10 == 0 {
				go work()
			} else {
				live.Go(work)
			}
		}
		live.Wait()
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the living were done after %s", took)
		}
		time.Sleep(6 * time.Second)
	})
}
