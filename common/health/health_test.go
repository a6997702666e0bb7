package health

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

var (
	ok     = Outcome{Asked: true, Latency: 2 * time.Millisecond}
	failed = Outcome{Asked: true, Fault: fault.Denied}
	unread = Outcome{}
)

func TestStatus(t *testing.T) {
	for name, test := range map[string]struct {
		check Check
		want  Status
		fault fault.Kind
	}{
		"nothing was asked":    {Check{}, Down, fault.None},
		"no connection":        {Check{Connect: failed}, Down, fault.Denied},
		"no ping":              {Check{Connect: ok}, Down, fault.None},
		"ping failed":          {Check{Connect: ok, Ping: failed, Read: ok}, Down, fault.Denied},
		"read failed":          {Check{Connect: ok, Ping: ok, Read: failed}, Degraded, fault.Denied},
		"write failed":         {Check{Connect: ok, Ping: ok, Read: ok, Write: failed}, Degraded, fault.Denied},
		"write was not asked":  {Check{Connect: ok, Ping: ok, Read: ok, Write: unread}, Up, fault.None},
		"nothing can be read":  {Check{Connect: ok, Ping: ok}, Up, fault.None},
		"all is well":          {Check{Connect: ok, Ping: ok, Read: ok, Write: ok}, Up, fault.None},
		"first failure counts": {Check{Connect: ok, Ping: ok, Read: Outcome{Asked: true, Fault: fault.Busy}, Write: failed}, Degraded, fault.Busy},
	} {
		if got := test.check.Status(); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
		if got := test.check.Fault(); got != test.fault {
			t.Errorf("%s: %q, want %q", name, got, test.fault)
		}
	}
}

func TestStatusWordsAndValues(t *testing.T) {
	for status, want := range map[Status]struct {
		word  string
		value float64
	}{Up: {"ok", 1}, Degraded: {"degraded", .5}, Down: {"error", 0}} {
		if status.String() != want.word || status.Value() != want.value {
			t.Errorf("%d is %q, %v", status, status, status.Value())
		}
	}
}

func TestService(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := NewService("db", "main", PostgreSQL)
	if report := s.Report(); report.Service != "db" || !report.At.IsZero() || report.Status != Down {
		t.Errorf("before the first check the report is %+v", report)
	}
	up, down := Check{Connect: ok, Ping: ok, Read: ok}, Check{Connect: failed}
	for i, step := range []struct {
		check Check
		since int // seconds after the beginning
	}{{down, 0}, {down, 0}, {up, 2}, {up, 2}, {down, 4}} {
		now := begin.Add(time.Duration(i) * time.Second)
		s.Record(step.check, now)
		report := s.Report()
		if report.At != now || report.Since != begin.Add(time.Duration(step.since)*time.Second) || report.Status != step.check.Status() {
			t.Errorf("check %d: the report is %+v", i, report)
		}
	}
}

func TestMetrics(t *testing.T) {
	kept := ok
	kept.Kept = true
	for name, test := range map[string]struct {
		driver int
		check  Check
		want   string
	}{
		"up, with a write": {PostgreSQL, Check{Connect: ok, Ping: ok, Read: ok, Write: ok}, `
			db_connection_latency_seconds{db_name="main",service="db"} 0.002
			db_connection_success{db_name="main",service="db"} 1
			db_driver_type{db_name="main",service="db"} 1
			db_ping_latency_seconds{db_name="main",service="db"} 0.002
			db_ping_success{db_name="main",service="db"} 1
			db_query_duration_seconds_count{database="main",operation="connect",service="db"} 1
			db_query_duration_seconds_count{database="main",operation="ping",service="db"} 1
			db_query_duration_seconds_count{database="main",operation="read",service="db"} 1
			db_query_duration_seconds_count{database="main",operation="write",service="db"} 1
			db_read_latency_seconds{db_name="main",service="db"} 0.002
			db_read_success{db_name="main",service="db"} 1
			db_write_latency_seconds{db_name="main",service="db"} 0.002
			db_write_success{db_name="main",service="db"} 1
			service_health{service="db"} 1
		`},
		"kept connection, degraded": {0, Check{Connect: kept, Ping: ok, Read: failed}, `
			db_connection_latency_seconds{db_name="main",service="db"} 0.002
			db_connection_success{db_name="main",service="db"} 1
			db_ping_latency_seconds{db_name="main",service="db"} 0.002
			db_ping_success{db_name="main",service="db"} 1
			db_query_duration_seconds_count{database="main",operation="ping",service="db"} 1
			db_read_success{db_name="main",service="db"} 0
			service_health{service="db"} 0.5
			service_health_failure_info{reason="denied",service="db"} 1
		`},
		"down": {0, Check{Connect: failed}, `
			db_connection_success{db_name="main",service="db"} 0
			service_health{service="db"} 0
			service_health_failure_info{reason="denied",service="db"} 1
		`},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewService("db", "main", test.driver)
			s.Record(test.check, time.Now())
			families, batch := NewFamilies(), metric.NewBatch(0)
			families.Append(batch, s, test.check)
			if f := batch.Undeclared(func(f *metric.Family) bool { return contains(families.All(), f) }); f != nil {
				t.Errorf("%s is not declared", f.Name)
			}
			want := strings.ReplaceAll(strings.TrimLeft(test.want, "\n"), "\t", "")
			if got := samples(t, batch); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func contains(all []*metric.Family, f *metric.Family) bool {
	for _, one := range all {
		if one == f {
			return true
		}
	}
	return false
}

// samples gives the text of a batch without comments, buckets and sums.
func samples(t *testing.T, batch *metric.Batch) string {
	t.Helper()
	var page metric.Page
	var text bytes.Buffer
	page.Add(batch)
	if err := page.Encode(&text, expfmt.FmtText); err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_bucket") && !strings.Contains(line, "_sum") {
			found.WriteString(line)
		}
	}
	return found.String()
}

func TestHandler(t *testing.T) {
	since := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	up := Report{Service: "a", Status: Up, Since: since, At: since, Check: Check{Ping: ok}}
	degraded := Report{Service: "b", Status: Degraded, Fault: fault.Denied, Since: since, At: since}
	down := Report{Service: "c", Status: Down, Fault: fault.Unreachable}
	for name, test := range map[string]struct {
		reports []Report
		code    int
		want    string
	}{
		"up":       {[]Report{up}, 200, `{"status":"ok","version":"1.2","services":{"a":"ok"},"details":{"a":{"since":"2026-01-02T03:04:05Z","latency_seconds":0.002}}}`},
		"degraded": {[]Report{up, degraded}, 200, `{"status":"degraded","version":"1.2","services":{"a":"ok","b":"degraded"},"details":{"a":{"since":"2026-01-02T03:04:05Z","latency_seconds":0.002},"b":{"reason":"denied","since":"2026-01-02T03:04:05Z"}}}`},
		"down":     {[]Report{down, up}, 503, `{"status":"error","version":"1.2","services":{"a":"ok","c":"error"},"details":{"a":{"since":"2026-01-02T03:04:05Z","latency_seconds":0.002},"c":{"reason":"unreachable"}}}`},
		"nothing":  {nil, 200, `{"status":"ok","version":"1.2","services":{}}`},
	} {
		t.Run(name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			handler := Handler("1.2", time.Second, func(ctx context.Context) []Report {
				if _, limited := ctx.Deadline(); !limited {
					t.Error("there is no limit on the time")
				}
				return test.reports
			})
			handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/health", http.NoBody))
			if answer.Code != test.code || strings.TrimSpace(answer.Body.String()) != test.want {
				t.Errorf("%d %s", answer.Code, answer.Body)
			}
			if kind := answer.Header().Get("Content-Type"); kind != "application/json; charset=utf-8" || !json.Valid(answer.Body.Bytes()) {
				t.Errorf("the type is %q", kind)
			}
		})
	}
}

func TestAliveHandler(t *testing.T) {
	for running, want := range map[bool]struct {
		code int
		body string
	}{true: {200, `{"status":"ok"}`}, false: {503, `{"status":"error"}`}} {
		answer := httptest.NewRecorder()
		AliveHandler(func() bool { return running }).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/healthz", http.NoBody))
		if answer.Code != want.code || strings.TrimSpace(answer.Body.String()) != want.body {
			t.Errorf("running %v: %d %s", running, answer.Code, answer.Body)
		}
	}
}
