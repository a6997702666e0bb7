package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
)

const goodTrip = `
from: probe@example.org
to: inbox@example.net
secret: 0123456789abcdef
mailbox: {imap: {address: imap.example.net, username: inbox, password: hunter2}}
`

func readTrip(t *testing.T, text string) (*roundTrip, error) {
	t.Helper()
	r := new(roundTrip)
	if err := config.ParseYAML([]byte(text), r); err != nil {
		return nil, err
	}
	m := &module{}
	if strings.Contains(text, "# mx") {
		m.MX = true
	}
	return r, r.prepare(m)
}

func TestRoundTripDefaults(t *testing.T) {
	r, err := readTrip(t, goodTrip)
	if err != nil {
		t.Fatal(err)
	}
	if r.Every != time.Minute || r.LostAfter != 10*time.Minute || r.InFlight != 10 || r.Bounces != "" {
		t.Errorf("%+v", r)
	}
	if a := r.Mailbox.IMAP; a.Address != "imap.example.net:993" || a.TLS != "implicit" || a.TLSConfig.ServerName != "imap.example.net" {
		t.Errorf("%+v", a)
	}
}

func TestRoundTripRefuses(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	change := func(old, replacement string) string { return strings.Replace(goodTrip, old, replacement, 1) }
	mailbox := func(text string) string {
		head, _, _ := strings.Cut(goodTrip, "mailbox:")
		return head + "mailbox: {" + text + "}\n"
	}
	for text, want := range map[string]string{
		change("0123456789abcdef", "0123456789abcde"):                                         "16 characters",
		change("secret: 0123456789abcdef\n", ""):                                              "16 characters",
		change("secret: 0123456789abcdef", "secret: {file: /none}"):                           "cannot read",
		change("probe@example.org", "probe"):                                                  "no mail address",
		change("inbox@example.net", "'a@b>\r\nRCPT TO:<c@d'"):                                 "no mail address",
		goodTrip + "bounces: 'x y@z'":                                                         "no mail address",
		goodTrip + "every: 10ms":                                                              "every must be",
		goodTrip + "lost_after: 1ms":                                                          "lost_after must be",
		goodTrip + "in_flight: 1000":                                                          "in_flight must be",
		goodTrip + "in_flight: -1":                                                            "in_flight must be",
		goodTrip + "unknown: 1":                                                               "unknown",
		goodTrip + "# mx":                                                                     "without mx",
		mailbox(""):                                                                           "must be one of",
		mailbox("maildir: {path: /a}, mailpit: {url: 'http://a'}"):                            "must be one of",
		mailbox("maildir: {}"):                                                                "path is missing",
		mailbox("mailpit: {url: 'ftp://a'}"):                                                  "url must be",
		mailbox("mailhog: {url: 'http://user:word@a'}"):                                       "without a user",
		mailbox("mailhog: {url: 'http://a', username: b}"):                                    "username and password",
		mailbox("imap: {address: a}"):                                                         "username and password",
		mailbox("imap: {address: a, username: b, password: c, tls: some}"):                    "tls must be",
		mailbox("imap: {address: a, username: b, password: c, tls: none}"):                    "steal",
		mailbox("imap: {address: 'a/b', username: b, password: c}"):                           "address must be",
		mailbox("pop3: {address: a, username: b, password: c, folders: [d]}"):                 "no folders",
		mailbox("pop3: {address: a, username: b, password: c, tls_config: {ca_file: /none}}"): "cannot read ca_file",
		mailbox("imap: {address: a, username: b, password: c, tls_config: {ca_file: " + notPEM + "}}"): "no certificate",
	} {
		if _, err := readTrip(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestSourceKey(t *testing.T) {
	key := func(text string) string {
		t.Helper()
		r, err := readTrip(t, text)
		if err != nil {
			t.Fatal(err)
		}
		return source{Target: "a", RoundTrip: r}.key()
	}
	if first, second := key(goodTrip), key(goodTrip); first != second {
		t.Error("the same configuration has two keys")
	}
	for _, old := range []string{"hunter2", "0123456789abcdef", "imap.example.net", "probe@"} {
		if key(goodTrip) == key(strings.Replace(goodTrip, old, "x"+old, 1)) {
			t.Errorf("another %s has the same key", old)
		}
	}
}

func TestRoundTripWarnings(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef"), 0o644); err != nil { //nolint:gosec // that is what is warned of
		t.Fatal(err)
	}
	r, err := readTrip(t, strings.NewReplacer("secret: 0123456789abcdef", "secret: {file: "+secret+"}",
		"password: hunter2", "password: hunter2, tls: none, send_password_where_others_can_steal_it: true").Replace(goodTrip))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(source{Target: "a", RoundTrip: r}.warnings(), "\n")
	if !strings.Contains(got, "chmod o-rwx") || !strings.Contains(got, "steal it, as the configuration asks") {
		t.Error(got)
	}
}
