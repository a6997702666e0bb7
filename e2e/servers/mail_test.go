package servers

import (
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// send sends a mail without TLS and without a name.
func send(t *testing.T, address, to string) error {
	t.Helper()
	client, err := smtp.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Mail("sender@probe.test"); err != nil {
		t.Fatal(err)
	}
	if err := client.Rcpt(to); err != nil {
		return err
	}
	data, err := client.Data()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(data, "From: sender@probe.test\r\nTo: %s\r\nSubject: for %s\r\n\r\nhello\r\n", to, to)
	return data.Close()
}

// arrive waits until there are so many mails.
func arrive(t *testing.T, count func() int, want int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for count() != want {
		if time.Now().After(deadline) {
			t.Fatalf("%d mails arrived, want %d", count(), want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func inFolder(folder string) func() int {
	return func() int {
		entries, _ := os.ReadDir(filepath.Join(folder, "new")) // it appears with the first mail
		return len(entries)
	}
}

func TestPostfixDeliversWhereTold(t *testing.T) {
	dovecot, mailpit, mailhog := NewDovecot(t), NewMailpit(t), NewMailHog(t)
	postfix := NewPostfix(t, PostfixOptions{Auth: dovecot, Routes: map[string]string{
		"imap.test": "lmtp:inet:" + dovecot.LMTPAddr(), "maildir.test": "maildir",
		"mailpit.test": "smtp:[127.0.0.1]:" + fmt.Sprint(mailpit.smtp), "mailhog.test": "smtp:[127.0.0.1]:" + fmt.Sprint(mailhog.smtp),
	}})
	for domain, count := range map[string]func() int{
		"imap.test": inFolder(dovecot.Maildir()), "maildir.test": inFolder(postfix.Maildir("maildir.test")),
		"mailpit.test": func() int { return mailpit.Count(t) }, "mailhog.test": func() int { return mailhog.Count(t) },
	} {
		for _, recipient := range []string{"held", "lost", "twice", "probe"} {
			if err := send(t, postfix.Addr(), recipient+"@"+domain); err != nil {
				t.Fatal(err)
			}
		}
		for _, recipient := range []string{"grey", "refused", "unknown"} {
			if err := send(t, postfix.Addr(), recipient+"@"+domain); err == nil {
				t.Errorf("%s@%s was taken", recipient, domain)
			}
		}
		arrive(t, count, 3)
		if err := postfix.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		arrive(t, count, 4)
	}
	if err := send(t, postfix.Addr(), "junk@imap.test"); err != nil {
		t.Fatal(err)
	}
	arrive(t, inFolder(dovecot.Maildir()+"/.Junk"), 1)
	if err := send(t, postfix.Addr(), "probe@elsewhere.test"); err == nil {
		t.Error("mail for elsewhere was taken")
	}
	if info, err := os.Stat(postfix.Showq()); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("showq: %v, %v", info, err)
	}
}

func TestEximDeliversWhereTold(t *testing.T) {
	dovecot, mailpit := NewDovecot(t), NewMailpit(t)
	exim := NewExim(t, EximOptions{Routes: map[string]string{
		"imap.test": "lmtp:" + dovecot.LMTPAddr(), "mailpit.test": "smtp:" + mailpit.SMTPAddr(),
	}})
	for domain, count := range map[string]func() int{
		"imap.test": inFolder(dovecot.Maildir()), "mailpit.test": func() int { return mailpit.Count(t) },
	} {
		for _, recipient := range []string{"held", "lost", "twice", "probe"} {
			if err := send(t, exim.Addr(), recipient+"@"+domain); err != nil {
				t.Fatal(err)
			}
		}
		for _, recipient := range []string{"grey", "refused", "unknown"} {
			if err := send(t, exim.Addr(), recipient+"@"+domain); err == nil {
				t.Errorf("%s@%s was taken", recipient, domain)
			}
		}
		arrive(t, count, 3)
	}
	spooled := func() int {
		headers, _ := filepath.Glob(exim.Spool() + "/input/*-H") // the pattern is a good one
		return len(headers)
	}
	arrive(t, spooled, 2)
	if err := exim.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	arrive(t, spooled, 0)
	arrive(t, func() int { return mailpit.Count(t) }, 4)
	if err := send(t, exim.Addr(), "probe@elsewhere.test"); err == nil {
		t.Error("mail for elsewhere was taken")
	}
}
