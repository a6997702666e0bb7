package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// ways is a service that answers in as many ways as there are paths.
func ways() http.Handler {
	mux := http.NewServeMux()
	for _, status := range []int{204, 302, 400, 401, 403, 404, 407, 408, 429, 500, 502, 503, 504} {
		mux.HandleFunc(fmt.Sprintf("/%d", status), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/ready")
			w.WriteHeader(status)
		})
	}
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"status":"ok"}`) })
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "begin")
		for block := make([]byte, 1<<20); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "only this")
	})
	mux.HandleFunc("/drip", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	mux.HandleFunc("/stall", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return mux
}

// raw is a listener that says the same bytes to everybody.
func raw(t *testing.T, says string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, says)
			conn.Close()
		}
	}()
	return "http://" + listener.Addr().String()
}

func TestLook(t *testing.T) {
	plain, secure := httptest.NewServer(ways()), httptest.NewUnstartedServer(ways())
	secure.Config.ErrorLog = discard(t)
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	for name, test := range map[string]struct {
		url  string
		more string // YAML
		want fault.Kind
	}{
		"up":                    {plain.URL + "/ready", `body: '"ok"'`, fault.None},
		"another good status":   {plain.URL + "/204", "status: [200, 204]", fault.None},
		"a status not expected": {plain.URL + "/204", "", fault.Malformed},
		"body mismatch":         {plain.URL + "/ready", "body: ^ok$", fault.Malformed},
		"400":                   {plain.URL + "/400", "", fault.Config},
		"401":                   {plain.URL + "/401", "", fault.Auth},
		"403":                   {plain.URL + "/403", "", fault.Denied},
		"404":                   {plain.URL + "/404", "", fault.Config},
		"407":                   {plain.URL + "/407", "", fault.Denied},
		"408":                   {plain.URL + "/408", "", fault.Timeout},
		"429":                   {plain.URL + "/429", "", fault.Busy},
		"500":                   {plain.URL + "/500", "", fault.Malformed},
		"502":                   {plain.URL + "/502", "", fault.Unreachable},
		"503":                   {plain.URL + "/503", "", fault.Busy},
		"504":                   {plain.URL + "/504", "", fault.Timeout},
		"503 is good":           {plain.URL + "/503", "status: [503]", fault.None},
		"redirect":              {plain.URL + "/302", "", fault.Config},
		"redirect is good":      {plain.URL + "/302", "status: [302]", fault.None},
		"redirect is followed":  {plain.URL + "/302", `{follow_redirects: true, body: ok}`, fault.None},
		"redirects in a ring":   {plain.URL + "/round", "follow_redirects: true", fault.Config},
		"huge":                  {plain.URL + "/huge", "body: ^begin", fault.None},
		"too far in":            {plain.URL + "/huge", "body: end$", fault.Malformed},
		"cut off":               {plain.URL + "/short", "", fault.Unreachable},
		"drip":                  {plain.URL + "/drip", "timeout: 200ms", fault.Timeout},
		"stall":                 {plain.URL + "/stall", "timeout: 200ms", fault.Timeout},
		"garbage":               {raw(t, "\x00\xff what is this\r\n\r\n"), "", fault.Malformed},
		"half a header":         {raw(t, "HTTP/1.1 200 OK\r\nX: "), "", fault.Unreachable},
		"endless header":        {raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)), "", fault.Malformed},
		"hangs up":              {raw(t, ""), "", fault.Unreachable},
		"nobody there":          {"http://127.0.0.1:1", "", fault.Unreachable},
		"no such name":          {"http://nowhere.invalid", "", fault.Unreachable},
		"unknown authority":     {secure.URL + "/ready", "", fault.Auth},
		"no TLS":                {"https" + strings.TrimPrefix(plain.URL, "http") + "/ready", "", fault.Config},
		"TLS not expected":      {"http" + strings.TrimPrefix(secure.URL, "https") + "/ready", "", fault.Config},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := one(t, test.url, test.more)
			begin := time.Now()
			err := newLooker(d, newTransport(d)).ask(t.Context())
			if fault.Of(err) != test.want {
				t.Errorf("%q, want %q: %v", fault.Of(err), test.want, err)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("it took %s", took)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("the error shows a secret or has lines: %v", err)
			}
		})
	}
}

// one gives the dependent of a configuration, with a query that must not show.
func one(t *testing.T, url, more string) Dependent {
	t.Helper()
	more = strings.Trim(more, "{}")
	if more != "" {
		more = ", " + more
	}
	list, err := parse(t, fmt.Sprintf("dependents: [{name: a, url: '%s?key=hunter2'%s}]", url, more))
	if err != nil {
		t.Fatal(err)
	}
	return list[0].complete()
}

// A service whose certificate is known to be good is up, over HTTP/2 too.
func TestLookOverTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(ways())
	server.EnableHTTP2 = true
	server.Config.ErrorLog = discard(t)
	server.StartTLS()
	t.Cleanup(server.Close)
	d := one(t, server.URL+"/ready", "body: ok")
	transport := newTransport(d).(*http.Transport)
	transport.TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	if err := newLooker(d, transport).ask(t.Context()); err != nil {
		t.Error(err)
	}
	d.URL = strings.Replace(d.URL, "127.0.0.1", "localhost", 1) // of which the certificate does not speak
	if err := newLooker(d, transport).ask(t.Context()); fault.Of(err) != fault.Auth {
		t.Errorf("another name is accepted: %v", err)
	}
}

// Credentials reach the server that they are for, and no other that it points to.
func TestLookKeepsCredentials(t *testing.T) {
	var elsewhere atomic.Int32
	rogue := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(rogue.Close)
	var seen atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, rogue.URL, http.StatusTemporaryRedirect)
		case "/near":
			http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
		default:
			seen.Store(r.Host + " " + r.Header.Get("Authorization") + " " + r.Header.Get("Apikey"))
		}
	}))
	t.Cleanup(server.Close)
	full := Dependent{FollowRedirects: true, Bearer: config.SecretValue("b"), Headers: map[string]config.Secret{"apikey": config.SecretValue("k"), "host": config.SecretValue("inner")}}.complete()
	ask := func(d Dependent, path string) error {
		d.URL = server.URL + path
		return newLooker(d, newTransport(d)).ask(t.Context())
	}
	for _, path := range []string{"/", "/near"} {
		seen.Store("")
		if err := ask(full, path); err != nil || seen.Load() != "inner Bearer b k" {
			t.Errorf("%s: the server saw %q: %v", path, seen.Load(), err)
		}
	}
	bearer, header, none := full, full, full
	bearer.Headers, header.Bearer = nil, config.Secret{}
	none.Headers, none.Bearer = nil, config.Secret{}
	for name, err := range map[string]error{"bearer": ask(bearer, "/away"), "header": ask(header, "/away"), "query": ask(none, "/away?key=k")} {
		if fault.Of(err) != fault.Config || elsewhere.Load() != 0 {
			t.Errorf("%s: it went elsewhere: %v", name, err)
		}
	}
	if err := ask(none, "/away"); err != nil || elsewhere.Load() != 1 {
		t.Errorf("without credentials the redirect is not followed: %v", err)
	}
}

// transport is a service within the process, for tests with a clock of their own.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func says(status int) (*http.Response, error) {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("ok"))}, nil
}

// watching gives a watch whose dependents all are one service, and what it notes.
func watching(service transport) (*Watch, *[]string) {
	var mu sync.Mutex
	notes := &[]string{}
	w := NewWatch(func(r Report, _ error) {
		mu.Lock()
		defer mu.Unlock()
		*notes = append(*notes, fmt.Sprintf("%s %s %s", r.Service, r.Status, r.Fault))
	})
	w.transport = func(Dependent) http.RoundTripper { return service }
	return w, notes
}

func named(names ...string) (list []Dependent) {
	for _, name := range names {
		list = append(list, Dependent{Name: name, URL: "http://" + name + "/"})
	}
	return list
}

// Each dependent is asked at once and then at its interval, not more often where it is slow, and changes are noted.
func TestWatchSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var asked []time.Duration
		w, notes := watching(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, time.Since(begin))
			switch len(asked) {
			case 2, 3:
				return says(503)
			case 4:
				<-r.Context().Done()
				return nil, r.Context().Err()
			case 5:
				panic("a bug")
			}
			return says(200)
		})
		w.Apply(named("a"))
		time.Sleep(80 * time.Second)
		w.Close()
		if got := fmt.Sprint(asked); got != "[0s 15s 30s 45s 1m0s 1m15s]" {
			t.Errorf("asked at %s", got)
		}
		if got := strings.Join(*notes, ", "); got != "a ok , a error busy, a error timeout, a error internal, a ok " {
			t.Errorf("noted: %s", got)
		}
		time.Sleep(time.Minute)
		if len(asked) != 6 {
			t.Error("it is asked after the end")
		}
	})
}

// The first answer is waited for, within the asker's time; later ones are not.
func TestWatchReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Int64
		slow.Store(int64(time.Second))
		w, _ := watching(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Duration(slow.Load()))
			return says(200)
		})
		defer w.Close()
		w.Apply(named("a", "b"))
		begin := time.Now()
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for _, r := range w.Reports(short) {
			if r.Status != Down || r.Fault != fault.Timeout || !r.At.IsZero() {
				t.Errorf("before the first answer: %+v", r)
			}
		}
		if text := text(t, w); text != "" {
			t.Errorf("before the first answer there are metrics:\n%s", text)
		}
		reports := w.Reports(t.Context())
		if took := time.Since(begin); took != time.Second {
			t.Errorf("the first answers took %s", took)
		}
		if len(reports) != 2 || reports[0].Service != "a" || reports[1].Status != Up || reports[0].Check.Ping.Latency != time.Second {
			t.Errorf("%+v", reports)
		}
		if got, want := text(t, w), `service_health_probe_duration_seconds{service="a"} 1
service_health_probe_duration_seconds{service="b"} 1
service_health{service="a"} 1
service_health{service="b"} 1
`; sorted(got) != sorted(want) {
			t.Errorf("the metrics are\n%s", got)
		}
		slow.Store(int64(2500 * time.Millisecond))
		time.Sleep(15 * time.Second) // in the midst of the second look
		begin = time.Now()
		if r := w.Reports(t.Context()); r[0].Status != Up || time.Since(begin) != 0 {
			t.Errorf("after %s: %+v", time.Since(begin), r)
		}
	})
}

func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func text(t *testing.T, w *Watch) string {
	t.Helper()
	var page metric.Page
	w.AddTo(&page)
	var text bytes.Buffer
	if err := page.Encode(&text, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "#") {
			found.WriteString(line)
		}
	}
	return found.String()
}

// A new list leaves alone what is as it was, stops what is gone, also in the midst of a look, and starts what is new.
func TestWatchApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := map[string]int{}
		var mu sync.Mutex
		w, notes := watching(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			asked[r.URL.Host]++
			mu.Unlock()
			if r.URL.Host == "hangs" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return says(200)
		})
		w.Apply(named("kept", "hangs"))
		time.Sleep(time.Second)
		since := w.all()[0].service.Report().Since
		begin := time.Now()
		list := named("new", "kept")
		list[0].Body = Pattern{regexp.MustCompile("ok")}
		w.Apply(list)
		if took := time.Since(begin); took != 0 {
			t.Errorf("stopping took %s", took)
		}
		reports := w.Reports(t.Context())
		if len(reports) != 2 || reports[0].Service != "new" || reports[1].Since != since {
			t.Errorf("%+v", reports)
		}
		again := named("new", "kept")
		again[0].Body = Pattern{regexp.MustCompile("ok")}
		w.Apply(again) // equal, though not the same
		time.Sleep(time.Second)
		again[0].Body = Pattern{regexp.MustCompile("o")}
		again[1].Bearer = config.SecretValue("x")
		w.Apply(again)
		time.Sleep(time.Second)
		w.Close()
		w.Close()
		if got := fmt.Sprint(asked); got != "map[hangs:1 kept:2 new:2]" {
			t.Errorf("asked: %s", got)
		}
		for _, note := range *notes {
			if strings.HasPrefix(note, "hangs") {
				t.Errorf("noted of a look that was called off: %s", note)
			}
		}
		if len(w.Reports(t.Context())) != 0 {
			t.Error("something is left after the end")
		}
	})
}

// Asking, listing and changing the list at the same time is safe.
func TestWatchConcurrently(t *testing.T) {
	w := NewWatch(func(Report, error) {})
	w.transport = func(Dependent) http.RoundTripper {
		return transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("no") })
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				w.Apply(named("a", fmt.Sprint(i*n%5)))
				w.Reports(t.Context())
				w.AddTo(&metric.Page{})
			}
		})
	}
	all.Wait()
	w.Close()
}

// discard is a log for what a server says of clients that refuse it.
func discard(t *testing.T) *log.Logger {
	t.Helper()
	return log.New(io.Discard, "", 0)
}
