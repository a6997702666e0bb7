// Package lockout keeps a login that a server refuses from being tried so often that the account is locked.
package lockout

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// maxRefusals is how often in a row a server may refuse the same credentials before they are spared.
	maxRefusals = 3
	// pause is the time between two tries from then on.
	pause = 30 * time.Second
	// maxKept bounds the logins that are remembered. Of more, those that were refused longest ago are forgotten.
	maxKept = 10_000
)

// Verdict is what a server said to a login.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota // it did not come to one
	Accepted
	Refused
)

// Guard remembers which logins were refused. The zero Guard remembers none yet. It is safe for several goroutines.
type Guard struct {
	mu     sync.Mutex
	logins map[key]*login
}

// key tells logins apart, without keeping a password.
type key [sha256.Size]byte

type login struct {
	refusals int // in a row, as far as they count
	trying   int // tries under way
	last     time.Time
}

// Try asks whether a login may be tried now. If so the verdict is owed to end, once. Other credentials, as after a change
// of the password, are another login.
func (g *Guard) Try(server, username, password string) (end func(Verdict), ok bool) {
	k := key(sha256.Sum256([]byte(server + "\x00" + username + "\x00" + password)))
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.logins[k]
	if l == nil {
		l = &login{}
		g.keep(k, l)
	}
	switch {
	case l.refusals >= maxRefusals && (l.trying > 0 || time.Since(l.last) < pause),
		l.refusals > 0 && l.refusals < maxRefusals && l.refusals+l.trying >= maxRefusals:
		return nil, false
	}
	l.trying++
	l.last = time.Now()
	return func(v Verdict) { g.end(l, v) }, true
}

func (g *Guard) end(l *login, v Verdict) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l.trying--
	switch v {
	case Accepted:
		l.refusals = 0
	case Refused:
		l.refusals = min(l.refusals+1, maxRefusals)
		l.last = time.Now()
	}
}

// keep remembers a login, in the place of the oldest one where there are too many.
func (g *Guard) keep(k key, l *login) {
	if g.logins == nil {
		g.logins = map[key]*login{}
	}
	if len(g.logins) >= maxKept {
		var oldest key
		var at time.Time
		for k, other := range g.logins {
			if at.IsZero() || other.last.Before(at) {
				oldest, at = k, other.last
			}
		}
		delete(g.logins, oldest)
	}
	g.logins[k] = l
}
