package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// allowed says what /probe may reach: names as patterns, and networks in which the address must be to which a name
// leads. Networks alone allow every name that leads into them.
type allowed struct {
	Targets  []string `yaml:"targets" help:"Names that may be reached, as host or host:port with * and ?."`
	Networks []string `yaml:"networks" help:"Networks in which the address must be to which a name leads; alone they allow every such name."`

	prefixes []netip.Prefix
}

func (a *allowed) empty() bool { return len(a.Targets) == 0 && len(a.Networks) == 0 }

func (a *allowed) check() error {
	if err := app.CheckPatterns(a.Targets); err != nil {
		return fmt.Errorf("targets: %w", err)
	}
	a.prefixes = nil
	for _, text := range a.Networks {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("networks: %q is no network such as 192.0.2.0/24", text)
		}
		a.prefixes = append(a.prefixes, prefix.Masked())
	}
	return nil
}

// allowsName tells whether a target may be asked for by its name.
func (a *allowed) allowsName(p place) bool {
	return len(a.Targets) == 0 && len(a.prefixes) > 0 || app.Allowed(a.Targets, p.host, p.port)
}

// allowsAddress refuses an address that a name must not lead to. Nil allows every address.
func (a *allowed) allowsAddress(address netip.Addr) error {
	if a == nil {
		return nil
	}
	address = address.Unmap().WithZone("")
	if len(a.prefixes) > 0 && !slices.ContainsFunc(a.prefixes, func(p netip.Prefix) bool { return p.Contains(address) }) {
		return fault.New(fault.Denied, "the address is not in an allowed network")
	}
	return app.GuardAddress("tcp", netip.AddrPortFrom(address, 1).String(), nil)
}

var plainHost = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$`)

// isHost tells whether a text is a name of a host or an address.
func isHost(text string) bool { return net.ParseIP(text) != nil || plainHost.MatchString(text) }

// isPort tells whether a text is a port.
func isPort(text string) bool {
	number, err := strconv.ParseUint(text, 10, 16)
	return err == nil && number > 0
}

// resolver asks a DNS server, or those of the system where none is given.
func resolver(server string) (*net.Resolver, error) {
	if server == "" {
		return net.DefaultResolver, nil
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		return nil, errors.New("resolver must be host:port")
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}, nil
}

var errNoAddress = errors.New("the name has no address of the wanted family")
