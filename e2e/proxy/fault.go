package proxy

import "sync"

type kind int

const (
	none kind = iota
	stalling
	stallingLater
	cutting
	garbling
	flooding
	refusing
)

// fault is what the proxy does wrong at present. Another one replaces it whole.
type fault struct {
	kind  kind
	flood []byte
	over  chan struct{} // closed when another fault, or none, takes its place

	mu   sync.Mutex
	left int64 // downstream bytes that pass before it happens
}

// Stall accepts connections and bytes and forwards nothing, in either direction, not
// even the end of a connection, until Resume; then what was held goes on.
func (p *Proxy) Stall() { p.set(&fault{kind: stalling}) }

// StallAfter lets n downstream bytes pass, over all connections and from now on, and
// holds the rest until Resume. Upstream bytes pass.
func (p *Proxy) StallAfter(n int64) { p.set(&fault{kind: stallingLater, left: n}) }

// CutAfter lets n downstream bytes pass, over all connections and from now on, and
// closes the connection that brings the next one; later ones at their first, until Resume.
func (p *Proxy) CutAfter(n int64) { p.set(&fault{kind: cutting, left: n}) }

// Garble inverts the bits of one downstream byte: the one that offset others pass
// before, over all connections and from now on.
func (p *Proxy) Garble(offset int64) { p.set(&fault{kind: garbling, left: offset}) }

// Flood sends the block to every client, over and over and as fast as it reads, until
// Resume. What the server says meanwhile waits; what the client says passes. An empty
// block means zeros.
func (p *Proxy) Flood(block []byte) {
	const least = 64 << 10 // small writes would make a trickle of it
	if len(block) == 0 {
		block = []byte{0}
	}
	var flood []byte
	for len(flood) < least {
		flood = append(flood, block...)
	}
	p.set(&fault{kind: flooding, flood: flood})
}

// Refuse closes each new connection at once, until Resume. Open ones go on.
func (p *Proxy) Refuse() { p.set(&fault{kind: refusing}) }

// Resume ends the fault.
func (p *Proxy) Resume() { p.set(&fault{}) }

func (p *Proxy) set(f *fault) {
	f.over = make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.fault.over)
	p.fault = f
}

func (p *Proxy) current() *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// pass takes downstream bytes that want to pass and returns how many may, and garbles
// the one that is due.
func (f *fault) pass(b []byte) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := int64(len(b))
	switch f.kind {
	case stalling, flooding:
		return 0
	case stallingLater, cutting:
		n = min(n, f.left)
	case garbling:
		if f.left >= 0 && f.left < n {
			b[f.left] ^= 0xff
		}
	}
	f.left -= n
	return int(n)
}
