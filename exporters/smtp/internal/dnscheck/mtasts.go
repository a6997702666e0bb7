package dnscheck

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Limits on the server of a policy.
const (
	maxPolicy     = 64 << 10
	policyTimeout = 10 * time.Second
	maxPolicyAge  = 31557600 // seconds, by RFC 8461
)

// Policy is what a domain wants of TLS on the way to it, by MTA-STS.
type Policy struct {
	Mode   string // enforce, testing or none
	MaxAge time.Duration
	hosts  []string // patterns
}

// Fetcher fetches policies.
type Fetcher struct {
	Resolver *Resolver
	// Allow refuses an address that must not be reached; nil allows all.
	Allow func(netip.Addr) error
	// Roots are whose certificates are good; nil stands for those of the system.
	Roots *x509.CertPool
	// Port is that of the server, "443" where it is empty.
	Port string
}

// Fetch gives the policy of a domain whose records say that there is one. NotFound says that there is none.
func (f *Fetcher) Fetch(ctx context.Context, domain string) (Policy, error) {
	texts, err := f.Resolver.texts(ctx, "_mta-sts."+domain)
	if err != nil {
		return Policy{}, err
	}
	text, err := the(texts, "v=STSv1", "; ")
	if err != nil {
		return Policy{}, err
	}
	if id := fields(text)["id"]; !isID(id) {
		return Policy{}, failf(BadRecord, "the record has no proper id")
	}
	ctx, cancel := context.WithTimeout(ctx, policyTimeout)
	defer cancel()
	body, err := f.get(ctx, "mta-sts."+domain)
	if err != nil {
		return Policy{}, err
	}
	return parsePolicy(body)
}

// isID tells whether a text is 1 to 32 letters and digits.
func isID(id string) bool {
	return len(id) >= 1 && len(id) <= 32 && strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// get fetches the policy's text. No redirection is followed, as the standard has it.
func (f *Fetcher) get(ctx context.Context, host string) (string, error) {
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return f.dial(ctx, host) },
		TLSClientConfig:   &tls.Config{RootCAs: f.Roots, ServerName: host, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, MaxResponseHeaderBytes: maxPolicy,
	}
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		return "", failf(BadName, "%w", err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", unfetched(ctx, err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was read
	kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if answer.StatusCode != http.StatusOK || kind != "text/plain" {
		return "", failf(NoPolicy, "the server of the policy answers %d with %q", answer.StatusCode, kind)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxPolicy+1))
	switch {
	case err != nil || ctx.Err() != nil: // a server that is left may end its answer as if it were whole
		return "", unfetched(ctx, errors.Join(err, ctx.Err()))
	case len(body) > maxPolicy:
		return "", failf(TooLarge, "the policy is larger than %d bytes", maxPolicy)
	}
	return string(body), nil
}

// dial connects to an address of the host that may be reached.
func (f *Fetcher) dial(ctx context.Context, host string) (conn net.Conn, err error) {
	err = failf(NoPolicy, "%s has no address", host)
	for _, family := range []int{4, 6} {
		addresses, problem := f.Resolver.Addresses(ctx, host, family)
		if problem != nil {
			err = problem
		}
		for _, address := range addresses[:min(len(addresses), maxAddresses)] {
			if f.Allow != nil {
				if problem := f.Allow(address); problem != nil {
					err = failf(NotAllowed, "%w", problem)
					continue
				}
			}
			port := f.Port
			if port == "" {
				port = "443"
			}
			conn, err = new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(address.String(), port))
			if err == nil || ctx.Err() != nil {
				return conn, err
			}
		}
	}
	return nil, err
}

// unfetched gives the reason for which there is no policy.
func unfetched(ctx context.Context, err error) error {
	var problem *Error
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var network net.Error
	switch {
	case errors.As(err, &problem):
		return problem
	case ctx.Err() != nil, errors.As(err, &network) && network.Timeout() && !errors.As(err, &certificate):
		return failf(Timeout, "the server of the policy does not answer: %w", err)
	case errors.As(err, &certificate), errors.As(err, &alert), errors.As(err, &record):
		return failf(BadTLS, "the server of the policy: %w", err)
	}
	return failf(NoPolicy, "the server of the policy: %w", err)
}

// parsePolicy reads a policy by RFC 8461, whose lines may end with LF or CRLF.
func parsePolicy(text string) (Policy, error) {
	var p Policy
	seen := map[string]bool{}
	scanner := bufio.NewScanner(strings.NewReader(text))
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		if line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok:
			return Policy{}, failf(BadPolicy, "the policy has a line without a colon")
		case key == "mx":
			p.hosts = append(p.hosts, strings.ToLower(strings.TrimSuffix(value, ".")))
			continue
		case seen[key]: // the first one counts
			continue
		}
		seen[key] = true
		switch key {
		case "version":
			ok = value == "STSv1"
		case "mode":
			p.Mode, ok = value, value == "enforce" || value == "testing" || value == "none"
		case "max_age":
			seconds, err := strconv.ParseUint(value, 10, 64)
			p.MaxAge, ok = time.Duration(min(seconds, maxPolicyAge))*time.Second, err == nil && seconds <= maxPolicyAge
		}
		if !ok {
			return Policy{}, failf(BadPolicy, "the policy has a wrong %s", key)
		}
	}
	if scanner.Err() != nil || !seen["version"] || !seen["mode"] || !seen["max_age"] || p.Mode != "none" && len(p.hosts) == 0 {
		return Policy{}, failf(BadPolicy, "the policy lacks a version, a mode, an age or a host")
	}
	return p, nil
}

// Matches tells whether mail may go to a host by the policy. A star stands for one label at the begin.
func (p Policy) Matches(host string) bool {
	host = plain(host)
	_, above, _ := strings.Cut(host, ".")
	for _, pattern := range p.hosts {
		if domain, wild := strings.CutPrefix(pattern, "*."); pattern == host || wild && domain == above && above != "" {
			return true
		}
	}
	return p.Mode == "none"
}
