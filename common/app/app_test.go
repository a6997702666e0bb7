package app

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

func TestBudget(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":      10 * time.Second,
		"2":     1800 * time.Millisecond,
		"8":     7500 * time.Millisecond,
		"0.5":   450 * time.Millisecond,
		"60":    10 * time.Second,
		"-1":    10 * time.Second,
		"0":     10 * time.Second,
		"soon":  10 * time.Second,
		"NaN":   10 * time.Second,
		"+Inf":  10 * time.Second,
		"1e300": 10 * time.Second,
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set(timeoutHeader, header)
		ctx, cancel := budget(r, 10*time.Second)
		deadline, ok := ctx.Deadline()
		cancel()
		if got := time.Until(deadline); !ok || math.Abs((got-want).Seconds()) > 0.1 {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

// The caller's own end is the scrape's.
func TestBudgetEndsWithTheRequest(t *testing.T) {
	parent, leave := context.WithCancel(context.Background())
	ctx, cancel := budget(httptest.NewRequestWithContext(parent, http.MethodGet, "/", nil), time.Minute)
	defer cancel()
	leave()
	if ctx.Err() == nil {
		t.Error("the budget outlives the request")
	}
}

func TestNegotiate(t *testing.T) {
	for accept, want := range map[string]string{
		"": "", "gzip": "gzip", "GZIP": "gzip", "zstd": "zstd", "gzip, deflate, br, zstd": "gzip", "zstd, gzip;q=0.2": "zstd",
		"gzip;q=0": "", "br": "", "*": "gzip", "zstd;q=nonsense": "", "gzip;q=0, zstd": "zstd",
	} {
		if got := negotiate(accept); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
}

func TestAllowed(t *testing.T) {
	for _, test := range []struct {
		pattern, host, port string
		want                bool
	}{
		{"db.example.com", "db.example.com", "5432", true},
		{"db.example.com", "db.example.com.evil.org", "5432", false},
		{"db.example.com:5432", "db.example.com", "5433", false},
		{"*.example.com:5432", "a.example.com", "5432", true},
		{"*.example.com:5432", "example.com", "5432", false},
		{"10.0.0.*", "10.0.0.7", "1", true},
		{"[::1]:5432", "::1", "5432", true},
		{"[::1]:5432", "::1", "1", false},
		{"*", "anything", "1", true},
	} {
		if got := Allowed([]string{test.pattern}, test.host, test.port); got != test.want {
			t.Errorf("%s allows %s %s: %v", test.pattern, test.host, test.port, got)
		}
	}
	if Allowed(nil, "a", "1") {
		t.Error("no pattern allows something")
	}
	if CheckPatterns([]string{"["}) == nil || CheckPatterns([]string{""}) == nil || CheckPatterns([]string{"a", "*.b:1"}) != nil {
		t.Error("patterns are not checked")
	}
}

// A probe reaches no address at which a cloud keeps its credentials, in whatever form it is written.
func TestGuardAddress(t *testing.T) {
	for address, refused := range map[string]bool{
		"169.254.169.254:80": true, "[::ffff:169.254.169.254]:80": true, "[fe80::1]:5432": true, "[fd00:ec2::254]:80": true,
		"224.0.0.1:1": true, "0.0.0.0:1": true, "[::]:1": true,
		"10.0.0.1:5432": false, "127.0.0.1:5432": false, "[2001:db8::1]:5432": false, "/run/postgresql/.s.PGSQL.5432": false,
	} {
		err := GuardAddress("tcp", address, nil)
		if (err != nil) != refused || err != nil && fault.Of(err) != fault.Denied {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Above the number of requests that may be in flight, one more is told to come back.
func TestLimit(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	handler := limit(make(chan struct{}, 1), func(http.ResponseWriter, *http.Request) { close(entered); <-release })
	go handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	<-entered
	second := httptest.NewRecorder()
	handler.ServeHTTP(second, httptest.NewRequest(http.MethodGet, "/", nil))
	close(release)
	if second.Code != http.StatusServiceUnavailable || second.Header().Get("Retry-After") == "" {
		t.Errorf("code %d, headers %v", second.Code, second.Header())
	}
}

// The same memory serves one page after another, and each is whole.
func TestRendererReusesMemory(t *testing.T) {
	re := newRenderer()
	f := &metric.Family{Name: "x_up", Help: "Up.", Labels: []string{"a"}}
	for _, encoding := range []string{"gzip", "zstd", ""} {
		for i, text := range []string{strings.Repeat("long ", 200), "short"} {
			batch, page := metric.NewBatch(0), &metric.Page{}
			batch.Add(f, float64(i), text)
			page.Add(batch)
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept-Encoding", encoding)
			re.write(w, r, page)
			var direct bytes.Buffer
			if _, err := re.encode(&direct, encoding, page, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(w.Body.Bytes(), direct.Bytes()) || w.Body.Len() == 0 {
				t.Errorf("%q: the page differs from one time to the next", encoding)
			}
		}
	}
}
