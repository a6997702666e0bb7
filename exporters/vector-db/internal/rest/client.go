// Package rest asks servers that speak HTTP and JSON, over few kept connections, and bounds everything that comes back.
//
// No redirect is followed, so that credentials go nowhere but to the server that they are for. An error carries a
// fault.Kind; of a server's own words it shows none.
package rest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// Limits on what a server may send, and on the connections to it.
const (
	Connections = 16        // at once, unless the endpoint says otherwise: what a thousand collections need to be asked within a second or two
	maxJSON     = 32 << 20  // bytes of an answer
	maxText     = 16 << 20  // bytes of a page of metrics
	maxWords    = 4 << 10   // bytes of the body of a refusal, for the driver to tell what it means
	maxHeader   = 64 << 10  // bytes
	maxDepth    = 64        // of nested JSON
	maxElements = 4_000_000 // of JSON: the vectors of a page of points are the most
)

// Client asks one server. It is safe for concurrent use.
type Client struct {
	base     string // scheme, host and path without a slash at its end
	lines    *lines
	header   http.Header
	patience time.Duration
	most     int          // connections, and so requests at once
	pause    atomic.Int64 // Unix nanoseconds before which no wave begins, as the server asked
}

// New returns a client for an endpoint. Header holds what goes with each request beside what the endpoint says, such
// as a key in the way of the kind of server; what the user configured as header counts more.
func New(to backend.Endpoint, header http.Header) *Client {
	all := http.Header{"Accept": {"application/json"}, "User-Agent": {"vector-db-exporter"}}
	for name, values := range header {
		all[name] = values
	}
	if to.User != "" && all.Get("Authorization") == "" {
		all.Set("Authorization", basic(to.User, to.Password))
	}
	if to.Bearer != "" {
		all.Set("Authorization", "Bearer "+to.Bearer)
	}
	for name, value := range to.Header {
		all.Set(name, value)
	}
	most := cmp.Or(to.Connections, Connections)
	return &Client{
		most: most,
		base: strings.TrimSuffix(to.URL.String(), "/"), header: all, patience: to.Patience,
		lines: &lines{dial: to.Dial, tls: to.TLS, places: make(chan struct{}, most)},
	}
}

func basic(user, password string) string {
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth(user, password)
	return request.Header.Get("Authorization")
}

// Close ends the connections that are idle; those in use end with their requests' contexts.
func (c *Client) Close() { c.lines.close() }

// StatusError is an answer with a status that is no success.
type StatusError struct {
	Code       int
	Words      string // the beginning of the body: for telling what is meant, never for showing
	RetryAfter time.Duration
}

// Error names the status alone.
func (e *StatusError) Error() string {
	return strings.TrimSpace("HTTP status " + strconv.Itoa(e.Code) + " " + http.StatusText(e.Code))
}

// Status gives the status of an answer that was no success, or 0 where there was no answer.
func Status(err error) int {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Code
	}
	return 0
}

// Words gives the beginning of the body of such an answer.
func Words(err error) string {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Words
	}
	return ""
}

// kinds maps statuses. What is not listed is Malformed from 500 on, and else a mistake in what is asked.
var kinds = map[int]fault.Kind{
	http.StatusUnauthorized:          fault.Auth,
	http.StatusForbidden:             fault.Denied,
	http.StatusNotFound:              fault.Unsupported,
	http.StatusMethodNotAllowed:      fault.Unsupported,
	http.StatusGone:                  fault.Unsupported,
	http.StatusNotImplemented:        fault.Unsupported,
	http.StatusProxyAuthRequired:     fault.Auth,
	http.StatusRequestTimeout:        fault.Timeout,
	http.StatusConflict:              fault.Busy,
	http.StatusTooManyRequests:       fault.Busy,
	http.StatusBadGateway:            fault.Unreachable,
	http.StatusServiceUnavailable:    fault.Busy,
	http.StatusGatewayTimeout:        fault.Timeout,
	http.StatusInsufficientStorage:   fault.Busy,
	http.StatusRequestEntityTooLarge: fault.Limited,
}

func kind(code int) fault.Kind {
	if code >= 300 && code < 400 {
		return fault.Config // the URL is not where the server is
	}
	fallback := fault.Malformed
	if code < 500 {
		fallback = fault.Internal
	}
	return cmp.Or(kinds[code], fallback)
}

// Escape makes one segment of a path of a name, whatever is in it.
func Escape(name string) string {
	if strings.Trim(name, ".") == "" { // which would be taken for the way up
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return url.PathEscape(name)
}

// Get asks for a path and reads the JSON that comes into what into points to; nil reads nothing.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.Do(ctx, http.MethodGet, path, nil, into)
}

// Post sends JSON that only asks, and reads the JSON that comes. Unlike what Do sends, it is asked again where the
// server has closed a kept connection.
func (c *Client) Post(ctx context.Context, path string, body, into any) error {
	header := c.header.Clone()
	header["Idempotency-Key"] = nil // which the library reads and does not send
	return c.exchange(ctx, http.MethodPost, path, header, body, into)
}

// Do sends a request that may change something. The path begins with a slash, and names in it are escaped.
func (c *Client) Do(ctx context.Context, method, path string, body, into any) error {
	return c.exchange(ctx, method, path, c.header, body, into)
}

func (c *Client) exchange(ctx context.Context, method, path string, header http.Header, body, into any) error {
	answer, err := c.send(ctx, method, c.base+path, body, header)
	if err != nil {
		return err
	}
	defer drain(answer)
	if into == nil {
		return nil
	}
	if media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); media != "application/json" {
		return fault.New(fault.Malformed, "the answer is no JSON")
	}
	return Decode(ctx, answer.Body, into)
}

// Text asks for a URL that is not the API's, such as that of metrics, and hands the text that comes to read. Where it
// is of another host or port, the credentials stay here.
func (c *Client) Text(ctx context.Context, to *url.URL, read func(io.Reader) error) error {
	header := http.Header{"User-Agent": c.header["User-Agent"]}
	if base, err := url.Parse(c.base); err == nil && base.Scheme == to.Scheme && base.Host == to.Host {
		header = c.header.Clone()
	}
	header.Set("Accept", "text/plain;version=0.0.4, */*;q=0.1")
	answer, err := c.send(ctx, http.MethodGet, to.String(), nil, header)
	if err != nil {
		return err
	}
	defer drain(answer)
	if media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); media != "text/plain" {
		return fault.New(fault.Malformed, "the answer is no text")
	}
	bounded := &bounded{from: answer.Body, left: maxText}
	if err := read(bounded); err != nil {
		return fault.Wrap(broken(ctx, cmp.Or(bounded.failed, err)), "reading metrics", cmp.Or(bounded.failed, err))
	}
	return nil
}

// send gives an answer that is a success.
func (c *Client) send(ctx context.Context, method, to string, body any, header http.Header) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "asking", err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, to, content)
	if err != nil {
		return nil, fault.New(fault.Config, "the URL cannot be asked")
	}
	request.Header = header.Clone()
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.lines.roundTrip(request)
	if err != nil {
		return nil, fault.Wrap(broken(ctx, err), method, err)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return nil, c.refused(answer, method)
	}
	return answer, nil
}

// broken tells the kind of a failure below HTTP.
func broken(ctx context.Context, err error) fault.Kind {
	var known *fault.Error
	var op *net.OpError
	switch {
	case errors.As(err, &known):
		return fault.Of(err)
	case ctx.Err() != nil:
		return fault.Timeout
	case errors.As(err, new(*tls.CertificateVerificationError)), errors.As(err, new(tls.AlertError)), errors.As(err, &op) && op.Op == "remote error":
		return fault.Auth // we do not accept its certificate, or it does not accept ours
	case errors.As(err, new(tls.RecordHeaderError)):
		return fault.Config // no TLS at that port
	}
	if kind := fault.Of(err); kind != fault.Internal {
		return kind
	}
	return fault.Unreachable
}

// maxPause bounds how long a server can have us wait.
const maxPause = time.Minute

// refused makes an error of an answer, and takes note of how long the server wants to be left alone.
func (c *Client) refused(answer *http.Response, method string) error {
	defer func() { _ = answer.Body.Close() }()
	words, _ := io.ReadAll(io.LimitReader(answer.Body, maxWords)) // what there is
	status := &StatusError{Code: answer.StatusCode, Words: string(words)}
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		status.RetryAfter = min(time.Duration(seconds)*time.Second, maxPause)
		c.pause.Store(time.Now().Add(status.RetryAfter).UnixNano())
	}
	kind := kind(answer.StatusCode)
	if answer.StatusCode == http.StatusBadRequest && strings.Contains(status.Words, "HTTPS") { // TLS alone at that port
		kind = fault.Config
	}
	return fault.Wrap(kind, method, status)
}

// drain reads what is left of a body, if it is little, so that the connection can be kept.
func drain(answer *http.Response) {
	_, _ = io.CopyN(io.Discard, answer.Body, maxWords) // else it is closed
	_ = answer.Body.Close()
}
