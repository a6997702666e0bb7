package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// What is measured: so many probes without a delay, whose processor time counts, and so many from afar.
const (
	probes = 400
	afar   = 9
	delay  = 25 * time.Millisecond
)

// aliases are names under which ours knows each module: it shares an answer among all who ask for the same within half a
// second, and each question here must be a probe.
const aliases = 50

// ours gives the configuration of ours.
func ours() string {
	var b strings.Builder
	b.WriteString("probe: {targets: ['127.0.0.1']}\nmodules:\n")
	for i := range aliases {
		b.WriteString(strings.ReplaceAll(ourModules, "_N", fmt.Sprintf("_%d", i)))
	}
	return b.String()
}

const ourModules = `
  starttls_N: {tls: starttls, tls_config: {ca_file: CA}, until: starttls, hello: probe.test}
  message_N:
    tls: starttls
    tls_config: {ca_file: CA}
    hello: probe.test
    auth: {username: USER, password: PASSWORD}
    message: {from: probe@maildir.test, to: probe@maildir.test}
    probe: {targets: ['127.0.0.1']}
`

// theirs are the same dialogues, written out.
const theirs = `
modules:
  starttls:
    prober: tcp
    tcp:
      preferred_ip_protocol: ip4
      tls_config: {ca_file: CA, server_name: localhost}
      query_response: [GREETING, {send: "QUIT\r"}, {expect: "^221 "}]
  message:
    prober: tcp
    tcp:
      preferred_ip_protocol: ip4
      tls_config: {ca_file: CA, server_name: localhost}
      query_response: [GREETING, {send: "AUTH PLAIN CREDENTIALS\r"}, {expect: "^235 "}, {send: "MAIL FROM:<probe@maildir.test>\r"}, {expect: "^250 "},
        {send: "RCPT TO:<probe@maildir.test>\r"}, {expect: "^250 "}, {send: "DATA\r"}, {expect: "^354 "},
        {send: "From: <probe@maildir.test>\r\nTo: <probe@maildir.test>\r\nSubject: probe\r\nAuto-Submitted: auto-generated\r\n\r\nprobe\r\n.\r"}, {expect: "^250 "},
        {send: "QUIT\r"}, {expect: "^221 "}]
`

const greeting = `{expect: "^220 "}, {send: "EHLO probe.test\r"}, {expect: "^250 CHUNKING"}, {send: "STARTTLS\r"}, {expect: "^220 "}, {starttls: true},
        {send: "EHLO probe.test\r"}, {expect: "^250 CHUNKING"}`

// subject is one exporter on a line of its own.
type subject struct {
	name     string
	address  string // of the server, without a line
	line     *proxy.Proxy
	far      bool
	shares   bool
	asked    int
	exporter *servers.Exporter
	results  map[string]*result // by module
}

// result is what was measured of a module.
type result struct {
	wall, far   []time.Duration
	cpu         time.Duration
	turnArounds int64
}

// beside measures ours and blackbox_exporter in turn on one Postfix.
func beside(ctx context.Context, path, dir string) (err error) {
	peer, err := servers.MailPeer()
	if err != nil {
		return err
	}
	dovecot, err := servers.StartDovecot(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dovecot.Close()) }()
	postfix, err := servers.StartPostfix(ctx, servers.PostfixOptions{Auth: dovecot, Routes: map[string]string{"maildir.test": "maildir"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postfix.Close()) }()
	fill := strings.NewReplacer("GREETING", greeting, "CA", postfix.CAFile(), "USER", dovecot.User(), "PASSWORD", dovecot.Password(),
		"CREDENTIALS", base64.StdEncoding.EncodeToString([]byte("\x00"+dovecot.User()+"\x00"+dovecot.Password())))
	subjects := []*subject{{name: "smtp-exporter"}, {name: "blackbox_exporter"}}
	for i, s := range subjects {
		program, text := path, ours()
		if i == 1 {
			program, text = peer, strings.ReplaceAll(theirs, "GREETING", greeting)
		}
		s.address, s.shares = postfix.SubmissionAddr(), i == 0
		if s.line, err = proxy.Start(postfix.SubmissionAddr()); err != nil {
			return err
		}
		defer s.line.Close()
		if s.exporter, err = begin(ctx, program, filepath.Join(dir, s.name+".yml"), fill.Replace(text)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.exporter.Stop()) }()
	}
	for _, module := range []string{"starttls", "message"} {
		if err := measure(ctx, subjects, module); err != nil {
			return err
		}
	}
	reportBeside(os.Stdout, subjects)
	return nil
}

// measure probes by a module: first near, each exporter many times in a row for its processor time, then from afar.
func measure(ctx context.Context, subjects []*subject, module string) error {
	for _, s := range subjects {
		if s.results == nil {
			s.results = map[string]*result{}
		}
		s.results[module] = &result{}
		s.far = false
	}
	const blocks = 10
	for block := range blocks + 1 { // the first one warms up
		for _, s := range subjects {
			if err := s.near(ctx, module, probes/blocks, block > 0); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	for _, s := range subjects {
		s.far = true
		s.line.SetDelay(delay)
		for range afar {
			s.line.ResetStats()
			took, err := s.probe(ctx, module)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			time.Sleep(4 * delay) // the last word is on its way
			r := s.results[module]
			r.far, r.turnArounds = append(r.far, took), s.line.Stats().TurnArounds
		}
	}
	return nil
}

func (s *subject) near(ctx context.Context, module string, times int, counts bool) error {
	before, err := s.exporter.CPU()
	if err != nil {
		return err
	}
	for range times {
		took, err := s.probe(ctx, module)
		if err != nil {
			return err
		}
		if counts {
			s.results[module].wall = append(s.results[module].wall, took)
		}
	}
	after, err := s.exporter.CPU()
	if counts {
		s.results[module].cpu += after - before
	}
	return err
}

// probe asks for one probe, and gives the time that it says it took.
func (s *subject) probe(ctx context.Context, module string) (time.Duration, error) {
	address, name := s.address, module
	if s.far {
		address = s.line.Addr()
	}
	if s.shares {
		name = fmt.Sprintf("%s_%d", module, s.asked%aliases)
		s.asked++
	}
	text, err := get(ctx, http.DefaultClient, s.exporter.URL+"/probe?module="+name+"&target="+url.QueryEscape(address))
	if err != nil {
		return 0, err
	}
	if !strings.Contains(text, "\nprobe_success 1\n") {
		return 0, fmt.Errorf("the probe of %s failed:\n%s", module, text)
	}
	_, after, _ := strings.Cut(text, "\nprobe_duration_seconds ")
	var seconds float64
	_, err = fmt.Sscan(after, &seconds)
	return time.Duration(seconds * float64(time.Second)), err
}

func get(ctx context.Context, client *http.Client, address string) (string, error) {
	page, err := bench.Get(ctx, client, address, 10*time.Second)
	if err == nil && page.Code != http.StatusOK {
		err = fmt.Errorf("HTTP %d: %s", page.Code, page.Body)
	}
	return string(page.Body), err
}

func reportBeside(out io.Writer, subjects []*subject) {
	fmt.Fprintf(out, "Postfix with Dovecot; medians and means of %d probes, and of %d from %d ms away, one way.\n\n", probes, afar, delay.Milliseconds())
	fmt.Fprintln(out, "| | smtp-exporter | blackbox_exporter |\n| --- | ---: | ---: |")
	for _, module := range []string{"starttls", "message"} {
		what := map[string]string{"starttls": "STARTTLS", "message": "STARTTLS, AUTH and a message"}[module]
		row := func(name, format string, value func(*result) float64) {
			fmt.Fprintf(out, "| %s: %s | "+format+" | "+format+" |\n", what, name, value(subjects[0].results[module]), value(subjects[1].results[module]))
		}
		row("turn-arounds, the QUIT's included", "%.0f", func(r *result) float64 { return float64(r.turnArounds) })
		row("ms for a probe, near", "%.1f", func(r *result) float64 { return bench.Median(r.wall) })
		row("ms for a probe, far", "%.0f", func(r *result) float64 { return bench.Median(r.far) })
		row("ms of exporter CPU for a probe", "%.2f", func(r *result) float64 { return r.cpu.Seconds() * 1e3 / probes })
	}
	for _, s := range subjects {
		if rss, err := s.exporter.RSS(); err == nil {
			fmt.Fprintf(out, "\n%s: %.1f MB resident", s.name, float64(rss)/1e6)
		}
	}
	fmt.Fprintln(out)
}
