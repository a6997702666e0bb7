package collect

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

const slowNames = "fake_background fake_good fake_exporter_collector_success fake_exporter_collector_age fake_exporter_collector_failures"

// TestSlow holds that the first scrape waits for the slow answers, that later ones serve the last answer with its
// age, and that a new one is asked for when it is due, on a connection of its own.
func TestSlow(t *testing.T) {
	s := newServer()
	s.replies["background"] = reply{after: 5 * second, fields: "key value", lines: []string{"a 1"}}
	bubble(t, s, Catalogue{gauge("background", slow(time.Minute))}, func(f *fixture) {
		first := f.scrape(10 * second)
		if first.Took != 5*second {
			t.Errorf("the first scrape took %v, want 5s", first.Took)
		}
		if !f.Last().At.Equal(first.At) {
			t.Error("the whole first page is not the last result")
		}
		f.expect(first, slowNames, `
			fake_background{key="a"} 1
			fake_exporter_collector_age_seconds{collector="background"} 0
			fake_exporter_collector_success{collector="background"} 1
		`)
		f.set("background", reply{after: 5 * second, fields: "key value", lines: []string{"a 2"}})
		const served = `
			fake_background{key="a"} %d
			fake_exporter_collector_age_seconds{collector="background"} %d
			fake_exporter_collector_success{collector="background"} 1
		`
		for _, later := range []struct {
			wait       time.Duration
			value, age int
		}{{30 * second, 1, 30}, {30 * second, 1, 60}, {second, 1, 61}, {5 * second, 2, 1}} {
			time.Sleep(later.wait)
			result := f.scrape(10 * second)
			if result.Took != 0 {
				t.Errorf("a later scrape took %v", result.Took)
			}
			f.expect(result, slowNames, fmt.Sprintf(served, later.value, later.age))
			if state, _ := result.Find("background"); state.Age != time.Duration(later.age)*second {
				t.Errorf("the age is given as %v", state.Age)
			}
		}
		if f.count("background") != 2 || len(f.times()) != 3 {
			t.Errorf("it was asked %d times on %d connections, want 2 and 3 with the kept one", f.count("background"), len(f.times()))
		}
		f.expect(f.scrape(second), "fake_exporter_connections", "fake_exporter_connections_total 3\n")
	})
}

// TestSlowAtTheDeadline holds that the first scrape waits no longer than it may, and the second not at all.
func TestSlowAtTheDeadline(t *testing.T) {
	s := newServer()
	s.replies["background"] = reply{after: 5 * second, fields: "key value", lines: []string{"a 1"}}
	s.replies["good"] = table("key value", "a 1")
	bubble(t, s, Catalogue{gauge("background", slow(time.Minute)), gauge("good")}, func(f *fixture) {
		const pending = `
			fake_exporter_collector_success{collector="good"} 1
			fake_exporter_collector_success{collector="background"} 0
			fake_good{key="a"} 1
		`
		f.expect(f.scrape(2*second), slowNames, pending)
		time.Sleep(second)
		result := f.scrape(10 * second)
		if result.Took != 0 {
			t.Errorf("the second scrape took %v", result.Took)
		}
		f.expect(result, slowNames, pending)
		time.Sleep(3 * second)
		f.expect(f.scrape(second), slowNames, `
			fake_background{key="a"} 1
			fake_exporter_collector_age_seconds{collector="background"} 1
			fake_exporter_collector_success{collector="good"} 1
			fake_exporter_collector_success{collector="background"} 1
			fake_good{key="a"} 1
		`)
	})
}

// TestSlowFirstShared holds that callers of different patience who share the first scrape each get what is there.
func TestSlowFirstShared(t *testing.T) {
	s := newServer()
	s.replies["background"] = reply{after: 5 * second, fields: "key value", lines: []string{"a 1"}}
	bubble(t, s, Catalogue{gauge("background", slow(time.Minute))}, func(f *fixture) {
		var early, late *Result
		var together sync.WaitGroup
		together.Go(func() { early = f.scrape(2 * second) })
		together.Go(func() { time.Sleep(shareFor / 2); late = f.scrape(10 * second) })
		together.Wait()
		f.expect(early, "fake_background", "")
		f.expect(late, "fake_background", "fake_background{key=\"a\"} 1\n")
		if !f.Last().At.Equal(late.At) {
			t.Error("the last result is not that of the caller who waited longest")
		}
	})
}

// TestSlowBesideMembers holds that a first scrape which waits in vain for one thing in the background has the other.
func TestSlowBesideMembers(t *testing.T) {
	own, stuck := newServer(), newServer()
	own.replies["list"] = table("name", "one", "two")
	own.replies["background"] = reply{after: second, fields: "key value", lines: []string{"a 1"}}
	stuck.replies["ping"] = reply{stalls: true}
	withMembers(t, own, map[string]*server{"one": stuck, "two": stuck}, 1, gauge("background", slow(time.Minute)), func(f *fixture) {
		f.expect(f.scrape(2*second), "fake_background fake_exporter_member_success", `
			fake_background{key="a"} 1
			fake_exporter_member_success{db="one"} 0
			fake_exporter_member_success{db="two"} 0
		`)
	})
}

// TestSlowFails holds that a failure keeps the answer before it until that is twice as old as it should become, and
// that there is another attempt within a minute.
func TestSlowFails(t *testing.T) {
	const every = 5 * time.Minute
	good := reply{after: second, fields: "key value", lines: []string{"a 1"}}
	bad := reply{after: second, err: fault.New(fault.Denied, "no")}
	s := newServer()
	s.replies["background"] = good
	bubble(t, s, Catalogue{gauge("background", slow(every))}, func(f *fixture) {
		f.scrape(2 * second)
		f.set("background", bad)
		time.Sleep(every)
		f.scrape(second) // begins the run that fails
		for minute := 1; minute < 5; minute++ {
			time.Sleep(30 * second)
			f.scrape(second) // too soon after the failure
			time.Sleep(31 * second)
			f.expect(f.scrape(second), slowNames, fmt.Sprintf(`
				fake_background{key="a"} 1
				fake_exporter_collector_age_seconds{collector="background"} %d
				fake_exporter_collector_failures_total{collector="background",reason="denied"} %d
				fake_exporter_collector_success{collector="background"} 0
			`, 300+61*minute, minute))
		}
		time.Sleep(time.Minute + second)
		f.expect(f.scrape(second), slowNames, `
			fake_exporter_collector_failures_total{collector="background",reason="denied"} 5
			fake_exporter_collector_success{collector="background"} 0
		`)
		synctest.Wait()
		f.set("background", good)
		time.Sleep(time.Minute + second)
		f.scrape(second)
		time.Sleep(2 * second)
		f.expect(f.scrape(second), slowNames, `
			fake_background{key="a"} 1
			fake_exporter_collector_age_seconds{collector="background"} 1
			fake_exporter_collector_failures_total{collector="background",reason="denied"} 6
			fake_exporter_collector_success{collector="background"} 1
		`)
		want := "INFO target is up\nWARN collector fails collector=background reason=denied\nINFO collector works again collector=background"
		if got := f.logs.take(); got != want {
			t.Errorf("the log says\n%s", got)
		}
	})
}

// TestSlowKinds holds what each way to fail in the background comes to, and that none touches the rest.
func TestSlowKinds(t *testing.T) {
	second1 := func(_ context.Context, attempt int) error {
		if attempt == 2 {
			return fault.New(fault.Busy, "too many connections")
		}
		return nil
	}
	for name, test := range map[string]struct {
		reply   reply
		connect func(context.Context, int) error
		change  func(*Collector)
		want    string
	}{
		"breaks":         {reply: reply{breaks: errGone}, want: failedSlowly("unreachable")},
		"panics":         {reply: reply{panics: "bug"}, want: failedSlowly("internal")},
		"is forgotten":   {reply: reply{skips: true}, want: failedSlowly("internal")},
		"takes too long": {reply: reply{stalls: true}, want: failedSlowly("timeout")},
		"cannot connect": {connect: second1, want: failedSlowly("busy")},
		"Ask panics":     {change: func(c *Collector) { c.Ask = func(Identity) []Question { panic("bug") } }, want: failedSlowly("internal")},
		"has no answer": {reply: reply{err: fault.New(fault.Unsupported, "no such table")}, want: `
			fake_exporter_collector_success{collector="good"} 1
			fake_exporter_collector_success{collector="background"} 1
			fake_exporter_collector_unsupported_info{collector="background",missing="server"} 1
			fake_good{key="a"} 1
		`},
		"lacks an extension": {change: func(c *Collector) { c.Needs.Feature = "extension" }, want: `
			fake_exporter_collector_success{collector="good"} 1
			fake_exporter_collector_success{collector="background"} 1
			fake_exporter_collector_unsupported_info{collector="background",missing="extension"} 1
			fake_good{key="a"} 1
		`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.connect, s.replies["background"], s.replies["good"] = test.connect, test.reply, table("key value", "a 1")
			collector := gauge("background", slow(10*time.Minute))
			if test.change != nil {
				test.change(collector)
			}
			bubble(t, s, Catalogue{collector, gauge("good")}, func(f *fixture) {
				f.expect(f.scrape(5*time.Minute), slowNames+" fake_exporter_collector_unsupported", test.want)
			})
		})
	}
}

func failedSlowly(reason string) string {
	return `
		fake_exporter_collector_failures_total{collector="background",reason="` + reason + `"} 1
		fake_exporter_collector_success{collector="good"} 1
		fake_exporter_collector_success{collector="background"} 0
		fake_good{key="a"} 1
	`
}

// TestSlowWhileDown holds that the background asks nothing of a target that is down, and that the answers it has are
// served on.
func TestSlowWhileDown(t *testing.T) {
	s := newServer()
	s.replies["background"] = table("key value", "a 1")
	bubble(t, s, Catalogue{gauge("background", slow(time.Minute))}, func(f *fixture) {
		f.scrape(second)
		f.set("ping", reply{breaks: errGone})
		time.Sleep(2 * time.Minute)
		f.expect(f.scrape(second), "fake_up fake_background", "fake_background{key=\"a\"} 1\nfake_up 0\n")
		synctest.Wait()
		if f.count("background") != 1 {
			t.Error("the background asked a target that is down")
		}
	})
}

// TestApart holds that what is asked of others than the server is known while that is down, without a connection, and
// does not depend on what else is asked in the background.
func TestApart(t *testing.T) {
	s := newServer()
	s.replies["ping"] = reply{err: fault.New(fault.Denied, "no")}
	s.replies["background"] = table("key value", "a 1")
	family := &metric.Family{Name: "fake_apart", Help: "What others say."}
	failing := &metric.Family{Name: "fake_failing", Help: "What others do not say."}
	apart := func(name string, f *metric.Family, err error) *Collector {
		return &Collector{Name: name, Families: []*metric.Family{f}, Class: Slow, Every: time.Minute, Apart: true,
			Run: func(_ context.Context, conn Conn, out *metric.Batch) error {
				if conn != nil {
					return fault.New(fault.Internal, "there is a connection")
				}
				out.Add(f, 1)
				return err
			}}
	}
	catalogue := Catalogue{apart("failing", failing, fault.New(fault.Timeout, "late")), apart("apart", family, nil), gauge("background", slow(time.Minute))}
	if err := catalogue.Check(); err != nil {
		t.Error(err)
	}
	const names = "fake_up fake_apart fake_failing fake_background fake_exporter_collector_success"
	bubble(t, s, catalogue, func(f *fixture) {
		f.expect(f.scrape(10*second), names, `
			fake_apart 1
			fake_exporter_collector_success{collector="failing"} 0
			fake_exporter_collector_success{collector="apart"} 1
			fake_exporter_collector_success{collector="background"} 0
			fake_up 0
		`)
		if f.count("background") != 0 {
			t.Error("the server was asked")
		}
		f.set("ping", table("ok", "1"))
		time.Sleep(time.Minute)
		f.scrape(10 * second)
		time.Sleep(second)
		f.expect(f.scrape(10*second), names, `
			fake_apart 1
			fake_background{key="a"} 1
			fake_exporter_collector_success{collector="failing"} 0
			fake_exporter_collector_success{collector="apart"} 1
			fake_exporter_collector_success{collector="background"} 1
			fake_up 1
		`)
	})
	for _, wrong := range []*Collector{gauge("background", slow(time.Minute)), apart("cheap", family, nil)} {
		wrong.Apart = true
		if wrong.Name == "cheap" {
			wrong.Class, wrong.Every = Cheap, 0
		}
		if (Catalogue{wrong}).Check() == nil {
			t.Errorf("%s may be apart", wrong.Name)
		}
	}
}
