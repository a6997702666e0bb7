package mark

import (
	"fmt"
	"strings"
	"time"
)

const subject = "Mail probe"

// Message writes the message that carries a token. The addresses are plain ones, as dialogue.CheckAddress wants them.
// Nobody's automatic answer is asked for.
func Message(t Token, from, to string) []byte {
	_, domain, _ := strings.Cut(from, "@")
	word, rest := t.Text[:wordLength], t.Text[wordLength:]
	return fmt.Appendf(nil, `From: %s
To: %s
Date: %s
Subject: %s %s %s
Message-ID: <%s.%s@%s>
Auto-Submitted: auto-generated
X-Auto-Response-Suppress: All
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

A monitor sends messages like this one to see whether mail arrives, and how
fast. It removes them itself. Nobody needs to read or answer them.
`, from, to, t.Sent.Format(time.RFC1123Z), subject, word, rest, word, rest, domain)
}

// Read finds the token in the header of a message: in its Message-ID, or in its Subject where a relay has replaced the
// Message-ID. A message is ours only if it says that a program has made it, so that a person's answer, which repeats the
// subject, is not.
func (s *Signer) Read(h Header) (Token, bool) {
	automatic, _, _ := strings.Cut(h.First("Auto-Submitted"), ";")
	if !strings.EqualFold(strings.TrimSpace(automatic), "auto-generated") || h.First("In-Reply-To") != "" {
		return Token{}, false
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(h.First("Message-Id")), "<"), "@")
	word, rest, _ := strings.Cut(id, ".")
	if t, ok := s.read(word + rest); ok {
		return t, true
	}
	words := strings.Fields(h.First("Subject"))
	if len(words) < 2 {
		return Token{}, false
	}
	return s.read(words[len(words)-2] + words[len(words)-1])
}
