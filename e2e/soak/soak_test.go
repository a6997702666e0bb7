package soak

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// TestMain keeps the Redis client from telling of the servers that are down.
func TestMain(m *testing.M) {
	logging.Disable()
	os.Exit(m.Run())
}

var twoLines = map[string][]Fault{"one": append([]Fault{Pause, Kill, Restart}, lineFaults...), "two": lineFaults}

func TestScheduleComesFromTheSeed(t *testing.T) {
	const duration = 30 * time.Minute
	s := NewSchedule(7, duration, twoLines)
	if !reflect.DeepEqual(s, NewSchedule(7, duration, twoLines)) {
		t.Error("the same seed makes another schedule")
	}
	if reflect.DeepEqual(s.Events, NewSchedule(8, duration, twoLines).Events) {
		t.Error("another seed makes the same schedule")
	}
	longer := NewSchedule(7, 2*duration, twoLines)
	if n := len(s.Events); !reflect.DeepEqual(s.Events[:n/2], longer.Events[:n/2]) {
		t.Error("a longer run begins otherwise")
	}
	kinds := map[Fault]int{}
	free := map[string]time.Duration{}
	for _, e := range s.Events {
		kinds[e.Kind]++
		if e.At < free[e.Line] {
			t.Errorf("at %s %s begins before the fault before it is over", e.At, e)
		}
		free[e.Line] = e.At + e.For
		for _, calm := range s.Calm {
			if e.At < calm.To && e.At+e.For > calm.From {
				t.Errorf("at %s %s breaks the calm %v", e.At, e, calm)
			}
		}
		if (e.Kind == Garble || e.Kind == CutAfter || e.Kind == StallAfter) != (e.Bytes > 0) || (e.Kind == Slow) != (e.Delay > 0) || (e.Kind == Flood) != (e.Block != "") {
			t.Errorf("%+v", e)
		}
	}
	for _, kind := range twoLines["one"] {
		if kinds[kind] == 0 {
			t.Errorf("%s never happens", kind)
		}
	}
	if last := s.Calm[len(s.Calm)-1].To; last > duration || last < duration-storm-longCalm {
		t.Errorf("the last calm ends at %s", last)
	}
}

// levels makes a series of levels that rise from one to the next.
func levels(n int, rise Level) []Level {
	made := []Level{{At: time.Second, Goroutines: 20, Files: 12, Connections: 1, RSS: 25 << 20, Heap: 3 << 20}}
	for i := 1; i < n; i++ {
		l := made[i-1]
		l.At += 30 * time.Second
		l.Goroutines, l.Files, l.Connections = l.Goroutines+rise.Goroutines, l.Files+rise.Files, l.Connections+rise.Connections
		l.RSS, l.Heap = l.RSS+rise.RSS, l.Heap+rise.Heap
		made = append(made, l)
	}
	return made
}

func TestLeaksAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		levels []Level
		rule   string
	}{
		"none":           {levels(30, Level{}), ""},
		"one goroutine":  {levels(12, Level{Goroutines: 1}), ruleLeak},
		"one file":       {levels(12, Level{Files: 1}), ruleLeak},
		"one connection": {levels(12, Level{Connections: 1}), ruleLeak},
		"memory":         {levels(12, Level{RSS: 3 << 20}), ruleMemory},
		"heap":           {levels(12, Level{Heap: 1 << 20}), ruleMemory},
		"at once":        {levels(2, Level{Goroutines: 50}), ruleLeak},
		"a bit":          {levels(2, Level{Goroutines: 3, Files: 2, RSS: 5 << 20}), ""},
		"nothing known":  {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			found := judgeLevels(c.levels)
			if (len(found) > 0) != (c.rule != "") {
				t.Fatalf("found %q", found)
			}
			for _, finding := range found {
				if ruleOf(finding) != c.rule {
					t.Errorf("%s is counted as: %s", finding, ruleOf(finding))
				}
			}
		})
	}
}

// One that is high now and then and comes back is no leak.
func TestWhatComesBackIsNoLeak(t *testing.T) {
	all := levels(12, Level{})
	for i := range all {
		if i%3 == 1 {
			all[i].RSS += 60 << 20
			all[i].Goroutines += 5
		}
	}
	if found := judgeLevels(all); len(found) > 0 {
		t.Errorf("found %q", found)
	}
}

func TestReportIsWritten(t *testing.T) {
	b := newBench()
	b.see(0, "redis_up 1", "redis_up 0")
	r := &Report{Seed: 7, Planned: time.Minute, Ran: 50 * time.Second, Checks: b.judge.checks, Broken: b.judge.broken, Violations: b.judge.violations,
		Levels: map[string][]Level{"redis": levels(3, Level{})}, Faults: map[string]int{"redis stall": 2}, Schedule: NewSchedule(7, time.Minute, twoLines)}
	if !r.Failed() {
		t.Error("a broken rule is no failure")
	}
	folder := t.TempDir()
	markdown, asJSON := filepath.Join(folder, "report.md"), filepath.Join(folder, "report.json")
	for _, path := range []string{markdown, asJSON} {
		if err := r.Write(path); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(markdown)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"RULES WERE BROKEN", "Seed 7, 50s of 1m0s, 2 faults", "| redis stall | 2 |", "redis_up is 0", "20 → 20", "one "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	text, err = os.ReadFile(asJSON)
	if err != nil {
		t.Fatal(err)
	}
	var read Report
	if err := json.Unmarshal(text, &read); err != nil || !reflect.DeepEqual(&read, r) {
		t.Errorf("%v: read %+v\nwrote %+v", err, read, r)
	}
}

// All four exporters keep all rules through one storm, and every rule was looked at.
func TestShortSoak(t *testing.T) {
	root, err := servers.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Options{Bin: filepath.Join(root, "bin"), Duration: Shortest, Seed: 7, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(report)
	if report.Failed() {
		t.Error("rules were broken")
	}
	for _, rule := range []string{
		ruleAnswer, rulePage, ruleSecret, ruleDeaf, ruleWell, ruleSuccess, ruleTruth, ruleBackward, ruleLives, ruleLeak, ruleMemory, ruleLog,
	} {
		if report.Checks[rule] == 0 {
			t.Errorf("never looked at: %s", rule)
		}
	}
	for name, levels := range report.Levels {
		if len(levels) != 2 {
			t.Errorf("%s has %d levels, want one for each calm", name, len(levels))
		}
	}
	if len(report.Levels) != 4 || total(report.Faults) < 10 {
		t.Errorf("%d exporters, %d faults", len(report.Levels), total(report.Faults))
	}
}

// runOf is a run that watches one process.
func runOf(t *testing.T, script string) (*run, *subject) {
	t.Helper()
	p, err := servers.StartProcess(servers.ProcessOptions{Path: "/bin/sh", Args: []string{"-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })
	s := &subject{name: "one", secrets: []string{"open sesame"}, process: p}
	return newRun(Options{Duration: Shortest, Progress: t.Output()}, &world{subjects: []*subject{s}}), s
}

func TestAnExporterThatEndsIsFound(t *testing.T) {
	r, s := runOf(t, "echo panic: at the disco")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r.watch(ctx, s, &holdings{})
	if r.judge.broken[ruleLives] != 1 || !strings.Contains(r.judge.violations[0].Detail, "at the disco") {
		t.Errorf("broken %v: %+v", r.judge.broken, r.judge.violations)
	}
}

func TestLogsAreRead(t *testing.T) {
	for script, rule := range map[string]string{
		"echo all is well":                     "",
		"head -c 70000 /dev/zero | tr '\\0' x": ruleLog,
		"echo the word is open sesame":         ruleSecret,
	} {
		r, s := runOf(t, script)
		<-s.process.Done()
		r.final()
		if rule == "" && len(r.judge.broken) > 0 || rule != "" && (len(r.judge.broken) != 1 || r.judge.broken[rule] != 1) {
			t.Errorf("%s: broken %v", script, r.judge.broken)
		}
	}
}

// A soak that is interrupted ends at once, with the report of what was.
func TestInterruptedSoakReports(t *testing.T) {
	r, _ := runOf(t, "sleep 60")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(1200*time.Millisecond, cancel)
	if err := r.soak(ctx); err != nil {
		t.Fatal(err)
	}
	r.final()
	if report := r.report(); report.Ran > 5*time.Second || report.Ran < time.Second || report.Planned != Shortest || report.Checks[ruleMemory] < 2 {
		t.Errorf("%+v", report)
	}
}

func TestTooShort(t *testing.T) {
	if _, err := Run(t.Context(), Options{Duration: Shortest - 1}); err == nil {
		t.Error("a soak without a storm is begun")
	}
}
