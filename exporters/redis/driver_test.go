package main

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

func none([]string) string { return "" }

// of gives an answer to one command, and the usual ones to others.
func of(command, text string) func([]string) string {
	return func(args []string) string {
		if strings.EqualFold(args[0], command) {
			return text
		}
		return ""
	}
}

// TestConnect holds what a connection knows of its server, and why it is refused.
func TestConnect(t *testing.T) {
	for name, test := range map[string]struct {
		answer func([]string) string
		want   fault.Kind
		id     collect.Identity
	}{
		"redis":              {none, "", collect.Identity{Product: "Redis", Version: 70015, Text: "7.0.15", Features: map[string]string{"standalone": ""}}},
		"no HELLO":           {of("HELLO", "-ERR unknown command `HELLO`\r\n"), "", collect.Identity{Product: "Redis", Version: 70015, Text: "7.0.15", Features: map[string]string{"standalone": ""}}},
		"no right to INFO":   {of("INFO", "-NOPERM no\r\n"), "", collect.Identity{Product: "Redis", Features: map[string]string{}}},
		"no right to DBSIZE": {of("DBSIZE", "-NOPERM no\r\n"), "", collect.Identity{Product: "Redis", Version: 70015, Text: "7.0.15", Features: map[string]string{"standalone": "", noDatabaseSize: ""}}},
		"no right to CLIENT": {of("CLIENT", "-NOPERM no\r\n"), "", collect.Identity{Product: "Redis", Version: 70015, Text: "7.0.15", Features: map[string]string{"standalone": ""}}},
		"valkey":             {of("INFO", bulk("# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.1.1\r\nserver_mode:cluster\r\n# Replication\r\nrole:slave\r\n# Modules\r\nmodule:name=search,ver=10001,api=1\r\n")), "", collect.Identity{Product: "Valkey", Version: 80101, Text: "8.1.1", Replica: true, Features: map[string]string{"cluster": "", "module:search": "10001"}}},
		"dragonfly":          {of("INFO", bulk("redis_version:7.4.0\r\ndragonfly_version:df-v1.21.2\r\nredis_mode:standalone\r\n")), "", collect.Identity{Product: "Dragonfly", Version: 12102, Text: "df-v1.21.2", Features: map[string]string{"standalone": ""}}},
		"keydb":              {of("INFO", bulk("redis_version:6.3.4\r\nmvcc_depth:0\r\nredis_mode:standalone\r\n")), "", collect.Identity{Product: "KeyDB", Version: 60304, Text: "6.3.4", Features: map[string]string{"standalone": ""}}},
		"no DBSIZE":          {of("DBSIZE", "-ERR unknown command 'DBSIZE'\r\n"), "", collect.Identity{Product: "Redis", Version: 70015, Text: "7.0.15", Features: map[string]string{"standalone": "", noDatabaseSize: ""}}},
		"no password":        {func([]string) string { return "-NOAUTH Authentication required.\r\n" }, fault.Auth, collect.Identity{}},
		"clients without end": {func(args []string) string {
			if strings.EqualFold(args[0], "HELLO") {
				return "-ERR max number of clients reached\r\n"
			}
			return hangUp
		}, fault.Busy, collect.Identity{}},
		"hangs up":                 {of("HELLO", hangUp), fault.Unreachable, collect.Identity{}},
		"hangs up at INFO":         {of("INFO", hangUp), fault.Unreachable, collect.Identity{}},
		"speaks HTTP":              {of("HELLO", "HTTP/1.1 400 Bad Request\r\n\r\n"), fault.Malformed, collect.Identity{}},
		"two billion":              {of("HELLO", "*2000000000\r\n"), fault.Limited, collect.Identity{}},
		"a map of maps as a key":   {of("HELLO", "%1\r\n%1\r\n+a\r\n+b\r\n+c\r\n"), fault.Malformed, collect.Identity{}},
		"more than a text":         {of("INFO", "$99999999999999999\r\n"), fault.Limited, collect.Identity{}},
		"deep nesting":             {of("INFO", strings.Repeat("*1\r\n", 100_000)), fault.Limited, collect.Identity{}},
		"words that nobody awaits": {of("INFO", ">1\r\n+a\r\n"), fault.Malformed, collect.Identity{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newScripted(t, test.answer).driver(func(s *settings) { s.clientName = "redis_exporter" })
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			c, err := d.Connect(ctx)
			if err != nil {
				if kind := d.Classify(err); kind != test.want {
					t.Errorf("%s, want %q: %v", kind, test.want, err)
				}
				return
			}
			defer c.Close()
			id := c.Identity()
			if test.want != "" || id.Product != test.id.Product || id.Version != test.id.Version || id.Text != test.id.Text || id.Replica != test.id.Replica || !equal(id.Features, test.id.Features) {
				t.Errorf("connected to %+v, want %+v and the failure %q", id, test.id, test.want)
			}
		})
	}
}

func equal(x, y map[string]string) bool {
	for k, v := range x {
		if other, has := y[k]; !has || other != v {
			return false
		}
	}
	return len(x) == len(y)
}

// TestWrongPassword holds that a password is tried once in each way, and no more.
func TestWrongPassword(t *testing.T) {
	s := newScripted(t, func(args []string) string {
		if args[0] == "hello" || args[0] == "auth" || args[0] == "HELLO" || args[0] == "AUTH" {
			return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
		}
		return "-NOAUTH Authentication required.\r\n"
	})
	d := s.driver(func(s *settings) { s.user, s.password = "u", "p" })
	_, err := d.Connect(t.Context())
	if kind := d.Classify(err); kind != fault.Auth || s.count("hello")+s.count("auth")+s.count("HELLO")+s.count("AUTH") > 2 {
		t.Errorf("%s, %v", kind, s.asked)
	}
}

// TestDo holds what a batch sends, and that each question gets its own answer.
func TestDo(t *testing.T) {
	for name, test := range map[string]struct {
		answer    func([]string) string
		questions []collect.Question
		want      []string
		sent      []string
	}{
		"in order": {func(args []string) string {
			if args[0] == "GET" {
				return bulk("value of " + args[1])
			}
			return ""
		}, []collect.Question{ask("GET", "a"), ask("GET", "b\r\nc"), ask("GET", "a")}, []string{"value of a", "value of b\r\nc", "value of a"}, []string{"GET a", "GET b\r\nc"}},
		"a refusal is that question's alone": {of("GET", "-ERR no\r\n"), []collect.Question{ask("GET", "a"), ask("ECHO"), ask("GET", "a")}, []string{"refused: ERR no", "OK", "refused: ERR no"}, []string{"GET a", "ECHO"}},
		"other databases": {none, []collect.Question{ask("GET", "a"), inDatabase(3, ask("GET", "a")), inDatabase(3, ask("GET", "b")), inDatabase(4, ask("GET", "a")), ask("GET", "a")},
			[]string{"OK", "OK", "OK", "OK", "OK"}, []string{"GET a", "SELECT 3", "GET a", "GET b", "SELECT 4", "GET a", "SELECT 0"}},
		"a database that is not there": {func(args []string) string {
			if args[0] == "SELECT" && args[1] == "99" {
				return "-ERR DB index is out of range\r\n"
			}
			return ""
		}, []collect.Question{inDatabase(99, ask("GET", "a")), inDatabase(1, ask("GET", "a")), ask("GET", "b")}, []string{"refused: ERR DB index is out of range", "OK", "OK"}, []string{"SELECT 99", "GET a", "SELECT 1", "GET a", "SELECT 0", "GET b"}},
		"no way back": {func(args []string) string {
			if args[0] == "SELECT" && args[1] == "0" {
				return "-ERR no\r\n"
			}
			return ""
		}, []collect.Question{inDatabase(1, ask("GET", "a")), ask("GET", "b")}, []string{"OK", "refused: ERR no", "broken: internal"}, nil},
		"a ping that loads":       {of("PING", "-LOADING Redis is loading\r\n"), []collect.Question{ask(ping)}, []string{""}, nil},
		"a ping in a script":      {of("PING", "-BUSY Redis is busy\r\n"), []collect.Question{ask(ping)}, []string{"refused: BUSY Redis is busy"}, nil},
		"another's answer":        {of("PING", "$5\r\nother\r\n"), []collect.Question{ask(ping), ask("GET", "a")}, []string{"broken: malformed"}, nil},
		"an answer too many":      {of("GET", "+a\r\n+b\r\n"), []collect.Question{ask("GET", "a")}, []string{"a"}, nil},
		"an end in the middle":    {of("GET", "$5\r\nab"), []collect.Question{ask("ECHO"), ask("GET", "a")}, []string{"OK", "broken: timeout"}, nil},
		"a list where a text was": {of("GET", "*2\r\n:1\r\n:2\r\n"), []collect.Question{ask("GET", "a")}, []string{""}, nil},
		"null":                    {of("GET", "$-1\r\n"), []collect.Question{ask("GET", "a")}, []string{""}, nil},
		"no command":              {none, []collect.Question{{Text: "INFO"}}, []string{"broken: internal"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScripted(t, test.answer)
			c := connected(t, s.driver())
			before := len(s.asked)
			got := say(t, c, test.questions...)
			if !slices.Equal(got, test.want) {
				t.Errorf("answers %q, want %q", got, test.want)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if sent := s.asked[before:]; test.sent != nil && !slices.Equal(sent, test.sent) {
				t.Errorf("sent %q, want %q", sent, test.sent)
			}
		})
	}
}

// TestUnasked holds that words which nobody has asked for are not taken for answers.
func TestUnasked(t *testing.T) {
	c := connected(t, newScripted(t, of("GET", "+a\r\n+b\r\n")).driver())
	say(t, c, ask("GET", "a"))
	got := say(t, c, ask(ping), ask("ECHO"))
	if want := []string{"broken: malformed"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLacking holds that a command which the server does not have is asked for once in the life of a connection.
func TestLacking(t *testing.T) {
	s := newScripted(t, func(args []string) string {
		switch {
		case args[0] == "FT._LIST":
			return "-ERR unknown command 'FT._LIST'\r\n"
		case args[0] == "MEMORY" && args[1] == "STATS":
			return "-ERR Unknown subcommand or wrong number of arguments for 'STATS'. Try MEMORY HELP.\r\n"
		}
		return ""
	})
	d := s.driver()
	d.renamed = map[string]string{"CONFIG": "hidden", "SLOWLOG": ""}
	for connection := 1; connection <= 2; connection++ {
		c := connected(t, d)
		for range 3 {
			got := say(t, c, ask("FT._LIST"), ask("MEMORY", "STATS"), ask("MEMORY", "USAGE", "k"), ask("CONFIG", "GET", "a"), ask("SLOWLOG", "LEN"))
			if len(got) != 5 || got[2] != "OK" || got[3] != "OK" || got[4] != "refused: the configuration says that the server lacks SLOWLOG" || !strings.HasPrefix(got[0], "refused: ERR unknown") {
				t.Errorf("%q", got)
			}
		}
		for what, want := range map[string]int{"FT._LIST": connection, "MEMORY STATS": connection, "MEMORY USAGE": 3 * connection, "hidden GET": 3 * connection, "CONFIG": 0, "SLOWLOG": 0} {
			if n := s.count(what); n != want {
				t.Errorf("%s was sent %d times over %d connections, want %d", what, n, connection, want)
			}
		}
	}
}

// TestCutAtEveryByte holds that an answer is handed out whole or not at all, wherever the connection ends.
func TestCutAtEveryByte(t *testing.T) {
	whole := "*2\r\n$3\r\nabc\r\n%1\r\n+k\r\n:12\r\n"
	for at := range len(whole) {
		s := newScripted(t, none)
		c := connected(t, s.driver())
		s.answer = func([]string) string {
			s.mu.Lock()
			defer s.mu.Unlock()
			conn := s.conns[len(s.conns)-1]
			_, _ = conn.Write([]byte(whole[:at]))
			_ = conn.Close()
			return hangUp
		}
		if got := say(t, c, ask("GET", "a")); !slices.Equal(got, []string{"broken: unreachable"}) {
			t.Errorf("cut at %d: %q", at, got)
		}
	}
}

// TestContextEnds holds that whoever asks is free when the time is up, though the server says nothing.
func TestContextEnds(t *testing.T) {
	s := newScripted(t, func(args []string) string {
		if args[0] == "GET" {
			select {}
		}
		return ""
	})
	c := connected(t, s.driver())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began, read := time.Now(), 0
	err := c.Do(ctx, []collect.Question{ask("ECHO"), ask("GET", "a")}, func(int, collect.Answer, error) { read++ })
	if took := time.Since(began); c.driver.Classify(err) != fault.Timeout || took > time.Second || read != 1 {
		t.Errorf("%v after %s with %d answers", err, took, read)
	}
}

// TestEndlessText holds that a text of more than any may have ends the connection before memory is full.
func TestEndlessText(t *testing.T) {
	for name, text := range map[string]string{
		"a text":   "$40000000\r\n",
		"a line":   "+",
		"a list":   "*1000000\r\n",
		"an error": "-ERR ",
	} {
		s := newScripted(t, none)
		c := connected(t, s.driver())
		s.answer = func([]string) string {
			s.mu.Lock()
			conn := s.conns[len(s.conns)-1]
			s.mu.Unlock()
			block := []byte(strings.Repeat("x", 1<<20))
			if _, err := conn.Write([]byte(text)); err != nil {
				return hangUp
			}
			for range 200 {
				if _, err := conn.Write(block); err != nil {
					break
				}
			}
			return hangUp
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		got := say(t, c, ask("GET", "a"))
		runtime.ReadMemStats(&after)
		if len(got) != 1 || got[0] != "broken: limited" && got[0] != "broken: malformed" {
			t.Errorf("%s: %q", name, got)
		}
		if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; grown > 150 {
			t.Errorf("%s took %d MiB", name, grown)
		}
	}
}

// TestCluster holds that questions follow their keys, are sent there at once the next time, and that a node which is
// gone costs only its own.
func TestCluster(t *testing.T) {
	second := newScripted(t, func(args []string) string {
		if args[0] == "GET" {
			return bulk("second's " + args[1])
		}
		return ""
	})
	gone := newScripted(t, none)
	gone.close()
	first := newScripted(t, func(args []string) string {
		switch {
		case args[0] != "GET":
			return ""
		case args[1] == "there":
			return "-MOVED 42 " + second.listener.Addr().String() + "\r\n"
		case args[1] == "moving":
			return "-ASK 42 " + second.listener.Addr().String() + "\r\n"
		case args[1] == "lost":
			return "-MOVED 42 " + gone.listener.Addr().String() + "\r\n"
		}
		return bulk("first's " + args[1])
	})
	d := first.driver()
	d.follow = true
	c := connected(t, d)
	for range 3 {
		got := say(t, c, ask("GET", "here"), ask("GET", "there"), ask("GET", "moving"), ask("GET", "lost"), ask("GET", "there"), ask("GET", "last"))
		if len(got) != 6 || got[0] != "first's here" || got[1] != "second's there" || got[2] != "second's moving" || !strings.HasPrefix(got[3], "refused: asking another node") || got[4] != got[1] || got[5] != "first's last" {
			t.Errorf("%q", got)
		}
	}
	if first.count("GET there") != 1 || second.count("GET there") != 3 || second.count("ASKING") != 3 || first.count("GET moving") != 3 {
		t.Errorf("the first was asked %q, the second %q", first.asked, second.asked)
	}
	c.driver.follow, c.nodes.follow = false, false
	c.nodes.homes = nil
	if got := say(t, c, ask("GET", "there")); !strings.HasPrefix(got[0], "refused: MOVED") {
		t.Errorf("without being told to, it follows: %q", got)
	}
}

// TestClassify holds the kinds of what servers say.
func TestClassify(t *testing.T) {
	for text, want := range map[string]fault.Kind{
		"NOAUTH Authentication required.": fault.Auth, "WRONGPASS x": fault.Auth, "ERR AUTH <password> called without any password configured": fault.Auth,
		"NOPERM this user has no permissions": fault.Denied, "DENIED Redis is running in protected mode": fault.Denied, "READONLY You can't write": fault.Denied,
		"LOADING Redis is loading": fault.Busy, "MASTERDOWN Link with MASTER is down": fault.Busy, "BUSY Redis is busy": fault.Busy, "CLUSTERDOWN Hash slot not served": fault.Busy,
		"ERR max number of clients reached": fault.Busy, "OOM command not allowed": fault.Busy, "MOVED 1 a:1": fault.Config, "WRONGTYPE x": fault.Config, "ERR DB index is out of range": fault.Config,
		"ERR unknown command 'X'": fault.Unsupported, "ERR Unknown subcommand or wrong number": fault.Unsupported, "ERR This instance has cluster support disabled": fault.Unsupported,
		"ERR something else": fault.Internal, "": fault.Internal,
	} {
		if got := (&driver{}).Classify(refusal(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
