package rest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// talker is a server that reads requests and answers what a function says, word for word.
type talker struct {
	connections, requests atomic.Int32
	held                  sync.WaitGroup
}

// talk starts a server and gives a client of it with few connections. An empty answer ends the connection.
func talk(t *testing.T, connections int, answer func(request int32, r *http.Request) string) (*talker, *Client) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &talker{}
	s.held.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			s.held.Go(func() { s.follow(conn, answer) })
		}
	})
	c := New(backend.Endpoint{URL: &url.URL{Scheme: "http", Host: listener.Addr().String()}, Dial: dial, Connections: connections}, nil)
	t.Cleanup(func() { c.Close(); _ = listener.Close(); s.held.Wait() })
	return s, c
}

func (s *talker) follow(conn net.Conn, answer func(int32, *http.Request) string) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		text := answer(s.requests.Add(1), request)
		if _, err := io.Copy(io.Discard, request.Body); err != nil || text == "" {
			return
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

// good is an answer of JSON.
func good(header ...string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" + strings.Join(append(header, "\r\n{}"), "")
}

func get(t *testing.T, c *Client) error {
	t.Helper()
	return c.Get(t.Context(), "/", &struct{}{})
}

// A connection is used again after an answer that ends where it says, and no other.
func TestKept(t *testing.T) {
	for name, is := range map[string]struct {
		answer      string
		connections int32 // for three questions
	}{
		"a length":      {good(), 1},
		"chunks":        {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 1},
		"interim":       {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + good(), 1},
		"said to close": {good("Connection: close\r\n"), 3},
		"more follows":  {good() + "HTTP/1.1 200 OK\r\n", 3},
	} {
		s, c := talk(t, 2, func(int32, *http.Request) string { return is.answer })
		for range 3 {
			if err := get(t, c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s.connections.Load() != is.connections {
			t.Errorf("%s: %d connections, want %d", name, s.connections.Load(), is.connections)
		}
	}
}

// What is no answer, or none in reason, is told as that, and none of its words show.
func TestNoAnswer(t *testing.T) {
	for name, is := range map[string]struct {
		answer string
		kind   fault.Kind
	}{
		"another protocol":  {"-ERR hunter2\r\n\r\n", fault.Malformed},
		"header of no form": {"HTTP/1.1 200 OK\r\nhunter2\r\n\r\n", fault.Malformed},
		"length of no form": {"HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n", fault.Malformed},
		"no end of interim": {strings.Repeat("HTTP/1.1 103 hunter2\r\n\r\n", 10), fault.Malformed},
		"no end of header":  {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: hunter2\r\n", 100_000), fault.Limited},
		"nothing":           {"", fault.Unreachable},
	} {
		_, c := talk(t, 2, func(int32, *http.Request) string { return is.answer })
		if err := get(t, c); fault.Of(err) != is.kind || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v (%s), want %s", name, err, fault.Of(err), is.kind)
		}
	}
}

// A question that changes something is never asked twice, and so not over a connection that the server may have closed.
func TestAskedOnce(t *testing.T) {
	s, c := talk(t, 2, func(n int32, _ *http.Request) string {
		if n == 2 {
			return ""
		}
		return good()
	})
	if err := get(t, c); err != nil {
		t.Fatal(err)
	}
	err := c.Do(t.Context(), http.MethodPut, "/", map[string]int{}, nil)
	if fault.Of(err) != fault.Unreachable || s.requests.Load() != 2 || s.connections.Load() != 1 {
		t.Errorf("%v; %d requests over %d connections", err, s.requests.Load(), s.connections.Load())
	}
	if err := get(t, c); err != nil {
		t.Fatal(err)
	}
	time.Sleep(surelyOpen + 100*time.Millisecond)
	if err := c.Do(t.Context(), http.MethodPut, "/", map[string]int{}, nil); err != nil || s.connections.Load() != 3 {
		t.Errorf("%v; %d connections", err, s.connections.Load())
	}
}

// What comes while nobody asks is not taken for the next answer, and a connection that was closed costs no question,
// where the system can tell.
func TestUnasked(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		return
	}
	for name, late := range map[string]string{
		"an answer": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"n\":2}", "timed out": "HTTP/1.1 408 Request Timeout\r\n\r\n", "the end": "",
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		said := make(chan struct{}, 3)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(conn, strings.Replace(good(), "{}", "1 ", 1))
				time.Sleep(20 * time.Millisecond)
				_, _ = io.WriteString(conn, late)
				_ = conn.Close()
				said <- struct{}{}
			}
		}()
		c := New(backend.Endpoint{URL: &url.URL{Scheme: "http", Host: listener.Addr().String()}, Dial: dial}, nil)
		for i := range 3 {
			n := 0
			if err := c.Do(t.Context(), http.MethodPut, "/", i, &n); err != nil || n != 1 {
				t.Errorf("%s: %v; the answer is %d", name, err, n)
			}
			<-said
			time.Sleep(5 * time.Millisecond)
		}
		c.Close()
		_ = listener.Close()
	}
}

// A server may answer before it has read all of a question.
func TestEarlyAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) }))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := New(backend.Endpoint{URL: at, Dial: dial}, nil)
	t.Cleanup(c.Close)
	err = c.Do(t.Context(), http.MethodPut, "/", strings.Repeat("x", 200_000), nil)
	if Status(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("%v", err)
	}
}

// There are never more connections than places, however many ask.
func TestConnectionsBounded(t *testing.T) {
	s, c := talk(t, 2, func(int32, *http.Request) string { return good() })
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 100 {
				if err := get(t, c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if s.connections.Load() != 2 {
		t.Errorf("%d connections, want 2", s.connections.Load())
	}
}

// Idle connections have no goroutines, are bounded, and end with the client; one that is in use then is not kept.
func TestIdle(t *testing.T) {
	const connections = 8
	s, c := talk(t, connections, func(int32, *http.Request) string { time.Sleep(10 * time.Millisecond); return good() })
	ask := func() error {
		return c.Each(t.Context(), 10*connections, func(_ context.Context, _ int) error { return get(t, c) })
	}
	before := runtime.NumGoroutine()
	if err := errors.Join(ask(), ask()); err != nil || s.connections.Load() != connections || len(c.lines.idle) != connections {
		t.Fatalf("%v; %d connections, %d idle", err, s.connections.Load(), len(c.lines.idle))
	}
	if more := runtime.NumGoroutine() - before - connections; more > 2 { // the server has one for each
		t.Errorf("%d goroutines of idle connections", more)
	}
	c.lines.idle[0].used = time.Now().Add(-idleFor)
	if err := get(t, c); err != nil || len(c.lines.idle) != connections-1 {
		t.Errorf("%v; %d idle, one of them for too long", err, len(c.lines.idle))
	}
	c.Close()
	if err := get(t, c); err != nil || len(c.lines.idle) != 0 {
		t.Errorf("%v; %d are kept", err, len(c.lines.idle))
	}
}
