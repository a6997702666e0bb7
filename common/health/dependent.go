package health

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
)

// Dependent is an HTTP service that stands before a backend, such as an API over a database, as the configuration
// describes it. There is no way to leave its certificate unverified.
type Dependent struct {
	Name            string                   `yaml:"name" help:"Name of the service in /health and service_health."`
	URL             string                   `yaml:"url" help:"Where it is asked: http:// or https://."`
	Status          []int                    `yaml:"status" help:"Codes that a good answer may have."`
	Body            Pattern                  `yaml:"body" type:"regular expression" help:"Regular expression that the first 64 KiB of a good answer match."`
	Timeout         time.Duration            `yaml:"timeout" help:"Longest time that an answer may take; never longer than the interval."`
	Interval        time.Duration            `yaml:"interval" help:"How often it is asked."`
	Headers         map[string]config.Secret `yaml:"headers" help:"Headers that are sent along, each with its value."`
	Bearer          config.Secret            `yaml:"bearer" help:"Token that is sent as Authorization: Bearer."`
	FollowRedirects bool                     `yaml:"follow_redirects" help:"Whether to follow redirects; credentials are never sent to another server."`
}

// What holds where the configuration says nothing.
const (
	defaultTimeout  = 3 * time.Second
	defaultInterval = 15 * time.Second
	shortestPause   = time.Second
)

// DefaultDependents is one dependent with what holds where the configuration says nothing, for the reference.
func DefaultDependents() []Dependent {
	return []Dependent{{Status: []int{http.StatusOK}, Timeout: defaultTimeout, Interval: defaultInterval}}
}

// Pattern is a regular expression that is compiled when it is read. The zero value matches everything.
type Pattern struct{ expression *regexp.Regexp }

// UnmarshalYAML compiles the expression; its error names the line.
func (p *Pattern) UnmarshalYAML(node *yaml.Node) error {
	expression, err := regexp.Compile(node.Value) // "" in what is no text
	if err != nil || node.Value == "" {
		return fmt.Errorf("line %d: this must be a regular expression: %w", node.Line, cmp.Or(err, errors.New("it is empty")))
	}
	p.expression = expression
	return nil
}

func (p Pattern) matches(body []byte) bool { return p.expression == nil || p.expression.Match(body) }

// CheckDependents reports the first thing in a list that cannot work, in one line and without a secret.
func CheckDependents(list []Dependent) error {
	for i, d := range list {
		if d.Name == "" {
			return fmt.Errorf("dependents: number %d has no name", i+1)
		}
		if err := d.check(); err != nil {
			return fmt.Errorf("dependents: %s: %w", d.Name, err)
		}
	}
	return nil
}

func (d Dependent) check() error {
	to, err := url.Parse(d.URL)
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Hostname() == "" {
		return errors.New("url must look like http://host:port/path or https://host:port/path")
	}
	if to.User != nil {
		return errors.New("url may hold no credentials: put them into bearer or headers")
	}
	for _, status := range d.Status {
		if status < 200 || status > 599 {
			return fmt.Errorf("status: no answer ends with %d", status)
		}
	}
	full := d.complete()
	if full.Interval < shortestPause || full.Timeout <= 0 || full.Timeout > full.Interval {
		return fmt.Errorf("interval must be %s or longer, and timeout no longer than it", shortestPause)
	}
	return d.checkHeaders()
}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func (d Dependent) checkHeaders() error {
	taken := map[string]bool{"Authorization": !d.Bearer.IsZero()}
	for name := range d.Headers {
		key := textproto.CanonicalMIMEHeaderKey(name)
		if !headerName.MatchString(name) {
			return fmt.Errorf("headers: %q is no name of a header", name)
		}
		if taken[key] {
			return fmt.Errorf("headers: %s is given twice (bearer is one, too)", key)
		}
		taken[key] = true
	}
	_, err := d.header() // a secret that cannot be read is better found out now
	return err
}

// Warnings says what is unsafe about how the secrets are kept.
func (d Dependent) Warnings() []string {
	all := []string{d.Bearer.Warning()}
	for _, secret := range d.Headers {
		all = append(all, secret.Warning())
	}
	return slices.DeleteFunc(all, func(warning string) bool { return warning == "" })
}

// complete fills in what was not said.
func (d Dependent) complete() Dependent {
	if len(d.Status) == 0 {
		d.Status = []int{http.StatusOK}
	}
	d.Interval = cmp.Or(d.Interval, defaultInterval)
	d.Timeout = cmp.Or(d.Timeout, min(defaultTimeout, d.Interval))
	return d
}

// header gives what goes with a request. Secrets are read anew each time.
func (d Dependent) header() (http.Header, error) {
	header := http.Header{}
	for name, secret := range d.Headers {
		value, err := secret.Read()
		if err != nil {
			return nil, err
		}
		header.Set(name, value)
	}
	if !d.Bearer.IsZero() {
		token, err := d.Bearer.Read()
		if err != nil {
			return nil, err
		}
		header.Set("Authorization", "Bearer "+token)
	}
	for name, values := range header {
		if strings.ContainsFunc(values[0], unicode.IsControl) {
			return nil, fmt.Errorf("the value of the header %s holds a line break or another control character", name)
		}
	}
	return header, nil
}
