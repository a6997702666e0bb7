package mailbox

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

// scripted is a fake server that greets, and then answers each line with what a function says of it; "" hangs up.
func scripted(t *testing.T, greeting string, answer func(line string) string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn, greeting, answer)
		}
	}()
	return listener.Addr().String()
}

func serve(conn net.Conn, greeting string, answer func(line string) string) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write([]byte(greeting)); err != nil {
		return
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		text := answer(lines.Text())
		if text == "" {
			return
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			return
		}
	}
}

// imapAnswers answers as a server of IMAP does, but for commands that a test has its own answers for.
func imapAnswers(own map[string]string) func(string) string {
	return func(line string) string {
		tag, command, _ := strings.Cut(line, " ")
		for name, text := range own {
			if strings.HasPrefix(command, name) {
				return strings.ReplaceAll(text, "$", tag)
			}
		}
		switch {
		case strings.HasPrefix(command, "LOGIN"):
			return tag + " OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n"
		case strings.HasPrefix(command, "SELECT"):
			return "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n" + tag + " OK [READ-WRITE] selected\r\n"
		case strings.HasPrefix(command, "UID SEARCH"):
			return "* SEARCH 1\r\n" + tag + " OK searched\r\n"
		}
		return tag + " OK done\r\n"
	}
}

const imapGreeting = "* OK [CAPABILITY IMAP4rev1] ready\r\n"

// pop3Answers is the same for POP3.
func pop3Answers(own map[string]string) func(string) string {
	return func(line string) string {
		for name, text := range own {
			if strings.HasPrefix(line, name) {
				return text
			}
		}
		if line == "UIDL" {
			return "+OK\r\n1 abc\r\n.\r\n"
		}
		return "+OK\r\n"
	}
}

// flood is more than may be received.
var flood = strings.Repeat("x", 64<<10) + "\r\n"

func endless(head string) string { return head + strings.Repeat(flood, 2*maxAnswers/len(flood)) }

// lookOnce opens a box and looks into it.
func lookOnce(ctx context.Context, box Box) ([]Found, error) {
	session, err := box.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	return session.Look(ctx)
}

func TestHostileServers(t *testing.T) {
	marks := newMarks(t, "here")
	exposed := func(address string) Account {
		return Account{Address: address, TLS: dialogue.NoTLS, Exposed: true, Username: "a", Password: password("canary")}
	}
	imap := func(greeting string, own map[string]string) Box {
		return &IMAP{Account: exposed(scripted(t, greeting, imapAnswers(own))), Marks: marks}
	}
	pop3 := func(greeting string, own map[string]string) Box {
		return &POP3{Account: exposed(scripted(t, greeting, pop3Answers(own))), Marks: marks}
	}
	secure := func(box Box, mode dialogue.TLSMode) Box {
		switch b := box.(type) {
		case *IMAP:
			b.TLS = mode
		case *POP3:
			b.TLS = mode
		}
		return box
	}
	silent := scripted(t, "", func(string) string { return "" })
	for name, c := range map[string]struct {
		box  Box
		want fault.Kind
	}{
		"imap refused":             {&IMAP{Account: exposed("127.0.0.1:1"), Marks: marks}, fault.Unreachable},
		"imap silent":              {&IMAP{Account: exposed(silent), Marks: marks}, fault.Timeout},
		"imap garbage":             {imap("\x00\xff\xfe garbage\r\n", nil), fault.Malformed},
		"imap bye":                 {imap("* BYE too busy\r\n", nil), fault.Malformed},
		"imap endless greeting":    {imap("* OK "+strings.Repeat(strings.TrimSpace(flood), 200), nil), fault.Limited},
		"imap wrong password":      {imap(imapGreeting, map[string]string{"LOGIN": "$ NO [AUTHENTICATIONFAILED] no\r\n"}), fault.Auth},
		"imap hangs up":            {imap(imapGreeting, map[string]string{"UID SEARCH": ""}), fault.Unreachable},
		"imap no folder":           {imap(imapGreeting, map[string]string{"SELECT": "$ NO [NONEXISTENT] no\r\n"}), fault.Config},
		"imap search refused":      {imap(imapGreeting, map[string]string{"UID SEARCH": "$ NO no\r\n"}), fault.Denied},
		"imap not understood":      {imap(imapGreeting, map[string]string{"UID SEARCH": "$ BAD what\r\n"}), fault.Malformed},
		"imap endless search":      {imap(imapGreeting, map[string]string{"UID SEARCH": "* SEARCH" + strings.Repeat(" 4294967295", maxAnswers/8) + "\r\n$ OK x\r\n"}), fault.Limited},
		"imap search of all":       {imap(imapGreeting, map[string]string{"UID SEARCH": "* ESEARCH (TAG \"$\") UID ALL 1:4294967295\r\n$ OK x\r\n"}), fault.None},
		"imap huge literal":        {imap(imapGreeting, map[string]string{"UID FETCH": endless("* 1 FETCH (UID 1 BODY[HEADER] {4000000000}\r\n")}), fault.Limited},
		"imap no TLS":              {secure(imap(imapGreeting, nil), dialogue.Implicit), fault.Unreachable},
		"imap STARTTLS refused":    {secure(imap(imapGreeting, map[string]string{"STARTTLS": "$ NO no\r\n"}), dialogue.StartTLS), fault.Unreachable},
		"imap PREAUTH":             {secure(imap("* PREAUTH in\r\n", map[string]string{"STARTTLS": "$ OK go\r\n"}), dialogue.StartTLS), fault.Unreachable},
		"pop3 refused":             {&POP3{Account: exposed("127.0.0.1:1"), Marks: marks}, fault.Unreachable},
		"pop3 silent":              {&POP3{Account: exposed(silent), Marks: marks}, fault.Timeout},
		"pop3 garbage":             {pop3("\x00\xff\xfe\r\n", nil), fault.Malformed},
		"pop3 busy":                {pop3("-ERR busy\r\n", nil), fault.Denied},
		"pop3 endless greeting":    {pop3(strings.Repeat(strings.TrimSpace(flood), 200), nil), fault.Limited},
		"pop3 wrong password":      {pop3("+OK\r\n", map[string]string{"PASS": "-ERR no\r\n"}), fault.Auth},
		"pop3 list garbage":        {pop3("+OK\r\n", map[string]string{"UIDL": "+OK\r\nx y\r\n.\r\n"}), fault.Malformed},
		"pop3 endless list":        {pop3("+OK\r\n", map[string]string{"UIDL": endless("+OK\r\n")}), fault.Limited},
		"pop3 endless header":      {pop3("+OK\r\n", map[string]string{"TOP": endless("+OK\r\n")}), fault.Limited},
		"pop3 hangs up":            {pop3("+OK\r\n", map[string]string{"TOP": ""}), fault.Unreachable},
		"pop3 no TOP":              {pop3("+OK\r\n", map[string]string{"TOP": "-ERR unknown\r\n"}), fault.None},
		"pop3 login refused":       {pop3("+OK\r\n", map[string]string{"USER": "-ERR no\r\n"}), fault.Auth},
		"pop3 STLS refused":        {secure(pop3("+OK\r\n", map[string]string{"STLS": "-ERR no\r\n"}), dialogue.StartTLS), fault.Denied},
		"pop3 early data":          {secure(pop3("+OK\r\n", map[string]string{"STLS": "+OK\r\n+OK injected\r\n"}), dialogue.StartTLS), fault.Malformed},
		"pop3 password with lines": {&POP3{Account: Account{Address: silent, TLS: dialogue.NoTLS, Exposed: true, Username: "a", Password: password("b\r\nDELE 1")}, Marks: marks}, fault.Config},
		"no secret":                {&IMAP{Account: Account{Address: silent, TLS: dialogue.NoTLS, Exposed: true, Password: func() (string, error) { return "", os.ErrNotExist }}, Marks: marks}, fault.Config},
		"password without TLS":     {&IMAP{Account: Account{Address: silent, TLS: dialogue.NoTLS, Password: password("canary")}, Marks: marks}, fault.Config},
	} {
		t.Run(name, func(t *testing.T) {
			limit := 20 * time.Second // for the flood of one that ends by its size, on a busy machine
			if c.want == fault.Timeout {
				limit = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			begun := time.Now()
			found, err := lookOnce(ctx, c.box)
			if got := fault.Of(err); got != c.want || len(found) > 0 {
				t.Errorf("%s (%v), %d found, want %q", got, err, len(found), c.want)
			}
			if took := time.Since(begun); took > limit+time.Second {
				t.Errorf("it took %v", took)
			}
			if err != nil && (strings.Contains(err.Error(), "canary") || len(err.Error()) > 4096) {
				t.Errorf("the error tells too much: %d bytes", len(err.Error()))
			}
		})
	}
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	if memory.HeapAlloc > 64<<20 {
		t.Errorf("%d MiB are held afterwards", memory.HeapAlloc>>20)
	}
}

// A server that sends headers of messages that nobody has asked for, or a folder that was made anew meanwhile, must not
// lead to the removal of other people's mail.
func TestNumbersOfIMAPAreNotTrusted(t *testing.T) {
	marks := newMarks(t, "here")
	text := strings.ReplaceAll(string(mark.Message(marks.New(time.Now()), "a@b.c", "a@b.c")), "\n", "\r\n")
	header, _, _ := strings.Cut(text, "\r\n\r\n")
	header += "\r\n\r\n"
	fetched := func(number int) string {
		return fmt.Sprintf("* 1 FETCH (UID %d BODY[HEADER.FIELDS (SUBJECT)] {%d}\r\n%s)\r\n$ OK x\r\n", number, len(header), header)
	}
	for number, want := range map[int]int{1: 1, 2: 0} {
		address := scripted(t, imapGreeting, imapAnswers(map[string]string{"UID FETCH": fetched(number)}))
		box := &IMAP{Account: Account{Address: address, TLS: dialogue.NoTLS, Exposed: true, Password: password("x")}, Marks: marks}
		if found, err := lookOnce(t.Context(), box); err != nil || len(found) != want {
			t.Errorf("message %d: %d found, %v", number, len(found), err)
		}
	}
	selects := 0
	answers := imapAnswers(map[string]string{"UID FETCH": fetched(1)})
	address := scripted(t, imapGreeting, func(line string) string {
		text := answers(line)
		if strings.Contains(line, " SELECT ") {
			selects++
			text = strings.Replace(text, "UIDVALIDITY 1", fmt.Sprint("UIDVALIDITY ", selects), 1)
		}
		return text
	})
	box := &IMAP{
		Account: Account{Address: address, TLS: dialogue.NoTLS, Exposed: true, Password: password("x")},
		Folders: []string{"INBOX", "Junk"}, Marks: marks,
	}
	session, err := box.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	found, err := session.Look(t.Context())
	if err != nil || len(found) != 2 {
		t.Fatal(found, err)
	}
	if n, err := session.Remove(t.Context(), found); fault.Of(err) != fault.Busy || n != 0 {
		t.Errorf("removed %d, %v", n, err)
	}
}

// Without UIDPLUS messages are marked as deleted, and EXPUNGE, which removes others' too, is not sent.
func TestNoExpungeWithoutUIDPlus(t *testing.T) {
	marks := newMarks(t, "here")
	text := strings.ReplaceAll(string(mark.Message(marks.New(time.Now()), "a@b.c", "a@b.c")), "\n", "\r\n")
	said := make(chan string, 100)
	answers := imapAnswers(map[string]string{
		"LOGIN":     "$ OK [CAPABILITY IMAP4rev1] in\r\n",
		"UID FETCH": fmt.Sprintf("* 1 FETCH (UID 1 BODY[HEADER] {%d}\r\n%s)\r\n$ OK x\r\n", len(text), text),
	})
	address := scripted(t, imapGreeting, func(line string) string { said <- line; return answers(line) })
	session, err := (&IMAP{Account: Account{Address: address, TLS: dialogue.NoTLS, Exposed: true, Password: password("x")}, Marks: marks}).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, err := session.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := session.Remove(t.Context(), found); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	session.Close()
	all := ""
	for len(said) > 0 {
		all += <-said + "\n"
	}
	if !strings.Contains(all, `UID STORE 1 +FLAGS.SILENT (\Deleted)`) || strings.Contains(all, "EXPUNGE") {
		t.Error(all)
	}
}

func TestHostileCatchers(t *testing.T) {
	marks := newMarks(t, "here")
	answer := func(status int, text string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text))
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect is followed") }))
	t.Cleanup(elsewhere.Close)
	redirect := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	t.Cleanup(redirect.Close)
	for name, c := range map[string]struct {
		url  string
		want fault.Kind
	}{
		"refused":       {"http://127.0.0.1:1", fault.Unreachable},
		"no URL":        {"::", fault.Config},
		"unauthorized":  {answer(401, ""), fault.Auth},
		"forbidden":     {answer(403, ""), fault.Denied},
		"not found":     {answer(404, ""), fault.Config},
		"broken":        {answer(500, ""), fault.Unreachable},
		"redirect":      {redirect.URL, fault.Malformed},
		"no JSON":       {answer(200, "<html>"), fault.Malformed},
		"another JSON":  {answer(200, `{"total": 0}`), fault.Malformed},
		"null":          {answer(200, `null`), fault.Malformed},
		"too large":     {answer(200, `{"messages": [], "items": [], "x": "`+strings.Repeat("x", maxAnswers)+`"}`), fault.Limited},
		"no ids":        {answer(200, `{"messages": [{"ID": ""}, {"ID": "../../all"}], "items": [{"ID": ""}, {"ID": ".."}]}`), fault.None},
		"deep nesting":  {answer(200, strings.Repeat("[", 20000)), fault.Malformed},
		"empty mailbox": {answer(200, `{"messages": [], "items": []}`), fault.None},
	} {
		for kind, box := range map[string]Box{
			"mailpit": &Mailpit{API: API{URL: c.url}, Marks: marks}, "mailhog": &MailHog{API: API{URL: c.url}, Marks: marks},
		} {
			if found, err := lookOnce(t.Context(), box); fault.Of(err) != c.want || len(found) > 0 {
				t.Errorf("%s, %s: %d found, %s (%v), want %q", kind, name, len(found), fault.Of(err), err, c.want)
			}
		}
	}
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := lookOnce(ctx, &Mailpit{API: API{URL: slow.URL}, Marks: marks}); fault.Of(err) != fault.Timeout {
		t.Errorf("slow: %v", err)
	}
}

// Mailpit takes a request to delete nothing for one to delete everything.
func TestNothingIsRemovedOfNothing(t *testing.T) {
	session, err := (&Mailpit{API: API{URL: "http://127.0.0.1:1"}, Marks: newMarks(t, "here")}).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := session.Remove(t.Context(), nil); n != 0 || err != nil {
		t.Error(n, err)
	}
}

func TestMaildirFaults(t *testing.T) {
	marks := newMarks(t, "here")
	message := mark.Message(marks.New(time.Now()), "a@b.c", "a@b.c")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, message, 0o600); err != nil {
		t.Fatal(err)
	}
	box := func(fill func(path string)) Box {
		path := t.TempDir()
		for _, part := range []string{"new", "cur"} {
			if err := os.Mkdir(filepath.Join(path, part), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		fill(path)
		return &Maildir{Path: path, Marks: marks}
	}
	for name, c := range map[string]struct {
		box   Box
		found int
		want  fault.Kind
	}{
		"none":   {&Maildir{Path: filepath.Join(t.TempDir(), "none"), Marks: marks}, 0, fault.Config},
		"a file": {&Maildir{Path: secret, Marks: marks}, 0, fault.Unreachable},
		"a link and a pipe": {box(func(path string) {
			if err := os.Symlink(secret, filepath.Join(path, "new", "link")); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(filepath.Join(path, "new", "pipe"), 0o600); err != nil {
				t.Fatal(err)
			}
		}), 0, fault.None},
		"a folder that leads elsewhere": {box(func(path string) {
			if err := os.Remove(filepath.Join(path, "cur")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Dir(secret), filepath.Join(path, "cur")); err != nil {
				t.Fatal(err)
			}
		}), 0, fault.Unreachable},
		"read and marked": {box(func(path string) {
			if err := os.WriteFile(filepath.Join(path, "cur", "1.a:2,S"), message, 0o600); err != nil {
				t.Fatal(err)
			}
		}), 1, fault.None},
		"a huge one": {box(func(path string) {
			if err := os.WriteFile(filepath.Join(path, "new", "1.a"), append([]byte("X: "+strings.Repeat("x", maxHeader)+"\n"), message...), 0o600); err != nil {
				t.Fatal(err)
			}
		}), 0, fault.None},
		"too many": {box(func(path string) {
			for i := range maxFiles + 1 {
				file, err := os.Create(filepath.Join(path, "new", fmt.Sprint(i)))
				if err != nil {
					t.Fatal(err)
				}
				_ = file.Close()
			}
		}), 0, fault.Limited},
	} {
		if found, err := lookOnce(t.Context(), c.box); fault.Of(err) != c.want || len(found) != c.found {
			t.Errorf("%s: %d found, %s (%v), want %q", name, len(found), fault.Of(err), err, c.want)
		}
	}
}

// A message that the server does not show once may have been removed by somebody else; one that it never shows makes the
// mailbox unreadable, as ours might be it.
func TestPOP3RefusesToShow(t *testing.T) {
	address := scripted(t, "+OK\r\n", pop3Answers(map[string]string{"TOP": "-ERR expunged\r\n"}))
	box := &POP3{Account: Account{Address: address, TLS: dialogue.NoTLS, Exposed: true, Username: "a", Password: password("x")}, Marks: newMarks(t, "here")}
	session, err := box.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if found, err := session.Look(t.Context()); len(found) > 0 || err != nil {
		t.Errorf("at first: %v, %v", found, err)
	}
	if _, err := session.Look(t.Context()); fault.Of(err) != fault.Denied {
		t.Errorf("then: %v", err)
	}
}
