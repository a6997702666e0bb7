package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
)

// planFor gives the dialogue with one server, whose name is what its certificate must hold.
func (m *module) planFor(name string, now time.Time) (dialogue.Plan, error) {
	p := m.plan()
	p.ServerName = cmp.Or(p.ServerName, name)
	p.Dial = m.dial
	if m.Auth != nil {
		password, err := m.Auth.Password.Read()
		if err != nil {
			return p, fmt.Errorf("%w: %w", errUnready, err)
		}
		p.Auth = &dialogue.Credentials{Username: m.Auth.Username, Password: password, Mechanisms: m.Auth.Mechanisms, Exposed: m.Auth.Exposed}
	}
	if m.Message != nil {
		p.Message.Content = m.Message.compose(m.Hello, now)
	}
	return p, nil
}

// dial connects from the address that the module names.
func (m *module) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAlive: -1}
	if m.SourceIP.IsValid() && network == "tcp" {
		dialer.LocalAddr = &net.TCPAddr{IP: m.SourceIP.AsSlice()}
	}
	return dialer.DialContext(ctx, network, address)
}

// compose writes a message that no program answers.
func (m *message) compose(hello string, now time.Time) []byte {
	id := rand.Text()
	var b strings.Builder
	fmt.Fprintf(&b, "From: <%s>\r\nTo: <%s>\r\nSubject: probe %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\n",
		cmp.Or(m.From, "probe@"+hello), m.To, id, now.Format(time.RFC1123Z), id, hello)
	b.WriteString("Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\nPrecedence: bulk\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n" +
		"This message was sent by a monitoring probe. It can be thrown away.\r\n")
	const line = "................................................................\r\n"
	for b.Len() < m.Size {
		b.WriteString(line[max(0, len(line)-(m.Size-b.Len())):])
	}
	return []byte(b.String())
}
