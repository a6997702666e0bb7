package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// sentinels are how a primary is found that is known by its name alone.
type sentinels struct {
	name           string   // of the primary; "" where the server has an address of its own
	addresses      []string // each host:port
	user, password string   // for the sentinels themselves
}

// maxSentinels is how many sentinels are asked.
const maxSentinels = 20

// sentinelAddress reads redis-sentinel://user:password@host:port,host:port/database#name. User and password are for the
// primary; those for the sentinels are in the query, as sentinel_user and sentinel_password.
func sentinelAddress(text string) (*settings, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	authority, path := rest, ""
	if at := strings.IndexAny(rest, "/?#"); at >= 0 {
		authority, path = rest[:at], rest[at:]
	}
	at := strings.LastIndexByte(authority, '@') + 1
	hosts := strings.Split(authority[at:], ",") // which url.Parse does not take
	u, err := url.Parse("redis://" + authority[:at] + "sentinel" + path)
	switch {
	case err != nil:
		return nil, errors.New("the address cannot be read: it must be such as redis-sentinel://host:26379,host:26379/0#name, with special characters of a password written as %XX")
	case u.Fragment == "":
		return nil, errors.New("the address must end with the name of the primary: redis-sentinel://host:26379#name")
	case len(hosts) > maxSentinels:
		return nil, errors.New("the address names too many sentinels")
	}
	s := &settings{network: "tcp", user: u.User.Username()}
	s.password, _ = u.User.Password()
	s.found = sentinels{name: u.Fragment, user: u.Query().Get("sentinel_user"), password: u.Query().Get("sentinel_password")}
	if scheme == "rediss-sentinel" {
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	for _, host := range hosts {
		one, err := url.Parse("redis://" + host)
		if err != nil {
			return nil, errors.New("the sentinels of the address must be such as host:26379,host:26379")
		}
		address, err := hostPort(one, "26379")
		if err != nil {
			return nil, err
		}
		s.found.addresses = append(s.found.addresses, address)
	}
	s.address = strings.Join(s.found.addresses, ",")
	s.database, err = databaseNumber(cmp.Or(u.Query().Get("db"), strings.Trim(u.Path, "/")))
	return s, err
}

// primary asks one sentinel after another where the primary is. Each has its part of the time that is left, so that one
// that is silent does not keep the others from answering.
func (d *driver) primary(ctx context.Context, s *settings) (address string, err error) {
	until, bounded := ctx.Deadline()
	if !bounded {
		until = time.Now().Add(s.timeout)
	}
	for i, sentinel := range s.found.addresses {
		part := time.Until(until) / time.Duration(len(s.found.addresses)-i+1) // and as much for the primary itself
		own, cancel := context.WithTimeout(ctx, part)
		var problem error
		address, problem = d.askSentinel(own, s, sentinel)
		cancel()
		if problem == nil {
			return address, nil
		}
		err = cmp.Or(err, fault.Wrap(d.Classify(problem), "asking a sentinel", problem))
	}
	return "", err
}

// askSentinel asks one sentinel.
func (d *driver) askSentinel(ctx context.Context, s *settings, address string) (string, error) {
	to := settings{network: "tcp", address: address, user: s.found.user, password: s.found.password, timeout: s.timeout}
	if s.tls != nil {
		to.tls = s.tls.Clone()
	}
	c, err := d.reach(ctx, &to)
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := askOne(ctx, c, ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.found.name))
	if err != nil {
		return "", err
	}
	parts := r.Items()
	if len(parts) != 2 || parts[0].Text() == "" || parts[1].Text() == "" {
		return "", fault.New(fault.Config, "the sentinel knows no primary of that name")
	}
	return net.JoinHostPort(parts[0].Text(), parts[1].Text()), nil
}

// strayed tells that a server is no primary any more, though one is wanted. A connection is then made anew, to where the
// sentinels say.
func (c *conn) strayed() error {
	if c.wanted && c.id.Replica {
		return fault.New(fault.Unreachable, "the server is no primary any more")
	}
	return nil
}
