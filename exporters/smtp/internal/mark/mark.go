// Package mark makes the messages of round trips, and tells them from all other mail.
//
// A message carries a token in its Subject and its Message-ID. The token is signed with a secret, so that nobody else's
// mail is taken for a message of ours, counted or removed; it also says which round trip the message belongs to, which
// exporter sent it, and when.
package mark

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// The parts of a token in bytes. Line, and instance with what follows, are whole groups of base 32, so that the word
// which all messages of a round trip have in common can be searched for.
const (
	lineSize     = 10
	instanceSize = 4
	timeSize     = 6
	nonceSize    = 5
	signedSize   = lineSize + instanceSize + timeSize + nonceSize
	tagSize      = 15
	wordLength   = lineSize * 8 / 5
	textLength   = (signedSize + tagSize) * 8 / 5
)

// MinSecret is the length in bytes that a secret must have.
const MinSecret = 16

// encoding is in lower case: some servers search, and some relays write, without regard to case.
func encoding() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// Signer makes and checks the tokens of one round trip.
type Signer struct {
	key            []byte
	line, instance []byte
}

// NewSigner makes the signer of a round trip. The line is what tells it from others that share the secret, such as the
// server with sender and recipient; the instance tells this exporter from others that are configured alike.
func NewSigner(secret, line, instance string) (*Signer, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("the secret that signs messages must have %d characters or more", MinSecret)
	}
	s := &Signer{key: []byte(secret)}
	s.line = s.digest("line", []byte(line))[:lineSize]
	s.instance = s.digest("instance", []byte(instance))[:instanceSize]
	return s, nil
}

func (s *Signer) digest(purpose string, content []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write(content)
	return h.Sum(nil)
}

// Word is what the subjects of all messages of this round trip hold, whoever of several exporters sent them.
func (s *Signer) Word() string { return encoding().EncodeToString(s.line) }

// Token is what tells one message from all others.
type Token struct {
	Text string
	Sent time.Time // by the clock of the sender, to the millisecond
	Own  bool      // sent by this exporter, though perhaps before a restart
}

// New makes a token.
func (s *Signer) New(now time.Time) Token {
	content := make([]byte, 0, signedSize+tagSize)
	content = append(content, s.line...)
	content = append(content, s.instance...)
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(now.UnixMilli())) //nolint:gosec // after 1970
	content = append(content, stamp[8-timeSize:]...)
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails
	content = append(content, nonce[:]...)
	content = append(content, s.digest("token", content)[:tagSize]...)
	return Token{Text: encoding().EncodeToString(content), Sent: time.UnixMilli(now.UnixMilli()), Own: true}
}

// read checks the text of a token.
func (s *Signer) read(text string) (Token, bool) {
	if len(text) != textLength {
		return Token{}, false
	}
	content, err := encoding().DecodeString(strings.ToLower(text))
	if err != nil || len(content) != signedSize+tagSize {
		return Token{}, false
	}
	signed := content[:signedSize]
	if !hmac.Equal(content[signedSize:], s.digest("token", signed)[:tagSize]) || !hmac.Equal(signed[:lineSize], s.line) {
		return Token{}, false
	}
	var stamp [8]byte
	copy(stamp[8-timeSize:], signed[lineSize+instanceSize:])
	return Token{
		Text: strings.ToLower(text),
		Sent: time.UnixMilli(int64(binary.BigEndian.Uint64(stamp[:]))), //nolint:gosec // six bytes
		Own:  hmac.Equal(signed[lineSize:lineSize+instanceSize], s.instance),
	}, true
}
