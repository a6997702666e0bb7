package collect

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
)

const second = time.Second

// TestPage holds a whole page against what it should be.
func TestPage(t *testing.T) {
	s := newServer()
	s.replies["good"] = reply{after: 30 * time.Millisecond, fields: "key value", lines: []string{"a 1", "b 2.5", "c -"}}
	s.replies["bad"] = reply{after: 20 * time.Millisecond, err: fault.New(fault.Denied, "not for you")}
	s.connect = func(context.Context, int) error { time.Sleep(50 * time.Millisecond); return nil }
	needy := gauge("needy", func(c *Collector) { c.Needs.Feature = "extension" })
	bubble(t, s, Catalogue{gauge("good"), gauge("bad"), needy}, func(f *fixture) {
		var text strings.Builder
		for line := range strings.Lines(page(t, f.scrape(second))) {
			if !strings.HasPrefix(line, "# HELP") && !strings.Contains(line, "_bucket") {
				text.WriteString(line)
			}
		}
		if got := text.String(); got != undent(wantPage) {
			t.Errorf("the page is\n%s", got)
		}
	})
}

const wantPage = `
	# TYPE db_connection_latency_seconds gauge
	db_connection_latency_seconds{db_name="db",service="fake"} 0.05
	# TYPE db_connection_success gauge
	db_connection_success{db_name="db",service="fake"} 1
	# TYPE db_ping_latency_seconds gauge
	db_ping_latency_seconds{db_name="db",service="fake"} 1e-09
	# TYPE db_ping_success gauge
	db_ping_success{db_name="db",service="fake"} 1
	# TYPE db_query_duration_seconds histogram
	db_query_duration_seconds_sum{database="db",operation="connect",service="fake"} 0.05
	db_query_duration_seconds_count{database="db",operation="connect",service="fake"} 1
	db_query_duration_seconds_sum{database="db",operation="ping",service="fake"} 1e-09
	db_query_duration_seconds_count{database="db",operation="ping",service="fake"} 1
	db_query_duration_seconds_sum{database="db",operation="read",service="fake"} 1e-09
	db_query_duration_seconds_count{database="db",operation="read",service="fake"} 1
	# TYPE db_read_latency_seconds gauge
	db_read_latency_seconds{db_name="db",service="fake"} 1e-09
	# TYPE db_read_success gauge
	db_read_success{db_name="db",service="fake"} 1
	# TYPE fake_exporter_collector_duration_seconds gauge
	fake_exporter_collector_duration_seconds{collector="good"} 0.03
	fake_exporter_collector_duration_seconds{collector="bad"} 0.02
	fake_exporter_collector_duration_seconds{collector="needy"} 0
	# TYPE fake_exporter_collector_failures_total counter
	fake_exporter_collector_failures_total{collector="bad",reason="denied"} 1
	# TYPE fake_exporter_collector_success gauge
	fake_exporter_collector_success{collector="good"} 1
	fake_exporter_collector_success{collector="bad"} 0
	fake_exporter_collector_success{collector="needy"} 1
	# TYPE fake_exporter_collector_unsupported_info gauge
	fake_exporter_collector_unsupported_info{collector="needy",missing="extension"} 1
	# TYPE fake_exporter_connections_total counter
	fake_exporter_connections_total 1
	# TYPE fake_exporter_duplicate_samples_total counter
	fake_exporter_duplicate_samples_total 0
	# TYPE fake_exporter_last_scrape_connect_time_seconds gauge
	fake_exporter_last_scrape_connect_time_seconds 0.05
	# TYPE fake_exporter_last_scrape_duration_seconds gauge
	fake_exporter_last_scrape_duration_seconds 0.1
	# TYPE fake_exporter_last_scrape_error gauge
	fake_exporter_last_scrape_error 1
	# TYPE fake_exporter_last_scrape_ping_time_seconds gauge
	fake_exporter_last_scrape_ping_time_seconds 1e-09
	# TYPE fake_exporter_last_scrape_received_bytes gauge
	fake_exporter_last_scrape_received_bytes 400
	# TYPE fake_exporter_last_scrape_sent_bytes gauge
	fake_exporter_last_scrape_sent_bytes 40
	# TYPE fake_exporter_last_scrape_turnarounds gauge
	fake_exporter_last_scrape_turnarounds 1
	# TYPE fake_exporter_limited_samples_total counter
	fake_exporter_limited_samples_total 0
	# TYPE fake_exporter_repaired_labels_total counter
	fake_exporter_repaired_labels_total 0
	# TYPE fake_exporter_scrape_duration_seconds summary
	fake_exporter_scrape_duration_seconds_sum 0.1
	fake_exporter_scrape_duration_seconds_count 1
	# TYPE fake_exporter_scrapes_total counter
	fake_exporter_scrapes_total 1
	# TYPE fake_good gauge
	fake_good{key="a"} 1
	fake_good{key="b"} 2.5
	# TYPE fake_up gauge
	fake_up 1
	# TYPE service_health gauge
	service_health{service="fake"} 1
`

func TestSharing(t *testing.T) {
	s := newServer()
	s.replies["good"] = reply{after: second, fields: "key value", lines: []string{"a 1"}}
	bubble(t, s, Catalogue{gauge("good")}, func(f *fixture) {
		var together sync.WaitGroup
		results := make([]*Result, 5)
		for i := range results {
			together.Go(func() {
				time.Sleep(time.Duration(i) * second / 10)
				results[i] = f.scrape(10 * second)
			})
		}
		together.Wait()
		for i, result := range results {
			if result != results[0] {
				t.Errorf("caller %d got a result of its own", i)
			}
		}
		time.Sleep(shareFor - 1)
		if f.scrape(second) != results[0] {
			t.Error("a scrape just before the result was too old did not share it")
		}
		ctx, cancel := context.WithTimeout(context.Background(), second)
		defer cancel()
		if f.Check(ctx) != results[0] {
			t.Error("a check did not share the scrape")
		}
		time.Sleep(time.Nanosecond)
		if f.scrape(10*second) == results[0] {
			t.Error("a scrape shared a result that was too old")
		}
		if asked := f.count("good"); asked != 2 {
			t.Errorf("the server was asked %d times, want 2", asked)
		}
	})
}

// TestCheck holds that a check asks only for the health, that it can be shared by checks alone, and that a scrape
// which comes meanwhile is made after it.
func TestCheck(t *testing.T) {
	s := newServer()
	s.replies["ping"] = reply{after: second, fields: "ok"}
	s.replies["good"] = table("key value", "a 1")
	bubble(t, s, Catalogue{gauge("good")}, func(f *fixture) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*second)
		defer cancel()
		var check, scrape *Result
		var together sync.WaitGroup
		together.Go(func() { check = f.Check(ctx) })
		together.Go(func() { time.Sleep(second / 2); scrape = f.scrape(5 * second) })
		time.Sleep(second + second/4) // the check has ended, the scrape is under way
		synctest.Wait()
		if f.Check(ctx) != check {
			t.Error("the second check did not share the first")
		}
		together.Wait()
		if !check.Up || f.Health().Status != health.Up || len(check.Collectors) != 0 {
			t.Errorf("the check found %+v", check)
		}
		f.expect(scrape, "fake_up fake_good", "fake_good{key=\"a\"} 1\nfake_up 1\n")
		if !f.Last().At.Equal(scrape.At) {
			t.Error("the last result is not the scrape")
		}
		if pings, asked := f.count("ping"), f.count("good"); pings != 2 || asked != 1 {
			t.Errorf("there were %d pings and %d questions, want 2 and 1", pings, asked)
		}
		later()
		f.Check(ctx)
		if !f.Last().At.Equal(scrape.At) {
			t.Error("a check took the place of the last scrape")
		}
	})
}

// Samples are kept only while they are shared: a target that nobody scrapes just now is small.
func TestSamplesAreForgotten(t *testing.T) {
	s := newServer()
	s.replies["good"] = reply{fields: "key value", lines: []string{"a 1"}}
	bubble(t, s, Catalogue{gauge("good")}, func(f *fixture) {
		result := f.scrape(second)
		f.Check(context.Background())
		time.Sleep(shareFor + 1)
		synctest.Wait()
		f.Target.mu.Lock()
		kept := []bool{f.scraped != nil, f.checked != nil, f.current != nil, len(f.last.batches) > 0}
		f.Target.mu.Unlock()
		if slices.Contains(kept, true) {
			t.Errorf("a run or its samples are still held: %v", kept)
		}
		if last := f.Last(); !last.At.Equal(result.At) || !last.Up || last.Series != 1 || len(last.Collectors) != 0 {
			t.Errorf("the last result is %+v", last)
		}
		f.expect(result, "fake_good", "fake_good{key=\"a\"} 1\n")
	})
}

// Of the last result is kept what people want to know: which collectors failed or cannot be had, and of a target that is
// down only why.
func TestLast(t *testing.T) {
	s := newServer()
	s.replies["good"] = reply{fields: "key value", lines: []string{"a 1", "b 2"}}
	s.replies["bad"] = reply{err: fault.New(fault.Denied, "not for you")}
	absent := gauge("absent", func(c *Collector) { c.Needs.Feature = "something" })
	bubble(t, s, Catalogue{gauge("good"), gauge("bad"), absent}, func(f *fixture) {
		f.scrape(second)
		last := f.Last()
		if len(last.Collectors) != 2 || last.Series != 2 {
			t.Fatalf("the last result is %+v", last)
		}
		if bad, known := last.Find("bad"); !known || bad.Err == nil {
			t.Errorf("the one that failed is %+v", bad)
		}
		if absent, known := last.Find("absent"); !known || absent.Missing != "something" {
			t.Errorf("the one that is missing is %+v", absent)
		}
		s.connect = func(context.Context, int) error { return fault.New(fault.Unreachable, "away") }
		f.link.drop()
		time.Sleep(second)
		f.scrape(second)
		if last := f.Last(); last.Up || last.Err == nil || len(last.Collectors) != 0 {
			t.Errorf("of a target that is down is kept %+v", last)
		}
	})
}

// A run that waits for a silent server holds nothing for the collectors, and yet says of each that it timed out.
func TestSilentServerIsSmall(t *testing.T) {
	s := newServer()
	s.connect = func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }
	bubble(t, s, Catalogue{gauge("one"), gauge("other")}, func(f *fixture) {
		var result *Result
		var waiting sync.WaitGroup
		waiting.Go(func() { result = f.scrape(second) })
		synctest.Wait()
		f.Target.mu.Lock()
		f.current.mu.Lock()
		if len(f.current.parts) > 0 {
			t.Errorf("the run that waits has %d parts", len(f.current.parts))
		}
		f.current.mu.Unlock()
		f.Target.mu.Unlock()
		waiting.Wait()
		f.expect(result, "fake_up fake_exporter_collector_success fake_exporter_collector_failures_total", `
			fake_exporter_collector_failures_total{collector="one",reason="timeout"} 1
			fake_exporter_collector_failures_total{collector="other",reason="timeout"} 1
			fake_exporter_collector_success{collector="one"} 0
			fake_exporter_collector_success{collector="other"} 0
			fake_up 0
		`)
	})
}

func TestCallerLeaves(t *testing.T) {
	s := newServer()
	s.replies["good"] = reply{after: 3 * second, fields: "key value", lines: []string{"a 1"}}
	bubble(t, s, Catalogue{gauge("good")}, func(f *fixture) {
		var early, late *Result
		var together sync.WaitGroup
		together.Go(func() { early = f.scrape(second) })
		together.Go(func() { late = f.scrape(5 * second) })
		together.Wait()
		const names = "fake_up fake_good fake_exporter_collector_success fake_exporter_collector_failures_total fake_exporter_scrapes_total"
		f.expect(early, names, `
			fake_exporter_collector_failures_total{collector="good",reason="timeout"} 1
			fake_exporter_collector_success{collector="good"} 0
			fake_exporter_scrapes_total 1
			fake_up 1
		`)
		f.expect(late, names, `
			fake_exporter_collector_failures_total{collector="good",reason="timeout"} 1
			fake_exporter_collector_success{collector="good"} 1
			fake_exporter_scrapes_total 1
			fake_good{key="a"} 1
			fake_up 1
		`)
		if asked := f.count("good"); asked != 1 {
			t.Errorf("the server was asked %d times, want once", asked)
		}
	})
}

// TestNobodyWaits holds that the server is told to stop when the last caller is gone, and that those who hung up are
// no failure of the target, while one who waited in vain is.
func TestNobodyWaits(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(context.CancelFunc)
		want string
	}{
		"hung up": {func(cancel context.CancelFunc) { time.Sleep(second); cancel() }, `
			fake_exporter_collector_success{collector="good"} 1
			fake_exporter_scrapes_total 1
			fake_up 1
			service_health{service="fake"} 1
		`},
		"waited in vain": {func(context.CancelFunc) { time.Sleep(5 * second) }, `
			fake_exporter_collector_failures_total{collector="good",reason="timeout"} 1
			fake_exporter_collector_success{collector="good"} 1
			fake_exporter_scrapes_total 2
			fake_up 1
			service_health{service="fake"} 1
		`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.replies["good"] = reply{stalls: true}
			bubble(t, s, Catalogue{gauge("good")}, func(f *fixture) {
				ctx, cancel := context.WithTimeout(context.Background(), 5*second)
				defer cancel()
				go f.Scrape(ctx)
				test.end(cancel)
				synctest.Wait()
				f.server.mu.Lock()
				if f.open != 0 {
					t.Error("the connection that still waits for an answer was kept")
				}
				f.server.mu.Unlock()
				f.set("good", table("key value", "a 1"))
				f.expect(f.scrape(second), "fake_up service_health fake_exporter_scrapes fake_exporter_collector_success fake_exporter_collector_failures", test.want)
			})
		})
	}
}

func TestDeadline(t *testing.T) {
	s := newServer()
	s.replies["first"] = table("key value", "a 1")
	s.replies["second"] = reply{after: 2 * second, fields: "key value", lines: []string{"a 1"}}
	s.replies["third"] = table("key value", "a 1")
	bubble(t, s, Catalogue{gauge("third", func(c *Collector) { c.Class = Dear }), gauge("first"), gauge("second")}, func(f *fixture) {
		result := f.scrape(second)
		f.expect(result, "fake_up fake_first fake_second fake_third fake_exporter_collector_success fake_exporter_collector_failures fake_exporter_last_scrape_error", `
			fake_exporter_collector_failures_total{collector="second",reason="timeout"} 1
			fake_exporter_collector_failures_total{collector="third",reason="timeout"} 1
			fake_exporter_collector_success{collector="third"} 0
			fake_exporter_collector_success{collector="first"} 1
			fake_exporter_collector_success{collector="second"} 0
			fake_exporter_last_scrape_error 1
			fake_first{key="a"} 1
			fake_up 1
		`)
		if state, _ := result.Find("second"); state.Fault != fault.Timeout || state.Err == nil {
			t.Errorf("the collector is reported as %+v", state)
		}
		if _, found := result.Find("other"); found {
			t.Error("a collector was found that does not exist")
		}
	})
}

// TestHealth holds what each step of the health check means for the target, and that a step in the way of whatever
// comes after it is the one that is blamed.
func TestHealth(t *testing.T) {
	gone := fault.New(fault.Unreachable, "gone")
	for name, test := range map[string]struct {
		connect error
		replies map[string]reply
		up      bool
		status  health.Status
		reason  fault.Kind
	}{
		"all is well":         {up: true, status: health.Up},
		"cannot connect":      {connect: gone, status: health.Down, reason: fault.Unreachable},
		"ping is denied":      {replies: map[string]reply{"ping": {err: fault.New(fault.Denied, "no")}}, status: health.Down, reason: fault.Denied},
		"ping breaks":         {replies: map[string]reply{"ping": {breaks: gone}}, status: health.Down, reason: fault.Unreachable},
		"ping stalls":         {replies: map[string]reply{"ping": {stalls: true}}, status: health.Down, reason: fault.Timeout},
		"ping ends badly":     {replies: map[string]reply{"ping": {fields: "ok", ends: fault.New(fault.Malformed, "what?")}}, status: health.Down, reason: fault.Malformed},
		"read is denied":      {replies: map[string]reply{"read": {err: fault.New(fault.Denied, "no")}}, up: true, status: health.Degraded, reason: fault.Denied},
		"read breaks":         {replies: map[string]reply{"read": {breaks: gone}}, up: true, status: health.Degraded, reason: fault.Unreachable},
		"read stalls":         {replies: map[string]reply{"read": {stalls: true}}, up: true, status: health.Degraded, reason: fault.Timeout},
		"write fails":         {replies: map[string]reply{"write": {err: fault.New(fault.Busy, "disk full")}}, up: true, status: health.Degraded, reason: fault.Busy},
		"write stalls":        {replies: map[string]reply{"write": {stalls: true}}, up: true, status: health.Degraded, reason: fault.Timeout},
		"a collector stalls":  {replies: map[string]reply{"good": {stalls: true}}, up: true, status: health.Up},
		"a collector breaks":  {replies: map[string]reply{"good": {breaks: gone}}, up: true, status: health.Up},
		"a step is forgotten": {replies: map[string]reply{"read": {skips: true}}, up: true, status: health.Degraded, reason: fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.probes = append(s.probes, Probe{Operation: Write, Question: Question{Text: "write"}, Skip: func(id Identity) bool { return id.Replica }})
			s.replies["write"], s.replies["good"] = table("ok", "1"), table("key value", "a 1")
			for question, reply := range test.replies {
				s.replies[question] = reply
			}
			s.connect = func(context.Context, int) error { return test.connect }
			bubble(t, s, Catalogue{gauge("good")}, func(f *fixture) {
				result := f.scrape(second)
				if result.Up != test.up || result.Health.Status() != test.status || result.Fault != test.reason {
					t.Errorf("the result says up %v, %v, %q", result.Up, result.Health.Status(), result.Fault)
				}
				if test.status != health.Up && result.Err == nil {
					t.Error("the result does not say why")
				}
				text := page(t, result)
				reason := "fake_exporter_failure_info{reason=\"" + string(test.reason) + "\"} 1\n"
				if strings.Contains(text, reason) != (test.status == health.Down) {
					t.Errorf("the page says\n%s", text)
				}
				synctest.Wait()
				if report := f.Health(); report.Status != test.status || report.Fault != test.reason {
					t.Errorf("the health is %v, %q", report.Status, report.Fault)
				}
			})
		})
	}
}

// TestReplica holds that a probe which the identity rules out is not asked, and is no failure.
func TestReplica(t *testing.T) {
	s := newServer()
	s.identity.Replica = true
	s.probes = append(s.probes, Probe{Operation: Write, Question: Question{Text: "write"}, Skip: func(id Identity) bool { return id.Replica }})
	bubble(t, s, nil, func(f *fixture) {
		f.expect(f.scrape(second), "fake_up db_write service_health", "fake_up 1\nservice_health{service=\"fake\"} 1\n")
		if f.count("write") != 0 {
			t.Error("a replica was asked to write")
		}
	})
}

// TestHealthOfEachCaller holds that a caller whose time is up is told the state of that moment, and not what a run
// before it found.
func TestHealthOfEachCaller(t *testing.T) {
	s := newServer()
	bubble(t, s, nil, func(f *fixture) {
		const names = "fake_up service_health db_connection_success db_ping_success db_read_success"
		f.expect(f.scrape(second), names, `
			db_connection_success{db_name="db",service="fake"} 1
			db_ping_success{db_name="db",service="fake"} 1
			db_read_success{db_name="db",service="fake"} 1
			fake_up 1
			service_health{service="fake"} 1
		`)
		later()
		f.set("ping", reply{stalls: true})
		f.expect(f.scrape(second), names, `
			db_connection_success{db_name="db",service="fake"} 1
			db_ping_success{db_name="db",service="fake"} 0
			fake_up 0
			service_health{service="fake"} 0
			service_health_failure_info{reason="timeout",service="fake"} 1
		`)
	})
}

func TestFailuresAreCountedOnceARun(t *testing.T) {
	s := newServer()
	s.replies["slowly"] = reply{after: 3 * second, err: fault.New(fault.Busy, "a lock")}
	s.replies["denied"] = reply{err: fault.New(fault.Denied, "no")}
	bubble(t, s, Catalogue{gauge("denied"), gauge("slowly")}, func(f *fixture) {
		var together sync.WaitGroup
		for i := range 6 {
			together.Go(func() { f.scrape(time.Duration(i+1) * second) })
		}
		together.Wait()
		f.expect(f.scrape(second), "fake_exporter_collector_failures fake_exporter_scrapes", `
			fake_exporter_collector_failures_total{collector="denied",reason="denied"} 1
			fake_exporter_collector_failures_total{collector="slowly",reason="timeout"} 1
			fake_exporter_scrapes_total 1
		`)
	})
}

// TestStuckDriver holds that a driver which does not stop when it is told to holds nobody up, and nothing but itself.
func TestStuckDriver(t *testing.T) {
	s := newServer()
	s.connect = func(_ context.Context, attempt int) error {
		if attempt == 1 {
			time.Sleep(time.Minute)
		}
		return nil
	}
	bubble(t, s, Catalogue{gauge("good")}, func(f *fixture) {
		const names = "fake_up fake_exporter_failure fake_exporter_collector_success fake_exporter_collector_failures"
		f.expect(f.scrape(second), names, `
			fake_exporter_collector_failures_total{collector="good",reason="timeout"} 1
			fake_exporter_collector_success{collector="good"} 0
			fake_exporter_failure_info{reason="timeout"} 1
			fake_up 0
		`)
		f.expect(f.scrape(second), names, `
			fake_exporter_collector_failures_total{collector="good",reason="busy"} 1
			fake_exporter_collector_failures_total{collector="good",reason="timeout"} 1
			fake_exporter_collector_success{collector="good"} 0
			fake_exporter_failure_info{reason="busy"} 1
			fake_up 0
		`)
		f.set("good", table("key value", "a 1"))
		if result := f.scrape(2 * time.Minute); !result.Up {
			t.Errorf("after the driver had ended the target was down: %v", result.Err)
		}
	})
}

func TestAbandonedScrapesLeaveNothing(t *testing.T) {
	s := newServer()
	s.replies["good"] = reply{stalls: true}
	collectors := Catalogue{gauge("good"), gauge("background", slow(time.Minute))}
	bubble(t, s, collectors, func(f *fixture) {
		for i := range 100 {
			ctx, cancel := context.WithCancel(context.Background())
			go f.Scrape(ctx)
			time.Sleep(time.Duration(i) * 20 * time.Millisecond)
			cancel()
			synctest.Wait()
			f.server.mu.Lock()
			if f.open > 2 {
				t.Fatalf("%d connections are open", f.open)
			}
			f.server.mu.Unlock()
		}
		f.set("good", table("key value", "a 1"))
		f.set("background", table("key value", "a 1"))
		f.expect(f.scrape(2*second), "fake_up fake_good fake_background fake_exporter_collector_failures", `
			fake_background{key="a"} 1
			fake_good{key="a"} 1
			fake_up 1
		`)
	})
}

func TestClose(t *testing.T) {
	s := newServer()
	s.replies["good"], s.replies["background"] = reply{stalls: true}, reply{stalls: true}
	bubble(t, s, Catalogue{gauge("background", slow(time.Minute))}, func(f *fixture) {
		f.scrape(second) // leaves a background run behind
		f.set("ping", reply{stalls: true})
		var waiting, after *Result
		var together sync.WaitGroup
		together.Go(func() { waiting = f.scrape(time.Minute) })
		time.Sleep(second)
		for range 3 {
			together.Go(f.Close)
		}
		together.Wait()
		if waiting.Up || waiting.Took != second {
			t.Errorf("the caller who waited got %+v", waiting)
		}
		time.Sleep(time.Minute)
		if after = f.scrape(second); after.Up || after.Fault != fault.Busy || after.Took != 0 {
			t.Errorf("a closed target says %+v", after)
		}
		f.expect(after, "fake_up fake_exporter_collector_success", "fake_exporter_collector_success{collector=\"background\"} 0\nfake_up 0\n")
		if logged := f.logs.take(); logged != "INFO target is up" {
			t.Errorf("the log says\n%s", logged)
		}
	})
}

// TestGoneBefore holds that nothing is asked for a caller who is gone before he has begun.
func TestGoneBefore(t *testing.T) {
	s := newServer()
	bubble(t, s, nil, func(f *fixture) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if result := f.Scrape(ctx); result.Up || result.Fault != fault.Timeout {
			t.Errorf("the result is %+v", result)
		}
		if len(f.times()) != 0 {
			t.Error("a connection was made")
		}
	})
}

// TestLog holds that changes are logged and repetitions are not.
func TestLog(t *testing.T) {
	s := newServer()
	good := table("key value", "a 1")
	bubble(t, s, Catalogue{gauge("one"), gauge("two")}, func(f *fixture) {
		for _, step := range []struct {
			change map[string]reply
			want   string
		}{
			{map[string]reply{"one": good, "two": good}, "INFO target is up"},
			{nil, ""},
			{map[string]reply{"one": {err: fault.New(fault.Denied, "no")}}, "WARN collector fails collector=one reason=denied"},
			{nil, ""},
			{map[string]reply{"one": {err: fault.New(fault.Busy, "a lock")}}, "WARN collector fails collector=one reason=busy"},
			{map[string]reply{"one": {err: fault.New(fault.Unsupported, "no such table")}}, "INFO collector is not supported by the server collector=one"},
			{map[string]reply{"one": good}, "INFO collector works again collector=one"},
			{map[string]reply{"read": {err: fault.New(fault.Denied, "no")}}, "WARN target is degraded reason=denied"},
			{map[string]reply{"ping": {breaks: errGone}}, "WARN target is down reason=unreachable"},
			{nil, ""},
			{map[string]reply{"ping": {err: fault.New(fault.Denied, "no")}}, "ERROR target is down reason=denied"},
			{map[string]reply{"ping": good, "read": good}, "INFO target is up"},
		} {
			for question, reply := range step.change {
				f.set(question, reply)
			}
			later()
			f.scrape(2 * second)
			if got := f.logs.take(); got != step.want {
				t.Errorf("after %+v the log says %q, want %q", step.change, got, step.want)
			}
		}
	})
}

// Callers who overlap for ever do not keep a run alive whose server fell silent after its first answer: who comes when the
// longest wait of its callers is over is told of a run of his own.
func TestOverlappingCallers(t *testing.T) {
	s := newServer()
	s.replies["good"] = reply{stalls: true}
	bubble(t, s, Catalogue{gauge("good")}, func(f *fixture) {
		up := make([]bool, 8)
		var together sync.WaitGroup
		for i := range up {
			together.Go(func() {
				time.Sleep(time.Duration(i) * 3 * second / 2)
				up[i] = f.scrape(2 * second).Up
			})
		}
		time.Sleep(second)
		s.set("ping", reply{stalls: true})
		together.Wait()
		if want := []bool{true, true, false, false, false, false, false, false}; !slices.Equal(up, want) {
			t.Errorf("one after the other is told that the server is up: %v, want %v", up, want)
		}
	})
}
