package collect

import (
	"context"
	"time"
)

// Once is a Conn for a driver that measures the connecting itself: it serves one batch and is closed, so that the next
// scrape has another. Its driver's Connect goes nowhere yet; how connecting went is the answer to a Probe of the
// operation Connection.
type Once interface {
	Conn
	Once()
}

// Connection is the step of a health check whose answer takes the place of what Connect brought.
const Connection Operation = "connection"

type patienceKey struct{}

// withPatience notes in the context of a run when the caller that begins it will leave.
func withPatience(ctx, caller context.Context) context.Context {
	if deadline, ok := caller.Deadline(); ok {
		return context.WithValue(ctx, patienceKey{}, deadline)
	}
	return ctx
}

// Patience tells when the caller that began a run stops waiting for it. The run goes on where others wait longer; but a
// driver that can say more about a server that does not answer than that it does not, must have said it by then.
func Patience(ctx context.Context) (until time.Time, ok bool) {
	until, ok = ctx.Value(patienceKey{}).(time.Time)
	return until, ok
}
