package collect

import (
	"errors"
	"io"
	"net"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// TestMeter holds what counts as a turn-around: that we speak after the peer has spoken, however many words that takes.
func TestMeter(t *testing.T) {
	var meter Meter
	ours, theirs := net.Pipe()
	conn := meter.Wrap(ours)
	defer func() { _, _ = conn.Close(), theirs.Close() }()
	say := func(words ...string) {
		for _, word := range words {
			go func() { _, _ = io.ReadFull(theirs, make([]byte, len(word))) }()
			if _, err := conn.Write([]byte(word)); err != nil {
				t.Fatal(err)
			}
		}
	}
	hear := func(word string) {
		go func() { _, _ = theirs.Write([]byte(word)) }()
		if _, err := io.ReadFull(conn, make([]byte, len(word))); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		do   func()
		want Usage
	}{
		{func() {}, Usage{}},
		{func() { say("hello", "there") }, Usage{TurnArounds: 1, Sent: 10}},
		{func() { hear("hi") }, Usage{TurnArounds: 1, Sent: 10, Received: 2}},
		{func() { say("a", "b", "c") }, Usage{TurnArounds: 2, Sent: 13, Received: 2}},
		{func() { hear("1"); hear("2") }, Usage{TurnArounds: 2, Sent: 13, Received: 4}},
		{func() { say("bye") }, Usage{TurnArounds: 3, Sent: 16, Received: 4}},
	} {
		step.do()
		if got := meter.Usage(); got != step.want {
			t.Errorf("the meter says %+v, want %+v", got, step.want)
		}
	}
}

// TestFlood holds that a peer can send what it is allowed, and no more.
func TestFlood(t *testing.T) {
	var meter Meter
	ours, theirs := net.Pipe()
	conn := meter.Wrap(ours)
	defer func() { _, _ = conn.Close(), theirs.Close() }()
	go func() {
		for {
			if _, err := theirs.Write(make([]byte, 10)); err != nil {
				return
			}
		}
	}()
	for range 2 {
		meter.Allow(30)
		if n, err := io.ReadFull(conn, make([]byte, 30)); n != 30 || err != nil {
			t.Errorf("the peer could send %d bytes: %v", n, err)
		}
	}
	n, err := conn.Read(make([]byte, 10))
	if n != 0 || fault.Of(err) != fault.Limited {
		t.Errorf("the flood gives %d bytes, %v", n, err)
	}
}

// TestMeterErrors holds that a broken connection is told as it is.
func TestMeterErrors(t *testing.T) {
	var meter Meter
	ours, theirs := net.Pipe()
	conn := meter.Wrap(ours)
	_ = theirs.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("reading gives %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("writing gives %v", err)
	}
}
