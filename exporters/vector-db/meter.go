package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// meter counts what all connections of a target cost together, and stops a peer that floods. Where several connections
// ask at the same time, their turn-arounds pass at the same time too: of each wave the busiest one's count.
type meter struct {
	dialer net.Dialer

	mu             sync.Mutex
	received, sent int64
	allowed        int64 // received bytes beyond which reading fails
	wave           int   // of questions; none of it was asked before all of the one before was answered
	before         int64 // turn-arounds before this wave
	deepest        int64 // and with those of its busiest connection
}

// dial opens a connection that is counted.
func (m *meter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := m.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &line{Conn: raw, meter: m}, nil
}

// maxWave bounds the bytes that a server may send in answer to one wave of questions.
const maxWave = 64 << 20

// begin starts a wave.
func (m *meter) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wave++
	m.before, m.allowed = m.deepest, m.received+maxWave
}

func (m *meter) usage() collect.Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return collect.Usage{TurnArounds: m.deepest, Received: m.received, Sent: m.sent}
}

// line is one connection. What it keeps is under the meter's lock.
type line struct {
	net.Conn
	meter *meter
	wave  int
	depth int64
	spoke bool // we did last
}

// SyscallConn gives the connection below, for who wants to know whether something has come over it.
func (l *line) SyscallConn() (syscall.RawConn, error) {
	below, ok := l.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return below.SyscallConn()
}

func (l *line) Read(into []byte) (int, error) {
	n, err := l.Conn.Read(into)
	m := l.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > 0 {
		l.spoke = false
	}
	if m.received += int64(n); m.received > m.allowed {
		return 0, fault.New(fault.Limited, "the server sends more than a scrape may take")
	}
	return n, err
}

func (l *line) Write(from []byte) (int, error) {
	m := l.meter
	m.mu.Lock()
	if l.wave != m.wave {
		l.wave, l.depth, l.spoke = m.wave, m.before, false
	}
	if !l.spoke {
		l.spoke = true
		l.depth++
		m.deepest = max(m.deepest, l.depth)
	}
	m.mu.Unlock()
	n, err := l.Conn.Write(from)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent += int64(n)
	return n, err
}
