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
	failures int           // refusals in a row
	retry    time.Time     // no attempt before
	err      error         // of the last attempt
	opened   atomic.Uint64
	closed   Usage // what earlier connections cost
}

// open gives the kept connection, or connects. Fresh tells which.
func (l *link) open(ctx context.Context) (conn Conn, fresh bool, err error) {
	if l.conn != nil {
		return l.conn, false, nil
	}
	if wait := time.Until(l.retry); wait > 0 {
		if wait > retryUnreachable {
			return nil, false, l.err // refused: asking again so soon would be no use
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, false, fault.Wrap(fault.Timeout, "waiting to connect", ctx.Err())
		}
	}
	start := time.Now()
	conn, err = l.driver.Connect(ctx)
	l.opened.Add(1)
	if err != nil {
		l.failed(fault.Wrap(l.driver.Classify(err), "connecting", err), start)
		return nil, false, l.err
	}
	l.conn, l.took, l.failures, l.err = conn, max(time.Since(start), 1), 0, nil
	return conn, true, nil
}

// failed takes note of an attempt that failed and says when to try again.
func (l *link) failed(err error, start time.Time) {
	l.err = err
	switch fault.Of(err) {
	case fault.Auth, fault.Denied, fault.Config:
		l.failures++
		delay := retryRefused
		if l.failures < 3 {
			delay = time.Duration(l.failures) * retryUnreachable
		}
		l.retry = time.Now().Add(delay + rand.N(delay/10))
	default:
		l.failures = 0
		l.retry = start.Add(retryUnreachable)
	}
}

// drop closes the connection.
func (l *link) drop() {
	if l.conn == nil {
		return
	}
	l.closed = l.usage()
	l.conn.Close()
	l.conn = nil
}

// usage is what all connections of the link cost so far.
func (l *link) usage() Usage {
	sum := l.closed
	if l.conn != nil {
		now := l.conn.Usage()
		sum.TurnArounds += now.TurnArounds
		sum.Received += now.Received
		sum.Sent += now.Sent
	}
	return sum
}
