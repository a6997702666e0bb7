package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func client(t *testing.T, handler http.HandlerFunc, patience time.Duration) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL + "/base/")
	if err != nil {
		t.Fatal(err)
	}
	c := New(backend.Endpoint{URL: at, Dial: dial, Patience: patience}, http.Header{"X-Key": {"hunter2"}})
	t.Cleanup(c.Close)
	return c
}

// Names are whole segments of a path whatever is in them.
func TestEscape(t *testing.T) {
	for name, want := range map[string]string{
		"docs": "docs", "a/b": "a%2Fb", "a b": "a%20b", "a\nb": "a%0Ab", ".": "%2E", "..": "%2E%2E", "": "", "ä": "%C3%A4", "a?b#c": "a%3Fb%23c", "...": "%2E%2E%2E",
	} {
		if got := Escape(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

// The base's path goes before all others, and JSON goes both ways.
func TestDo(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = fmt.Fprintf(w, `{"said":%q}`, r.Method+" "+r.URL.EscapedPath()+" "+string(body)+" "+r.Header.Get("X-Key"))
	}, 0)
	var told struct{ Said string }
	if err := c.Do(t.Context(), http.MethodPut, "/a/"+Escape("b/c"), map[string]int{"n": 1}, &told); err != nil || told.Said != `PUT /base/a/b%2Fc {"n":1} hunter2` {
		t.Errorf("%s, %v", told.Said, err)
	}
}

// Decode takes what is one value within the limits, and nothing else.
func TestDecode(t *testing.T) {
	for text, want := range map[string]fault.Kind{
		`{"a":1}`:          fault.None,
		` {"a":1} ` + "\n": fault.None,
		`{"a":1}x`:         fault.Malformed,
		`{"a":1}{"a":2}`:   fault.Malformed,
		`{"a":`:            fault.Malformed,
		``:                 fault.Malformed,
		`{"a":"x"}`:        fault.Malformed,
		`{"b":"` + strings.Repeat("[", 100) + `"}`:                          fault.None, // within a string
		`{"b":"\"` + strings.Repeat("[", 100) + `"}`:                        fault.None,
		`{"b":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`: fault.Limited,
		`{"b":[` + strings.Repeat("0,", maxElements) + `0]}`:                fault.Limited,
		`{"b":"` + strings.Repeat("x", maxJSON) + `"}`:                      fault.Limited,
	} {
		var into struct{ A int }
		if err := Decode(t.Context(), strings.NewReader(text), &into); fault.Of(err) != want {
			t.Errorf("%.40s…: %v (%s), want %s", text, err, fault.Of(err), want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"result":{"collections":[{"name":"a\"b"}]}}`)
	f.Add(`[[[[`)
	f.Fuzz(func(_ *testing.T, text string) {
		var into map[string]any
		_ = Decode(context.Background(), strings.NewReader(text), &into) // it may refuse, and must not panic
	})
}

// The status tells the kind, and of the server's words nothing shows.
func TestStatus(t *testing.T) {
	for code, want := range map[int]fault.Kind{
		301: fault.Config, 400: fault.Internal, 401: fault.Auth, 403: fault.Denied, 404: fault.Unsupported, 405: fault.Unsupported, 408: fault.Timeout,
		409: fault.Busy, 410: fault.Unsupported, 413: fault.Limited, 418: fault.Internal, 429: fault.Busy, 500: fault.Malformed, 501: fault.Unsupported,
		502: fault.Unreachable, 503: fault.Busy, 504: fault.Timeout, 507: fault.Busy, 599: fault.Malformed,
	} {
		c := client(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "hunter2"+strings.Repeat("x", 1<<20))
		}, 0)
		err := c.Get(t.Context(), "/", nil)
		if fault.Of(err) != want || Status(err) != code || strings.Contains(err.Error(), "hunter2") || len(Words(err)) != maxWords || !strings.HasPrefix(Words(err), "hunter2") {
			t.Errorf("%d: %v (%s), %d bytes of its words; want %s", code, err, fault.Of(err), len(Words(err)), want)
		}
	}
}

// Metrics of another place are read without the credentials, those of the same with them.
func TestText(t *testing.T) {
	var key atomic.Value
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		key.Store(r.Header.Get("X-Key"))
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "a 1\n")
	}, 0)
	own, err := url.Parse(c.base)
	if err != nil {
		t.Fatal(err)
	}
	other := *own
	other.Host = strings.Replace(own.Host, "127.0.0.1", "127.0.0.2", 1)
	read := func(from io.Reader) error { _, err := io.ReadAll(from); return err }
	if err := c.Text(t.Context(), own, read); err != nil || key.Load() != "hunter2" {
		t.Errorf("%v, %v", key.Load(), err)
	}
	key.Store("")
	if err := c.Text(t.Context(), &other, read); err == nil && key.Load() != "" {
		t.Errorf("the key went to %s", other.Host)
	}
}

// A wave asks as much at once as there are connections, each once.
func TestEach(t *testing.T) {
	var now, most atomic.Int32
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		time.Sleep(5 * time.Millisecond)
		now.Add(-1)
		w.WriteHeader(http.StatusNotFound)
	}, time.Second)
	var mu sync.Mutex
	asked := map[int]int{}
	err := c.Each(t.Context(), 100, func(ctx context.Context, i int) error {
		mu.Lock()
		asked[i]++
		mu.Unlock()
		return c.Get(ctx, "/", nil)
	})
	if err != nil || len(asked) != 100 || asked[42] != 1 || most.Load() != Connections {
		t.Errorf("%v; %d were asked, %d at once", err, len(asked), most.Load())
	}
}

// A wave ends soon where the rest would fare alike.
func TestEachGivesUp(t *testing.T) {
	for name, is := range map[string]struct {
		answer http.HandlerFunc
		kind   fault.Kind
	}{
		"no key": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, fault.Auth},
		"left alone": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, fault.Busy},
		"gone":    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unreachable},
		"stalled": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, fault.Timeout},
	} {
		c := client(t, is.answer, 200*time.Millisecond)
		var asked atomic.Int32
		begin := time.Now()
		err := c.Each(t.Context(), 1000, func(ctx context.Context, _ int) error { asked.Add(1); return c.Get(ctx, "/", nil) })
		if fault.Of(err) != is.kind || asked.Load() > 3*Connections || time.Since(begin) > time.Second {
			t.Errorf("%s: %v (%s) after %d and %s", name, err, fault.Of(err), asked.Load(), time.Since(begin))
		}
		if err := c.Each(t.Context(), 1, func(context.Context, int) error { return nil }); (err != nil) != (name == "left alone") {
			t.Errorf("%s: the next wave: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := client(t, func(http.ResponseWriter, *http.Request) {}, 0)
	if err := c.Each(ctx, 5, func(ctx context.Context, _ int) error { return c.Get(ctx, "/", nil) }); fault.Of(err) != fault.Timeout {
		t.Errorf("called off: %v", err)
	}
}

// A kept connection that the server has closed meanwhile costs no question.
func TestKeptConnectionClosed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := New(backend.Endpoint{URL: at, Dial: dial}, nil)
	t.Cleanup(c.Close)
	for i := range 20 {
		if err := errors.Join(c.Get(t.Context(), "/", nil), c.Post(t.Context(), "/", map[string]int{}, nil)); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		server.CloseClientConnections()
	}
}

// A panic in what a wave asks is its error, and not the end of the process.
func TestEachPanics(t *testing.T) {
	c := client(t, func(http.ResponseWriter, *http.Request) {}, time.Second)
	err := c.Each(t.Context(), 100, func(_ context.Context, i int) error {
		if i == 7 {
			panic("a mistake")
		}
		return nil
	})
	if fault.Of(err) != fault.Internal || !strings.Contains(err.Error(), "a mistake") || !strings.Contains(err.Error(), "client_test.go") {
		t.Errorf("%v", err)
	}
}
