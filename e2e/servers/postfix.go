package servers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// PostfixOptions says what server to make. The zero value takes mail for no domain.
type PostfixOptions struct {
	// Routes says where mail for a domain goes: "lmtp:inet:HOST:PORT", "smtp:[HOST]:PORT", or "maildir", which
	// is a folder of the server's own. Mail for other domains is refused, so that nothing goes anywhere else.
	Routes   map[string]string
	Auth     *Dovecot          // whose user may log in; nil: there is no AUTH
	Settings map[string]string // of main.cf, in place of ours or beside them
}

// Postfix is a server with a port as those of mail exchangers (STARTTLS is offered), one as those for submission
// (STARTTLS and AUTH are demanded) and one with TLS from the first byte (AUTH is demanded). It knows, in each domain of
// its routes, these recipients:
//
//	probe@    is delivered
//	junk@     is delivered into the folder Junk, where the route is a Dovecot
//	twice@    is delivered twice
//	held@     is taken and kept in the queue until Release, then delivered
//	lost@     is taken and thrown away
//	grey@     is refused with 450, as by greylisting
//	refused@  is refused with 550, as are all others
type Postfix struct{ mailServer }

// NewPostfix starts a server for a test and closes it at the test's end.
func NewPostfix(tb testing.TB, o PostfixOptions) *Postfix {
	tb.Helper()
	p, err := StartPostfix(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	p.closeAfter(tb, "postfix")
	return p
}

// StartPostfix makes a server and starts it. The caller closes it.
func StartPostfix(ctx context.Context, o PostfixOptions) (*Postfix, error) {
	p := new(Postfix)
	err := p.prepare("postfix", "smtp", "submission", "smtps")
	if err == nil {
		err = errors.Join(p.makeFolders(), p.configure(o))
	}
	if err == nil {
		err = p.start(ctx, ProcessOptions{Path: "/usr/lib/postfix/sbin/master", Args: []string{"-s", "-c", p.dir + "/etc"}})
	}
	if err != nil {
		return nil, errors.Join(err, errors.New(p.Log()), p.Close())
	}
	return p, nil
}

// makeFolders makes what "postfix check" would make, which is a script that needs half a system.
func (p *Postfix) makeFolders() error {
	err := errors.Join(
		p.root.mkdir(p.dir+"/etc", "root", 0o755),
		p.root.mkdir(p.dir+"/queue", "root", 0o755),
		p.root.mkdir(p.dir+"/queue/pid", "root", 0o755),
		p.root.mkdir(p.dir+"/data", "postfix", 0o700),
		p.root.mkdir(p.dir+"/boxes", "vmail", 0o755),
		p.root.mkdir(p.dir+"/queue/public", "postfix", 0o710),
		p.root.mkdir(p.dir+"/queue/maildrop", "postfix", 0o730),
	)
	for _, name := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		err = errors.Join(err, p.root.mkdir(p.dir+"/queue/"+name, "postfix", 0o700))
	}
	return err
}

func (p *Postfix) configure(o PostfixOptions) error {
	settings := p.settings(o)
	maps.Copy(settings, o.Settings)
	var main strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&main, "%s = %s\n", name, settings[name])
	}
	const access = "/^held@/ HOLD\n/^lost@/ DISCARD\n/^grey@/ 450 4.2.0 come again later\n/^refused@/ 550 5.7.1 not you\n"
	const aliases = `
/^(junk)@(.*)$/ probe+Junk@$2
/^(held|lost|grey|refused)@(.*)$/ probe+$1@$2
/^twice@(.*)$/ probe+one@$1 probe+two@$1
`
	var boxes strings.Builder
	for domain := range o.Routes {
		fmt.Fprintf(&boxes, "/^probe([+].*)?@%s$/ %s/\n", regexp.QuoteMeta(domain), domain)
	}
	// Postfix waits until its settings are two seconds old: somebody might still be writing.
	long := time.Now().Add(-time.Minute)
	return errors.Join(
		p.root.write(p.dir+"/etc/main.cf", main.String()),
		os.Chtimes(p.root.outside(p.dir+"/etc/main.cf"), long, long),
		p.root.write(p.dir+"/etc/master.cf", p.services()),
		p.root.write(p.dir+"/etc/access", access),
		p.root.write(p.dir+"/etc/aliases", aliases[1:]),
		p.root.write(p.dir+"/etc/boxes", boxes.String()),
	)
}

func (p *Postfix) settings(o PostfixOptions) map[string]string {
	vmail, err := p.root.account("vmail")
	if err != nil {
		return nil // makeFolders has reported it
	}
	var domains, transports []string
	for _, domain := range slices.Sorted(maps.Keys(o.Routes)) {
		domains = append(domains, domain)
		transports = append(transports, fmt.Sprintf("{ %s = %s }", domain, strings.Replace(o.Routes[domain], "maildir", "virtual:", 1)))
	}
	settings := map[string]string{
		"compatibility_level": "3.6", "myhostname": "mail.probe.test", "inet_protocols": "ipv4", "inet_interfaces": "127.0.0.1",
		"mynetworks": "", "mydestination": "", "local_recipient_maps": "", "alias_maps": "", "alias_database": "",
		"queue_directory": p.dir + "/queue", "data_directory": p.dir + "/data",
		"command_directory": "/usr/sbin", "daemon_directory": "/usr/lib/postfix/sbin", "shlib_directory": "/usr/lib/postfix",
		"mail_owner": "postfix", "setgid_group": "postdrop",
		"maillog_file": p.dir + "/log", "maillog_file_prefixes": "/srv",
		"default_transport": "error:5.1.2 mail goes nowhere else", "relay_transport": "error:5.1.2 mail goes nowhere else",
		"disable_dns_lookups": "yes", "smtp_host_lookup": "native", "smtp_bind_address": "127.0.0.1",
		"virtual_mailbox_domains": strings.Join(domains, " "),
		"virtual_mailbox_maps":    "regexp:" + p.dir + "/etc/boxes", "virtual_mailbox_base": p.dir + "/boxes",
		"virtual_alias_maps": "regexp:" + p.dir + "/etc/aliases", "recipient_delimiter": "+",
		"virtual_uid_maps": fmt.Sprintf("static:%d", vmail.uid), "virtual_gid_maps": fmt.Sprintf("static:%d", vmail.gid),
		"smtpd_recipient_restrictions": "check_recipient_access regexp:" + p.dir + "/etc/access",
		"smtpd_relay_restrictions":     "permit_sasl_authenticated, reject_unauth_destination",
		"smtpd_tls_security_level":     "may", "smtpd_tls_auth_only": "yes",
		"smtpd_tls_cert_file": p.dir + "/tls/server.crt", "smtpd_tls_key_file": p.dir + "/tls/server.key",
		"smtpd_client_connection_count_limit": "0", // tests come from one address
		"smtp_destination_recipient_limit":    "1", // a catcher would take two recipients for one mail
	}
	if len(transports) > 0 {
		settings["transport_maps"] = "inline:{ " + strings.Join(transports, ", ") + " }"
	}
	if o.Auth != nil {
		settings["smtpd_sasl_type"] = "dovecot"
		settings["smtpd_sasl_path"] = "inet:" + o.Auth.addr("auth")
		settings["smtpd_sasl_auth_enable"] = "yes"
	}
	return settings
}

// services is master.cf.
func (p *Postfix) services() string {
	var text strings.Builder
	inet := func(name string, options ...string) {
		fmt.Fprintf(&text, "%s inet n - n - - smtpd\n", p.addr(name))
		for _, option := range options {
			fmt.Fprintf(&text, "  -o %s\n", option)
		}
	}
	const known = "smtpd_client_restrictions=permit_sasl_authenticated,reject"
	inet("smtp")
	inet("submission", "smtpd_tls_security_level=encrypt", known)
	inet("smtps", "smtpd_tls_wrappermode=yes", known)
	text.WriteString(`
pickup    unix n - n 60   1 pickup
cleanup   unix n - n -    0 cleanup
qmgr      unix n - n 300  1 qmgr
tlsmgr    unix - - n 1000 1 tlsmgr
rewrite   unix - - n -    - trivial-rewrite
bounce    unix - - n -    0 bounce
defer     unix - - n -    0 bounce
trace     unix - - n -    0 bounce
verify    unix - - n -    1 verify
flush     unix n - n 1000 0 flush
proxymap  unix - - n -    - proxymap
proxywrite unix - - n -   1 proxymap
smtp      unix - - n -    - smtp
relay     unix - - n -    - smtp
showq     unix n - n -    - showq
error     unix - - n -    - error
retry     unix - - n -    - error
discard   unix - - n -    - discard
virtual   unix - n n -    - virtual
lmtp      unix - - n -    - lmtp
anvil     unix - - n -    1 anvil
scache    unix - - n -    1 scache
postlog   unix-dgram n - n - 1 postlogd
`)
	return text.String()
}

// Addr returns host:port of the port as those of mail exchangers.
func (p *Postfix) Addr() string { return p.addr("smtp") }

// SubmissionAddr returns host:port of the port for submission.
func (p *Postfix) SubmissionAddr() string { return p.addr("submission") }

// SMTPSAddr returns host:port of the port with TLS from the first byte.
func (p *Postfix) SMTPSAddr() string { return p.addr("smtps") }

// Maildir returns the mailbox of a domain whose route is "maildir". It is there once there is mail for it.
func (p *Postfix) Maildir(domain string) string {
	return p.root.outside(filepath.Join(p.dir, "boxes", domain))
}

// Queue returns the folder of the queue.
func (p *Postfix) Queue() string { return p.root.outside(p.dir + "/queue") }

// Showq returns the path of the socket that tells what is in the queue. It is the same as `postqueue -p` asks.
func (p *Postfix) Showq() string { return p.root.outside(p.dir + "/queue/public/showq") }

// Release lets go all mail that is held, and waits for nothing.
func (p *Postfix) Release(ctx context.Context) error {
	return errors.Join(
		p.root.run(ctx, "/usr/sbin/postsuper", "-c", p.dir+"/etc", "-H", "ALL"),
		p.root.run(ctx, "/usr/sbin/postqueue", "-c", p.dir+"/etc", "-f"),
	)
}
