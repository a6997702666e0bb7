// Package pool keeps a few connections of a session, for protocols that have no such thing of their own.
package pool

import (
	"context"
	"sync/atomic"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Connection is what is kept.
type Connection interface {
	// Broken tells whether it cannot be used again.
	Broken() bool
	// Close ends it without waiting for the server.
	Close()
}

// Pool lends connections and opens those that are missing. Its methods may be called at the same time.
type Pool[C Connection] struct {
	open   func(context.Context) (C, error)
	turns  chan struct{}
	idle   chan C
	closed atomic.Bool
}

// New returns a pool of at most so many connections.
func New[C Connection](most int, open func(context.Context) (C, error)) *Pool[C] {
	return &Pool[C]{open: open, turns: make(chan struct{}, most), idle: make(chan C, most)}
}

// Use lends a connection for the time of a function, whose error it gives.
func (p *Pool[C]) Use(ctx context.Context, do func(C) error) error {
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		return fault.Wrap(fault.Busy, "waiting for a connection", ctx.Err())
	}
	c, err := p.take(ctx)
	if err != nil {
		return err
	}
	defer p.giveBack(c)
	return do(c)
}

func (p *Pool[C]) take(ctx context.Context) (C, error) {
	select {
	case c := <-p.idle:
		return c, nil
	default:
		return p.open(ctx)
	}
}

func (p *Pool[C]) giveBack(c C) {
	if c.Broken() {
		c.Close()
	} else {
		p.idle <- c
	}
	if p.closed.Load() {
		p.Close()
	}
}

// Close ends the connections that are idle, and those in use when they are given back.
func (p *Pool[C]) Close() {
	p.closed.Store(true)
	for {
		select {
		case c := <-p.idle:
			c.Close()
		default:
			return
		}
	}
}
