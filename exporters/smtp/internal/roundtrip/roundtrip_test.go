package roundtrip

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mailbox"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

// fakeBox stands for a mailbox whose contents and faults a test decides on.
type fakeBox struct {
	mu       sync.Mutex
	messages []mailbox.Found
	fault    error // what Open and Look give
	hungUp   bool  // the next Look fails, whatever fault says
}

func (b *fakeBox) put(tokens ...mark.Token) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, token := range tokens {
		b.messages = append(b.messages, mailbox.Found{Token: token})
	}
}

func (b *fakeBox) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = err
}

func (b *fakeBox) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hungUp = true
}

func (b *fakeBox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.messages)
}

func (b *fakeBox) Open(context.Context) (mailbox.Session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b, b.fault
}

func (b *fakeBox) Look(context.Context) ([]mailbox.Found, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hungUp {
		b.hungUp = false
		return nil, errors.New("the server has hung up")
	}
	return slices.Clone(b.messages), b.fault
}

func (b *fakeBox) Remove(_ context.Context, gone []mailbox.Found) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.messages)
	b.messages = slices.DeleteFunc(b.messages, func(m mailbox.Found) bool {
		return slices.ContainsFunc(gone, func(g mailbox.Found) bool { return g.Text == m.Text })
	})
	return before - len(b.messages), nil
}

func (b *fakeBox) Wait(ctx context.Context, pause time.Duration, wake <-chan struct{}) error {
	select {
	case <-time.After(pause):
	case <-wake:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (b *fakeBox) Close() {}

func marksFor(t *testing.T, instance string) *mark.Signer {
	t.Helper()
	marks, err := mark.NewSigner("a secret that nobody knows", "line", instance)
	if err != nil {
		t.Fatal(err)
	}
	return marks
}

// world is a round trip in a time of its own, whose mail server a test plays.
type world struct {
	box   fakeBox
	trip  *Trip
	sends []mark.Token
	serve func(n int, token mark.Token) Sent // of the n-th message, from 0
}

// note keeps a token and gives its number.
func (w *world) note(token mark.Token) int {
	w.box.mu.Lock()
	defer w.box.mu.Unlock()
	w.sends = append(w.sends, token)
	return len(w.sends) - 1
}

func (w *world) sent() []mark.Token {
	w.box.mu.Lock()
	defer w.box.mu.Unlock()
	return slices.Clone(w.sends)
}

const (
	every     = time.Minute
	lostAfter = 10 * time.Minute
)

func (w *world) run(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w.trip = New(Config{
			Marks: marksFor(t, "here"), Box: &w.box, Every: every, LostAfter: lostAfter, InFlight: 3,
			Send: func(_ context.Context, token mark.Token) Sent {
				n := w.note(token)
				time.Sleep(10 * time.Millisecond)
				return w.serve(n, token)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.trip.Run(ctx); close(ended) }()
		test(t)
		cancel()
		<-ended
	})
}

// accept takes every message and delivers it after a while.
func (w *world) accept(delay time.Duration, copies int) func(int, mark.Token) Sent {
	return func(_ int, token mark.Token) Sent {
		time.AfterFunc(delay, func() {
			for range copies {
				w.box.put(token)
			}
		})
		return Sent{Accepted: true}
	}
}

func TestDelivered(t *testing.T) {
	w := &world{}
	w.serve = w.accept(2*time.Second, 1)
	w.run(t, func(t *testing.T) {
		time.Sleep(every/2 + 4*every)
		s := w.trip.State()
		if s.Accepted != 5 || s.Delivered != 5 || s.InFlight != 0 || s.Removed != 5 || w.box.count() != 0 {
			t.Errorf("%+v, %d left", s, w.box.count())
		}
		if !s.Known || !s.Readable || s.Last == nil || s.Times.Count() != 5 {
			t.Errorf("%+v", s)
		}
		if took := s.Last.Took; took < 2*time.Second || took > 2300*time.Millisecond {
			t.Errorf("2 s are taken for %v", took)
		}
	})
}

func TestLostAndLate(t *testing.T) {
	w := &world{}
	w.serve = func(n int, token mark.Token) Sent {
		switch n {
		case 0: // never arrives
		case 1:
			time.AfterFunc(lostAfter+30*time.Second, func() { w.box.put(token) })
		default:
			w.box.put(token)
		}
		return Sent{Accepted: true}
	}
	w.run(t, func(t *testing.T) {
		time.Sleep(5*time.Minute + every/2)
		if s := w.trip.State(); s.Lost != 0 || s.InFlight != 2 || s.Oldest < 5*time.Minute {
			t.Errorf("too early: %+v", s)
		}
		time.Sleep(6 * time.Minute)
		if s := w.trip.State(); s.Lost != 2 || s.InFlight != 0 || s.Late != 0 || s.Delivered != 10 {
			t.Errorf("after the limit: %+v", s)
		}
		time.Sleep(2 * time.Minute)
		if s := w.trip.State(); s.Lost != 2 || s.Late != 1 || s.Delivered != 12 || w.box.count() != 0 {
			t.Errorf("after the late one: %+v", s)
		}
	})
}

func TestDuplicated(t *testing.T) {
	w := &world{}
	w.serve = w.accept(time.Second, 2)
	w.run(t, func(t *testing.T) {
		time.Sleep(every / 2)
		w.box.put(w.sent()[0]) // a third one, long after
		time.Sleep(every)
		if s := w.trip.State(); s.Delivered != 2 || s.Duplicates != 3 || s.Lost != 0 || s.Removed != 5 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRefused(t *testing.T) {
	w := &world{}
	w.serve = func(_ int, token mark.Token) Sent {
		w.box.put(token) // it arrives although the server's answer was lost
		return Sent{Phase: "data", Reason: "closed"}
	}
	w.run(t, func(t *testing.T) {
		time.Sleep(every / 2)
		s := w.trip.State()
		if s.Refused[Refusal{"data", "closed"}] != 1 || s.Accepted+s.Delivered+s.Duplicates != 0 || s.InFlight != 0 || s.Removed != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestInFlightIsBounded(t *testing.T) {
	w := &world{serve: func(int, mark.Token) Sent { return Sent{Accepted: true} }}
	w.run(t, func(t *testing.T) {
		time.Sleep(8 * time.Minute)
		if s := w.trip.State(); s.InFlight != 3 || s.Skipped == 0 || len(w.sent()) != 3 {
			t.Errorf("%+v, %d sent", s, len(w.sent()))
		}
	})
}

// As long as nobody can read the mailbox no message is lost, and how long it took is not known afterwards.
func TestBlind(t *testing.T) {
	w := &world{}
	w.serve = w.accept(time.Second, 1)
	w.run(t, func(t *testing.T) {
		time.Sleep(every / 2)
		w.box.fail(fault.Wrap(fault.Auth, "log in", errors.New("wrong password")))
		time.Sleep(2 * lostAfter)
		s := w.trip.State()
		if s.Lost != 0 || s.InFlight != 3 || !s.Known || s.Readable || s.Blind[fault.Auth] < 10 || len(s.Blind) != 1 {
			t.Errorf("blind: %+v", s)
		}
		w.box.fail(nil)
		time.Sleep(2 * time.Minute)
		s = w.trip.State()
		if s.Lost != 0 || !s.Readable || s.Delivered < 5 || s.Times.Count() != s.Delivered-3 {
			t.Errorf("seeing again: %+v", s)
		}
	})
}

// A message that was taken while nobody could read the mailbox, and was not there when somebody could, was seen to
// arrive: how long it took is known.
func TestSeenAfterAll(t *testing.T) {
	w := &world{}
	w.serve = w.accept(20*time.Second, 1)
	w.box.fail(fault.New(fault.Config, "the mailbox is not there yet"))
	w.run(t, func(t *testing.T) {
		time.Sleep(5 * time.Second)
		w.box.fail(nil)
		time.Sleep(every / 2)
		s := w.trip.State()
		if s.Delivered != 1 || s.Times.Count() != 1 || s.Last == nil || s.Last.Took < 20*time.Second || s.Last.Took > 23*time.Second {
			t.Errorf("%+v", s)
		}
	})
}

// A login that is refused is tried three times, and no more often than every 30 s from then on.
func TestRefusedLogin(t *testing.T) {
	w := &world{serve: func(int, mark.Token) Sent { return Sent{Accepted: true} }}
	w.box.fail(fault.New(fault.Auth, "wrong password"))
	w.run(t, func(t *testing.T) {
		for _, step := range []struct {
			after time.Duration
			tries uint64
		}{{4 * time.Second, 3}, {28 * time.Second, 3}, {2 * time.Second, 4}, {50 * time.Second, 4}, {10 * time.Second, 5}} {
			time.Sleep(step.after)
			if s := w.trip.State(); s.Blind[fault.Auth] != step.tries {
				t.Errorf("%d tries, not %d", s.Blind[fault.Auth], step.tries)
			}
		}
	})
}

// A server that hangs up between two looks is no failure: the mailbox is opened anew at once.
func TestHungUp(t *testing.T) {
	w := &world{}
	w.serve = w.accept(time.Second, 1)
	w.run(t, func(t *testing.T) {
		time.Sleep(every / 2)
		w.box.hangUp()
		time.Sleep(every)
		if s := w.trip.State(); len(s.Blind) != 0 || s.Delivered != 2 || s.Times.Count() != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// After a restart, messages of the earlier run are removed and count as nothing; those of another exporter stay until
// they are old.
func TestLeftovers(t *testing.T) {
	w := &world{}
	w.serve = w.accept(time.Second, 1)
	w.run(t, func(t *testing.T) {
		earlier, other := marksFor(t, "here"), marksFor(t, "elsewhere")
		young := other.New(time.Now().Add(-time.Hour))
		young.Own = false
		old := other.New(time.Now().Add(-25 * time.Hour))
		old.Own = false
		w.box.put(earlier.New(time.Now().Add(-lostAfter)), earlier.New(time.Now().Add(-30*24*time.Hour)), young, old)
		time.Sleep(3*every + every/2)
		s := w.trip.State()
		if s.Delivered != 4 || s.Lost+s.Late+s.Duplicates != 0 || s.Removed != 3+4 || w.box.count() != 1 || s.Present != 1 {
			t.Errorf("%+v, %d left", s, w.box.count())
		}
	})
}

func TestManyMessagesAreForgotten(t *testing.T) {
	track := newTrack(time.Minute)
	for range 3 * maxRemembered {
		token := mark.Token{Text: time.Now().String()}
		track.begin(token, 1)
		track.sent(token, Sent{}, time.Now())
	}
	if len(track.fates) > maxRemembered || len(track.order) > maxRemembered {
		t.Errorf("%d messages are remembered", len(track.fates))
	}
}
