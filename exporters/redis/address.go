package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// tlsFiles is what a connection with TLS needs beside the address. It is read anew at each connect.
type tlsFiles struct {
	CA         string `yaml:"ca_file" help:"Certificates of the authorities that the server's must be of; those of the system without it."`
	Cert       string `yaml:"cert_file" help:"Certificate that is shown to the server."`
	Key        string `yaml:"key_file" help:"Key of that certificate."`
	ServerName string `yaml:"server_name" help:"Name that the server's certificate must have; the host of the address without it."`
	SkipVerify bool   `yaml:"insecure_skip_verify" help:"Whether to leave the certificate unverified."`
}

// apply reads the files. Without a CA those of the system hold.
func (f tlsFiles) apply(to *tls.Config) error {
	to.InsecureSkipVerify = f.SkipVerify
	if f.ServerName != "" {
		to.ServerName = f.ServerName
	}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return fmt.Errorf("the file of the CA's certificate: %w", err)
		}
		to.RootCAs = x509.NewCertPool()
		if !to.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", f.CA)
		}
	}
	if (f.Cert == "") != (f.Key == "") {
		return errors.New("a client's certificate needs its key, and the other way round")
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return fmt.Errorf("the client's certificate and key cannot be read: %w", err)
		}
		to.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// settings reads the address, secrets and files. Errors never quote the address, since it may hold a password.
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
	parsed.timeout, parsed.clientName = s.timeout, s.clientName
	if parsed.tls != nil {
		err = s.TLS.apply(parsed.tls)
	}
	return parsed, err
}

// parseAddress reads redis://user:password@host:port/database and its like, or host:port alone.
func parseAddress(text string) (*settings, error) {
	if !strings.Contains(text, "://") {
		text = "redis://" + text
	}
	if strings.HasPrefix(text, "redis-sentinel://") || strings.HasPrefix(text, "rediss-sentinel://") {
		return sentinelAddress(text)
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
		if s.address == "" {
			return nil, errors.New("the address must be such as unix:///run/redis/redis.sock")
		}
		s.database, err = databaseNumber(u.Query().Get("db"))
		return s, err
	default:
		return nil, errors.New("the address must begin with redis://, rediss://, valkey://, valkeys://, unix://, redis-sentinel:// or rediss-sentinel://")
	}
	if s.address, err = hostPort(u, "6379"); err != nil {
		return nil, err
	}
	if s.database, err = databaseNumber(strings.Trim(u.Path, "/")); err == nil && u.Query().Has("db") {
		s.database, err = databaseNumber(u.Query().Get("db"))
	}
	return s, err
}

// hostPort gives the host of an address with its port, or with the usual one.
func hostPort(u *url.URL, usual string) (string, error) {
	host, port := cmp.Or(u.Hostname(), "localhost"), cmp.Or(u.Port(), usual)
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return "", errors.New("the port of the address must be a number up to 65535")
	}
	return net.JoinHostPort(host, port), nil
}

func databaseNumber(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, errors.New("the database of the address must be a number, such as /0")
	}
	return n, nil
}
