package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"syscall"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// ErrNotAllowed is what a Setup's Probe returns for a target that the configuration does not allow.
var ErrNotAllowed = errors.New("the target is not in the list of allowed targets")

// Allowed tells whether host:port matches one of the patterns: host or host:port, with * and ? as in a file name. A
// pattern without a port allows every port of the host.
func Allowed(patterns []string, host, port string) bool {
	for _, pattern := range patterns {
		hosts, ports, err := net.SplitHostPort(pattern)
		if err != nil {
			hosts, ports = pattern, "*"
		}
		if matches(hosts, host) && matches(ports, port) {
			return true
		}
	}
	return false
}

func matches(pattern, subject string) bool {
	ok, err := path.Match(pattern, subject)
	return err == nil && ok
}

// CheckPatterns reports a pattern that can never match.
func CheckPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf("%q is no pattern for a target", pattern)
		}
	}
	return nil
}

// GuardAddress is a net.Dialer's Control for targets that a caller chose: it refuses the addresses at which clouds
// keep their credentials, after the name was resolved, so that no DNS answer leads there.
func GuardAddress(_, address string, _ syscall.RawConn) error {
	to, _ := netip.ParseAddrPort(address) // what does not parse is a unix socket
	if !to.IsValid() {
		return nil
	}
	ip := to.Addr().Unmap()
	if ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip == netip.MustParseAddr("fd00:ec2::254") {
		return fault.New(fault.Denied, "a probe may not reach "+ip.String())
	}
	return nil
}

// probe scrapes the target that the query names.
func (s *server) probe(w http.ResponseWriter, r *http.Request) {
	setup := s.setup.Load()
	if setup.Probe == nil {
		s.refused.Inc()
		http.Error(w, "/probe is closed: the configuration allows no targets", http.StatusForbidden)
		return
	}
	wanted, err := setup.Probe(r.URL.Query())
	if err != nil {
		s.refuse(w, err)
		return
	}
	ctx, cancel := budget(r, *s.timeout)
	defer cancel()
	if narrator, ok := s.Backend.(Narrator); ok && r.URL.Query().Get("debug") == "true" {
		s.narrate(ctx, w, r, narrator)
		return
	}
	target, err := s.targets.probe(wanted)
	if err != nil {
		s.refuse(w, err)
		return
	}
	page := &metric.Page{}
	target.Scrape(ctx).AddTo(page)
	s.renderer.write(w, r, page)
}

// refuse answers a query that names no target, or one that is not allowed.
func (s *server) refuse(w http.ResponseWriter, err error) {
	s.refused.Inc()
	code := http.StatusBadRequest
	if errors.Is(err, ErrNotAllowed) {
		code = http.StatusForbidden
	}
	http.Error(w, err.Error(), code)
}

// narrate looks at the target that the query names and tells a person what happened.
func (s *server) narrate(ctx context.Context, w http.ResponseWriter, r *http.Request, narrator Narrator) {
	var text bytes.Buffer
	if _, err := narrator.Narrate(ctx, r.URL.Query(), false, &text); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(text.Bytes()) // the client is gone if this fails
}
