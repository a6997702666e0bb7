package queue

import (
	"context"
	"errors"
	"fmt"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// send hands a message over.
func send(t *testing.T, address, to string, size int) {
	t.Helper()
	client, err := smtp.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := errors.Join(client.Mail("sender@probe.test"), client.Rcpt(to)); err != nil {
		t.Fatal(err)
	}
	data, err := client.Data()
	if err != nil {
		t.Fatal(err)
	}
	for line := strings.Repeat("x", 98) + "\r\n"; size > 0; size -= len(line) {
		fmt.Fprint(data, line)
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
}

// eventually reads until what is read is what is wanted.
func eventually(t *testing.T, source Source, wanted func(Queues) bool) Queues {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		queues, err := source.Read(t.Context())
		if err == nil && wanted(queues) {
			return queues
		}
		if time.Now().After(deadline) {
			t.Fatalf("%T: %+v, %v", source, queues, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestPostfix holds that the socket and the spool of a real Postfix tell the same, before there is mail and after.
func TestPostfix(t *testing.T) {
	postfix := servers.NewPostfix(t, servers.PostfixOptions{
		Routes: map[string]string{"held.test": "maildir", "dead.test": "smtp:[127.0.0.1]:1"},
	})
	sources := []Source{Showq{postfix.Showq()}, PostfixSpool{postfix.Queue()}}
	for _, source := range sources {
		eventually(t, source, func(q Queues) bool { return q.total() == 0 && len(q) >= 5 })
	}
	for range 3 {
		send(t, postfix.Addr(), "held@held.test", 2000)
	}
	send(t, postfix.Addr(), "probe@dead.test", 100_000)
	for _, source := range sources {
		queues := eventually(t, source, func(q Queues) bool { return q["hold"].Messages == 3 && q["deferred"].Messages == 1 })
		hold, deferred := queues["hold"], queues["deferred"]
		if queues.total() != 4 || hold.Bytes < 6000 || hold.Bytes > 9000 || deferred.Bytes < 100_000 || deferred.Bytes > 102_000 {
			t.Errorf("%T: hold %+v, deferred %+v", source, hold, deferred)
		}
		if deferred.Oldest > time.Minute || hold.Ages[0] != 3 || hold.Oldest > time.Minute {
			t.Errorf("%T: hold %+v, deferred %+v", source, hold, deferred)
		}
	}
	if err := postfix.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, source := range sources {
		if queues, err := source.Read(ctx); err == nil {
			t.Errorf("%T: %+v of a server that is gone", source, queues)
		}
	}
}

// TestExim holds what the spool of a real Exim tells.
func TestExim(t *testing.T) {
	exim := servers.NewExim(t, servers.EximOptions{
		Routes: map[string]string{"held.test": "smtp:127.0.0.1:1", "dead.test": "smtp:127.0.0.1:1"},
	})
	source := EximSpool{exim.Spool()}
	send(t, exim.Addr(), "held@held.test", 2000)
	send(t, exim.Addr(), "held@held.test", 2000)
	send(t, exim.Addr(), "probe@dead.test", 100_000)
	queues := eventually(t, source, func(q Queues) bool { return q["frozen"].Messages == 2 && q["queued"].Messages == 1 })
	frozen, queued := queues["frozen"], queues["queued"]
	if queues.total() != 3 || frozen.Bytes < 3900 || frozen.Bytes > 4100 || queued.Bytes < 98_000 || queued.Bytes > 102_000 || frozen.Oldest > time.Minute {
		t.Errorf("frozen %+v, queued %+v", frozen, queued)
	}
}
