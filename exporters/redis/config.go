package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/config"
)

// backend reads flags, environment and the configuration file.
type backend struct {
	address, user, password string
	timeout                 time.Duration
	clientName              bool
	sampling                samplingFlags
}

// Flags adds the flags of this exporter.
func (b *backend) Flags(a *kingpin.Application) {
	a.Flag("redis.addr", "Server to scrape: redis://, rediss:// (TLS), valkey://, valkeys:// or unix://.").
		Default("redis://localhost:6379").Envar("REDIS_ADDR").StringVar(&b.address)
	a.Flag("redis.user", "User to log in as.").Envar("REDIS_USER").StringVar(&b.user)
	a.Flag("redis.password", "Password; the environment variable or a file keeps it out of the list of processes.").Envar("REDIS_PASSWORD").StringVar(&b.password)
	a.Flag("connection-timeout", "Longest time for connecting.").Default("15s").Envar("REDIS_EXPORTER_CONNECTION_TIMEOUT").DurationVar(&b.timeout)
	a.Flag("set-client-name", "Let the server show the connection as redis_exporter.").Default("true").Envar("REDIS_EXPORTER_SET_CLIENT_NAME").BoolVar(&b.clientName)
	b.sampling.flags(a)
}

// Catalogue lists the collectors.
func (b *backend) Catalogue() (collect.Catalogue, error) {
	return catalogue(options{emptyDatabases: true, redactConfig: true, beyond: beyondOptions{everything: true}})
}

// Load reads everything anew.
func (b *backend) Load(_ func(string) bool, _ time.Duration) (*app.Setup, error) {
	s := source{URI: config.SecretValue(b.address), User: b.user, Password: config.SecretValue(b.password), backend: b}
	parsed, err := s.settings()
	if err != nil {
		return nil, err
	}
	sampling, err := b.sampling.sampling()
	if err != nil {
		return nil, err
	}
	all, err := catalogue(options{emptyDatabases: true, redactConfig: true, beyond: beyondOptions{sampling: sampling}})
	return &app.Setup{Targets: []app.Target{{
		Spec: collect.Spec{
			Name: parsed.address, Service: "redis", Database: strconv.Itoa(parsed.database),
			Driver: &driver{settings: s.settings}, Collectors: all,
		},
		Key: fmt.Sprint(b.address, "\x00", b.user, "\x00", b.password),
	}}}, err
}

// Examine finds what a target lacks.
func (b *backend) Examine(context.Context, collect.Spec) ([]app.Finding, error) { return nil, nil }

// source is one server as it is configured.
type source struct {
	URI      config.Secret
	User     string
	Password config.Secret
	backend  *backend
}

// settings reads the address. Errors never quote it, since it may hold a password.
func (s source) settings() (*settings, error) {
	text, err := s.URI.Read()
	if err != nil {
		return nil, err
	}
	password, err := s.Password.Read()
	if err != nil {
		return nil, err
	}
	parsed, err := parseAddress(text)
	if err != nil {
		return nil, err
	}
	if s.User != "" {
		parsed.user = s.User
	}
	if password != "" {
		parsed.password = password
	}
	parsed.timeout = s.backend.timeout
	if s.backend.clientName {
		parsed.clientName = "redis_exporter"
	}
	return parsed, nil
}

// parseAddress reads redis://user:password@host:port/database and its like, or host:port alone.
func parseAddress(text string) (*settings, error) {
	if !strings.Contains(text, "://") {
		text = "redis://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the address cannot be read: it must be such as redis://host:6379/0, with special characters of a password written as %XX")
	}
	s := &settings{network: "tcp", user: u.User.Username()}
	s.password, _ = u.User.Password()
	switch u.Scheme {
	case "redis", "valkey":
	case "rediss", "valkeys":
		s.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	case "unix":
		s.network, s.address = "unix", u.Path
		return s, nil
	default:
		return nil, errors.New("the address must begin with redis://, rediss://, valkey://, valkeys:// or unix://")
	}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = "6379"
	}
	s.address = net.JoinHostPort(host, port)
	if path := strings.Trim(u.Path, "/"); path != "" {
		if s.database, err = strconv.Atoi(path); err != nil || s.database < 0 {
			return nil, errors.New("the path of the address must be the number of a database, such as /0")
		}
	}
	return s, nil
}

var _ app.Backend = (*backend)(nil)
