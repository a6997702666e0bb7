package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// MailCatcher is a running Mailpit or MailHog: it takes all mail by SMTP and shows it through an HTTP API.
type MailCatcher struct {
	options    ProcessOptions
	process    *Process
	dir        string
	smtp, http int
	list       string // the path of the API that counts messages
}

// NewMailpit starts Mailpit for a test and ends it with the test. The arguments are added to its own.
func NewMailpit(tb testing.TB, args ...string) *MailCatcher {
	tb.Helper()
	return newMailCatcher(tb, func(ctx context.Context) (*MailCatcher, error) { return StartMailpit(ctx, args...) })
}

// NewMailHog starts MailHog for a test and ends it with the test.
func NewMailHog(tb testing.TB) *MailCatcher {
	tb.Helper()
	return newMailCatcher(tb, StartMailHog)
}

func newMailCatcher(tb testing.TB, start func(context.Context) (*MailCatcher, error)) *MailCatcher {
	tb.Helper()
	m, err := start(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := m.Close(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("output of %s:\n%s", m.process.name, m.process.Output())
		}
	})
	return m
}

// StartMailpit starts Mailpit. The caller closes it.
func StartMailpit(ctx context.Context, args ...string) (*MailCatcher, error) {
	return startMailCatcher(ctx, "mailpit", "/api/v1/messages", func(m *MailCatcher) []string {
		return append([]string{
			"--smtp", m.SMTPAddr(), "--listen", m.httpAddr(), "--database", filepath.Join(m.dir, "mail.db"),
			"--disable-version-check", "--smtp-disable-rdns",
		}, args...)
	})
}

// StartMailHog starts MailHog, with its mail in memory. The caller closes it.
func StartMailHog(ctx context.Context) (*MailCatcher, error) {
	return startMailCatcher(ctx, "mailhog", "/api/v2/messages", func(m *MailCatcher) []string {
		return []string{"-smtp-bind-addr", m.SMTPAddr(), "-api-bind-addr", m.httpAddr(), "-ui-bind-addr", m.httpAddr()}
	})
}

func startMailCatcher(ctx context.Context, name, list string, args func(*MailCatcher) []string) (*MailCatcher, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(root, ".cache", "tools", name)
	if !isProgram(path) {
		return nil, fmt.Errorf("no %s here; run: tools/ensure.sh smtp", name)
	}
	m := &MailCatcher{list: list}
	if m.smtp, err = FreePort(); err != nil {
		return nil, err
	}
	if m.http, err = FreePort(); err != nil {
		return nil, err
	}
	if m.dir, err = os.MkdirTemp("", name+"-"); err != nil {
		return nil, err
	}
	m.options = ProcessOptions{Path: path, Args: args(m), Dir: m.dir}
	if err := m.Start(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Start starts the program again after Stop.
func (m *MailCatcher) Start(ctx context.Context) error {
	var err error
	if m.process, err = StartProcess(m.options); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return m.process.until(ctx, func() bool { return listens(m.SMTPAddr()) && listens(m.httpAddr()) })
}

// Stop ends the program; Mailpit keeps its mail, MailHog does not.
func (m *MailCatcher) Stop() error {
	if m.process == nil {
		return nil
	}
	return m.process.Stop()
}

// SMTPAddr returns host:port of the mail server.
func (m *MailCatcher) SMTPAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.smtp)) }

func (m *MailCatcher) httpAddr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.http)) }

// URL returns the address of the HTTP API, without a slash at the end.
func (m *MailCatcher) URL() string { return "http://" + m.httpAddr() }

// Count tells how many messages there are.
func (m *MailCatcher) Count(tb testing.TB) int {
	tb.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(m.URL() + m.list)
	if err != nil {
		tb.Fatal(err)
	}
	defer answer.Body.Close()
	var all struct{ Total *int }
	if err := json.NewDecoder(answer.Body).Decode(&all); err != nil || all.Total == nil {
		tb.Fatalf("%s gives no count: %v", m.process.name, err)
	}
	return *all.Total
}

// Process returns the running program.
func (m *MailCatcher) Process() *Process { return m.process }

// Close ends the program and removes its folder.
func (m *MailCatcher) Close() error { return errors.Join(m.Stop(), os.RemoveAll(m.dir)) }
