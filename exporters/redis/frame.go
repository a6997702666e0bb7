package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Limits on one reply. They are far above what a server has to say to an exporter, and far below what hurts it.
const (
	maxLine     = 64 << 10 // bytes of a status, an error or a number
	maxBulk     = 48 << 20 // bytes of one string: the list of 100,000 clients
	maxElements = 1 << 20  // of all lists of a reply together
	maxDepth    = 16       // of lists within lists
)

// frame follows the framing of replies without keeping any of it, and refuses what exceeds the limits or is no reply at
// all. It knows where one reply ends and the next begins.
type frame struct {
	kind     byte // of the line that is being read; 0 between lines
	length   int  // bytes of the line so far
	number   int  // that the line holds
	digits   int
	null     bool // the number is -1
	ending   bool // the line's end has begun
	body     int  // bytes of a string that are to come, with its end
	open     [maxDepth]int
	depth    int
	elements int
}

// inside tells whether a reply has begun and not ended.
func (f *frame) inside() bool { return f.kind != 0 || f.body > 0 || f.depth > 0 }

// follow goes through what has arrived, up to the end of a reply: n bytes belong to the present one, which ended with
// them where it says so.
func (f *frame) follow(b []byte) (n int, ended bool, err error) {
	for n < len(b) && !ended && err == nil {
		if f.body > 0 {
			step := min(f.body, len(b)-n)
			err = f.skip(b[n : n+step])
			n += step
			ended = f.body == 0 && f.element()
			continue
		}
		var over bool
		over, err = f.sign(b[n])
		n++
		if over && err == nil {
			ended, err = f.line()
		}
	}
	return n, ended, err
}

// skip takes bytes of a string, with the two that end it.
func (f *frame) skip(b []byte) error {
	cr, lf := f.body-2, f.body-1
	if cr >= 0 && cr < len(b) && b[cr] != '\r' || lf < len(b) && b[lf] != '\n' {
		return fault.New(fault.Malformed, "a string is longer than it was said to be")
	}
	f.body -= len(b)
	return nil
}

// sign takes one byte of a line and tells whether it was the last.
func (f *frame) sign(c byte) (over bool, err error) {
	if f.kind == 0 {
		return false, f.begin(c)
	}
	f.length++
	switch {
	case f.ending && c == '\n':
		return true, nil
	case f.ending, c == '\n':
		return false, fault.New(fault.Malformed, "a line that does not end as it should")
	case c == '\r':
		f.ending = true
	case f.length > maxLine:
		return false, fault.New(fault.Limited, "a line without end")
	case counts(f.kind):
		return false, f.digit(c)
	}
	return false, nil
}

// begin takes the first byte of a line.
func (f *frame) begin(kind byte) error {
	*f = frame{kind: kind, open: f.open, depth: f.depth, elements: f.elements}
	switch kind {
	case '+', '-', ':', '_', ',', '#', '(', '$', '!', '=', '*', '%', '~':
		return nil
	case '>', '|':
		return fault.New(fault.Malformed, "the server says what nobody asked")
	}
	return fault.New(fault.Malformed, "this is not how Redis speaks")
}

// counts tells whether a line of that kind says how long something is.
func counts(kind byte) bool {
	switch kind {
	case '$', '!', '=', '*', '%', '~':
		return true
	}
	return false
}

// digit takes one sign of a length.
func (f *frame) digit(c byte) error {
	switch {
	case c == '-' && f.digits == 0 && !f.null:
		f.null = true
		return nil
	case c < '0' || c > '9' || f.null && (f.digits > 0 || c != '1'):
		return fault.New(fault.Malformed, "a length that is no number")
	}
	f.digits++
	if f.number = f.number*10 + int(c-'0'); f.number > maxBulk {
		return fault.New(fault.Limited, "a reply longer than any may be")
	}
	return nil
}

// line acts on a line that is complete, and tells whether the reply is.
func (f *frame) line() (ended bool, err error) {
	kind := f.kind
	f.kind = 0
	switch {
	case !counts(kind):
		return f.element(), nil
	case f.digits == 0:
		return false, fault.New(fault.Malformed, "a length that is no number")
	case f.null:
		return f.element(), nil
	case kind == '$' || kind == '!' || kind == '=':
		f.body = f.number + 2
		return false, nil
	case kind == '%':
		f.number *= 2
	}
	return f.list(f.number)
}

// list begins a list of so many elements.
func (f *frame) list(n int) (ended bool, err error) {
	switch f.elements += n; {
	case f.elements > maxElements, f.depth == maxDepth:
		return false, fault.New(fault.Limited, "a list longer or deeper than any may be")
	case n == 0:
		return f.element(), nil
	}
	f.open[f.depth] = n
	f.depth++
	return false, nil
}

// element is the end of a value, and of each list whose last it is. It tells whether that was all.
func (f *frame) element() (ended bool) {
	for f.depth > 0 {
		if f.open[f.depth-1]--; f.open[f.depth-1] > 0 {
			return false
		}
		f.depth--
	}
	f.elements = 0
	return true
}
