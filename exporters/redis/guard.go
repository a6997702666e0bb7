package main

import (
	"io"
	"net"
	"slices"
)

// guard reads what a server says before the library does. The library takes a server's word for how much is to come and
// makes room for it at once; here a word that is too big ends the connection.
type guard struct {
	net.Conn
	frame   frame
	replies int // that have ended
	err     error
}

func (g *guard) Read(b []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		step, ended, refused := g.frame.follow(rest)
		if refused != nil {
			g.err = refused
			return 0, refused
		}
		if ended {
			g.replies++
		}
		rest = rest[step:]
	}
	return n, err
}

// sink takes the bytes of replies from the library and hands each over when it is complete.
type sink struct {
	frame frame
	raw   []byte
	take  func(raw []byte) error
	err   error // why nothing is taken any more; the library may not tell of it
}

// firstChunk is how much room a long string gets before any of it has arrived.
const firstChunk = 1 << 20

func (s *sink) Write(b []byte) (int, error) {
	s.raw = append(s.raw, b...)
	return len(b), s.follow(b)
}

// ReadFrom takes a string of announced length, for which there is room at once where it is short.
func (s *sink) ReadFrom(r io.Reader) (read int64, err error) {
	for s.frame.body > 0 && err == nil {
		chunk := s.frame.body
		if read == 0 {
			chunk = min(chunk, firstChunk)
		}
		s.raw = slices.Grow(s.raw, chunk)
		into := s.raw[len(s.raw) : len(s.raw)+chunk]
		var n int
		n, err = io.ReadFull(r, into)
		read += int64(n)
		s.raw = s.raw[:len(s.raw)+n]
		if err == nil {
			err = s.follow(into)
		}
	}
	return read, err
}

// follow looks at what has just been put into raw.
func (s *sink) follow(b []byte) error {
	if s.err != nil {
		return s.err
	}
	_, ended, err := s.frame.follow(b)
	if ended && err == nil {
		raw := s.raw
		s.raw = nil
		err = s.take(raw)
	}
	s.err = err
	return err
}
