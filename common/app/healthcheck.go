package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
)

// healthCheck is what the command healthcheck asks, and what it shows to be let in.
type healthCheck struct {
	url, user, passwordFile string
	cert, key               string // files
}

func (h *healthCheck) flags(command *kingpin.CmdClause) {
	command.Flag("url", "URL of the health check.").Default("http://localhost" + DefaultAddress + "/health").StringVar(&h.url)
	command.Flag("http", "The same as --url.").Hidden().StringVar(&h.url)
	command.Flag("user", "User to log in as, where the exporter's web configuration has basic_auth_users.").StringVar(&h.user)
	command.Flag("password-file", "File with the user's password.").StringVar(&h.passwordFile)
	command.Flag("cert-file", "Certificate to show, where the exporter wants one of its clients.").StringVar(&h.cert)
	command.Flag("key-file", "Key of that certificate.").StringVar(&h.key)
}

// request makes the question, and what is to be known of TLS for it. What flags and environment say of the exporter's own
// pages counts where this machine is asked: then it is this exporter's check, which works as its pages do.
func (h *healthCheck) request(ctx context.Context, own Guard) (*http.Request, *tls.Config, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url, nil)
	if err != nil {
		return nil, nil, err
	}
	secured := &tls.Config{MinVersion: tls.VersionTLS12}
	if isLoopback(request.URL.Hostname()) {
		if own.Cert != "" {
			request.URL.Scheme = "https"
			own.trustOnly(secured)
		}
		if own.Password != "" {
			request.SetBasicAuth(own.User, own.Password)
		}
	}
	if h.cert != "" || h.key != "" {
		pair, err := tls.LoadX509KeyPair(h.cert, h.key)
		if err != nil {
			return nil, nil, fmt.Errorf("--cert-file and --key-file: %w", err)
		}
		secured.Certificates = []tls.Certificate{pair}
	}
	if h.user == "" {
		return request, secured, nil
	}
	if h.passwordFile == "" {
		return nil, nil, errors.New("--user needs --password-file")
	}
	password, err := config.SecretFile(h.passwordFile).Read()
	request.SetBasicAuth(h.user, password)
	return request, secured, err
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// trustOnly takes the guard's certificate for right and no other, whatever the names in it: the exporter is asked by another
// name here than its clients use.
func (g Guard) trustOnly(to *tls.Config) {
	to.InsecureSkipVerify = true // for what stands below in its place
	to.VerifyConnection = func(state tls.ConnectionState) error {
		pair, err := tls.LoadX509KeyPair(g.Cert, g.Key)
		if err == nil && !bytes.Equal(pair.Certificate[0], state.PeerCertificates[0].Raw) {
			err = errors.New("the exporter does not show the certificate of " + g.Cert)
		}
		return err
	}
}

// healthcheck asks a running exporter how it is, and prints what it says.
func (p *program) healthcheck() int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	own, err := p.guard()
	if err != nil {
		return p.fail(2, err)
	}
	request, secured, err := p.health.request(ctx, own)
	if err != nil {
		return p.fail(2, err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: secured}}
	answer, err := client.Do(request)
	if err != nil {
		return p.fail(1, err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	p.print("%s\n", strings.TrimSpace(string(body)))
	switch answer.StatusCode {
	case http.StatusOK:
		return 0
	case http.StatusUnauthorized:
		return p.fail(1, errors.New("the exporter wants a password: give --user and --password-file"))
	}
	return 1
}
