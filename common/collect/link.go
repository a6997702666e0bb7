package collect

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// How often a connection that fails is tried again. Where the server does not answer, once a second: scrapes are rare
// as it is, and the first one after the server is back must be good. Where it refuses us, ever more seldom, so that
// an account is not locked and a server's log not filled.
const (
	retryUnreachable = time.Second
	retryRefused     = 30 * time.Second
)

// link is the kept connection of a target. It is used by one run at a time.
type link struct {
	driver   Driver
	conn     Conn
	took     time.Duration // to connect
	started  time.Time     // the last attempt
	refusals int           // in a row
	retry    time.Time     // no attempt before
	err      error         // of the last attempt that failed
	opened   atomic.Uint64
	closed   Usage // what earlier connections cost
}

// open gives the kept connection, or connects. Fresh tells which.
func (l *link) open(ctx context.Context) (conn Conn, fresh bool, err error) {
	if l.conn != nil {
		return l.conn, false, nil
	}
	if l.refusals > 0 && time.Until(l.retry) > 0 {
		return nil, false, l.err // asking again so soon would be no use
	}
	select {
	case <-time.After(time.Until(l.retry)):
	case <-ctx.Done():
		return nil, false, fault.Wrap(fault.Timeout, "waiting to connect", ctx.Err())
	}
	l.started = time.Now()
	l.retry = l.started.Add(retryUnreachable) // also where the driver panics
	l.opened.Add(1)
	conn, err = l.driver.Connect(ctx)
	if err != nil {
		err = fault.Wrap(l.driver.Classify(err), "connecting", err)
		if ctx.Err() == nil { // an attempt that was called off says nothing
			l.failed(err)
		}
		return nil, false, err
	}
	l.conn, l.took, l.refusals, l.retry = conn, max(time.Since(l.started), 1), 0, time.Time{}
	return conn, true, nil
}

// failed takes note of an attempt that failed, in connecting or before the first answer, and says when to try again.
func (l *link) failed(err error) {
	l.err = err
	switch fault.Of(err) {
	case fault.Auth, fault.Denied, fault.Config:
		l.refusals++
		delay := retryRefused
		if l.refusals < 3 {
			delay = time.Duration(l.refusals) * retryUnreachable
		}
		l.retry = time.Now().Add(delay + rand.N(delay/10))
	default:
		l.refusals = 0
		l.retry = l.started.Add(retryUnreachable)
	}
}

// drop closes the connection. Whatever the driver does about it, the next run has another one.
func (l *link) drop() {
	if conn := l.conn; conn != nil {
		l.conn = nil
		defer conn.Close()
		l.closed = l.closed.plus(conn.Usage())
	}
}

// usage is what all connections of the link cost so far.
func (l *link) usage() Usage {
	if l.conn == nil {
		return l.closed
	}
	return l.closed.plus(l.conn.Usage())
}

func (u Usage) plus(more Usage) Usage {
	return Usage{u.TurnArounds + more.TurnArounds, u.Received + more.Received, u.Sent + more.Sent}
}

func (u Usage) minus(less Usage) Usage {
	return Usage{u.TurnArounds - less.TurnArounds, u.Received - less.Received, u.Sent - less.Sent}
}
