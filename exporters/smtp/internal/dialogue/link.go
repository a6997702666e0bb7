package dialogue

import (
	"net"
)

// maxHeld is how much is held back before it is sent although nothing is read yet.
const maxHeld = 64 << 10

// link is the connection below TLS. It holds back what is written until something is to be read, so that whatever may
// travel together does: commands, and the end of a TLS handshake with the command after it. It counts what passes.
type link struct {
	net.Conn
	held           []byte
	spoke          bool // something was sent since the last byte was read
	turnArounds    int64
	received, sent int64
}

// Write holds back.
func (l *link) Write(b []byte) (int, error) {
	if len(l.held)+len(b) > maxHeld {
		if err := l.flush(); err != nil {
			return 0, err
		}
	}
	l.held = append(l.held, b...)
	return len(b), nil
}

func (l *link) flush() error {
	if len(l.held) == 0 {
		return nil
	}
	n, err := l.Conn.Write(l.held)
	l.sent += int64(n)
	l.held, l.spoke = l.held[:0], true
	return err
}

// Read sends what was held back and waits. A server that has Nagle's algorithm on waits for our acknowledgement of one
// segment before it sends the next, as of the tickets after a handshake or of the first of several answers, and we would
// delay it for 40 ms: so it is sent at once.
func (l *link) Read(b []byte) (int, error) {
	if err := l.flush(); err != nil {
		return 0, err
	}
	if l.spoke {
		l.spoke = false
		l.turnArounds++
	}
	acknowledgeAtOnce(l.Conn)
	n, err := l.Conn.Read(b)
	l.received += int64(n)
	return n, err
}

// Close sends what was held back, as the last word of TLS, and does not wait for anything.
func (l *link) Close() error {
	_ = l.flush() // nobody waits for it
	return l.Conn.Close()
}
