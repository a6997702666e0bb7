package main

import (
	"encoding/binary"
	"io"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// maxParameters bounds the parameters that a server reports of itself, in bytes over the life of a connection: the
// library keeps them all.
const maxParameters = 1 << 20

// wire reads what a server says and minds two things that the library lets pass. Within an answer it skips whatever is
// no row, so that with the end of an answer lost, the rows of the next one would be taken for rows of this; and it keeps
// every parameter that a server reports, without end.
type wire struct {
	from       io.Reader
	simple     bool    // in simple talk no question is bound before its answer
	header     [5]byte // of a message: its type and length
	filled     int     // bytes of the header that have come
	body       int     // bytes of the message that are to come
	place      place
	parameters int // bytes
}

// place is where in the talk of a server the last message has left us.
type place uint8

const (
	outside   place = iota
	bound           // an answer begins
	answering       // its columns are known
)

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.from.Read(b)
	if refused := w.follow(b[:n]); refused != nil {
		return 0, refused
	}
	return n, err
}

// follow goes from message to message.
func (w *wire) follow(b []byte) error {
	for len(b) > 0 {
		if w.body > 0 {
			n := min(w.body, len(b))
			b, w.body = b[n:], w.body-n
			continue
		}
		n := copy(w.header[w.filled:], b)
		b, w.filled = b[n:], w.filled+n
		if w.filled == len(w.header) {
			w.filled = 0
			w.body = int(int32(binary.BigEndian.Uint32(w.header[1:]))) - 4 // the library refuses what is negative
			if err := w.begin(w.header[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin takes note of a message by its type. An answer begins where its question was bound; it holds one description
// and rows, and ends with completion or an error. What a server says of itself may come at any time.
func (w *wire) begin(kind byte) error {
	switch before := w.place; kind {
	case 'S': // a parameter
		if w.parameters += w.body; w.parameters > maxParameters {
			return fault.New(fault.Limited, "the server reports parameters without end")
		}
	case 'N', 'A': // a notice, a notification
	case 'C', 'I', 'E': // complete, empty, an error
		w.place = outside
	case 'D': // a row
		if w.place = answering; before == outside {
			return fault.New(fault.Malformed, "a row outside of an answer")
		}
	case 'T', 'n': // columns, none: of a prepared statement too
		if before == answering {
			return fault.New(fault.Malformed, "an answer that changes its columns")
		}
		if before == bound || w.simple {
			w.place = answering
		}
	default:
		if w.place = outside; kind == '2' { // bound
			w.place = bound
		}
		if before != outside {
			return fault.New(fault.Malformed, "an answer that does not end")
		}
	}
	return nil
}
