package soak

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const goodPage = `# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000
# TYPE redis_up gauge
redis_up 1
# TYPE redis_exporter_collector_success gauge
redis_exporter_collector_success{collector="info"} 1
redis_exporter_collector_success{collector="config"} 1
# TYPE redis_commands_processed_total counter
redis_commands_processed_total 50
# TYPE redis_exporter_scrapes_total counter
redis_exporter_scrapes_total 7
# TYPE redis_key_value gauge
redis_key_value{key="counter",db="db0"} 1000
`

// bench is a judge with one subject, whose line is well since long ago.
type bench struct {
	judge *judge
	s     *subject
	l     *line
	now   time.Time
}

func newBench() *bench {
	now := time.Now()
	l := &line{name: "redis", truths: []*truth{newTruth(`redis_key_value{db="db0",key="counter"}`, 1000)}}
	l.past.healthy = now.Add(-time.Hour)
	return &bench{newJudge(now.Add(-time.Hour), func(Violation) {}), &subject{name: "redis", prefix: "redis", secrets: []string{"open sesame"}, lines: []*line{l}}, l, now}
}

// see has a page judged that was asked for after a while, replaced as told: old, new, old, new.
func (b *bench) see(after time.Duration, replace ...string) {
	b.page(after, 100*time.Millisecond, replace)
}

// late is see for a page that took nearly all the time that it had.
func (b *bench) late(after time.Duration, replace ...string) {
	b.page(after, 900*time.Millisecond, replace)
}

func (b *bench) page(after, took time.Duration, replace []string) {
	b.judge.scrape(b.s, scrape{
		client: "text", began: b.now.Add(after), ended: b.now.Add(after + took), timeout: time.Second, code: 200,
		contentType: "text/plain; version=0.0.4", body: []byte(strings.NewReplacer(replace...).Replace(goodPage)),
	})
}

// happen has a fault happen to the line from one time to another.
func (b *bench) happen(kind Fault, from, to time.Duration) {
	b.l.past.incidents = append(b.l.past.incidents, incident{
		Event: Event{Kind: kind, Line: "redis"}, touched: b.now.Add(from), begun: b.now.Add(from), ending: b.now.Add(to), ended: b.now.Add(to),
	})
}

// Each lie that is planted is found, under its rule and no other, and the truth beside it is not.
func TestJudgeFindsLies(t *testing.T) {
	down := []string{"redis_up 1", "redis_up 0", "} 1\n", "} 0\n", "redis_key_value{key=\"counter\",db=\"db0\"} 1000\n", ""}
	for name, lie := range map[string]struct {
		rule string // none where it is no lie
		tell func(*bench)
	}{
		"the truth": {"", func(b *bench) { b.see(0); b.see(time.Second) }},
		"a wrong number": {ruleTruth, func(b *bench) {
			b.see(0, "} 1000\n", "} 999\n")
		}},
		"a number that was true too long ago": {ruleTruth, func(b *bench) {
			b.l.truths[0].tried = append(b.l.truths[0].tried, step{b.now.Add(-time.Minute), 1001})
			b.l.truths[0].known = append(b.l.truths[0].known, step{b.now.Add(-time.Minute), 1001})
			b.see(0)
		}},
		"a number that changes during the scrape": {"", func(b *bench) {
			b.l.truths[0].tried = append(b.l.truths[0].tried, step{b.now, 1001})
			b.see(0)
			b.see(0, "} 1000\n", "} 1001\n")
		}},
		"a number that nobody has given yet": {ruleTruth, func(b *bench) {
			b.l.truths[0].tried = append(b.l.truths[0].tried, step{b.now.Add(time.Minute), 1001})
			b.see(0, "} 1000\n", "} 1001\n")
		}},
		"a value that is lost for good": {ruleTruth, func(b *bench) { b.see(0, `redis_key_value{key="counter",db="db0"} 1000`, "") }},
		"up during a stall":             {ruleDeaf, func(b *bench) { b.happen(Stall, -30*time.Second, 30*time.Second); b.see(0) }},
		"up while killed":               {ruleDeaf, func(b *bench) { b.happen(Kill, -30*time.Second, 30*time.Second); b.see(0) }},
		"down during a stall":           {"", func(b *bench) { b.happen(Stall, -30*time.Second, 30*time.Second); b.see(0, down...) }},
		"up while a byte is garbled":    {"", func(b *bench) { b.happen(Garble, -30*time.Second, 30*time.Second); b.see(0) }},
		"up right after a stall began":  {"", func(b *bench) { b.happen(Stall, -100*time.Millisecond, 30*time.Second); b.see(0) }},
		"up while no byte came":         {ruleDeaf, func(b *bench) { b.l.quiet.begun = b.now.Add(-time.Minute); b.see(0) }},
		"up while bytes came":           {"", func(b *bench) { b.l.quiet = quiet{begun: b.now.Add(-time.Minute), heard: b.now}; b.see(0) }},
		"up before anybody listened":    {"", func(b *bench) { b.l.quiet.begun = b.now; b.see(0) }},
		"one page out of time": {"", func(b *bench) {
			b.late(0, "redis_up 1", "redis_up 0")
			b.see(time.Second)
			b.late(2*time.Second, "redis_up 1", "redis_up 0")
		}},
		"two pages out of time": {ruleWell, func(b *bench) {
			b.late(0, "redis_up 1", "redis_up 0")
			b.late(2*time.Second, "redis_up 1", "redis_up 0")
		}},
		"down without a fault": {ruleWell, func(b *bench) { b.see(0, "redis_up 1", "redis_up 0") }},
		"up is not told":       {ruleWell, func(b *bench) { b.see(0, "redis_up 1", "") }},
		"still down after a stall": {ruleWell, func(b *bench) {
			b.happen(Stall, -30*time.Second, -10*time.Second)
			b.see(0, "redis_up 1", "redis_up 0")
		}},
		"down right after a stall": {"", func(b *bench) { b.happen(Stall, -30*time.Second, -time.Second); b.see(0, "redis_up 1", "redis_up 0") }},
		"a collector fails":        {ruleSuccess, func(b *bench) { b.see(0, `{collector="config"} 1`, `{collector="config"} 0`) }},
		"a collector fails during a fault": {"", func(b *bench) {
			b.happen(CutAfter, -time.Second, time.Second)
			b.see(0, `{collector="config"} 1`, `{collector="config"} 0`)
		}},
		"a series twice":       {rulePage, func(b *bench) { b.see(0, "redis_up 1", "redis_up 1\nredis_up 1") }},
		"what is no page":      {rulePage, func(b *bench) { b.see(0, "redis_up 1", "redis_up one") }},
		"a type twice":         {rulePage, func(b *bench) { b.see(0, "redis_up 1", "redis_up 1\n# TYPE redis_up gauge") }},
		"a secret":             {ruleSecret, func(b *bench) { b.see(0, "# TYPE redis_up", "# HELP redis_up open sesame\n# TYPE redis_up") }},
		"a counter that falls": {ruleBackward, func(b *bench) { b.see(0); b.see(time.Second, "processed_total 50", "processed_total 49") }},
		"a counter that falls by a restart": {"", func(b *bench) {
			b.see(0)
			b.happen(Kill, 10*time.Second, 20*time.Second)
			b.see(30*time.Second, "processed_total 50", "processed_total 4")
		}},
		"our own falls by a server's restart": {ruleBackward, func(b *bench) {
			b.see(0)
			b.happen(Kill, 10*time.Second, 20*time.Second)
			b.see(30*time.Second, "scrapes_total 7", "scrapes_total 6")
		}},
		"pages that overtake each other": {"", func(b *bench) { b.see(0); b.see(50*time.Millisecond, "processed_total 50", "processed_total 49") }},
		"another process": {ruleLives, func(b *bench) {
			b.see(0)
			b.see(time.Second, "process_start_time_seconds 1000", "process_start_time_seconds 1001")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench()
			lie.tell(b)
			switch broken := fmt.Sprint(b.judge.broken); {
			case lie.rule == "" && len(b.judge.broken) > 0:
				t.Errorf("no lie, and yet: %v", b.judge.violations)
			case lie.rule != "" && (len(b.judge.broken) == 0 || b.judge.broken[lie.rule] == 0):
				t.Errorf("not found: broken are %s", broken)
			case lie.rule == "":
			case b.judge.violations[0].Target == "" || b.judge.violations[0].Detail == "":
				t.Errorf("the violation does not say what it is: %+v", b.judge.violations[0])
			case len(b.judge.broken) > 1 && lie.rule != ruleWell:
				t.Errorf("more than the lie: %s", broken)
			}
		})
	}
}

// The violation names the fault that was there, and shows the lines of the page that matter.
func TestViolationTellsWhy(t *testing.T) {
	b := newBench()
	b.happen(Stall, -30*time.Second, 30*time.Second)
	b.see(0)
	v := b.judge.violations[0]
	if !strings.Contains(v.Fault, "redis stall") || !strings.Contains(v.Excerpt, "redis_up 1\n") || strings.Contains(v.Excerpt, "commands") {
		t.Errorf("%+v", v)
	}
}

// A client tells what it got and when: an exporter that answers late, with an error or not at all is found.
func TestClientsFindLateAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		good   bool
	}{
		"a good one": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = w.Write([]byte(goodPage))
		}, true},
		"late": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds") != "0.1" {
				http.Error(w, "no timeout is announced", http.StatusBadRequest)
			}
			time.Sleep(100*time.Millisecond + slack)
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		}, false},
		"an error": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }, false},
		"half a page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("half"))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewServer(c.answer)
			defer web.Close()
			b := newBench()
			one := client{name: "text", timeout: 100 * time.Millisecond}
			b.judge.scrape(b.s, one.once(t.Context(), &http.Transport{DisableKeepAlives: true}, web.URL, 2*time.Second))
			if b.judge.checks[ruleAnswer] != 1 || (b.judge.broken[ruleAnswer] == 0) != c.good {
				t.Errorf("looked at %v, broken %v", b.judge.checks, b.judge.broken)
			}
		})
	}
}

// Violations beyond the limit are counted and not kept.
func TestViolationsAreBounded(t *testing.T) {
	b := newBench()
	var together sync.WaitGroup
	for range 4 {
		together.Go(func() {
			for range mostViolations {
				b.see(0, "redis_up 1", "redis_up 0")
			}
		})
	}
	together.Wait()
	if len(b.judge.violations) != mostViolations || b.judge.broken[ruleWell] != 4*mostViolations {
		t.Errorf("%d kept, %d counted", len(b.judge.violations), b.judge.broken[ruleWell])
	}
}

// What comes is noticed at the next look, and at the latest when somebody asks.
func TestQuiet(t *testing.T) {
	var q quiet
	q.begin()
	q.hear(100)
	time.Sleep(20 * time.Millisecond)
	middle := time.Now()
	if !q.since(middle, 100) {
		t.Error("nothing came, and yet something was heard")
	}
	if q.since(middle, 101) {
		t.Error("a byte came and was not heard")
	}
	if (&quiet{}).since(middle, 0) {
		t.Error("who does not listen knows that it was quiet")
	}
}
