package redissearch

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Limits on what a server may send. The libraries for this protocol make room for whatever a server announces, which
// one hostile line turns into all of the memory there is; so what little is needed of it is here.
const (
	maxText     = 16 << 20  // bytes of one string
	maxReplies  = 64 << 20  // bytes of the replies to what is asked at once
	maxElements = 1_000_000 // of those replies
	maxDepth    = 16
	maxLine     = 64 << 10
	firstRoom   = 64 << 10 // bytes that there is room for before any have come
	rwBuffer    = 16 << 10
)

// line is one connection.
type line struct {
	conn   net.Conn
	in     *bufio.Reader
	out    *bufio.Writer
	broken bool
}

func newLine(conn net.Conn) *line {
	return &line{conn: conn, in: bufio.NewReaderSize(conn, maxLine), out: bufio.NewWriterSize(conn, rwBuffer)}
}

// Broken tells whether what comes next is unknown.
func (l *line) Broken() bool { return l.broken }

// Close ends the connection.
func (l *line) Close() { _ = l.conn.Close() }

// command is a command with its arguments.
type command []string

// refusal is an error that the server answers with. Its words are for telling what it means, never for showing.
type refusal struct{ words string }

// Error gives the first word, which the protocol has for programs.
func (r refusal) Error() string {
	code, _, _ := strings.Cut(r.words, " ")
	if strings.ToUpper(code) != code || len(code) > 32 {
		code = "ERR"
	}
	return "the server answers " + code
}

// ask sends all commands at once and gives their replies: string, int64, nil, []any of them, or refusal.
func (l *line) ask(ctx context.Context, commands ...command) ([]any, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() { // it has struck, or strikes now
			l.broken = true
		}
	}()
	replies, err := l.exchange(commands)
	if err != nil {
		l.broken = true
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fault.Wrap(classify(err), "asking", err)
	}
	return replies, nil
}

func (l *line) exchange(commands []command) ([]any, error) {
	for _, c := range commands {
		l.put('*', len(c))
		for _, word := range c {
			l.put('$', len(word))
			_, _ = l.out.WriteString(word) // the writer keeps its first error for Flush
			_, _ = l.out.WriteString("\r\n")
		}
	}
	if err := l.out.Flush(); err != nil {
		return nil, err
	}
	r := reader{in: l.in, bytes: maxReplies, elements: maxElements}
	var replies []any
	for range commands {
		reply, err := r.value(0)
		if err != nil {
			return nil, err
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

func (l *line) put(kind byte, n int) {
	_ = l.out.WriteByte(kind)
	_, _ = l.out.WriteString(strconv.Itoa(n))
	_, _ = l.out.WriteString("\r\n")
}

var (
	errMalformed = fault.New(fault.Malformed, "the server does not keep to the protocol")
	errTooMuch   = fault.New(fault.Limited, "the server sends more than may be taken")
)

// reader takes the replies to what was asked at once, within bounds for all of them together.
type reader struct {
	in              *bufio.Reader
	bytes, elements int
}

func (r *reader) value(depth int) (any, error) {
	if r.elements--; depth > maxDepth || r.elements < 0 {
		return nil, errTooMuch
	}
	text, err := r.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, errTooMuch
	case err != nil:
		return nil, err
	case len(text) < 3 || text[len(text)-2] != '\r':
		return nil, errMalformed
	}
	if r.bytes -= len(text); r.bytes < 0 {
		return nil, errTooMuch
	}
	kind, rest := text[0], string(text[1:len(text)-2])
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return refusal{rest}, nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, errMalformed
	}
	switch {
	case kind == ':':
		return n, nil
	case kind == '$' && n == -1, kind == '*' && n == -1:
		return nil, nil
	case kind == '$' && n >= 0:
		return r.text(n)
	case kind == '*' && n >= 0:
		return r.list(n, depth)
	}
	return nil, errMalformed
}

// text takes a string. A long one gets room as it comes.
func (r *reader) text(n int64) (any, error) {
	if n > maxText || n+2 > int64(r.bytes) {
		return nil, errTooMuch
	}
	r.bytes -= int(n) + 2
	var all strings.Builder
	all.Grow(int(min(n, firstRoom)))
	if _, err := io.CopyN(&all, r.in, n); err != nil {
		return nil, err
	}
	var end [2]byte
	if _, err := io.ReadFull(r.in, end[:]); err != nil {
		return nil, err
	}
	if string(end[:]) != "\r\n" {
		return nil, errMalformed
	}
	return all.String(), nil
}

func (r *reader) list(n int64, depth int) (any, error) {
	if n > int64(r.elements) {
		return nil, errTooMuch
	}
	all := []any{}
	for range n {
		element, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		all = append(all, element)
	}
	return all, nil
}

// kinds maps the first words of refusals.
var kinds = map[string]fault.Kind{
	"NOAUTH": fault.Auth, "WRONGPASS": fault.Auth,
	"NOPERM":  fault.Denied,
	"LOADING": fault.Busy, "BUSY": fault.Busy, "READONLY": fault.Busy, "MASTERDOWN": fault.Busy, "CLUSTERDOWN": fault.Busy,
	"OOM": fault.Busy, "MISCONF": fault.Busy, "NOREPLICAS": fault.Busy, "TRYAGAIN": fault.Busy,
	"MOVED": fault.Config, "CROSSSLOT": fault.Config, "WRONGTYPE": fault.Config,
}

// classify tells the kind of an error.
func classify(err error) fault.Kind {
	var refused refusal
	if !errors.As(err, &refused) {
		if kind := fault.Of(err); kind != fault.Internal {
			return kind
		}
		return fault.Unreachable
	}
	code, _, _ := strings.Cut(refused.words, " ")
	words := strings.ToLower(refused.words)
	switch kind, known := kinds[code]; {
	case known:
		return kind
	case strings.Contains(words, "unknown command"), strings.Contains(words, "unknown subcommand"):
		return fault.Unsupported
	case strings.Contains(words, "max number of clients"):
		return fault.Busy
	case strings.Contains(words, "invalid password"), strings.Contains(words, "without any password configured"), strings.Contains(words, "wrong number of arguments for 'auth'"):
		return fault.Auth
	}
	return fault.Internal
}
