package dialogue

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
)

// hello is how a scripted server greets and begins TLS.
const hello = `
	S 220 mail.test ESMTP
	C EHLO probe.test
	S 250-mail.test
	S 250 STARTTLS
	C STARTTLS
	S 220 2.0.0 ready
	TLS
	C EHLO probe.test
`

const offers = `
	S 250-mail.test
	S 250-SIZE 1000
	S 250-AUTH PLAIN LOGIN
	S 250-PIPELINING
	S 250 ENHANCEDSTATUSCODES
`

const loggedIn = hello + offers + `
	C AUTH PLAIN AHVzZXIAaHVudGVyMg==
	S 235 2.7.0 welcome
`

const envelope = loggedIn + `
	C MAIL FROM:<a@probe.test> SIZE=22
	C RCPT TO:<b@mail.test>
	C DATA
	S 250 2.1.0 sender
	S 250 2.1.5 recipient
	S 354 go
`

const full = envelope + `
	B
	S 250 2.0.0 queued
	C QUIT
	S 221 2.0.0 bye
`

// A whole dialogue takes the turn-arounds that there must be, and reports each phase.
func TestWholeDialogue(t *testing.T) {
	a := smtp.NewAuthority()
	server := smtp.New(t, a.Good(), full)
	r := hold(t, farthest(a, server.Addr))
	if err := server.Wait(); err != nil || !r.OK() || r.Farewell != nil {
		t.Fatalf("%v, %v, %v\n%s", err, r.Failure, r.Farewell, said(r))
	}
	var steps []string
	for _, s := range r.Steps {
		steps = append(steps, fmt.Sprintf("%s %v %d %d.%d.%d", s.Phase, s.OK, s.Code, s.Enhanced.Class, s.Enhanced.Subject, s.Enhanced.Detail))
	}
	want := "connect true 0 0.0.0|banner true 220 0.0.0|ehlo true 250 0.0.0|starttls true 220 2.0.0|tls true 0 0.0.0|auth true 235 2.7.0|" +
		"mail true 250 2.1.0|rcpt true 250 2.1.5|data true 250 2.0.0|quit true 221 2.0.0"
	if got := strings.Join(steps, "|"); got != want {
		t.Errorf("the steps are\n%s\nwant\n%s", got, want)
	}
	var sum time.Duration
	for _, s := range r.Steps[:len(r.Steps)-1] {
		sum += s.Took
	}
	if gap := r.Took - sum; gap < 0 || gap > 5*time.Millisecond {
		t.Errorf("the phases before QUIT took %s of %s", sum, r.Took)
	}
	if r.TurnArounds != 7 || !r.Sent || r.Hello.Size != 1000 || strings.Join(r.Hello.Auth, " ") != "LOGIN PLAIN" || !r.TLS.Verified {
		t.Errorf("%d turn-arounds, sent %v, %+v, %+v", r.TurnArounds, r.Sent, r.Hello, r.TLS)
	}
	if got := strings.Join(server.Heard()[len(server.Heard())-5:], ""); got != "Subject: x\r\n\r\n..hello\r\n.\r\nQUIT\r\n" {
		t.Errorf("the message came as %q", got)
	}
	if text := said(r); strings.Contains(text, "hunter2") || strings.Contains(text, "AHVzZXI") || !strings.Contains(text, "AUTH PLAIN <secret>") {
		t.Errorf("the transcript:\n%s", text)
	}
}

// With CHUNKING the message travels with its envelope.
func TestChunking(t *testing.T) {
	a := smtp.NewAuthority()
	server := smtp.New(t, a.Good(), hello+`
		S 250-mail.test
		S 250-AUTH PLAIN
		S 250-PIPELINING
		S 250 CHUNKING
		C AUTH PLAIN
		S 235 welcome
		C MAIL FROM:<a@probe.test>
		C RCPT TO:<b@mail.test>
		C BDAT 22 LAST
		N 22
		S 250 sender
		S 250 recipient
		S 250 queued
		C QUIT
		S 221 bye
	`)
	r := hold(t, farthest(a, server.Addr))
	if err := server.Wait(); err != nil || !r.OK() || r.TurnArounds != 6 || !r.Sent {
		t.Fatalf("%v, %v, %d turn-arounds, sent %v\n%s", err, r.Failure, r.TurnArounds, r.Sent, said(r))
	}
}

// Every phase can fail, and each in its ways.
func TestFailures(t *testing.T) {
	a := smtp.NewAuthority()
	base := func(*Plan) {}
	plain := func(p *Plan) { p.TLS, p.Auth = NoTLS, nil }
	implicit := func(p *Plan) { p.TLS = Implicit }
	const greeted = "S 220 mail.test\nC EHLO\n"
	for name, c := range map[string]struct {
		tls    *tls.Config
		text   string
		change func(*Plan)
		phase  Phase
		reason Reason
		code   int
	}{
		"silent":                 {a.Good(), "WAIT", base, Banner, Timeout, 0},
		"hangs up":               {a.Good(), "", base, Banner, Closed, 0},
		"reset":                  {a.Good(), greeted + "RESET", base, EHLO, Reset, 0},
		"421 banner":             {a.Good(), "S 421 4.3.2 not now", base, Banner, Unavailable, 421},
		"554 banner":             {a.Good(), "S 554 5.7.1 no\nC QUIT\nS 221 bye", base, Banner, Rejected, 554},
		"450 banner":             {a.Good(), "S 450 later\nC QUIT\nS 221 bye", base, Banner, Temporary, 450},
		"250 banner":             {a.Good(), "S 250 what\nC QUIT\nS 221 bye", base, Banner, UnexpectedCode, 250},
		"HTTP":                   {a.Good(), "S HTTP/1.1 400 Bad Request", base, Banner, BadReply, 0},
		"garbage":                {a.Good(), `R "\xff\xfe\x00\x01\x02"`, base, Banner, BadReply, 0},
		"NUL":                    {a.Good(), `R "220 a\x00b\r\n"`, base, Banner, BadReply, 0},
		"bare CR":                {a.Good(), `R "220 a\rb\r\n"`, base, Banner, BadReply, 0},
		"changing code":          {a.Good(), `R "220-a\r\n250 b\r\n"`, base, Banner, BadReply, 0},
		"teaser, then silence":   {a.Good(), "S 220-wait\nWAIT", base, Banner, Timeout, 0},
		"EHLO refused":           {a.Good(), greeted + "S 502 5.5.2 what\nC QUIT\nS 221 bye", base, EHLO, Rejected, 502},
		"EHLO twice answered":    {a.Good(), greeted + `R "250-a\r\n250 STARTTLS\r\n250 b\r\n"`, base, STARTTLS, BadReply, 250},
		"EHLO, then 421":         {a.Good(), greeted + `R "250-a\r\n250 STARTTLS\r\n421 bye\r\n"`, base, STARTTLS, Unavailable, 421},
		"extension missing":      {a.Good(), hello + offers + "C QUIT\nS 221 bye", func(p *Plan) { p.Extensions = []string{"DSN"} }, EHLO, NoExtension, 250},
		"no STARTTLS":            {a.Good(), greeted + "S 250 mail.test\nC QUIT\nS 221 bye", base, STARTTLS, NoSTARTTLS, 0},
		"STARTTLS stripped":      {a.Good(), greeted + "S 250-mail.test\nS 250 XXXXXXXA\nC QUIT\nS 221 bye", base, STARTTLS, STARTTLSHidden, 0},
		"STARTTLS 454":           {a.Good(), greeted + "S 250-a\nS 250 STARTTLS\nC STARTTLS\nS 454 4.7.0 no\nC QUIT\nS 221 bye", base, STARTTLS, Temporary, 454},
		"STARTTLS 501":           {a.Good(), greeted + "S 250-a\nS 250 STARTTLS\nC STARTTLS\nS 501 no\nC QUIT\nS 221 bye", base, STARTTLS, Rejected, 501},
		"STARTTLS injected":      {a.Good(), greeted + "S 250-a\nS 250 STARTTLS\nC STARTTLS\n" + `R "220 go\r\n250 evil\r\n"`, base, STARTTLS, EarlyData, 220},
		"STARTTLS, no TLS":       {a.Good(), greeted + "S 250-a\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nN 5\nS 500 what is that", base, TLS, NoTLSSpoken, 0},
		"implicit, no TLS":       {a.Good(), "S 220 mail.test", implicit, TLS, NoTLSSpoken, 0},
		"TLS silent":             {a.Good(), "WAIT", implicit, TLS, Timeout, 0},
		"TLS cut":                {a.Good(), "N 10\nRESET", implicit, TLS, Reset, 0},
		"expired":                {a.Server("mail.test", -2*smtp.Day, -smtp.Day), "TLS", implicit, TLS, Expired, 0},
		"not yet valid":          {a.Server("mail.test", smtp.Day, 2*smtp.Day), "TLS", implicit, TLS, NotYetValid, 0},
		"wrong name":             {a.Server("other.test", -smtp.Day, smtp.Day), "TLS", implicit, TLS, WrongName, 0},
		"unknown CA":             {smtp.NewAuthority().Good(), "TLS", implicit, TLS, UnknownCA, 0},
		"expires soon":           {a.Server("mail.test", -smtp.Day, smtp.Day), "TLS", func(p *Plan) { p.TLS, p.MinValidity = Implicit, 2*smtp.Day }, TLS, ExpiresSoon, 0},
		"TLS 1.0 only":           {limited(a.Good(), tls.VersionTLS10), "TLS", implicit, TLS, TLSVersion, 0},
		"TLS 1.1 only":           {limited(a.Good(), tls.VersionTLS11), "TLS", implicit, TLS, TLSVersion, 0},
		"client cert":            {demanding(a.Good()), "TLS\nS 220 hi", implicit, TLS, Handshake, 0},
		"AUTH not offered":       {a.Good(), hello + "S 250 mail.test\nC QUIT\nS 221 bye", base, Auth, NoAuth, 0},
		"AUTH without TLS":       {a.Good(), greeted + "S 250-a\nS 250 AUTH PLAIN\nC QUIT\nS 221 bye", func(p *Plan) { p.TLS = NoTLS }, Auth, ExposedPassword, 0},
		"AUTH unverified":        {smtp.NewAuthority().Good(), hello + offers + "C QUIT\nS 221 bye", func(p *Plan) { p.Unverified = true }, Auth, ExposedPassword, 0},
		"AUTH refused":           {a.Good(), hello + offers + "C AUTH PLAIN\nS 535 5.7.8 no\nC QUIT\nS 221 bye", base, Auth, AuthRejected, 535},
		"AUTH later":             {a.Good(), hello + offers + "C AUTH PLAIN\nS 454 4.7.0 later\nC QUIT\nS 221 bye", base, Auth, Temporary, 454},
		"AUTH challenged oddly":  {a.Good(), hello + offers + "C AUTH PLAIN\nS 334 !!!", base, Auth, BadReply, 334},
		"sender refused":         {a.Good(), loggedIn + "C MAIL\nC RCPT\nC DATA\nS 553 5.7.1 no\nS 503 no\nS 503 no\nC QUIT\nS 221 bye", base, Mail, SenderRejected, 553},
		"too large":              {a.Good(), loggedIn + "C MAIL\nC RCPT\nC DATA\nS 552 5.3.4 too large\nS 503 no\nS 503 no\nC QUIT\nS 221 bye", base, Mail, TooLarge, 552},
		"recipient refused":      {a.Good(), loggedIn + "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 550 5.1.1 unknown\nS 554 no\nC QUIT\nS 221 bye", base, Rcpt, RcptRejected, 550},
		"refused, but 354":       {a.Good(), loggedIn + "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 550 5.1.1 unknown\nS 354 go\nC .\nS 554 no\nC QUIT\nS 221 bye", base, Rcpt, RcptRejected, 550},
		"relay denied 454":       {a.Good(), loggedIn + "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 454 4.7.1 <b>: Relay access denied\nS 554 no\nC QUIT\nS 221 bye", base, Rcpt, RelayDenied, 454},
		"relay denied 550":       {a.Good(), loggedIn + "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 550 relay not permitted\nS 554 no\nC QUIT\nS 221 bye", base, Rcpt, RelayDenied, 550},
		"greylisted":             {a.Good(), loggedIn + "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 451 4.7.1 come again\nS 554 no\nC QUIT\nS 221 bye", base, Rcpt, Greylisted, 451},
		"mailbox busy":           {a.Good(), loggedIn + "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 450 4.2.1 busy\nS 554 no\nC QUIT\nS 221 bye", base, Rcpt, Temporary, 450},
		"DATA refused":           {a.Good(), loggedIn + "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 554 5.5.1 no\nC QUIT\nS 221 bye", base, Data, DataRejected, 554},
		"message refused":        {a.Good(), envelope + "B\nS 554 5.7.1 spam\nC QUIT\nS 221 bye", base, Data, DataRejected, 554},
		"cut after the dot":      {a.Good(), envelope + "B", base, Data, Closed, 0},
		"silent after the dot":   {a.Good(), envelope + "B\nWAIT", base, Data, Timeout, 0},
		"unadvertised extension": {a.Good(), greeted + "S 250 a\nC QUIT\nS 221 bye", func(p *Plan) { plain(p); p.Message.To = "bä@mail.test" }, Mail, NoExtension, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := smtp.New(t, c.tls, c.text)
			plan := farthest(a, server.Addr)
			c.change(&plan)
			r := hold(t, plan)
			if r.Failure == nil || r.Failure.Phase != c.phase || r.Failure.Reason != c.reason || r.Failure.Code != c.code {
				t.Fatalf("%+v, want %s: %s with %d\n%s", r.Failure, c.phase, c.reason, c.code, said(r))
			}
			if step, ok := r.Step(c.phase); !ok || step.OK {
				t.Errorf("the step is %+v, %v", step, ok)
			}
			if r.Sent {
				t.Error("the message counts as sent")
			}
			if want := strings.Contains(name, "after the dot"); r.Unsure != want {
				t.Errorf("unsure is %v, want %v", r.Unsure, want)
			}
			if strings.Contains(c.text, "C QUIT") && r.Farewell != nil {
				t.Errorf("the farewell failed: %v\n%s", r.Farewell, said(r))
			}
		})
	}
}

func limited(c *tls.Config, version uint16) *tls.Config {
	c.MaxVersion = version
	return c
}

func demanding(c *tls.Config) *tls.Config {
	c.ClientAuth = tls.RequireAnyClientCert
	return c
}

// A QUIT without an answer does not spoil what was reached.
func TestFarewell(t *testing.T) {
	a := smtp.NewAuthority()
	for name, c := range map[string]struct {
		text   string
		reason Reason
		code   int
	}{
		"silent": {"C QUIT\nWAIT", Timeout, 0},
		"closed": {"C QUIT", Closed, 0},
		"500":    {"C QUIT\nS 500 what", Rejected, 500},
	} {
		t.Run(name, func(t *testing.T) {
			server := smtp.New(t, a.Good(), envelope+"B\nS 250 2.0.0 queued\n"+c.text)
			plan := farthest(a, server.Addr)
			plan.Timeouts = map[Phase]time.Duration{Quit: 100 * time.Millisecond}
			r := hold(t, plan)
			if !r.OK() || !r.Sent || r.Farewell == nil || r.Farewell.Phase != Quit || r.Farewell.Reason != c.reason || r.Farewell.Code != c.code {
				t.Fatalf("%v, %+v\n%s", r.Failure, r.Farewell, said(r))
			}
			if r.TurnArounds != 7 || r.Took > 90*time.Millisecond {
				t.Errorf("the farewell counts: %d turn-arounds, %s", r.TurnArounds, r.Took)
			}
		})
	}
}

// Tokens are sent as each mechanism has it, and a server that refuses one says so only after the answer to its account of
// what is wrong.
func TestTokens(t *testing.T) {
	a := smtp.NewAuthority()
	const greeted, sorry, refused = hello + "S 250-mail.test\nS 250 AUTH XOAUTH2 OAUTHBEARER\n", "S 334 eyJzdGF0dXMiOiI0MDEifQ==\n", "S 535 5.7.8 no\nC QUIT\nS 221 bye"
	for _, c := range []struct {
		mechanism, initial, answer string
	}{
		{"XOAUTH2", "user=user\x01auth=Bearer hunter2\x01\x01", ""},
		{"OAUTHBEARER", "n,a=user,\x01auth=Bearer hunter2\x01\x01", "AQ=="},
	} {
		command := "C AUTH " + c.mechanism + " " + base64.StdEncoding.EncodeToString([]byte(c.initial)) + "\n"
		for text, reason := range map[string]Reason{
			greeted + command + "S 235 2.7.0 ok\nC QUIT\nS 221 bye":      NoReason,
			greeted + command + sorry + "C " + c.answer + "\n" + refused: AuthRejected,
			greeted + command + refused:                                  AuthRejected,
		} {
			server := smtp.New(t, a.Good(), text)
			plan := farthest(a, server.Addr)
			plan.Until, plan.Auth.Mechanisms = Auth, []string{c.mechanism}
			r := hold(t, plan)
			if r.OK() != (reason == NoReason) || !r.OK() && (r.Failure.Reason != reason || r.Failure.Phase != Auth || r.Failure.Code != 535) {
				t.Errorf("%s: %v, want %q\n%s", c.mechanism, r.Failure, reason, said(r))
			}
			if err := server.Wait(); err != nil {
				t.Errorf("%s: %v", c.mechanism, err)
			}
			if strings.Contains(said(r), "hunter2") || strings.Contains(said(r), base64.StdEncoding.EncodeToString([]byte(c.initial))) {
				t.Errorf("a secret shows:\n%s", said(r))
			}
		}
	}
}

// A login that is spared is not sent: the dialogue goes up to it and ends properly.
func TestSparedLogin(t *testing.T) {
	a := smtp.NewAuthority()
	server := smtp.New(t, a.Good(), hello+offers+"C QUIT\nS 221 bye")
	plan := farthest(a, server.Addr)
	plan.Auth.Spared = true
	r := hold(t, plan)
	step, _ := r.Step(Auth)
	if r.OK() || r.Failure.Phase != Auth || r.Failure.Reason != AuthRejected || r.Failure.Code != 0 || !step.Spared || r.Sent {
		t.Errorf("%v, %+v", r.Failure, step)
	}
	if err := server.Wait(); err != nil {
		t.Error(err)
	}
}

// What a server repeats of a secret is masked everywhere.
func TestRepeatedSecrets(t *testing.T) {
	a := smtp.NewAuthority()
	server := smtp.New(t, a.Good(), hello+offers+"C AUTH PLAIN\nS 535 not AHVzZXIAaHVudGVyMg== nor hunter2\nC QUIT\nS 221 hunter2")
	r := hold(t, farthest(a, server.Addr))
	for _, text := range []string{said(r), r.Failure.String()} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("hunter2"))) || strings.Contains(text, "AHVz") {
			t.Errorf("a secret shows:\n%s", text)
		}
	}
}
