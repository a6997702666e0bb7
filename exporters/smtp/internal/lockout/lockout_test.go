package lockout

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// refuse tries a login that the server refuses, and tells whether it was tried.
func refuse(g *Guard, password string) bool {
	end, ok := g.Try("mail.test:587", "user", password)
	if ok {
		end(Refused)
	}
	return ok
}

// A login that was refused three times is tried every 30 s. Another password, user or server is another login.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Guard{}
		tries := 0
		for range 121 { // two minutes
			if refuse(g, "old") {
				tries++
			}
			time.Sleep(time.Second)
		}
		if tries != 3+3 {
			t.Errorf("it was tried %d times in two minutes", tries)
		}
		if refuse(g, "old") || !refuse(g, "new") {
			t.Error("another password is not another login")
		}
		for _, other := range [][2]string{{"mail.test:25", "user"}, {"mail.test:587", "other"}} {
			if _, ok := g.Try(other[0], other[1], "old"); !ok {
				t.Errorf("%s is spared", other)
			}
		}
	})
}

// A success makes good for all refusals; a try without a verdict for none.
func TestVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Guard{}
		say := func(v Verdict) {
			t.Helper()
			end, ok := g.Try("a", "b", "c")
			if !ok {
				t.Fatal("it is spared")
			}
			end(v)
		}
		for _, v := range []Verdict{Refused, Refused, Accepted, Refused, Unknown, Refused, Unknown, Refused} {
			say(v)
		}
		if _, ok := g.Try("a", "b", "c"); ok {
			t.Error("it is tried a fourth time")
		}
		time.Sleep(pause)
		say(Unknown)
		if _, ok := g.Try("a", "b", "c"); ok {
			t.Error("it is tried again after a try without a verdict")
		}
		time.Sleep(pause)
		say(Accepted)
		say(Refused)
		say(Accepted)
	})
}

// Tries at the same moment are no way around it, once there was a refusal. Good logins never wait for each other.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Guard{}
		for range 50 {
			if end, ok := g.Try("a", "b", "good"); !ok {
				t.Fatal("a good login waits")
			} else {
				defer end(Accepted)
			}
		}
		refuse(g, "bad")
		var ends []func(Verdict)
		for range 10 {
			if end, ok := g.Try("mail.test:587", "user", "bad"); ok {
				ends = append(ends, end)
			}
		}
		if len(ends) != 2 {
			t.Errorf("%d tries at once", len(ends))
		}
		for _, end := range ends {
			end(Refused)
		}
		time.Sleep(pause)
		_, first := g.Try("mail.test:587", "user", "bad")
		_, second := g.Try("mail.test:587", "user", "bad")
		time.Sleep(2 * pause)
		_, third := g.Try("mail.test:587", "user", "bad")
		if !first || second || third {
			t.Error("several tries at once after 30 s, or one beside one that is still under way")
		}
	})
}

// What is remembered is bounded, and the newest is kept.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Guard{}
		for i := range maxKept + 10 {
			time.Sleep(time.Microsecond)
			refuse(g, fmt.Sprint(i))
		}
		if len(g.logins) != maxKept {
			t.Errorf("%d are kept", len(g.logins))
		}
		newest, tries := fmt.Sprint(maxKept+9), 0
		for range 5 {
			if refuse(g, newest) {
				tries++
			}
		}
		if tries != 2 {
			t.Errorf("the newest, refused once, is tried %d times more", tries)
		}
	})
}
