package mark

import (
	"strings"
	"testing"
	"time"
)

const secret = "0123456789abcdef"

func signer(t *testing.T, secret, line, instance string) *Signer {
	t.Helper()
	s, err := NewSigner(secret, line, instance)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMessageIsRecognised(t *testing.T) {
	s := signer(t, secret, "line", "here")
	now := time.Date(2026, 11, 24, 1, 2, 3, 4e6, time.UTC)
	sent := s.New(now)
	text := string(Message(sent, "probe@example.org", "inbox@example.net"))
	for name, change := range map[string]func(string) string{
		"as sent":             func(s string) string { return s },
		"CRLF":                func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"another Message-ID":  func(s string) string { return strings.Replace(s, "Message-ID: <", "Message-ID: <1", 1) },
		"no Message-ID":       func(s string) string { return strings.Replace(s, "Message-ID:", "X-Id:", 1) },
		"subject marked":      func(s string) string { return strings.Replace(s, "Mail probe", "[SPAM?] Mail probe", 1) },
		"subject folded":      func(s string) string { return strings.Replace(s, "Mail probe ", "Mail probe\n ", 1) },
		"subject gone":        func(s string) string { return strings.Replace(s, "Subject:", "X-Subject:", 1) },
		"fields of relays":    func(s string) string { return "Received: by x;\n\tMon\nbroken line\nX-Y: z\n" + s },
		"upper case":          strings.ToUpper,
		"Auto-Submitted with": func(s string) string { return strings.Replace(s, "auto-generated", "auto-generated; x=y", 1) },
	} {
		got, ok := s.Read(ParseHeader([]byte(change(text))))
		if !ok || got.Text != sent.Text || !got.Sent.Equal(now) || !got.Own {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
	if !strings.Contains(text, " "+s.Word()+" ") {
		t.Errorf("the word %s is not in\n%s", s.Word(), text)
	}
}

func TestOtherMailIsNotOurs(t *testing.T) {
	s := signer(t, secret, "line", "here")
	text := string(Message(s.New(time.Now()), "probe@example.org", "inbox@example.net"))
	forged := strings.Replace(text, s.Word()+" ", s.Word()+" a", 1)
	forged = strings.Replace(forged, s.Word()+".", s.Word()+".a", 1)
	for name, text := range map[string]string{
		"empty":               "",
		"another secret":      string(Message(signer(t, secret+"x", "line", "here").New(time.Now()), "a@b.c", "a@b.c")),
		"another line":        string(Message(signer(t, secret, "other", "here").New(time.Now()), "a@b.c", "a@b.c")),
		"forged":              forged,
		"a person's answer":   strings.Replace(text, "Auto-Submitted: auto-generated\n", "", 1),
		"an automatic answer": strings.Replace(text, "auto-generated", "auto-replied", 1),
		"an answer by id":     "In-Reply-To: <x@y>\n" + text,
		"in the body":         "Subject: forwarded\n\n" + text,
		"token cut":           "Auto-Submitted: auto-generated\nSubject: Mail probe " + s.Word(),
	} {
		if got, ok := s.Read(ParseHeader([]byte(text))); ok {
			t.Errorf("%s is taken for %+v", name, got)
		}
	}
}

func TestInstances(t *testing.T) {
	one, other := signer(t, secret, "line", "one"), signer(t, secret, "line", "other")
	got, ok := one.Read(ParseHeader(Message(other.New(time.Now()), "a@b.c", "a@b.c")))
	if !ok || got.Own {
		t.Errorf("another exporter's message: %+v, %v", got, ok)
	}
	if one.Word() != other.Word() {
		t.Error("the exporters of one round trip search for different words")
	}
}

func TestShortSecret(t *testing.T) {
	if _, err := NewSigner(secret[1:], "", ""); err == nil {
		t.Error("a secret of 15 characters is taken")
	}
}

func TestHeaderIsBounded(t *testing.T) {
	h := ParseHeader([]byte(strings.Repeat("Received: x\n", 1000)))
	if got := len(h["Received"]); got != maxValues {
		t.Errorf("%d fields are kept", got)
	}
	h = HeaderOf(map[string][]string{"subject": {"a\r\n b"}, "X-Other": {"y"}})
	if h.First("Subject") != "a  b" || len(h) != 1 {
		t.Errorf("%q", h)
	}
}

func FuzzRead(f *testing.F) {
	s, err := NewSigner(secret, "line", "here")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(Message(s.New(time.Now()), "a@b.c", "a@b.c")))
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := s.Read(ParseHeader([]byte(text))); ok && !strings.Contains(strings.ToLower(text), got.Text[wordLength:]) {
			t.Errorf("a token from nowhere: %+v", got)
		}
	})
}
