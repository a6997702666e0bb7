package collect

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// TestRefused holds the times between attempts to connect where the server refuses us: 1 s, 2 s, then 30 s and up to
// a tenth more, while scrapes answer at once.
func TestRefused(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Auth, fault.Denied, fault.Config} {
		t.Run(string(kind), func(t *testing.T) {
			s := newServer()
			s.connect = func(_ context.Context, attempt int) error {
				if attempt < 6 {
					return fault.New(kind, "refused")
				}
				return nil
			}
			bubble(t, s, nil, func(f *fixture) {
				for !f.refused(kind) {
					time.Sleep(shareFor)
				}
				want := []time.Duration{second, 2 * second, 30 * second, 30 * second, 30 * second}
				for i, at := range f.times()[1:] {
					wait := at - f.times()[i]
					if most := want[i] + want[i]/10 + shareFor; wait < want[i] || wait > most {
						t.Errorf("attempt %d came after %v, want at least %v and at most %v", i+2, wait, want[i], most)
					}
				}
				if len(f.times()) != 6 {
					t.Errorf("there were %d attempts, want 6", len(f.times()))
				}
			})
		})
	}
}

// TestRefusedInBetween holds that another failure ends a row of refusals, and that an attempt which was called off does
// not.
func TestRefusedInBetween(t *testing.T) {
	s := newServer()
	outcomes := []fault.Kind{fault.Auth, fault.Auth, fault.Unreachable, fault.Auth, fault.Auth, "called off", fault.Auth, fault.None}
	s.connect = func(ctx context.Context, attempt int) error {
		switch kind := outcomes[attempt-1]; kind {
		case fault.None:
			return nil
		case "called off":
			<-ctx.Done()
			return ctx.Err()
		default:
			return fault.New(kind, "no")
		}
	}
	bubble(t, s, nil, func(f *fixture) {
		for !f.scrape(second / 4).Up {
			time.Sleep(second / 4)
		}
		for i, want := range []time.Duration{second, 2 * second, second, second, 2 * second, second, 30 * second} {
			wait := f.times()[i+1] - f.times()[i]
			if most := want + want/10 + second/2; wait < want || wait > most {
				t.Errorf("attempt %d came after %v, want at least %v and at most %v", i+2, wait, want, most)
			}
		}
	})
}

// refused scrapes once, which is answered at once, and tells whether the target is up.
func (f *fixture) refused(kind fault.Kind) bool {
	result := f.scrape(10 * second)
	if result.Took != 0 {
		f.t.Errorf("a scrape waited %v for a server that refuses", result.Took)
	}
	if !result.Up && (result.Fault != kind || result.Err == nil) {
		f.t.Errorf("the result says %q, %v", result.Fault, result.Err)
	}
	return result.Up
}

// TestUnreachable holds that there is at most one attempt a second where the server does not answer, and that a
// scrape waits that long, so that the first one after the server is back is good.
func TestUnreachable(t *testing.T) {
	s := newServer()
	started := time.Now()
	s.connect = func(context.Context, int) error {
		if time.Since(started) < 5*second-second/10 {
			return errors.Join(fault.New(fault.Unreachable, "refused"))
		}
		return nil
	}
	bubble(t, s, nil, func(f *fixture) {
		started = time.Now()
		for time.Since(started) < 4*second {
			if f.scrape(2 * second).Up {
				t.Error("the target is up")
			}
			time.Sleep(second / 2)
		}
		if result := f.scrape(2 * second); !result.Up || result.Took > second {
			t.Errorf("the first scrape after the server is back says %q after %v", result.Fault, result.Took)
		}
		for i, at := range f.times() {
			if at != time.Duration(i)*second {
				t.Errorf("attempt %d came after %v", i, at)
			}
		}
	})
}

func TestUnreachableWithinTheDeadline(t *testing.T) {
	s := newServer()
	s.connect = func(context.Context, int) error { return fault.New(fault.Unreachable, "refused") }
	bubble(t, s, nil, func(f *fixture) {
		f.scrape(second / 10)
		time.Sleep(shareFor)
		if result := f.scrape(second / 10); result.Fault != fault.Timeout || result.Took != second/10 {
			t.Errorf("a scrape that may not wait says %q after %v", result.Fault, result.Took)
		}
	})
}

// TestConnectionBreaks holds that a kept connection which breaks before its first answer is replaced, once, and no
// other.
func TestConnectionBreaks(t *testing.T) {
	good := table("key value", "a 1")
	for name, test := range map[string]struct {
		kept     bool // the first scrape went well
		idle     bool // the server closes the kept connection
		replies  map[string]reply
		attempts int
		reason   fault.Kind
		want     string
	}{
		"kept, closed while idle": {kept: true, idle: true, attempts: 2, want: "fake_good{key=\"a\"} 1\nfake_up 1\n"},
		"kept, and the new one breaks too": {kept: true, idle: true, replies: map[string]reply{"ping": {breaks: errGone}},
			attempts: 2, reason: fault.Unreachable, want: "fake_up 0\n"},
		"kept, stalls":               {kept: true, replies: map[string]reply{"ping": {stalls: true}}, attempts: 1, reason: fault.Timeout, want: "fake_up 0\n"},
		"new":                        {replies: map[string]reply{"ping": {breaks: errGone}}, attempts: 1, reason: fault.Unreachable, want: "fake_up 0\n"},
		"kept, after an answer":      {kept: true, replies: map[string]reply{"good": {breaks: errGone}}, attempts: 1, reason: fault.Unreachable, want: "fake_up 1\n"},
		"kept, after a refusal":      {kept: true, replies: map[string]reply{"ping": {err: errGone}, "good": {breaks: errGone}}, attempts: 1, reason: fault.Unreachable, want: "fake_up 0\n"},
		"kept, nothing is wrong":     {kept: true, attempts: 1, want: "fake_good{key=\"a\"} 1\nfake_up 1\n"},
		"kept, lost without a cause": {kept: true, replies: map[string]reply{"good": {breaks: errors.New("?")}}, attempts: 1, reason: fault.Internal, want: "fake_up 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.replies["good"] = good
			bubble(t, s, Catalogue{gauge("good")}, func(f *fixture) {
				if test.kept {
					f.scrape(second)
					later()
				}
				if test.idle {
					f.conns[0].broken = errGone
				}
				for question, reply := range test.replies {
					f.set(question, reply)
				}
				result := f.scrape(second)
				f.expect(result, "fake_good fake_up", test.want)
				if state, _ := result.Find("good"); state.Fault != test.reason {
					t.Errorf("the collector fails with %q, want %q", state.Fault, test.reason)
				}
				synctest.Wait()
				if len(f.times()) != test.attempts {
					t.Errorf("there were %d attempts to connect, want %d", len(f.times()), test.attempts)
				}
			})
		})
	}
}

// TestServerThatHangsUp holds that a server which takes connections and closes them at once is asked as seldom as one
// that takes none.
func TestServerThatHangsUp(t *testing.T) {
	s := newServer()
	s.replies["ping"] = reply{breaks: errGone}
	bubble(t, s, nil, func(f *fixture) {
		for range 10 {
			f.scrape(2 * second)
			later()
		}
		for i, at := range f.times() {
			if at != time.Duration(i)*second {
				t.Errorf("attempt %d came after %v", i, at)
			}
		}
	})
}

// TestReplacedServer holds that what was planned for a broken connection is planned anew: the server behind it may be
// another one.
func TestReplacedServer(t *testing.T) {
	s := newServer()
	s.replies["good"], s.replies["old"] = table("key value", "a 1"), table("key value", "a 2")
	primary := gauge("good", func(c *Collector) { c.Needs.Primary = true })
	replica := gauge("old", func(c *Collector) { c.Needs.Replica = true })
	s.identity.Replica = true
	bubble(t, s, Catalogue{primary, replica}, func(f *fixture) {
		const names = "fake_good fake_old fake_exporter_collector_success fake_exporter_collector_unsupported"
		f.expect(f.scrape(second), names, `
			fake_exporter_collector_success{collector="good"} 1
			fake_exporter_collector_success{collector="old"} 1
			fake_exporter_collector_unsupported_info{collector="good",missing="primary"} 1
			fake_old{key="a"} 2
		`)
		later()
		f.conns[0].broken = errGone
		s.identity.Replica = false // as the new connection says, and the old one said too late
		result := f.scrape(second)
		f.expect(result, names, `
			fake_exporter_collector_success{collector="good"} 1
			fake_exporter_collector_success{collector="old"} 1
			fake_exporter_collector_unsupported_info{collector="old",missing="replica"} 1
			fake_good{key="a"} 1
		`)
		if state, _ := result.Find("good"); result.Identity.Replica || state.Missing != "" {
			t.Errorf("the result holds the old identity, or %q is missing", state.Missing)
		}
	})
}

// TestUsage holds that the costs of a scrape are its own, those of a replaced connection included.
func TestUsage(t *testing.T) {
	s := newServer()
	bubble(t, s, nil, func(f *fixture) {
		for range 3 {
			if got := f.scrape(second).Usage; got != (Usage{TurnArounds: 1, Received: 200, Sent: 20}) {
				t.Errorf("a scrape cost %+v", got)
			}
			later()
		}
		f.set("read", reply{breaks: errGone})
		if got := f.scrape(second).Usage; got != (Usage{TurnArounds: 1, Received: 100, Sent: 20}) {
			t.Errorf("a scrape that broke off cost %+v", got)
		}
	})
}

// TestKeptConnection holds that the time of a connection is counted when it is made, and shown as long as it is kept.
func TestKeptConnection(t *testing.T) {
	s := newServer()
	s.connect = func(context.Context, int) error { time.Sleep(second / 10); return nil }
	bubble(t, s, nil, func(f *fixture) {
		for range 3 {
			f.expect(f.scrape(second), "db_connection db_query_duration_seconds_count{database=\"db\",operation=\"connect\"", `
				db_connection_latency_seconds{db_name="db",service="fake"} 0.1
				db_connection_success{db_name="db",service="fake"} 1
				db_query_duration_seconds_count{database="db",operation="connect",service="fake"} 1
			`)
			later()
		}
	})
}

// dialogue is a collector that talks by itself.
func dialogue(name string, run func(ctx context.Context, conn Conn, out *metric.Batch) error) *Collector {
	return &Collector{Name: name, Run: run, Families: []*metric.Family{{Name: "fake_" + name}}}
}

// TestDialogues holds that a dialogue has the connection to itself, may fail alone, and that a connection on which one
// broke off is not used again.
func TestDialogues(t *testing.T) {
	var speak, panicking, denied *Collector
	speak = dialogue("speak", func(ctx context.Context, conn Conn, out *metric.Batch) error {
		out.Add(speak.Families[0], 1)
		return conn.Do(ctx, []Question{{Text: "slowly"}}, func(int, Answer, error) {})
	})
	panicking = dialogue("panicking", func(context.Context, Conn, *metric.Batch) error { panic("bug") })
	denied = dialogue("denied", func(_ context.Context, _ Conn, out *metric.Batch) error {
		out.Add(denied.Families[0], 1)
		return fault.New(fault.Denied, "no")
	})
	for name, test := range map[string]struct {
		collectors Catalogue
		attempts   int // in two scrapes
		want       string
	}{
		"all well": {Catalogue{speak, gauge("good")}, 1, `
			fake_exporter_collector_success{collector="speak"} 1
			fake_exporter_collector_success{collector="good"} 1
			fake_good{key="a"} 1
			fake_speak 1
		`},
		"one is denied": {Catalogue{denied, speak, gauge("good")}, 1, `
			fake_exporter_collector_failures_total{collector="denied",reason="denied"} 1
			fake_exporter_collector_success{collector="denied"} 0
			fake_exporter_collector_success{collector="speak"} 1
			fake_exporter_collector_success{collector="good"} 1
			fake_good{key="a"} 1
			fake_speak 1
		`},
		"one panics": {Catalogue{panicking, speak, gauge("good")}, 2, `
			fake_exporter_collector_failures_total{collector="panicking",reason="internal"} 1
			fake_exporter_collector_success{collector="panicking"} 0
			fake_exporter_collector_success{collector="speak"} 1
			fake_exporter_collector_success{collector="good"} 1
			fake_good{key="a"} 1
			fake_speak 1
		`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.replies["good"], s.replies["slowly"] = table("key value", "a 1"), reply{after: second, fields: "ok"}
			bubble(t, s, test.collectors, func(f *fixture) {
				f.expect(f.scrape(10*second), "fake_exporter_collector_failures fake_exporter_collector_success fake_good fake_speak fake_denied", test.want)
				later()
				f.scrape(10 * second)
				if len(f.times()) != test.attempts {
					t.Errorf("there were %d attempts to connect, want %d", len(f.times()), test.attempts)
				}
			})
		})
	}
}

// TestDialogueAtTheDeadline holds that a dialogue is told when nobody waits for it any more.
func TestDialogueAtTheDeadline(t *testing.T) {
	ended := make(chan error, 1)
	stuck := dialogue("stuck", func(ctx context.Context, _ Conn, _ *metric.Batch) error {
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	})
	s := newServer()
	bubble(t, s, Catalogue{stuck}, func(f *fixture) {
		result := f.scrape(second)
		if state, _ := result.Find("stuck"); state.Fault != fault.Timeout {
			t.Errorf("the dialogue fails with %q", state.Fault)
		}
		if !result.Up {
			t.Error("the target is down")
		}
		<-ended
	})
}

// TestPanics holds that no bug of a collector costs more than that collector, and none of a driver more than a scrape.
func TestPanics(t *testing.T) {
	type broken struct {
		*server
		conn
	}
	boom := func() { panic("bug") }
	only := func(c *Collector, change func(*Collector)) Catalogue { change(c); return Catalogue{c, gauge("good")} }
	const alone = `
		fake_exporter_collector_failures_total{collector="bad",reason="internal"} 1
		fake_exporter_collector_success{collector="bad"} 0
		fake_exporter_collector_success{collector="good"} 1
		fake_good{key="a"} 1
		fake_up 1
	`
	const whole = `
		fake_exporter_collector_failures_total{collector="good",reason="internal"} 1
		fake_exporter_collector_success{collector="good"} 0
		fake_up 0
	`
	const rest = `
		fake_exporter_collector_failures_total{collector="good",reason="internal"} 1
		fake_exporter_collector_success{collector="good"} 0
		fake_up 1
	`
	for name, test := range map[string]struct {
		collectors Catalogue
		change     func(*server)
		want       string
	}{
		"Ask":          {only(gauge("bad"), func(c *Collector) { c.Ask = func(Identity) []Question { boom(); return nil } }), nil, alone},
		"Read":         {only(gauge("bad"), func(c *Collector) { c.Read = func(int, Answer, *metric.Batch) error { boom(); return nil } }), nil, alone},
		"Read, a nil":  {only(gauge("bad"), func(c *Collector) { c.Read = func(int, Answer, *metric.Batch) error { var p *broken; return p.broken } }), nil, alone},
		"Run":          {Catalogue{dialogue("bad", func(context.Context, Conn, *metric.Batch) error { boom(); return nil }), gauge("good")}, nil, alone},
		"Connect":      {nil, func(s *server) { s.connect = func(context.Context, int) error { boom(); return nil } }, whole},
		"Do":           {nil, func(s *server) { s.replies["good"] = reply{panics: "bug"} }, rest},
		"Do, at first": {nil, func(s *server) { s.replies["ping"] = reply{panics: "bug"} }, whole},
		"Skip":         {nil, func(s *server) { s.probes[1].Skip = func(Identity) bool { boom(); return true } }, whole},
		"Classify": {nil, func(s *server) {
			s.replies["good"] = reply{err: errors.New("?")}
			s.classify = func(error) fault.Kind { boom(); return "" }
		}, rest},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			s.replies["good"], s.replies["bad"] = table("key value", "a 1"), table("key value", "a 1")
			collectors := test.collectors
			if collectors == nil {
				collectors = Catalogue{gauge("good")}
				test.change(s)
			}
			bubble(t, s, collectors, func(f *fixture) {
				f.expect(f.scrape(second), "fake_exporter_collector_failures fake_exporter_collector_success fake_good fake_bad fake_up", test.want)
				if test.want != alone && len(s.conns) > 0 && !s.conns[0].closed {
					t.Error("the connection is used on, though nobody knows how it is")
				}
				s.connect, s.classify, s.probes = nil, nil, newServer().probes
				s.set("ping", table("ok", "1"))
				s.set("good", table("key value", "a 1"))
				later()
				if text := page(t, f.scrape(2*second)); !strings.Contains(text, "fake_good{key=\"a\"} 1\n") {
					t.Errorf("the scrape after the panic says\n%s", text)
				}
				if name == "Connect" && s.times()[1] != second {
					t.Errorf("the second attempt came after %v", s.times()[1])
				}
			})
		})
	}
}

// hostile is a driver whose connections panic in what is called at odd moments.
type hostile struct {
	*server
	bug *atomic.Value // where
}

type hostileConn struct {
	Conn
	bug *atomic.Value // where
}

func (h hostile) Connect(ctx context.Context) (Conn, error) {
	conn, err := h.server.Connect(ctx)
	return hostileConn{conn, h.bug}, err
}

func (c hostileConn) panicIn(where string) {
	if c.bug.Load() == where {
		panic("bug")
	}
}

func (c hostileConn) Usage() Usage       { c.panicIn("Usage"); return c.Conn.Usage() }
func (c hostileConn) Identity() Identity { c.panicIn("Identity"); return c.Conn.Identity() }
func (c hostileConn) Close()             { c.Conn.Close(); c.panicIn("Close") }

func TestPanicsOfAConnection(t *testing.T) {
	for _, where := range []string{"Usage", "Identity", "Close"} {
		t.Run(where, func(t *testing.T) {
			s := newServer()
			s.replies["good"], s.replies["background"] = table("key value", "a 1"), table("key value", "a 1")
			bubble(t, s, Catalogue{gauge("good"), gauge("background", slow(second))}, func(f *fixture) {
				var bug atomic.Value
				bug.Store(where)
				f.spec.Driver = hostile{s, &bug}
				f.link.driver = f.spec.Driver
				if result := f.scrape(second); where == "Identity" && result.Fault != fault.Internal {
					t.Errorf("the first scrape says up %v, %q", result.Up, result.Fault)
				}
				later()
				f.set("good", reply{breaks: errGone}) // the connection is closed
				if result := f.scrape(second); result.Err == nil {
					t.Error("nothing failed")
				}
				bug.Store("")
				f.set("good", table("key value", "a 1"))
				time.Sleep(second)
				f.scrape(2 * second)
				time.Sleep(second)
				f.expect(f.scrape(second), "fake_up fake_good fake_background", "fake_background{key=\"a\"} 1\nfake_good{key=\"a\"} 1\nfake_up 1\n")
				bug.Store(where) // while the target is closed
			})
		})
	}
}
