package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// echo listens and answers every line with the same line.
func echo(t *testing.T) string {
	return listen(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
}

// listen serves connections until the test ends.
func listen(t *testing.T, serve func(net.Conn)) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		served.Wait()
	})
	served.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	return listener.Addr().String()
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// hear reads exactly the text, and fails when it does not come in five seconds.
func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("heard %q (%v), want %q", got[:n], err, text)
	}
}

// silent fails when anything comes within a short while.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("heard %d bytes (%v), want silence", n, err)
	}
}

// closed fails unless the connection ends.
func closed(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("heard %d bytes (%v), want the end", n, err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

func TestCounts(t *testing.T) {
	p := New(t, echo(t))
	first, second := dial(t, p), dial(t, p)
	for range 3 {
		say(t, first, "ping\n")
		hear(t, first, "ping\n")
	}
	say(t, second, "ping\n")
	hear(t, second, "ping\n")
	if got, want := p.Stats(), (Stats{Conns: 2, Open: 2, TurnArounds: 4, Up: 20, Down: 20}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	p.ResetStats()
	_ = second.Close()
	eventually(t, "one open", func() bool { return p.Stats() == Stats{Open: 1} })
}

func TestDelayIsPipelined(t *testing.T) {
	const oneWay, questions = 200 * time.Millisecond, 20
	p := New(t, echo(t))
	p.SetDelay(oneWay)
	c := dial(t, p)
	began := time.Now()
	for range questions {
		say(t, c, "ping\n")
		time.Sleep(time.Millisecond) // so that each is a chunk of its own
	}
	hear(t, c, strings.Repeat("ping\n", questions))
	if took := time.Since(began); took < 2*oneWay || took > 5*oneWay {
		t.Fatalf("%d questions at once took %v, one way is %v", questions, took, oneWay)
	}
	if turns := p.Stats().TurnArounds; turns != 1 {
		t.Fatalf("%d turn-arounds, want 1", turns)
	}
	_ = c.CloseWrite()
	began = time.Now()
	closed(t, c)
	if took := time.Since(began); took < 2*oneWay {
		t.Fatalf("the end came back after %v", took)
	}
}

func TestBulkInBothDirections(t *testing.T) {
	p := New(t, echo(t))
	p.SetDelay(time.Millisecond)
	c := dial(t, p)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB, more than is ever under way
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes came back of %d: %v", len(got), len(sent), err)
	}
	eventually(t, "closed", func() bool { return p.Stats().Open == 0 })
}

func TestStall(t *testing.T) {
	p := New(t, echo(t))
	before := dial(t, p)
	say(t, before, "a")
	hear(t, before, "a")
	p.Stall()
	during := dial(t, p)
	say(t, before, "b")
	say(t, during, "c")
	silent(t, before)
	silent(t, during)
	p.Resume()
	hear(t, before, "b")
	hear(t, during, "c")

	p.Stall()
	_ = during.Close()
	eventually(t, "the client counted out", func() bool { return p.Stats().Open == 1 })
}

func TestStallAfter(t *testing.T) {
	p := New(t, echo(t))
	c := dial(t, p)
	p.StallAfter(3)
	say(t, c, "abcdef")
	hear(t, c, "abc")
	silent(t, c)
	p.Resume()
	hear(t, c, "def")
}

func TestCutAfter(t *testing.T) {
	p := New(t, echo(t))
	c := dial(t, p)
	say(t, c, "ab")
	hear(t, c, "ab")
	p.CutAfter(3)
	say(t, c, "abcdef")
	hear(t, c, "abc")
	closed(t, c)
	later := dial(t, p)
	say(t, later, "a")
	closed(t, later)
	p.Resume()
	resumed := dial(t, p)
	say(t, resumed, "a")
	hear(t, resumed, "a")
	p.Cut()
	closed(t, resumed)
}

func TestGarble(t *testing.T) {
	p := New(t, echo(t))
	c := dial(t, p)
	p.Garble(2)
	say(t, c, "a")
	hear(t, c, "a")
	say(t, c, "aaa")
	hear(t, c, "a"+string([]byte{'a' ^ 0xff})+"a")
	say(t, c, "aaa")
	hear(t, c, "aaa")
}

func TestFlood(t *testing.T) {
	p := New(t, echo(t))
	idle := dial(t, p)
	say(t, idle, "a")
	hear(t, idle, "a")
	p.Flood([]byte("xy"))
	during := dial(t, p)
	for _, c := range []net.Conn{idle, during} {
		hear(t, c, strings.Repeat("xy", 1<<20))
	}
	say(t, during, "end")
	p.Resume()
	rest := make([]byte, 32<<20)
	_ = during.SetReadDeadline(time.Now().Add(5 * time.Second))
	var text []byte
	for !bytes.HasSuffix(text, []byte("yend")) {
		n, err := during.Read(rest)
		if err != nil {
			t.Fatalf("after the flood: %v", err)
		}
		text = append(text, rest[:n]...)
	}
}

func TestRefuse(t *testing.T) {
	p := New(t, echo(t))
	before := dial(t, p)
	say(t, before, "a")
	hear(t, before, "a")
	p.Refuse()
	closed(t, dial(t, p))
	say(t, before, "a")
	hear(t, before, "a")
	p.Resume()
	after := dial(t, p)
	say(t, after, "a")
	hear(t, after, "a")
}

func TestTargetThatIsGone(t *testing.T) {
	p := New(t, "127.0.0.1:1")
	closed(t, dial(t, p))
}

// TestCloseEndsEverything closes a proxy in the middle of each fault; Close returns only
// when every goroutine has ended.
func TestCloseEndsEverything(t *testing.T) {
	for name, harm := range map[string]func(*Proxy){
		"none":        (*Proxy).Resume,
		"stall":       (*Proxy).Stall,
		"stall after": func(p *Proxy) { p.StallAfter(1) },
		"flood":       func(p *Proxy) { p.Flood(nil) },
		"delay":       func(p *Proxy) { p.SetDelay(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			p := New(t, echo(t))
			harm(p)
			c := dial(t, p)
			say(t, c, "abc")
			eventually(t, "open", func() bool { return p.Stats().Up == 3 })
			done := make(chan struct{})
			go func() {
				p.Close()
				close(done)
			}()
			select {
			case <-done:
			case <-time.After(5 * time.Second):
				t.Fatal("Close hangs")
			}
			p.Close() // twice does no harm
		})
	}
}
