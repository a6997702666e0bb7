package dialogue

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of one reply. A line is longest at the size of the reader's buffer.
const (
	maxLine  = 4 << 10
	maxReply = 64 << 10
	maxLines = 200
)

// Ways in which what came is no reply.
var (
	errNoReply  = errors.New("what the server sent is no reply of SMTP")
	errTooLarge = errors.New("the server's reply does not end")
)

// reply is what a server answered, on one line or several.
type reply struct {
	code     int
	enhanced Enhanced
	lines    []string // without codes and line ends
	bareLF   bool     // one ended without CR
}

// String gives the last line as it was sent.
func (r reply) String() string {
	text := strconv.Itoa(r.code)
	if len(r.lines) > 0 {
		text += " " + r.lines[len(r.lines)-1]
	}
	return text
}

// readReply reads one reply. It takes no more than a reply may have and looks at each line before it asks for the next,
// so that what is no SMTP is known at once.
func readReply(in *bufio.Reader) (reply, error) {
	var r reply
	total := 0
	for len(r.lines) < maxLines && total <= maxReply {
		code, last, text, err := r.readLine(in)
		if err != nil {
			return r, err
		}
		if len(r.lines) > 0 && code != r.code {
			return r, fmt.Errorf("%w: the code changes within it", errNoReply)
		}
		r.code = code
		total += len(text)
		r.lines = append(r.lines, text)
		if last {
			r.enhanced = parseEnhanced(code, text)
			return r, nil
		}
	}
	return r, errTooLarge
}

// readLine reads one line. Last tells whether no other follows in the same reply. An end without CR is no standard, but
// there are servers that work so, and clients that speak with them.
func (r *reply) readLine(in *bufio.Reader) (code int, last bool, text string, err error) {
	for i := 1; i <= 4; i++ { // one by one, as the server may have no more to say
		head, err := in.Peek(i)
		if err != nil {
			return 0, false, "", err
		}
		if !beginsReply(head) {
			return 0, false, "", errNoReply
		}
	}
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return 0, false, "", errTooLarge
	}
	if err != nil {
		return 0, false, "", err
	}
	line, proper := bytes.CutSuffix(line[:len(line)-1], []byte("\r"))
	r.bareLF = r.bareLF || !proper
	if bytes.ContainsAny(line, "\x00\r") {
		return 0, false, "", fmt.Errorf("%w: a line of it holds a NUL or CR", errNoReply)
	}
	code, _ = strconv.Atoi(string(line[:3])) // they are digits
	if len(line) == 3 {
		return code, true, "", nil
	}
	return code, line[3] == ' ', string(line[4:]), nil
}

// beginsReply tells whether up to four bytes can begin a line of a reply.
func beginsReply(head []byte) bool {
	for i, c := range head {
		switch {
		case i == 0 && (c < '2' || c > '5'), i < 3 && (c < '0' || c > '9'):
			return false
		case i == 3 && c != ' ' && c != '-' && c != '\r' && c != '\n':
			return false
		}
	}
	return true
}

// parseEnhanced reads the status code by RFC 3463 at the begin of a reply's text. One that contradicts the code of the
// reply is none.
func parseEnhanced(code int, text string) Enhanced {
	word, _, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 {
		return Enhanced{}
	}
	var numbers [3]int
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil || len(part) > 3 {
			return Enhanced{}
		}
		numbers[i] = int(n)
	}
	if numbers[0] != code/100 || numbers[0] == 3 {
		return Enhanced{}
	}
	return Enhanced{numbers[0], numbers[1], numbers[2]}
}

// parseHello reads the answer to EHLO. What is no keyword by RFC 5321 is left out.
func parseHello(r reply, protected bool) *Hello {
	h := &Hello{Protected: protected, parameters: map[string]string{}}
	for _, line := range r.lines[1:] {
		keyword, parameters, _ := strings.Cut(strings.TrimSpace(line), " ")
		if mechanism, old := strings.CutPrefix(keyword, "AUTH="); old { // as servers wrote it before the standard
			keyword, parameters = "AUTH", mechanism+" "+parameters
		}
		keyword = strings.ToUpper(keyword)
		if !isKeyword(keyword) {
			continue
		}
		if keyword == "AUTH" {
			parameters += " " + h.parameters["AUTH"]
		}
		h.parameters[keyword] = parameters
	}
	for keyword := range h.parameters {
		h.Extensions = append(h.Extensions, keyword)
	}
	slices.Sort(h.Extensions)
	if size, err := strconv.ParseInt(strings.TrimSpace(h.parameters["SIZE"]), 10, 64); err == nil && size > 0 {
		h.Size = size
	}
	for _, mechanism := range strings.Fields(strings.ToUpper(h.parameters["AUTH"])) {
		if isKeyword(strings.ReplaceAll(mechanism, "_", "-")) && !slices.Contains(h.Auth, mechanism) {
			h.Auth = append(h.Auth, mechanism)
		}
	}
	slices.Sort(h.Auth)
	return h
}

// isKeyword tells whether a word in upper case can be the name of an extension.
func isKeyword(word string) bool {
	return word != "" && len(word) <= 64 && word[0] != '-' && strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}

// hidden tells whether something on the way has written X over an extension, as some firewalls do with STARTTLS.
func (h *Hello) hidden() bool {
	return slices.ContainsFunc(h.Extensions, func(keyword string) bool {
		return len(keyword) >= 4 && strings.Trim(strings.TrimSuffix(keyword, "A"), "X") == ""
	})
}
