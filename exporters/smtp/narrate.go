package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
)

// Narrate looks at one target and writes what was said, with times, and what came of it.
func (b *backend) Narrate(ctx context.Context, query url.Values, trusted bool, to io.Writer) (good bool, err error) {
	l, err := b.read()
	if err != nil {
		return false, err
	}
	name := query.Get("module")
	if trusted {
		name = cmp.Or(name, *b.module)
	}
	m, err := l.known(name)
	if err != nil {
		return false, err
	}
	p, err := parsePlace(query.Get("target"), m, trusted)
	if err != nil {
		return false, err
	}
	d := l.driver(m, p)
	d.transcript = true
	if !trusted {
		d.guard = l.allowance(m)
		if !d.guard.allowsName(p) {
			return false, app.ErrNotAllowed
		}
	}
	f := d.look(ctx, func(string, *dialogue.Failure) {})
	for _, h := range f.hosts {
		if err := narrateHost(h, p, m, to); err != nil {
			return false, err
		}
	}
	return f.ok(), nil
}

func narrateHost(h host, p place, m *module, to io.Writer) error {
	r := h.report
	var b strings.Builder
	fmt.Fprintf(&b, "%s, module %s", cmp.Or(h.mx, p.String()), m.name)
	if r.RemoteAddress != "" {
		fmt.Fprintf(&b, ", from %s to %s", r.LocalAddress, r.RemoteAddress)
	}
	b.WriteString("\n\n")
	if err := r.WriteTranscript(&b); err != nil {
		return err
	}
	b.WriteString("\n  phase          time  result\n")
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "  %-9s %9s  %s\n", s.Phase, inMilliseconds(s.Took), result(s))
	}
	verdict := "all went well"
	if r.Failure != nil {
		verdict = "failed: " + r.Failure.String()
	}
	fmt.Fprintf(&b, "\n%s\n%s, %d turn-arounds, %d bytes received, %d sent\n", verdict, inMilliseconds(r.Took), r.TurnArounds, r.BytesReceived, r.BytesSent)
	if r.Farewell != nil {
		fmt.Fprintf(&b, "and then %s\n", r.Farewell)
	}
	_, err := io.WriteString(to, b.String())
	return err
}

func inMilliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func result(s dialogue.Step) string {
	text := "failed"
	if s.OK {
		text = "ok"
	}
	if s.Code > 0 {
		text += fmt.Sprintf(", %d", s.Code)
	}
	if e := s.Enhanced; e.Class > 0 {
		text += fmt.Sprintf(" %d.%d.%d", e.Class, e.Subject, e.Detail)
	}
	return text
}

var _ app.Narrator = (*backend)(nil)
