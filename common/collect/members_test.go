package collect

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

const memberNames = "fake_each fake_exporter_member fake_exporter_collector_success fake_exporter_collector_series_limited fake_up"

// each is a collector that is asked of every member, with samples that do not tell which one they are of.
func each(change ...func(*Collector)) *Collector {
	return gauge("each", append(change, func(c *Collector) { c.PerMember = true })...)
}

// withMembers runs a test on a target whose members are fake servers of their own.
func withMembers(t *testing.T, own *server, others map[string]*server, connections int, collector *Collector, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		logs, self := &logs{}, NewSelf("fake", nil)
		self.DeclareMembers("fake", "member", "db")
		spec := Spec{Name: "fake:1/own", Service: "fake", Database: "own", Driver: own, Collectors: Catalogue{collector}, Members: &Members{
			Label: "db", Question: Question{Text: "list"}, Connections: connections,
			Admit: func(name string) bool { return name != "unwanted" }, Driver: func(name string) Driver { return others[name] },
		}}
		f := &fixture{Target: NewTarget(spec, self, slog.New(logs)), server: own, t: t, logs: logs}
		test(f)
		f.Close()
		for name, s := range others {
			if n := s.connected(); n != 0 {
				t.Errorf("%d connections to %s are open after Close", n, name)
			}
		}
	})
}

// connected tells how many connections are open.
func (s *server) connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

func memberServer(value string) *server {
	s := newServer()
	s.replies["each"] = table("key value", "a "+value)
	return s
}

// Few members are asked within the scrape, on kept connections. One that cannot be asked costs only itself, and what
// it told before is not served any more.
func TestFewMembers(t *testing.T) {
	own, one, two := memberServer("0"), memberServer("1"), memberServer("2")
	own.replies["list"] = table("name", "two", "unwanted", "one")
	withMembers(t, own, map[string]*server{"one": one, "two": two}, 2, each(), func(f *fixture) {
		const whole = `
			fake_each{db="own",key="a"} 0
			fake_each{db="two",key="a"} 2
			fake_each{db="one",key="a"} 1
			fake_exporter_collector_success{collector="each"} 1
			fake_exporter_member_age_seconds{db="two"} 0
			fake_exporter_member_age_seconds{db="one"} 0
			fake_exporter_member_success{db="two"} 1
			fake_exporter_member_success{db="one"} 1
			fake_up 1
		`
		for range 3 {
			f.expect(f.scrape(10*second), memberNames, whole)
			later()
		}
		if len(one.times()) != 1 || len(two.times()) != 1 {
			t.Errorf("%d and %d connections, want one each", len(one.times()), len(two.times()))
		}
		one.set("ping", reply{breaks: errGone})
		f.expect(f.scrape(10*second), memberNames, `
			fake_each{db="own",key="a"} 0
			fake_each{db="two",key="a"} 2
			fake_exporter_collector_success{collector="each"} 1
			fake_exporter_member_age_seconds{db="two"} 0
			fake_exporter_member_failure_info{db="one",reason="unreachable"} 1
			fake_exporter_member_success{db="two"} 1
			fake_exporter_member_success{db="one"} 0
			fake_up 1
		`)
		one.set("ping", table("ok", "1"))
		time.Sleep(second)
		f.expect(f.scrape(10*second), memberNames, whole)
	})
}

// A member that hangs holds nobody up beyond his deadline, and is said to have timed out.
func TestMemberThatHangs(t *testing.T) {
	own, one := memberServer("0"), memberServer("1")
	own.replies["list"] = table("name", "one")
	one.connect = func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }
	withMembers(t, own, map[string]*server{"one": one}, 2, each(), func(f *fixture) {
		result := f.scrape(2 * second)
		if !result.Up || result.Took != 2*second {
			t.Errorf("up %v after %v", result.Up, result.Took)
		}
		f.expect(result, memberNames, `
			fake_each{db="own",key="a"} 0
			fake_exporter_collector_success{collector="each"} 1
			fake_exporter_member_failure_info{db="one",reason="timeout"} 1
			fake_exporter_member_success{db="one"} 0
			fake_up 1
		`)
	})
}

// A collector that fails in a member that answers has failed, and the others' samples come.
func TestCollectorFailsInMember(t *testing.T) {
	own, one := memberServer("0"), memberServer("1")
	own.replies["list"] = table("name", "one")
	one.replies["each"] = reply{err: fault.New(fault.Denied, "no")}
	withMembers(t, own, map[string]*server{"one": one}, 2, each(), func(f *fixture) {
		f.expect(f.scrape(2*second), memberNames+" fake_exporter_collector_failures_total", `
			fake_each{db="own",key="a"} 0
			fake_exporter_collector_failures_total{collector="each",reason="denied"} 1
			fake_exporter_collector_success{collector="each"} 0
			fake_exporter_member_age_seconds{db="one"} 0
			fake_exporter_member_success{db="one"} 1
			fake_up 1
		`)
	})
}

// A driver that panics for a member costs that member.
func TestMemberPanics(t *testing.T) {
	own, one := memberServer("0"), memberServer("1")
	own.replies["list"] = table("name", "one")
	one.replies["each"] = reply{panics: "a bug"}
	withMembers(t, own, map[string]*server{"one": one}, 2, each(), func(f *fixture) {
		result := f.scrape(2 * second)
		f.expect(result, "fake_up fake_each fake_exporter_collector_success", `
			fake_each{db="own",key="a"} 0
			fake_exporter_collector_success{collector="each"} 0
			fake_up 1
		`)
	})
}

// More members than connections are asked in the background: the first scrape waits for them, later ones serve their
// answers with the age, they are asked again after a minute, and all together may bring only so much.
func TestManyMembers(t *testing.T) {
	own, others := memberServer("0"), map[string]*server{}
	var names []string
	for i := range 12 {
		name := fmt.Sprintf("m%02d", i)
		others[name] = memberServer("1")
		others[name].replies["each"] = reply{after: second, fields: "key value", lines: []string{"a 1"}}
		names = append(names, name)
	}
	own.replies["list"] = table("name", names...)
	one := func(c *Collector) { c.Limit = 1 }
	withMembers(t, own, others, 3, each(one), func(f *fixture) {
		first := f.scrape(10 * second)
		if first.Took != 4*second {
			t.Errorf("the first scrape took %v, want the 4s of 12 members on 3 connections", first.Took)
		}
		f.expect(first, `fake_each{db="m09" fake_each{db="m10" fake_exporter_collector_series fake_exporter_member_success{db="m11"`, `
			fake_each{db="m09",key="a"} 1
			fake_exporter_collector_series_limited{collector="each"} 2
			fake_exporter_member_success{db="m11"} 1
		`)
		time.Sleep(20 * second)
		served := f.scrape(10 * second)
		if served.Took != 0 {
			t.Errorf("a later scrape took %v", served.Took)
		}
		f.expect(served, `fake_exporter_member_age_seconds{db="m00"`, `
			fake_exporter_member_age_seconds{db="m00"} 23
		`)
		if n := others["m00"].count("each"); n != 1 {
			t.Errorf("asked %d times within a minute", n)
		}
		time.Sleep(40 * second)
		f.scrape(10 * second)
		time.Sleep(5 * second)
		if n := others["m00"].count("each"); n != 2 {
			t.Errorf("asked %d times after a minute, want 2", n)
		}
		for name, s := range others {
			if s.connected() != 0 {
				t.Errorf("the connection to %s was kept", name)
			}
		}
	})
}

// A member that is gone is forgotten with its connection.
func TestMemberGoes(t *testing.T) {
	own, one := memberServer("0"), memberServer("1")
	own.replies["list"] = table("name", "one")
	withMembers(t, own, map[string]*server{"one": one}, 2, each(), func(f *fixture) {
		f.scrape(2 * second)
		f.set("list", table("name"))
		later()
		f.expect(f.scrape(2*second), "fake_each fake_exporter_member", `
			fake_each{db="own",key="a"} 0
		`)
		if one.connected() != 0 {
			t.Error("its connection was kept")
		}
	})
}

// A member that does not answer costs a scrape its limit once, and then nothing until the pause is over.
func TestMemberPauses(t *testing.T) {
	own, one := memberServer("0"), memberServer("1")
	own.replies["list"] = table("name", "one")
	one.replies["ping"] = reply{stalls: true}
	withMembers(t, own, map[string]*server{"one": one}, 2, each(), func(f *fixture) {
		if took := f.scrape(10 * second).Took; took != memberLimit {
			t.Errorf("the first scrape took %v, want %v", took, memberLimit)
		}
		later()
		result := f.scrape(10 * second)
		if result.Took != 0 {
			t.Errorf("the next scrape took %v", result.Took)
		}
		f.expect(result, "fake_exporter_member_failure fake_up", `
			fake_exporter_member_failure_info{db="one",reason="timeout"} 1
			fake_up 1
		`)
		one.set("ping", table("ok", "1"))
		time.Sleep(memberPause)
		f.expect(f.scrape(10*second), `fake_each{db="one" fake_exporter_member_success`, `
			fake_each{db="one",key="a"} 1
			fake_exporter_member_success{db="one"} 1
		`)
	})
}

// All members together may bring ten times what a slow collector may. Those that are not asked for this reason count.
func TestSlowCollectorOfMembersIsLimited(t *testing.T) {
	own, members, names := memberServer("0"), map[string]*server{}, []string{}
	for i := range memberShare + 2 {
		name := string(rune('a' + i))
		members[name], names = memberServer("1"), append(names, name)
	}
	own.replies["list"] = table("name", names...)
	limited := each(slow(time.Minute), func(c *Collector) { c.Limit = 1 })
	withMembers(t, own, members, 2, limited, func(f *fixture) {
		f.scrape(10 * second)
		time.Sleep(5 * second)
		p := f.scrape(10 * second)
		f.expect(p, "fake_exporter_collector_series_limited fake_exporter_collector_success", `
			fake_exporter_collector_series_limited{collector="each"} 2
			fake_exporter_collector_success{collector="each"} 1
		`)
	})
}

// What is slow is asked of the members in the background as well, and served with the target's own answer.
func TestSlowCollectorOfMembers(t *testing.T) {
	own, one, two := memberServer("0"), memberServer("1"), memberServer("2")
	own.replies["list"] = table("name", "one", "two")
	two.connect = func(context.Context, int) error { return errGone }
	withMembers(t, own, map[string]*server{"one": one, "two": two}, 2, each(slow(time.Minute)), func(f *fixture) {
		const answers = `
			fake_each{db="own",key="a"} 0
			fake_each{db="one",key="a"} 1
			fake_exporter_collector_success{collector="each"} 1
			fake_exporter_member_failure_info{db="two",reason="unreachable"} 1
			fake_exporter_member_success{db="one"} 1
			fake_exporter_member_success{db="two"} 0
		`
		for range 2 {
			f.expect(f.scrape(10*second), "fake_each fake_exporter_member_failure fake_exporter_member_success fake_exporter_collector_success", answers)
			time.Sleep(5 * second)
		}
		if n := one.count("each"); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}
