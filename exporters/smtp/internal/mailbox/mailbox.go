// Package mailbox looks for the messages of a round trip where they should arrive: by IMAP, by POP3, in a Maildir, or
// through the HTTP API of Mailpit or MailHog.
//
// Whatever it is, a message counts, and is removed, only if it carries a token that the round trip's own signer accepts.
// All that a mailbox sends is bounded in size, and every call ends with its context.
package mailbox

import (
	"context"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

const (
	// maxMessages is how many messages are looked at in one go. A round trip has a few.
	maxMessages = 200
	// maxHeader is how much of a message's header is read, in bytes.
	maxHeader = 64 << 10
	// maxAnswers is how much may be received in one go, in bytes.
	maxAnswers = 4 << 20
)

// Box is a place where messages arrive.
type Box interface {
	// Open begins to look there.
	Open(ctx context.Context) (Session, error)
}

// Session is a look at a box that lasts, for one goroutine. Its errors have a fault.Kind. After one the session is only
// good for Close.
type Session interface {
	// Look finds all messages of the round trip, those of other exporters and of earlier runs among them.
	Look(ctx context.Context) ([]Found, error)
	// Remove removes messages that the last Look has found, and tells how many.
	Remove(ctx context.Context, messages []Found) (int, error)
	// Wait returns after the pause, or sooner when it is woken or the box tells that something has arrived.
	Wait(ctx context.Context, pause time.Duration, wake <-chan struct{}) error
	Close()
}

// Found is a message of the round trip.
type Found struct {
	mark.Token
	Header mark.Header
	Folder string // as configured; "" where the box has none
	id     string // what the box calls it
	number uint32 // the same, where it is a number
}

// sleep waits for a time unless it is woken before.
func sleep(ctx context.Context, pause time.Duration, wake <-chan struct{}) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
