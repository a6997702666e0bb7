package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// access is how to speak with a server, with the credentials that are for it alone. There is no way to leave a
// certificate unverified.
type access struct {
	Type        string                   `yaml:"type" help:"Kind of the server: qdrant, weaviate, chroma, milvus, pgvector or redis; without it the server is asked."`
	APIKey      config.Secret            `yaml:"api_key" help:"Key, sent in the way of the kind of server."`
	Bearer      config.Secret            `yaml:"bearer" help:"Token that is sent as Authorization: Bearer, for a proxy."`
	User        string                   `yaml:"user" help:"Account instead of a key."`
	Password    config.Secret            `yaml:"password" help:"Its password."`
	Headers     map[string]config.Secret `yaml:"headers" help:"Headers that are sent along, each with its value."`
	TLS         certificates             `yaml:"tls" help:"What TLS needs; a certificate is always verified."`
	Tenant      string                   `yaml:"tenant" help:"Tenant of Chroma; its default_tenant without it."`
	Database    string                   `yaml:"database" help:"Database of Chroma or Milvus; theirs of the name default without it."`
	Native      []string                 `yaml:"native" help:"Families of the server's own metrics to pass on, whole or by their beginning and *."`
	NativeURL   string                   `yaml:"native_url" help:"Where the server's own metrics are, if not in their usual place."`
	Collections *filter                  `yaml:"collections" help:"Which collections are told of; what the flags --collections.* say where it is left out."`
}

// certificates are files.
type certificates struct {
	CA         string `yaml:"ca_file" help:"Certificates of the authorities that the server's must be of; those of the system without it."`
	Cert       string `yaml:"cert_file" help:"Certificate that is shown to the server."`
	Key        string `yaml:"key_file" help:"Key of that certificate."`
	ServerName string `yaml:"server_name" help:"Name that the server's certificate must have; the host of the URL without it."`
}

// secrets lists them in an order that does not change: key, bearer, password, headers.
func (a access) secrets() []config.Secret {
	all := []config.Secret{a.APIKey, a.Bearer, a.Password}
	for _, name := range slices.Sorted(maps.Keys(a.Headers)) {
		all = append(all, a.Headers[name])
	}
	return all
}

func (a access) warnings() []string {
	var all []string
	for _, secret := range a.secrets() {
		if warning := secret.Warning(); warning != "" {
			all = append(all, warning)
		}
	}
	return all
}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// check reports what cannot work. Secrets and files are read: that one is missing is better found out now.
func (a access) check(at *url.URL) error {
	for name := range a.Headers {
		if !headerName.MatchString(name) || textproto.CanonicalMIMEHeaderKey(name) == "Host" {
			return fmt.Errorf("headers: %q is no name of a header that can be set", name)
		}
	}
	if (a.User == "") != a.Password.IsZero() {
		return errors.New("user and password go together")
	}
	if _, err := a.native(); err != nil {
		return err
	}
	_, err := a.endpoint(at)()
	return err
}

func (a access) native() (*url.URL, error) {
	if a.NativeURL == "" {
		return nil, nil
	}
	at, err := url.Parse(a.NativeURL)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Hostname() == "" || at.User != nil {
		return nil, errors.New("native_url must look like http://host:port/metrics")
	}
	return at, nil
}

// endpoint makes the function that reads secrets and certificates, at each connect.
func (a access) endpoint(at *url.URL) func() (backend.Endpoint, error) {
	return func() (backend.Endpoint, error) {
		to := backend.Endpoint{URL: at, User: a.User, Tenant: a.Tenant, Database: a.Database, Header: map[string]string{}}
		var err error
		if to.Native, err = a.native(); err != nil {
			return to, err
		}
		for i, into := range []*string{&to.Key, &to.Bearer, &to.Password} {
			if *into, err = read(a.secrets()[i]); err != nil {
				return to, err
			}
		}
		for name, secret := range a.Headers {
			if to.Header[textproto.CanonicalMIMEHeaderKey(name)], err = read(secret); err != nil {
				return to, err
			}
		}
		to.TLS, err = a.TLS.load()
		return to, err
	}
}

// read gives a secret that can be part of a request.
func read(secret config.Secret) (string, error) {
	text, err := secret.Read()
	if err == nil && strings.ContainsFunc(text, unicode.IsControl) {
		err = errors.New("a secret holds a line break or another control character")
	}
	return text, err
}

func (c certificates) load() (*tls.Config, error) {
	loaded := &tls.Config{ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("tls: ca_file: %w", err)
		}
		loaded.RootCAs = x509.NewCertPool()
		if !loaded.RootCAs.AppendCertsFromPEM(text) {
			return nil, errors.New("tls: ca_file holds no certificate")
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("tls: cert_file and key_file go together")
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, errors.New("tls: cert_file and key_file cannot be used together")
		}
		loaded.Certificates = []tls.Certificate{pair}
	}
	return loaded, nil
}
