package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strconv"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// line is what is said over a connection: commands one way, replies the other, each read within limits.
type line struct {
	conn  io.ReadWriter
	in    *bufio.Reader // nil between batches
	frame frame
	noise bool // something came that nobody had asked for
}

// Sizes of what is read.
const (
	readBuffer = 8 << 10
	firstChunk = 1 << 20 // room that a long text gets before any of it has arrived
)

// readers are used by one connection after another, as most have nothing to say most of the time.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}

// listen prepares for replies. Words that came unasked make it fail, as nobody could tell them from answers.
func (l *line) listen() error {
	if l.noise || l.frame.inside() {
		return fault.New(fault.Malformed, "the server says what nobody asked")
	}
	l.in = readers.Get().(*bufio.Reader)
	l.in.Reset(l.conn)
	return nil
}

// rest ends what listen began.
func (l *line) rest() {
	l.noise = l.noise || l.in.Buffered() > 0
	l.in.Reset(nil)
	readers.Put(l.in)
	l.in = nil
}

// appendCommand appends a command as it goes over the wire.
func appendCommand(to []byte, args ...string) []byte {
	to = append(strconv.AppendInt(append(to, '*'), int64(len(args)), 10), "\r\n"...)
	for _, arg := range args {
		to = append(strconv.AppendInt(append(to, '$'), int64(len(arg)), 10), "\r\n"...)
		to = append(append(to, arg...), "\r\n"...)
	}
	return to
}

// reply reads a whole reply.
func (l *line) reply() (value, error) {
	raw, ended, err := l.begin()
	if err != nil {
		return value{}, err
	}
	return l.finish(raw, ended)
}

// begin reads the first line of a reply, which may be all of it.
func (l *line) begin() (raw []byte, ended bool, err error) {
	first, err := l.in.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, false, err
	}
	_, ended, err = l.frame.follow(first)
	return slices.Clone(first), ended, err
}

// long tells whether the reply that has begun is one text, most of which is to come.
func (l *line) long() bool { return l.frame.depth == 0 && l.frame.body > readBuffer }

// finish reads what is left of a reply.
func (l *line) finish(raw []byte, ended bool) (value, error) {
	for !ended {
		if _, err := l.in.Peek(1); err != nil {
			return value{}, err
		}
		var n int
		var err error
		arrived, _ := l.in.Peek(l.in.Buffered())
		if n, ended, err = l.frame.follow(arrived); err != nil {
			return value{}, err
		}
		raw = append(raw, arrived[:n]...)
		_, _ = l.in.Discard(n)
		if ahead := l.frame.body; ahead > 0 { // which is believed once some of it is there
			if len(raw) < firstChunk {
				ahead = min(ahead, firstChunk)
			}
			raw = slices.Grow(raw, ahead)
		}
	}
	return parseReply(raw)
}

// longText is a reply of one text that is read as it arrives, so that the whole is never held.
type longText struct {
	ctx   context.Context // that of the batch
	line  *line
	part  []byte // of a line that does not fit into the buffer
	ended bool
	err   error
}

// read begins to read a text whose first line is there.
func (l *line) read(ctx context.Context, first []byte) *longText {
	t := &longText{ctx: ctx, line: l}
	if first[0] == '=' { // "txt:" goes before it
		t.take(make([]byte, 4))
	}
	return t
}

func (t *longText) take(into []byte) {
	if _, err := io.ReadFull(t.line.in, into); err != nil {
		t.fail(err)
		return
	}
	t.follow(into)
}

func (t *longText) follow(b []byte) {
	_, ended, err := t.line.frame.follow(b)
	t.ended = ended
	if err != nil {
		t.fail(err)
	}
}

// fail takes note of why the text ends. Where the time is up, that is why.
func (t *longText) fail(err error) {
	if t.err = t.ctx.Err(); t.err == nil {
		t.err = err
	}
}

// lines gives one line after another, each good until the next. Afterwards err tells whether that was all.
func (t *longText) lines() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			if line := t.next(); len(line) == 0 || !yield(line) {
				return
			}
		}
	}
}

// next reads a line with its end; nothing where the text has ended.
func (t *longText) next() []byte {
	t.part = t.part[:0]
	for !t.ended && t.err == nil {
		left := t.line.frame.body - len("\r\n")
		arrived, err := t.line.in.ReadSlice('\n')
		whole := err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			t.fail(err)
			break
		}
		t.follow(arrived)
		arrived = arrived[:max(0, min(left, len(arrived)))]
		switch {
		case t.err != nil:
		case whole && len(t.part) == 0:
			return arrived
		case len(t.part)+len(arrived) > maxLine:
			t.fail(fault.New(fault.Limited, "a line without end"))
		default:
			if t.part = append(t.part, arrived...); whole {
				return t.part
			}
		}
	}
	return nil
}
