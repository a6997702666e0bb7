package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Decode reads one JSON value and nothing after it. It refuses a text that is too long, too deep or of too many
// elements while it arrives, before the decoder makes anything of it.
func Decode(ctx context.Context, from io.Reader, into any) error {
	guard := &guard{bounded: bounded{from: from, left: maxJSON}}
	decoder := json.NewDecoder(guard)
	err := decoder.Decode(into)
	if err == nil {
		if _, err = decoder.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = cmp.Or(guard.failed, fault.New(fault.Malformed, "more follows the answer"))
	}
	if guard.failed != nil {
		err = guard.failed
		return fault.Wrap(broken(ctx, err), "reading an answer", err)
	}
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fault.New(fault.Malformed, "the answer is cut off")
	}
	return fault.New(fault.Malformed, "the answer is no JSON of the form that was expected") // whose words could quote it
}

// bounded reads so many bytes and no more. It keeps the error by which reading ended, for readers that hide it.
type bounded struct {
	from   io.Reader
	left   int
	failed error
}

func (b *bounded) Read(into []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	n, err := b.from.Read(into)
	if b.left -= n; b.left < 0 {
		err = fault.New(fault.Limited, "the answer is too large")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed = err
		return 0, err
	}
	return n, err
}

// guard counts the depth and the elements of a JSON text that passes.
type guard struct {
	bounded
	depth, deepest, elements int
	inString, escaped        bool
}

func (g *guard) Read(into []byte) (int, error) {
	n, err := g.bounded.Read(into)
	for rest := into[:n]; len(rest) > 0; {
		if g.inString && !g.escaped { // most of a text is within strings, or is all one
			rest = rest[next(rest):]
		}
		if len(rest) > 0 {
			g.follow(rest[0])
			rest = rest[1:]
		}
	}
	if g.deepest > maxDepth || g.elements > maxElements {
		g.failed = fault.New(fault.Limited, "the answer is too deep or has too many elements")
		return 0, g.failed
	}
	return n, err
}

// next is where a string may end, or the text.
func next(text []byte) int {
	if at := bytes.IndexAny(text, "\"\\"); at >= 0 {
		return at
	}
	return len(text)
}

func (g *guard) follow(c byte) {
	switch {
	case g.escaped:
		g.escaped = false
	case g.inString:
		g.escaped, g.inString = c == '\\', c != '"'
	case c == '"':
		g.inString = true
	case c == '{' || c == '[':
		g.depth++
		g.deepest = max(g.deepest, g.depth)
		g.elements++
	case c == '}' || c == ']':
		g.depth--
	case c == ',':
		g.elements++
	}
}
