package dialogue

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
)

// flood is a server that talks and talks: a fake, as no real one does. It hears nothing.
func flood(t *testing.T, talk func(conn net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		talk(conn)
	}()
	t.Cleanup(func() { _ = listener.Close(); <-ended })
	return listener.Addr().String()
}

// forever writes a text until the client has gone.
func forever(conn net.Conn, text string) {
	block := []byte(strings.Repeat(text, 1+(64<<10)/len(text)))
	for {
		if _, err := conn.Write(block); err != nil {
			return
		}
	}
}

// A server that floods, or hardly speaks at all, costs little memory and no more than the time there is, and the reason
// is told.
func TestHostilePeers(t *testing.T) {
	greeted := func(conn net.Conn, after string) {
		_, _ = io.WriteString(conn, "220 mail.test\r\n")
		_, _ = bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, after)
	}
	for name, c := range map[string]struct {
		talk   func(net.Conn)
		phase  Phase
		reason Reason
	}{
		"endless banner line": {func(c net.Conn) { _, _ = io.WriteString(c, "220 "); forever(c, "x") }, Banner, ReplyTooLarge},
		"endless banner":      {func(c net.Conn) { forever(c, "220-more\r\n") }, Banner, ReplyTooLarge},
		"many short lines":    {func(c net.Conn) { forever(c, "220-\r\n") }, Banner, ReplyTooLarge},
		"10 MB EHLO line": {func(c net.Conn) {
			greeted(c, "250-")
			_, _ = c.Write(bytes.Repeat([]byte("x"), 10<<20))
		}, EHLO, ReplyTooLarge},
		"endless EHLO":       {func(c net.Conn) { greeted(c, ""); forever(c, "250-SIZE 1\r\n") }, EHLO, ReplyTooLarge},
		"binary":             {func(c net.Conn) { forever(c, "\x00\xff\xfe") }, Banner, BadReply},
		"digits without end": {func(c net.Conn) { forever(c, "2") }, Banner, BadReply},
		"empty lines":        {func(c net.Conn) { forever(c, "\r\n") }, Banner, BadReply},
		"spaces":             {func(c net.Conn) { forever(c, " ") }, Banner, BadReply},
		"EHLO with NUL":      {func(c net.Conn) { greeted(c, "250-a\r\n250 SIZE\x001\r\n") }, EHLO, BadReply},
		"EHLO with a CR":     {func(c net.Conn) { greeted(c, "250-a\r250 b\r\n") }, EHLO, BadReply},
		"endless bare LF":    {func(c net.Conn) { forever(c, "220-\n") }, Banner, ReplyTooLarge},
		"tarpit": {func(c net.Conn) {
			for _, b := range []byte("220-mail.test\r\n220 hi\r\n") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}, Banner, Timeout},
		"tarpit in EHLO": {func(c net.Conn) {
			greeted(c, "")
			for {
				if _, err := io.WriteString(c, "2"); err != nil {
					return
				}
				time.Sleep(400 * time.Millisecond)
			}
		}, EHLO, Timeout},
	} {
		t.Run(name, func(t *testing.T) {
			address := flood(t, c.talk)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := hold(t, Plan{Address: address, Hello: "probe.test", TLS: NoTLS, Until: EHLO, Transcript: true})
			runtime.ReadMemStats(&after)
			if r.Failure == nil || r.Failure.Phase != c.phase || r.Failure.Reason != c.reason {
				t.Fatalf("%v, want %s: %s\n%s", r.Failure, c.phase, c.reason, said(r))
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 12<<20 { // the server's own blocks among them
				t.Errorf("%d bytes were used", used)
			}
			if r.BytesReceived > maxReply+2*maxLine {
				t.Errorf("%d bytes were taken", r.BytesReceived)
			}
			if lines := len(r.Transcript); lines > maxTranscript {
				t.Errorf("the transcript has %d lines", lines)
			}
		})
	}
}

// A text that is no UTF-8 is no reason to fail, and does not come through.
func TestInvalidUTF8(t *testing.T) {
	server := smtp.New(t, nil, `
		R "220 m\xffil\x1b[31m\r\n"
		C EHLO
		R "250-\xfe\r\n250-S\xffZE 5\r\n250-SIZE \xff\r\n250 DSN\r\n"
		C QUIT
		S 221 bye
	`)
	r := hold(t, Plan{Address: server.Addr, Hello: "probe.test", TLS: NoTLS, Until: EHLO, Transcript: true})
	if !r.OK() || strings.Join(r.Hello.Extensions, " ") != "DSN SIZE" || r.Hello.Size != 0 || r.Banner != "m?il?[31m" {
		t.Errorf("%v, %+v, %q", r.Failure, r.Hello, r.Banner)
	}
	if text := said(r); !utf8.ValidString(text) || strings.ContainsAny(text, "\x1b\ufffd") {
		t.Errorf("the transcript:\n%s", said(r))
	}
}

// A server that ends its lines without CR works, and what it does is told.
func TestBareLF(t *testing.T) {
	for text, bare := range map[string]bool{
		`R "220 mail.test\r\n"` + "\nC EHLO\n" + `R "250-a\r\n250 DSN\r\n"` + "\nC QUIT\nS 221 bye": false,
		`R "220 mail.test\n"` + "\nC EHLO\n" + `R "250-a\n250 DSN\n"` + "\nC QUIT\n" + `R "221\n"`:  true,
		`R "220\n"` + "\nC EHLO\n" + `R "250-a\r\n250-DSN\n250\r\n"` + "\nC QUIT\nS 221 bye":        true,
	} {
		server := smtp.New(t, nil, text)
		r := hold(t, Plan{Address: server.Addr, Hello: "probe.test", TLS: NoTLS, Until: EHLO, Transcript: true})
		if !r.OK() || r.Farewell != nil || !r.Hello.Offers("DSN") || r.BareLF != bare {
			t.Errorf("%v, %v, %+v, %v\n%s", r.Failure, r.Farewell, r.Hello, r.BareLF, said(r))
		}
		if err := server.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// A context that ends is the end of the dialogue, at whatever point, and leaves nothing behind.
func TestCancellation(t *testing.T) {
	a := smtp.NewAuthority()
	for _, text := range []string{"WAIT", "S 220 mail.test\nWAIT", "S 220 mail.test\nC EHLO\nS 250-a\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nWAIT", hello + "WAIT", envelope + "B\nWAIT"} {
		server := smtp.New(t, a.Good(), text)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		r := Run(ctx, farthest(a, server.Addr))
		if r.Failure == nil || r.Failure.Reason != Timeout || r.Took > time.Second {
			t.Errorf("%v after %s\n%s", r.Failure, r.Took, said(r))
		}
		_ = server.Wait() // the connection is closed
	}
}

// Each phase has its own time.
func TestPhaseTimeouts(t *testing.T) {
	a := smtp.NewAuthority()
	server := smtp.New(t, a.Good(), hello+"WAIT")
	plan := farthest(a, server.Addr)
	plan.Timeouts = map[Phase]time.Duration{EHLO: 80 * time.Millisecond, Banner: time.Minute}
	r := hold(t, plan)
	if r.Failure == nil || r.Failure.Phase != EHLO || r.Failure.Reason != Timeout || r.Took > 500*time.Millisecond {
		t.Errorf("%v after %s", r.Failure, r.Took)
	}
}

// No parameter of a plan can end a command or begin another.
func TestInjection(t *testing.T) {
	for _, text := range []string{"a\r\nRSET", "a\nb", "a b", "a>", "<a", "a\x00", "a\rb", `"a b"@c`, "a@b,c@d", "@a:b@c"} {
		plan := Plan{Hello: "probe.test", TLS: NoTLS, Until: Rcpt, Message: &Message{From: text + "@x.test", To: "a@b.test"}}
		if plan.Check() == nil && strings.ContainsAny(text, "\r\n <>\x00\",:") {
			t.Errorf("%q is taken for a sender", text)
		}
		plan = Plan{Hello: "probe.test", TLS: NoTLS, Until: Rcpt, Relay: text + "@x.test"}
		if plan.Check() == nil && strings.ContainsAny(text, "\r\n <>\x00\",:") {
			t.Errorf("%q is taken for a relay test", text)
		}
		plan = Plan{Hello: text, TLS: NoTLS, Until: EHLO}
		if plan.Check() == nil && strings.ContainsAny(text, "\r\n <>\x00\",:") {
			t.Errorf("%q is taken for a name", text)
		}
	}
	if err := (&Plan{Hello: "probe.test", TLS: NoTLS, Until: Data, Message: &Message{To: "a+b@c.test"}}).Check(); err != nil {
		t.Error(err)
	}
}

// The content of a message cannot end it.
func TestContent(t *testing.T) {
	for content, want := range map[string]string{
		"":                     "",
		"a":                    "a\r\n",
		"a\n.\nQUIT\n":         "a\r\n..\r\nQUIT\r\n",
		".":                    "..\r\n",
		"a\r.\rb":              "a\r\n..\r\nb\r\n",
		"a\r\r\n.\r\n":         "a\r\n..\r\n",
		"\n\n..a\r\n":          "\r\n\r\n...a\r\n",
		"Subject: x\r\n\r\n.b": "Subject: x\r\n\r\n..b\r\n",
	} {
		if got := string(stuffed(canonical([]byte(content)))); got != want {
			t.Errorf("%q becomes %q, want %q", content, got, want)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{"220 a\r\n", "250-a\r\n250 SIZE 1\r\n", "250-a\r\n250-AUTH=PLAIN\r\n250 XXXXXXXA\r\n", "999 \r\n", "2500\r\n", "250\r\n", "550 5.1.1 x\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(sent), maxLine)
		r, err := readReply(in)
		if err != nil {
			return
		}
		if r.code < 200 || r.code > 599 || len(r.lines) == 0 || len(r.lines) > maxLines {
			t.Errorf("%q is %+v", sent, r)
		}
		h := parseHello(r, false)
		for _, name := range append(h.Extensions, h.Auth...) {
			if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
				t.Errorf("%q is taken for a keyword", name)
			}
		}
		d := &Dialogue{plan: Plan{Transcript: true}, report: &Report{}}
		d.noteReply(r, true)
		for _, phase := range Phases() {
			if judgeReply(phase, r) == NoReason {
				t.Error("a refusal has no reason")
			}
		}
	})
}

// FuzzDialogue lets a server say anything at all to a client that goes as far as it can.
func FuzzDialogue(f *testing.F) {
	f.Add([]byte("220 a\r\n250-b\r\n250-PIPELINING\r\n250 SIZE 5\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n"), false)
	f.Add([]byte("220 a\r\n250-b\r\n250-PIPELINING\r\n250 CHUNKING\r\n250 ok\r\n550 no\r\n354 go\r\n250 ok\r\n221 bye\r\n"), false)
	f.Add([]byte("220 a\r\n250-b\r\n250 AUTH PLAIN LOGIN\r\n334 x\r\n334 VXNlcm5hbWU6\r\n235 ok\r\n"), true)
	f.Fuzz(func(t *testing.T, sent []byte, login bool) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		go func() { _, _ = server.Write(sent); _ = server.Close() }()
		plan := Plan{
			Address: "fuzz", Hello: "probe.test", TLS: NoTLS, Until: Data, Transcript: true, Relay: "a@b.invalid",
			Dial:    func(context.Context, string, string) (net.Conn, error) { return client, nil },
			Message: &Message{From: "a@probe.test", To: "b@mail.test", Content: []byte("x")},
		}
		if login {
			plan.Auth = &Credentials{Username: "user", Password: "hunter2", Exposed: true}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r := Run(ctx, plan)
		if r.OK() != r.Sent {
			t.Errorf("%v, but sent is %v", r.Failure, r.Sent)
		}
		if r.Failure != nil && (r.Failure.Reason == Internal || r.Failure.Reason == Misconfigured) {
			t.Errorf("%v", r.Failure)
		}
		if strings.Contains(said(r), "hunter2") && !bytes.Contains(sent, []byte("hunter2")) {
			t.Errorf("a secret shows:\n%s", said(r))
		}
	})
}
