package main

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// through is a driver that asks sentinels for a primary.
func through(addresses ...string) *driver {
	return &driver{settings: func() (*settings, error) {
		return &settings{network: "tcp", timeout: 2 * time.Second, found: sentinels{name: "main", addresses: addresses}}, nil
	}}
}

// A server that sentinels name counts only while it is a primary, also where it becomes a replica on a kept connection.
func TestPrimaryThatIsNone(t *testing.T) {
	replica := false
	primary := newScripted(t, func(args []string) string {
		if replica && args[0] == "INFO" {
			return bulk("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n# Replication\r\nrole:slave\r\n")
		}
		return ""
	})
	host, port, _ := net.SplitHostPort(primary.listener.Addr().String())
	where := "*2\r\n" + bulk(host) + bulk(port)
	watcher := newScripted(t, func(args []string) string {
		if strings.Join(args, " ") == "SENTINEL GET-MASTER-ADDR-BY-NAME main" {
			return where
		}
		return ""
	})
	d := through(watcher.listener.Addr().String())
	c := connected(t, d)
	if got := say(t, c, ask(infoAll...)); len(got) != 1 || strings.HasPrefix(got[0], "broken") {
		t.Fatalf("%q", got)
	}
	replica = true
	say(t, c, ask(infoAll...)) // which tells it
	if got := say(t, c, ask(infoAll...)); len(got) != 1 || got[0] != "broken: unreachable" {
		t.Errorf("a replica on a kept connection: %q", got)
	}
	if _, err := d.Connect(t.Context()); d.Classify(err) != fault.Unreachable {
		t.Errorf("a replica that the sentinel takes for a primary: %v", err)
	}
	for answer, want := range map[string]fault.Kind{"*-1\r\n": fault.Config, "*1\r\n$1\r\na\r\n": fault.Config, "-NOAUTH Authentication required.\r\n": fault.Auth} {
		where = answer
		if _, err := d.Connect(t.Context()); err == nil || d.Classify(err) != want {
			t.Errorf("%q: %v, want %s", answer, err, want)
		}
	}
}

// Sentinels that are silent, gone or garbled leave time for one that answers.
func TestSentinelsThatDoNotAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	garbled := newScripted(t, func([]string) string { return "hello\r\n" })
	primary := newScripted(t, func([]string) string { return "" })
	host, port, _ := net.SplitHostPort(primary.listener.Addr().String())
	good := newScripted(t, func(args []string) string {
		if args[0] == "SENTINEL" {
			return "*2\r\n" + bulk(host) + bulk(port)
		}
		return ""
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	c, err := through("127.0.0.1:1", silent.Addr().String(), garbled.listener.Addr().String(), good.listener.Addr().String()).Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	began := time.Now()
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	d := through(silent.Addr().String(), silent.Addr().String())
	if _, err := d.Connect(short); err == nil || d.Classify(err) != fault.Timeout || time.Since(began) > time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}
