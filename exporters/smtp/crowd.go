package main

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

const (
	// perCPU is how many probes may begin at once, for each processor: as many as it can carry through TLS in briefly.
	perCPU = 8
	// briefly is how long a probe keeps its place. One that takes longer waits for its server, which costs nothing: so
	// servers that are silent keep nobody waiting.
	briefly = 50 * time.Millisecond
)

// crowd bounds how many probes begin at once: of a thousand that all did, each would measure how long it waits for the
// others. The zero crowd is ready.
type crowd struct {
	once   sync.Once
	places chan struct{}
}

// enter waits for a place. Leave, which may be called more than once, gives it to the next.
func (c *crowd) enter(ctx context.Context) (leave func(), err error) {
	c.once.Do(func() { c.places = make(chan struct{}, perCPU*runtime.GOMAXPROCS(0)) })
	select {
	case c.places <- struct{}{}:
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Limited, "too many probes at once", ctx.Err())
	}
	var once sync.Once
	leave = func() { once.Do(func() { <-c.places }) }
	time.AfterFunc(briefly, leave)
	return leave, nil
}
