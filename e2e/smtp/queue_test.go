package smtp

import (
	"errors"
	"fmt"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// hand hands a small message over, without TLS.
func hand(t *testing.T, address, to string) {
	t.Helper()
	client, err := smtp.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := errors.Join(client.Mail("sender@probe.test"), client.Rcpt(to)); err != nil {
		t.Fatal(err)
	}
	data, err := client.Data()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(data, "Subject: x\r\n\r\nhello\r\n")
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestQueues holds that what waits in a Postfix, by its socket and its spool, and in an Exim is told, also of a target
// that is down, and that a queue which cannot be read gives no number.
func TestQueues(t *testing.T) {
	postfix := servers.NewPostfix(t, servers.PostfixOptions{Routes: map[string]string{"held.test": "maildir", "dead.test": "smtp:[127.0.0.1]:1"}})
	exim := servers.NewExim(t, servers.EximOptions{Routes: map[string]string{"held.test": "smtp:127.0.0.1:1", "dead.test": "smtp:127.0.0.1:1"}})
	for _, address := range []string{postfix.Addr(), exim.Addr()} {
		hand(t, address, "held@held.test")
		hand(t, address, "held@held.test")
		hand(t, address, "probe@dead.test")
	}
	for _, c := range []struct {
		queue, target string
		up            float64
		series        map[string]float64
	}{
		{"postfix_showq: " + postfix.Showq(), postfix.Addr(), 1, map[string]float64{`smtp_queue_messages{queue="hold"}`: 2, `smtp_queue_messages{queue="deferred"}`: 1, `smtp_queue_messages{queue="active"}`: 0, `smtp_queue_message_age_seconds_bucket{queue="hold",le="60"}`: 2}},
		{"postfix_spool: " + postfix.Queue(), "127.0.0.1:1", 0, map[string]float64{`smtp_queue_messages{queue="hold"}`: 2, `smtp_queue_messages{queue="deferred"}`: 1, `smtp_queue_messages{queue="corrupt"}`: 0}},
		{"exim_spool: " + exim.Spool(), exim.Addr(), 1, map[string]float64{`smtp_queue_messages{queue="frozen"}`: 2, `smtp_queue_messages{queue="queued"}`: 1}},
	} {
		// A message is on its way for a moment, and a queue is looked at now and then: whoever begins anew looks at once.
		harness.Eventually(t, 20*time.Second, "the queue by "+c.queue, func() error {
			e := start(t, fmt.Sprintf("targets: [{target: '%s', queue: {%s}}]", c.target, c.queue))
			p := e.Scrape("9")
			for series, want := range c.series {
				if got, ok := p.Value(series); !ok || got != want {
					return fmt.Errorf("%s is %v in\n%s", series, got, p.Body)
				}
			}
			p.Want(t, "smtp_up", c.up)
			return nil
		})
	}
	p := start(t, fmt.Sprintf("targets: [{target: '%s', queue: {exim_spool: %s}}]", exim.Addr(), t.TempDir())).Scrape("9")
	p.Want(t, `smtp_exporter_collector_success{collector="queue"}`, 0)
	if strings.Contains(p.Body, "smtp_queue") {
		t.Errorf("a queue that is not there has numbers:\n%s", p.Body)
	}
}
