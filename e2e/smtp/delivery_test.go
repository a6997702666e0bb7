package smtp

import (
	"encoding/json"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

const signingSecret = "canary-of-round-trips"

// post is a Postfix before mailboxes of all kinds.
type post struct {
	*servers.Postfix
	dovecot          *servers.Dovecot
	mailpit, mailhog *servers.MailCatcher
	mailboxes        map[string]string // by the name of the domain without .test: how the exporter looks into it
}

func newPost(t testing.TB) *post {
	t.Helper()
	p := &post{dovecot: servers.NewDovecot(t), mailpit: servers.NewMailpit(t), mailhog: servers.NewMailHog(t)}
	smtpTo := func(address string) string { return "smtp:[127.0.0.1]:" + address[strings.LastIndex(address, ":")+1:] }
	lmtp := "lmtp:inet:" + p.dovecot.LMTPAddr()
	p.Postfix = servers.NewPostfix(t, servers.PostfixOptions{Auth: p.dovecot, Routes: map[string]string{
		"imap.test": lmtp, "pop3.test": lmtp, "maildir.test": "maildir",
		"mailpit.test": smtpTo(p.mailpit.SMTPAddr()), "mailhog.test": smtpTo(p.mailhog.SMTPAddr()),
	}})
	account := fmt.Sprintf("tls_config: {ca_file: %s}, username: %s, password: %s", p.dovecot.CAFile(), p.dovecot.User(), p.dovecot.Password())
	p.mailboxes = map[string]string{
		"imap":    fmt.Sprintf("imap: {address: '%s', %s}", p.dovecot.IMAPSAddr(), account),
		"pop3":    fmt.Sprintf("pop3: {address: '%s', tls: starttls, %s}", p.dovecot.POP3Addr(), account),
		"maildir": fmt.Sprintf("maildir: {path: %s}", p.Maildir("maildir.test")),
		"mailpit": fmt.Sprintf("mailpit: {url: '%s'}", p.mailpit.URL()),
		"mailhog": fmt.Sprintf("mailhog: {url: '%s'}", p.mailhog.URL()),
	}
	for kind := range p.mailboxes {
		p.foreign(t, kind) // which also makes the mailboxes on disk
	}
	return p
}

// foreign sends a mail that is none of the exporter's.
func (p *post) foreign(t testing.TB, kind string) {
	t.Helper()
	client, err := smtp.Dial(p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Mail("person@probe.test"); err != nil {
		t.Fatal(err)
	}
	if err := client.Rcpt("probe@" + kind + ".test"); err != nil {
		t.Fatal(err)
	}
	data, err := client.Data()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(data, "Subject: Re: Mail probe\r\nAuto-Submitted: auto-generated\r\n\r\nhello\r\n")
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
}

// left counts the messages in a mailbox, in another way than the exporter's.
func (p *post) left(t testing.TB, kind string) int {
	t.Helper()
	switch kind {
	case "mailpit":
		return p.mailpit.Count(t)
	case "mailhog":
		return p.mailhog.Count(t)
	case "maildir":
		return files(p.Maildir("maildir.test"))
	}
	return files(p.dovecot.Maildir())
}

func files(maildir string) int {
	count := 0
	for _, part := range []string{"new", "cur"} {
		entries, _ := os.ReadDir(filepath.Join(maildir, part)) // it appears with the first mail
		count += len(entries)
	}
	return count
}

// trip writes a target with a round trip to a recipient. Its module has the name of kind and recipient.
func (p *post) trip(kind, recipient, options string) (target, module string) {
	module = kind + "_" + strings.ReplaceAll(options, " ", "") + recipient
	module = strings.NewReplacer(":", "", ",", "", "{", "", "}", "").Replace(module)
	target = fmt.Sprintf(`
- target: '%s'
  module: %s
  round_trip: {from: probe@probe.test, bounces: bounces@probe.test, to: %s@%s.test, secret: %s, mailbox: {%s}, %s}`,
		p.Addr(), module, recipient, kind, signingSecret, p.mailboxes[kind], options)
	return target, fmt.Sprintf("\n  %s: {tls: none}", module)
}

// delivery is what the exporter says of one round trip.
func delivery(p page, post *post, module, name string) (float64, bool) {
	return p.Value(fmt.Sprintf(`smtp_delivery_%s{module="%s",target="%s"}`, name, module, post.Addr()))
}

// expect waits until all values of a round trip are as they should be.
func expect(t *testing.T, e *exporter, post *post, module string, hold map[string]func(float64) bool) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, module, func() error {
		p := e.Scrape("5")
		for name, holds := range hold {
			if got, ok := delivery(p, post, module, name); !ok || !holds(got) {
				return fmt.Errorf("%s is %v (it is there: %v)", name, got, ok)
			}
		}
		return nil
	})
}

func zero(v float64) bool { return v == 0 }
func some(v float64) bool { return v >= 1 }

// TestRoundTrips holds that mail that is delivered, held up, lost, late and doubled is told apart, in mailboxes of all
// kinds, and that nobody else's mail is touched.
func TestRoundTrips(t *testing.T) {
	post := newPost(t)
	targets, modules := "targets:", "\nmodules:"
	add := func(kind, recipient, options string) string {
		target, module := post.trip(kind, recipient, options)
		targets, modules = targets+target, modules+module
		name, _, _ := strings.Cut(strings.TrimSpace(module), ":")
		return name
	}
	type trips struct{ good, lost, twice, held, late string }
	names := map[string]trips{}
	for kind := range post.mailboxes {
		names[kind] = trips{
			good:  add(kind, "probe", "every: 2s"),
			lost:  add(kind, "lost", "every: 2s, lost_after: 3s"),
			twice: add(kind, "twice", "every: 2s"),
			held:  add(kind, "held", "every: 1h"),
			late:  add(kind, "held", "every: 1h, lost_after: 2s"),
		}
	}
	e := start(t, targets+modules)
	for kind, n := range names {
		expect(t, e, post, n.good, map[string]func(float64) bool{"delivered_total": some, "removed_total": some})
		expect(t, e, post, n.lost, map[string]func(float64) bool{"accepted_total": some, "lost_total": some, "delivered_total": zero, "late_total": zero})
		expect(t, e, post, n.twice, map[string]func(float64) bool{"delivered_total": some, "duplicates_total": some, "lost_total": zero})
		expect(t, e, post, n.held, map[string]func(float64) bool{
			"accepted_total": func(v float64) bool { return v == 1 }, "in_flight": func(v float64) bool { return v == 1 },
			"oldest_seconds": func(v float64) bool { return v > 3 }, "delivered_total": zero, "lost_total": zero,
		})
		expect(t, e, post, n.late, map[string]func(float64) bool{"lost_total": some, "in_flight": zero, "late_total": zero})
		if t.Failed() {
			t.Fatal(kind)
		}
	}
	if err := post.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	for kind, n := range names {
		expect(t, e, post, n.held, map[string]func(float64) bool{
			"delivered_total": some, "in_flight": zero, "lost_total": zero, "late_total": zero,
			"last_duration_seconds": func(v float64) bool { return v > 3 },
		})
		expect(t, e, post, n.late, map[string]func(float64) bool{"lost_total": some, "late_total": some, "delivered_total": zero, "in_flight": zero})
		p := e.Scrape("5")
		for _, module := range []string{n.good, n.twice, n.held, n.late, n.lost} {
			if up, _ := delivery(p, post, module, "mailbox_up"); up != 1 {
				t.Errorf("%s: the mailbox is told to be down", module)
			}
		}
		for _, name := range []string{"lost_total", "late_total", "duplicates_total", "skipped_total"} {
			if got, ok := delivery(p, post, n.good, name); !ok || got != 0 {
				t.Errorf("%s: %s is %v, %v", n.good, name, got, ok)
			}
		}
		if took, _ := delivery(p, post, n.good, "last_duration_seconds"); took <= 0 || took > 5 {
			t.Errorf("%s took %v s", n.good, took)
		}
		if hops, _ := delivery(p, post, n.good, "hops"); hops < 1 {
			t.Errorf("%s went through %v servers", n.good, hops)
		}
		if kind == "imap" {
			series := fmt.Sprintf(`smtp_delivery_folder_info{folder="INBOX",module="%s",target="%s"}`, n.good, post.Addr())
			p.Want(t, series, 1)
		}
	}
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{signingSecret, post.dovecot.Password()} {
		if strings.Contains(e.Output(), secret) {
			t.Errorf("the log shows a secret")
		}
	}
	// What the exporter had under way when it ended is there, beside the other people's mail.
	for kind := range post.mailboxes {
		if n := post.left(t, kind); n < 1 || n > 10 {
			t.Errorf("%s: %d messages are left", kind, n)
		}
	}
}

// TestRoundTripAfterRestart holds that messages of an earlier run are removed, and count as nothing.
func TestRoundTripAfterRestart(t *testing.T) {
	post := newPost(t)
	held, heldModule := post.trip("mailpit", "held", "every: 1h, lost_after: 2s")
	good, goodModule := post.trip("mailpit", "probe", "every: 1s")
	configuration := "targets:" + held + good + "\nmodules:" + heldModule + goodModule
	name := func(module string) string {
		name, _, _ := strings.Cut(strings.TrimSpace(module), ":")
		return name
	}
	first := start(t, configuration)
	expect(t, first, post, name(heldModule), map[string]func(float64) bool{"accepted_total": some})
	expect(t, first, post, name(goodModule), map[string]func(float64) bool{"delivered_total": some})
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := post.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 10*time.Second, "the held message arrives", func() error {
		if n := post.left(t, "mailpit"); n < 2 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
	second := start(t, configuration)
	expect(t, second, post, name(goodModule), map[string]func(float64) bool{"delivered_total": some})
	expect(t, second, post, name(heldModule), map[string]func(float64) bool{
		"removed_total": some, "lost_total": some, // the new one, which is held as well
		"late_total": zero, "duplicates_total": zero, "delivered_total": zero,
	})
	if lost, _ := delivery(second.Scrape("5"), post, name(heldModule), "lost_total"); lost != 1 {
		t.Errorf("%v messages are lost", lost)
	}
}

// TestRoundTripWithoutMailbox holds that nothing counts as lost where nobody can look, and that the health check says so.
func TestRoundTripWithoutMailbox(t *testing.T) {
	post := newPost(t)
	target := func(mailbox string) string {
		return fmt.Sprintf(`targets: [{target: '%s', round_trip: {from: a@probe.test, to: probe@imap.test, every: 1s, lost_after: 1s, in_flight: 3, secret: %s, mailbox: {%s}}}]`,
			post.Addr(), signingSecret, mailbox)
	}
	wrong := strings.ReplaceAll(post.mailboxes["imap"], post.dovecot.Password(), "canary-wrong")
	e := start(t, target(wrong))
	harness.Eventually(t, 30*time.Second, "the mailbox is known to be closed", func() error {
		p := e.Scrape("5")
		skipped, _ := p.Value("smtp_delivery_skipped_total")
		if n, _ := p.Value(`smtp_delivery_mailbox_failures_total{reason="auth"}`); n < 1 || skipped < 1 {
			return fmt.Errorf("%v failures, %v skipped", n, skipped)
		}
		return nil
	})
	harness.Freshen()
	p := e.Scrape("5")
	for series, want := range map[string]float64{
		"smtp_up": 1, "smtp_delivery_mailbox_up": 0, "smtp_delivery_lost_total": 0, "smtp_delivery_delivered_total": 0,
		"smtp_delivery_in_flight": 3, "smtp_delivery_accepted_total": 3,
	} {
		p.Want(t, series, want)
	}
	var health struct{ Services map[string]string }
	if answer := e.Get("/health"); json.Unmarshal([]byte(answer.Body), &health) != nil || health.Services["smtp"] != "degraded" {
		t.Errorf("the health check says %s", answer.Body)
	}
	pages := p.Body + e.Get("/").Body + e.Get("/health").Body + e.Output()
	for _, secret := range []string{"canary-wrong", signingSecret} {
		if strings.Contains(pages, secret) {
			t.Errorf("%s shows", secret)
		}
	}
}

// TestRoundTripOfADeadServer holds that the page still tells of the round trip where the server is away.
func TestRoundTripOfADeadServer(t *testing.T) {
	mailpit := servers.NewMailpit(t)
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	e := start(t, fmt.Sprintf(`targets: [{target: '127.0.0.1:%d', round_trip: {from: a@probe.test, to: b@probe.test, every: 1s, secret: %s, mailbox: {mailpit: {url: '%s'}}}}]`,
		port, signingSecret, mailpit.URL()))
	harness.Eventually(t, 20*time.Second, "the refusals are told", func() error {
		p := e.Scrape("5")
		if n, _ := p.Value(`smtp_delivery_refused_total{phase="connect",reason="refused"}`); n < 2 {
			return fmt.Errorf("%v refused", n)
		}
		p.Want(t, "smtp_up", 0)
		p.Want(t, "smtp_delivery_accepted_total", 0)
		p.Want(t, "smtp_delivery_mailbox_up", 1)
		return nil
	})
}

// TestRoundTripAcrossReloads holds that reading the same configuration again changes nothing, that a target which is taken
// out is sent no more, and that only an exporter that serves sends anything.
func TestRoundTripAcrossReloads(t *testing.T) {
	mailpit, idle := servers.NewMailpit(t), servers.NewMailpit(t)
	text := func(catcher *servers.MailCatcher) string {
		return fmt.Sprintf(`targets: [{target: '%s', round_trip: {from: a@probe.test, to: b@probe.test, every: 1s, secret: %s, mailbox: {mailpit: {url: '%s'}}}}]`,
			catcher.SMTPAddr(), signingSecret, catcher.URL())
	}
	path := filepath.Join(t.TempDir(), "once.yml")
	if err := os.WriteFile(path, []byte(text(idle)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"check-config"}, {"doctor"}, {"scrape", "--once"}} {
		once, err := servers.StartProcess(servers.ProcessOptions{
			Path: harness.Binary(t, exporterName), Args: append(command, "--config.file="+path),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := once.Wait(t.Context()); err != nil && command[0] != "doctor" { // which has a word on Mailpit's lack of TLS
			t.Errorf("%v: %v\n%s", command, err, once.Output())
		}
	}
	file := filepath.Join(t.TempDir(), "config.yml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text(mailpit))
	e := &exporter{harness.Start(t, exporterName, nil, "--config.file="+file)}
	delivered := func(least float64) (count float64) {
		t.Helper()
		harness.Eventually(t, 20*time.Second, "messages arrive", func() error {
			p := e.Scrape("5")
			if count, _ = p.Value("smtp_delivery_delivered_total"); count < least {
				return fmt.Errorf("%v arrived", count)
			}
			return nil
		})
		return count
	}
	delivered(2)
	if err := e.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if got := delivered(1); got < 2 {
		t.Errorf("%v messages were delivered after the reload: the count began anew", got)
	}
	delivered(4)
	write(fmt.Sprintf("targets: [{target: '%s'}]", mailpit.SMTPAddr()))
	if err := e.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 5*time.Second, "the round trip is gone", func() error {
		if strings.Contains(e.Scrape("5").Body, "smtp_delivery_") {
			return fmt.Errorf("it is told of")
		}
		return nil
	})
	before := mailpit.Count(t)
	time.Sleep(2500 * time.Millisecond)
	if after := mailpit.Count(t); after != before {
		t.Errorf("%d messages were sent after the target was taken out", after-before)
	}
	if n := idle.Count(t); n != 0 {
		t.Errorf("%d messages were sent by commands that should send none", n)
	}
}

// TestRoundTripIntoJunk holds that the folder is told in which a message arrives.
func TestRoundTripIntoJunk(t *testing.T) {
	post := newPost(t)
	mailbox := strings.Replace(post.mailboxes["imap"], "imap: {", "imap: {folders: [INBOX, Junk], ", 1)
	e := start(t, fmt.Sprintf(`targets: [{target: '%s', round_trip: {from: a@probe.test, to: junk@imap.test, every: 1s, secret: %s, mailbox: {%s}}}]`,
		post.Addr(), signingSecret, mailbox))
	harness.Eventually(t, 20*time.Second, "a message arrives in Junk", func() error {
		if n, _ := e.Scrape("5").Value(`smtp_delivery_folder_info{folder="Junk"}`); n != 1 {
			return fmt.Errorf("none did")
		}
		return nil
	})
}
