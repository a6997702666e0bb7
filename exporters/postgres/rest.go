package main

import (
	"context"
	"io"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// speaker is the library's reader and writer of messages with its memory, of some 12 kB. A connection needs one only while
// it talks; so it is used by one after another, and those that rest have none.
type speaker struct {
	front *pgproto3.Frontend
	from  io.Reader
	to    io.Writer
}

var speakers = sync.Pool{New: func() any {
	s := &speaker{}
	s.front = pgproto3.NewFrontend(s, s)
	return s
}}

func (s *speaker) Read(b []byte) (int, error)  { return s.from.Read(b) }
func (s *speaker) Write(b []byte) (int, error) { return s.to.Write(b) }

// frontend puts the wire below the library's reader of messages: a new one for each attempt to connect, and the one that
// it had for a connection that wakes.
func (c *conn) frontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	if c.resting == nil {
		c.wire = wire{simple: c.wire.simple}
	}
	c.wire.from = r
	c.speaker = speakers.Get().(*speaker)
	c.speaker.from, c.speaker.to = &c.wire, w
	return c.speaker.front
}

// rest gives back what a connection needs only while it talks, unless something is left to be read.
func (c *conn) rest() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if c.pg.SyncConn(ended) != nil { // it only looks, as it has no time to ask
		return
	}
	resting, err := c.pg.Hijack()
	if err != nil {
		return
	}
	c.speaker.from, c.speaker.to, c.wire.from = nil, nil, nil
	speakers.Put(c.speaker)
	c.pg, c.speaker, c.resting, resting.Frontend = nil, nil, resting, nil
	if len(resting.ParameterStatuses) > len(heeded) {
		resting.ParameterStatuses = heed(resting.ParameterStatuses)
	}
}

// heeded are the parameters that we look at, of those which a server reports of itself.
var heeded = []string{"server_version", "server_encoding", "in_hot_standby"}

// heed leaves them in memory that is no larger than they need.
func heed(reported map[string]string) map[string]string {
	left := make(map[string]string, len(heeded))
	for _, name := range heeded {
		if value, known := reported[name]; known {
			left[name] = value
		}
	}
	return left
}

// wake makes a connection ready to talk.
func (c *conn) wake() (err error) {
	if c.resting == nil {
		return nil
	}
	if c.pg, err = pgconn.Construct(c.resting); err == nil {
		c.resting = nil
	}
	return err
}
