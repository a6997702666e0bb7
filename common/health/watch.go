package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Bounds on what a dependent may send.
const (
	maxBody      = 64 << 10 // bytes that are read, and that a pattern is held against
	maxHeader    = 64 << 10
	maxRedirects = 5
)

// Watch looks at dependents in the background, each on its own schedule, so that one that hangs delays nobody. Whoever
// asks gets what was found last.
type Watch struct {
	note      func(Report, error) // told when the state of a dependent changes
	families  *Families
	transport func(Dependent) http.RoundTripper

	mu      sync.Mutex
	watched []*watched
}

// watched is one dependent under watch.
type watched struct {
	given   Dependent // as it was configured
	service *Service
	looker  looker
	first   chan struct{} // closed when the first answer is in
	cancel  context.CancelFunc
	ended   chan struct{}
}

// NewWatch returns a watch over nothing.
func NewWatch(note func(Report, error)) *Watch {
	return &Watch{note: note, families: NewFamilies(), transport: newTransport}
}

// Apply makes a list that CheckDependents approves the present one. Dependents that are as they were stay under watch
// with what is known of them.
func (w *Watch) Apply(list []Dependent) {
	w.mu.Lock()
	before := w.watched
	w.watched = nil
	for _, wanted := range list {
		at := slices.IndexFunc(before, func(one *watched) bool { return reflect.DeepEqual(one.given, wanted) })
		if at < 0 {
			w.watched = append(w.watched, w.start(wanted))
			continue
		}
		w.watched = append(w.watched, before[at])
		before = slices.Delete(slices.Clone(before), at, at+1)
	}
	w.mu.Unlock()
	for _, gone := range before {
		gone.cancel()
		<-gone.ended
	}
}

// Close ends the watch over all.
func (w *Watch) Close() { w.Apply(nil) }

func (w *Watch) start(given Dependent) *watched {
	ctx, cancel := context.WithCancel(context.Background())
	full := given.complete()
	one := &watched{
		given: given, service: NewService(given.Name, "", 0), looker: newLooker(full, w.transport(full)),
		first: make(chan struct{}), cancel: cancel, ended: make(chan struct{}),
	}
	go one.run(ctx, w.note)
	return one
}

func (w *Watch) all() []*watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.watched)
}

// Reports gives the state of every dependent. It waits for first answers only, and within the context: a dependent
// that has given none by then is down for the asker.
func (w *Watch) Reports(ctx context.Context) []Report {
	var reports []Report
	for _, one := range w.all() {
		select {
		case <-one.first:
		case <-one.ended: // it was taken off the list meanwhile
			continue
		case <-ctx.Done():
		}
		report := one.service.Report()
		if report.At.IsZero() {
			report.Status, report.Fault = Down, fault.Timeout
		}
		reports = append(reports, report)
	}
	return reports
}

// AddTo puts the dependents' metrics on a page: of those that have been looked at.
func (w *Watch) AddTo(page *metric.Page) {
	batch := metric.NewBatch(0)
	for _, one := range w.all() {
		if report := one.service.Report(); !report.At.IsZero() {
			w.families.appendDependent(batch, report)
		}
	}
	page.Add(batch)
}

// run looks, again and again, until it is told to stop.
func (o *watched) run(ctx context.Context, note func(Report, error)) {
	defer close(o.ended)
	ticker := time.NewTicker(o.looker.Interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		o.look(ctx, note)
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// look takes note of one look. One that was called off says nothing.
func (o *watched) look(ctx context.Context, note func(Report, error)) {
	begin, before := time.Now(), o.service.Report()
	err := o.looker.ask(ctx)
	if ctx.Err() != nil {
		return
	}
	outcome := Outcome{Asked: true, Fault: fault.Of(err), Latency: max(time.Since(begin), 1)}
	o.service.Record(Check{Connect: outcome, Ping: outcome}, time.Now())
	now := o.service.Report()
	if before.At.IsZero() || before.Fault != now.Fault {
		note(now, err)
	}
	if before.At.IsZero() {
		close(o.first)
	}
}

// looker asks one dependent how it is.
type looker struct {
	Dependent
	client *http.Client
}

func newLooker(d Dependent, transport http.RoundTripper) looker {
	l := looker{Dependent: d}
	l.client = &http.Client{Transport: transport, CheckRedirect: l.redirect}
	return l
}

// newTransport verifies certificates, as is the default, and goes through no proxy, which would see the credentials.
func newTransport(d Dependent) http.RoundTripper {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: d.Timeout}).DialContext,
		TLSHandshakeTimeout:    d.Timeout,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true, // so that each look sees the name, the port and the certificate as they are now
		DisableCompression:     true, // so that what is read is no more than what was sent
		MaxResponseHeaderBytes: maxHeader,
	}
}

// redirect says whether to go where an answer points. Credentials stay with the server that they were configured for;
// a query counts as one, since keys are often put there.
func (l looker) redirect(next *http.Request, via []*http.Request) error {
	from, to := via[0].URL, next.URL
	switch {
	case !l.FollowRedirects:
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return fault.New(fault.Config, "too many redirects")
	case (from.Scheme != to.Scheme || from.Host != to.Host) && (len(l.Headers) > 0 || !l.Bearer.IsZero() || from.RawQuery != ""):
		return fault.New(fault.Config, "a redirect leads to another server, which may not have the credentials: put its address into url")
	}
	return nil
}

// ask looks once and says what is wrong, nil for nothing. A panic is an answer, too.
func (l looker) ask(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &fault.Error{Kind: fault.Internal, Op: "panic", Err: fmt.Errorf("%v\n%s", p, debug.Stack())}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.URL, http.NoBody)
	if err == nil {
		request.Header, err = l.header()
	}
	if err != nil {
		return fault.Wrap(fault.Config, "making the request", err)
	}
	request.Host = request.Header.Get("Host")
	answer, err := l.client.Do(request)
	if err != nil {
		return failure(err)
	}
	defer func() { _ = answer.Body.Close() }()
	return l.judge(answer)
}

func (l looker) judge(answer *http.Response) error {
	if !slices.Contains(l.Status, answer.StatusCode) {
		return fault.New(statusFault(answer.StatusCode), fmt.Sprintf("the answer has the status %d", answer.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return failure(err)
	}
	if !l.Body.matches(body) {
		return fault.New(fault.Malformed, "the answer does not match body")
	}
	return nil
}

// failure gives an error of the HTTP client its kind, and takes off the URL, which may hold a secret.
func failure(err error) error {
	var quoting *url.Error
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &quoting) {
		err = quoting.Err
	}
	kind := fault.Of(err)
	switch {
	case errors.As(err, &certificate):
		kind = fault.Auth
	case errors.Is(err, http.ErrSchemeMismatch):
		kind = fault.Config
	case kind == fault.Internal: // what is no network error is an answer that the client could not read
		kind = fault.Malformed
	}
	return fault.Wrap(kind, "asking", err)
}

// statusFault says why a status that was not expected came.
func statusFault(status int) fault.Kind {
	switch status {
	case http.StatusUnauthorized:
		return fault.Auth
	case http.StatusForbidden, http.StatusProxyAuthRequired:
		return fault.Denied
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return fault.Timeout
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return fault.Busy
	case http.StatusBadGateway:
		return fault.Unreachable
	}
	if status >= 300 && status < 500 {
		return fault.Config
	}
	return fault.Malformed
}
