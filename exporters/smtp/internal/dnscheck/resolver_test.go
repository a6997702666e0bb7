package dnscheck

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 250)
	server := newNameServer(t, "a.test. 60 A 127.0.0.5", "a.test. 60 A 127.0.0.6", "alias.test. 60 CNAME next.test.", "next.test. 60 CNAME a.test.",
		"loop.test. 60 CNAME pool.test.", "pool.test. 60 CNAME loop.test.", "a.test. 60 MX 5 a.test.", "signed.test. 60 A 127.0.0.7", "signed.test. SIGNED",
		fmt.Sprintf(`big.test. 60 TXT "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s" "%[1]s"`, long), `odd.test. 60 TXT "a\"b\\c\200d" "e"`,
		"servfail.test. FAIL SERVFAIL", "refused.test. FAIL REFUSED", "notimp.test. FAIL NOTIMP")
	r := NewResolver(server.addr)
	for _, c := range []struct {
		name   string
		kind   uint16
		count  int
		reason Reason
	}{
		{"a.test", dns.TypeA, 2, ""}, {"A.Test.", dns.TypeA, 2, ""}, {"alias.test", dns.TypeA, 2, ""}, {"alias.test", dns.TypeCNAME, 1, ""},
		{"a.test", dns.TypeAAAA, 0, ""}, {"missing.test", dns.TypeA, 0, ""}, {"loop.test", dns.TypeA, 0, ""}, {"big.test", dns.TypeTXT, 1, ""},
		{"servfail.test", dns.TypeA, 0, ServerFailure}, {"refused.test", dns.TypeA, 0, Refused}, {"notimp.test", dns.TypeA, 0, ServerFailure},
		{"a..test", dns.TypeA, 0, BadName}, {strings.Repeat(long[:60]+".", 5), dns.TypeA, 0, BadName},
	} {
		answer, err := r.Ask(t.Context(), c.name, c.kind)
		if len(answer.Records) != c.count || ReasonOf(err) != c.reason || answer.Authenticated {
			t.Errorf("%s %s: %v, %v", c.name, dns.TypeToString[c.kind], answer, err)
		}
	}
	if answer, err := r.Ask(t.Context(), "signed.test", dns.TypeA); err != nil || !answer.Authenticated {
		t.Errorf("%v, %v", answer, err)
	}
	texts, err := r.texts(t.Context(), "odd.test")
	if err != nil || !slices.Equal(texts, []string{`a"b\c?de`}) {
		t.Errorf("%q, %v", texts, err)
	}
}

// What is said of how long an answer holds is kept to, and no more is kept than there is room for.
func TestMemory(t *testing.T) {
	server := newNameServer(t, "a.test. 60 A 127.0.0.5", "brief.test. 0 A 127.0.0.5", "long.test. 999999 A 127.0.0.5", "servfail.test. FAIL SERVFAIL")
	r := NewResolver(server.addr)
	clock := time.Now()
	r.now = func() time.Time { return clock }
	ask := func(name string, after time.Duration, want int64) {
		t.Helper()
		clock = clock.Add(after)
		before := server.asked.Load()
		_, _ = r.Ask(t.Context(), name, dns.TypeA)
		if got := server.asked.Load() - before; got != want {
			t.Errorf("%s after %v: %d questions, want %d", name, after, got, want)
		}
	}
	ask("a.test", 0, 1)
	ask("a.test", 59*time.Second, 0)
	ask("a.test", 2*time.Second, 1)
	ask("missing.test", 0, 1)
	ask("missing.test", 59*time.Second, 0)
	ask("missing.test", 2*time.Second, 1)
	ask("brief.test", 0, 1)
	ask("brief.test", 0, 1)
	ask("long.test", 0, 1)
	ask("long.test", maxKeep-time.Second, 0)
	ask("long.test", 2*time.Second, 1)
	ask("servfail.test", 0, 1)
	ask("servfail.test", 0, 1)
	for i := range 2 * maxRemember / 1000 {
		r.remember(question{fmt.Sprint(i), 1}, remembered{until: clock.Add(time.Hour), size: 1000})
	}
	if r.occupied > maxRemember || r.occupied < maxRemember/2 {
		t.Errorf("%d bytes are kept", r.occupied)
	}
	for q := range r.memory {
		r.forget(q)
	}
	if r.occupied != 0 {
		t.Errorf("%d bytes are left", r.occupied)
	}
}

// reply changes a proper reply before it is sent.
func reply(change func(*dns.Msg)) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		change(m)
		_ = w.WriteMsg(m)
	}
}

func record(text string) dns.RR {
	r, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return r
}

// A server that stalls, cuts, garbles or lies: each has its reason, and none is believed.
func TestHostileServers(t *testing.T) {
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for name, c := range map[string]struct {
		handler func(dns.ResponseWriter, *dns.Msg)
		reason  Reason
	}{
		"silent":         {func(dns.ResponseWriter, *dns.Msg) {}, Timeout},
		"other question": {reply(func(m *dns.Msg) { m.Question[0].Name = "other.test." }), BadAnswer},
		"other kind":     {reply(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX }), BadAnswer},
		"no question":    {reply(func(m *dns.Msg) { m.Question = nil }), BadAnswer},
		"a query":        {reply(func(m *dns.Msg) { m.Response = false }), BadAnswer},
		"always cut":     {reply(func(m *dns.Msg) { m.Truncated = true }), BadAnswer},
		"resolves not":   {reply(func(m *dns.Msg) { m.RecursionAvailable = false }), Refused},
		"other id":       {reply(func(m *dns.Msg) { m.Id++ }), Timeout},
		"garbage": {func(w dns.ResponseWriter, q *dns.Msg) {
			_, _ = w.Write(append([]byte{byte(q.Id >> 8), byte(q.Id)}, "\x80\x00\xff\xff\xff\xff\xff\xffgarbage"...))
		}, BadAnswer},
		"cut on the wire": {func(w dns.ResponseWriter, q *dns.Msg) {
			wire, _ := q.Pack()
			wire[2] |= 0x80
			_, _ = w.Write(wire[:len(wire)-14])
		}, BadAnswer},
		"foreign records": {reply(func(m *dns.Msg) {
			m.Answer = []dns.RR{record("evil.test. 60 A 6.6.6.6"), record("a.test. 60 CH A 6.6.6.6"), record("a.test. 60 TXT x")}
		}), ""},
		"flood": {func(w dns.ResponseWriter, q *dns.Msg) {
			reply(func(m *dns.Msg) {
				m.Truncated = w.LocalAddr().Network() == "udp"
				for i := range 1500 {
					if m.Answer = append(m.Answer, record(fmt.Sprintf("a.test. 60 A 10.0.%d.%d", i>>8&255, i&255))); m.Truncated {
						break
					}
				}
			})(w, q)
		}, TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := NewResolver(serve(t, c.handler))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begun := time.Now()
			answer, err := r.Ask(ctx, "a.test", dns.TypeA)
			if ReasonOf(err) != c.reason || len(answer.Records) > 0 || time.Since(begun) > 3*time.Second {
				t.Errorf("%v, %v by %s after %v", answer, err, ReasonOf(err), time.Since(begun))
			}
		})
	}
	if _, err := NewResolver(closed.LocalAddr().String()).Ask(t.Context(), "a.test", dns.TypeA); ReasonOf(err) != Unreachable {
		t.Errorf("%v by %s", err, ReasonOf(err))
	}
}

// Where one server fails the next one is asked.
func TestNextServer(t *testing.T) {
	good := newNameServer(t, "a.test. 60 A 127.0.0.5")
	bad := newNameServer(t, "a.test. FAIL SERVFAIL")
	closed := newNameServer(t)
	answer, err := NewResolver(bad.addr, closed.addr, good.addr, "127.0.0.1:1").Ask(t.Context(), "a.test", dns.TypeA)
	if err != nil || len(answer.Records) > 1 {
		t.Errorf("%v, %v", answer, err)
	}
	if answer, err = NewResolver(bad.addr, good.addr).Ask(t.Context(), "a.test", dns.TypeA); err != nil || len(answer.Records) != 1 {
		t.Errorf("%v, %v", answer, err)
	}
}

// Many ask at once: not more at a time than are allowed, and all are answered.
func TestManyAsk(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	r := NewResolver(serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(10 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		reply(func(m *dns.Msg) { m.Answer = []dns.RR{record(m.Question[0].Name + " 60 A 127.0.0.1")} })(w, q)
	}))
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if answer, err := r.Ask(t.Context(), fmt.Sprintf("n%d.test", i), dns.TypeA); err != nil || len(answer.Records) != 1 {
				t.Errorf("%v, %v", answer, err)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if most > maxExchanges {
		t.Errorf("%d questions at once", most)
	}
}

func TestSystemServers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if got := systemServers(path); !slices.Equal(got, []string{"127.0.0.1:53"}) {
		t.Error(got)
	}
	if err := os.WriteFile(path, []byte("search x\nnameserver 192.0.2.1\nnameserver ::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := systemServers(path); !slices.Equal(got, []string{"192.0.2.1:53", "[::1]:53"}) {
		t.Error(got)
	}
}

func FuzzUnescape(f *testing.F) {
	f.Add(`a\"\200\`)
	f.Fuzz(func(t *testing.T, text string) {
		if got := unescape(text); len(got) > len(text) {
			t.Errorf("%q", got)
		}
	})
}

// Whatever a server sends: what is taken for an answer is of the kind that was asked for, within the limits.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{"a.test. 60 A 127.0.0.5", "a.test. 60 CNAME b.test.", "a.test. 0 TXT x"} {
		m := new(dns.Msg).SetQuestion("a.test.", dns.TypeA)
		m.Response, m.RecursionAvailable, m.Answer = true, true, []dns.RR{record(text), record("b.test. 60 A 127.0.0.6")}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		q, m := question{"a.test.", dns.TypeA}, new(dns.Msg)
		if m.Unpack(wire) != nil || checkAnswer(q, m) != nil {
			return
		}
		answer, keep := read(q, m)
		if keep < 0 || keep > maxKeep || len(answer.Records) > maxMessage/11 {
			t.Errorf("%v for %v", answer, keep)
		}
		for _, record := range answer.Records {
			if record.Header().Rrtype != q.kind || record.Header().Class != dns.ClassINET {
				t.Error(record)
			}
		}
	})
}
