package mailbox

import (
	"context"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

func newMarks(t *testing.T, instance string) *mark.Signer {
	t.Helper()
	marks, err := mark.NewSigner("a secret that nobody knows", t.Name(), instance)
	if err != nil {
		t.Fatal(err)
	}
	return marks
}

// deliver hands a message to a server.
func deliver(t *testing.T, address string, lmtp bool, to string, content []byte) {
	t.Helper()
	report := dialogue.Run(t.Context(), dialogue.Plan{
		Address: address, LMTP: lmtp, Hello: "probe.test", TLS: dialogue.NoTLS, Until: dialogue.Data,
		Message: &dialogue.Message{From: "sender@probe.test", To: to, Content: content},
	})
	if !report.OK() {
		t.Fatal(report.Failure)
	}
}

func roots(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

func password(text string) func() (string, error) {
	return func() (string, error) { return text, nil }
}

// place is a box on a real server, and how mail gets there.
type place struct {
	box     Box
	deliver func(content []byte)
	junk    func(content []byte) // nil where there is no such folder
	all     func() int           // how many messages there are, counted in another way
}

func places(marks *mark.Signer) map[string]func(t *testing.T) place {
	return map[string]func(t *testing.T) place{
		"imap":          func(t *testing.T) place { return imapPlace(t, marks, dialogue.NoTLS) },
		"imap starttls": func(t *testing.T) place { return imapPlace(t, marks, dialogue.StartTLS) },
		"imap tls":      func(t *testing.T) place { return imapPlace(t, marks, dialogue.Implicit) },
		"pop3":          func(t *testing.T) place { return pop3Place(t, marks, dialogue.NoTLS) },
		"pop3 starttls": func(t *testing.T) place { return pop3Place(t, marks, dialogue.StartTLS) },
		"pop3 tls":      func(t *testing.T) place { return pop3Place(t, marks, dialogue.Implicit) },
		"maildir": func(t *testing.T) place {
			p, dovecot := dovecotPlace(t)
			p.box = &Maildir{Path: dovecot.Maildir(), Folders: []string{"INBOX", "Junk"}, Marks: marks}
			return p
		},
		"mailpit": func(t *testing.T) place {
			catcher := servers.NewMailpit(t)
			return catcherPlace(t, catcher, &Mailpit{API: API{URL: catcher.URL()}, Marks: marks})
		},
		"mailhog": func(t *testing.T) place {
			catcher := servers.NewMailHog(t)
			return catcherPlace(t, catcher, &MailHog{API: API{URL: catcher.URL()}, Marks: marks})
		},
	}
}

func dovecotPlace(t *testing.T) (place, *servers.Dovecot) {
	dovecot := servers.NewDovecot(t)
	p := place{
		deliver: func(content []byte) { deliver(t, dovecot.LMTPAddr(), true, "probe@probe.test", content) },
		junk:    func(content []byte) { deliver(t, dovecot.LMTPAddr(), true, "probe+Junk@probe.test", content) },
		all: func() int {
			count := 0
			for _, part := range []string{"new", "cur", ".Junk/new", ".Junk/cur"} {
				entries, _ := os.ReadDir(filepath.Join(dovecot.Maildir(), part)) // it appears with the first mail
				count += len(entries)
			}
			return count
		},
	}
	// The Maildir and its folders appear with the first mail.
	p.junk([]byte("Subject: other mail\n\nhello\n"))
	p.deliver([]byte("Subject: other mail\n\nhello\n"))
	return p, dovecot
}

func account(t *testing.T, dovecot *servers.Dovecot, mode dialogue.TLSMode, plain, secure string) Account {
	a := Account{
		Address: plain, TLS: mode, ServerName: "localhost", Roots: roots(t, dovecot.CAFile()), Exposed: mode == dialogue.NoTLS,
		Username: dovecot.User(), Password: password(dovecot.Password()),
	}
	if mode == dialogue.Implicit {
		a.Address = secure
	}
	return a
}

func imapPlace(t *testing.T, marks *mark.Signer, mode dialogue.TLSMode) place {
	p, dovecot := dovecotPlace(t)
	p.box = &IMAP{
		Account: account(t, dovecot, mode, dovecot.IMAPAddr(), dovecot.IMAPSAddr()),
		Folders: []string{"INBOX", "Junk"}, Marks: marks,
	}
	return p
}

func pop3Place(t *testing.T, marks *mark.Signer, mode dialogue.TLSMode) place {
	p, dovecot := dovecotPlace(t)
	p.junk = nil
	p.box = &POP3{Account: account(t, dovecot, mode, dovecot.POP3Addr(), dovecot.POP3SAddr()), Marks: marks}
	return p
}

func catcherPlace(t *testing.T, catcher *servers.MailCatcher, box Box) place {
	p := place{box: box, all: func() int { return catcher.Count(t) }}
	p.deliver = func(content []byte) { deliver(t, catcher.SMTPAddr(), false, "probe@probe.test", content) }
	p.deliver([]byte("Subject: other mail\n\nhello\n"))
	return p
}

func TestRealBoxes(t *testing.T) {
	marks := newMarks(t, "here")
	for name, prepare := range places(marks) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := prepare(t)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			session, err := p.box.Open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			look := func(want ...string) []Found {
				t.Helper()
				found, err := session.Look(ctx)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, message := range found {
					got = append(got, message.Folder+" "+message.Text)
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("found %q, want %q", got, want)
				}
				return found
			}
			folder := ""
			if p.junk != nil {
				folder = "INBOX"
			}
			look()

			// What is not ours is not found, although the search finds it.
			first := marks.New(time.Now())
			content := mark.Message(first, "probe@probe.test", "probe@probe.test")
			p.deliver([]byte(strings.Replace(string(content), "Auto-Submitted: auto-generated\n", "Subject: Re: it\n", 1)))
			p.deliver([]byte(strings.ReplaceAll(string(content), first.Text[40:], strings.Repeat("a", 24))))
			look()
			others := p.all()

			p.deliver(content)
			p.deliver(content)
			want := []string{folder + " " + first.Text, folder + " " + first.Text}
			if p.junk != nil {
				token := marks.New(time.Now())
				p.junk(mark.Message(token, "probe@probe.test", "probe@probe.test"))
				want = append(want, "Junk "+token.Text)
			}
			found := look(want...)
			if found[0].Header.First("Received") == "" {
				t.Errorf("no Received in %q", found[0].Header)
			}
			if removed, err := session.Remove(ctx, found); err != nil || removed != len(want) {
				t.Fatalf("removed %d, %v", removed, err)
			}
			if got := p.all(); got != others {
				t.Errorf("%d messages are left, want the %d of others", got, others)
			}
			look()
			if err := session.Wait(ctx, 10*time.Millisecond, nil); err != nil {
				t.Error(err)
			}
			look()
		})
	}
}

func TestIdle(t *testing.T) {
	marks := newMarks(t, "here")
	p := imapPlace(t, marks, dialogue.Implicit)
	p.box.(*IMAP).Folders = nil
	session, err := p.box.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if _, err := session.Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	time.AfterFunc(100*time.Millisecond, func() { p.deliver(mark.Message(marks.New(time.Now()), "a@b.c", "a@b.c")) })
	if err := session.Wait(t.Context(), 20*time.Second, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the server's word is heard after %v", took)
	}
	if found, err := session.Look(t.Context()); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	if err := session.Wait(t.Context(), 1100*time.Millisecond, nil); err != nil {
		t.Errorf("nothing arrives: %v", err)
	}
}

// A mailbox's owner may have marked messages as deleted; they stay until he removes them.
func TestOwnersDeletedMessagesStay(t *testing.T) {
	marks := newMarks(t, "here")
	p := imapPlace(t, marks, dialogue.Implicit)
	box := p.box.(*IMAP)
	session, err := box.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	p.deliver(mark.Message(marks.New(time.Now()), "a@b.c", "a@b.c"))
	found, err := session.Look(t.Context())
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	s := session.(*imapSession)
	if err := s.enter(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	flag := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := s.client.Store(imap.UIDSetNum(1), flag, nil).Close(); err != nil {
		t.Fatal(err)
	}
	before := p.all()
	if _, err := session.Remove(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	if after := p.all(); after != before-1 {
		t.Errorf("%d messages were removed", before-after)
	}
}
