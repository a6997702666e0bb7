package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
)

// EximOptions says what server to make. The zero value takes mail for no domain.
type EximOptions struct {
	// Routes says where mail for a domain goes: "lmtp:HOST:PORT" or "smtp:HOST:PORT". Mail for other domains is refused.
	Routes   map[string]string
	Settings []string // lines for the main part of the configuration
}

// Exim is a server with a port as those of mail exchangers (STARTTLS is offered, and AUTH after it) and one with TLS from
// the first byte. It knows the recipients that Postfix knows, but for junk@; mail for held@ is frozen in its spool.
type Exim struct {
	mailServer
	password string
}

// NewExim starts a server for a test and closes it at the test's end.
func NewExim(tb testing.TB, o EximOptions) *Exim {
	tb.Helper()
	e, err := StartExim(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	e.closeAfter(tb, "exim")
	return e
}

// StartExim makes a server and starts it. The caller closes it.
func StartExim(ctx context.Context, o EximOptions) (*Exim, error) {
	e := &Exim{password: rand.Text()}
	err := e.prepare("exim", "smtp", "smtps")
	if err == nil {
		err = e.configure(o)
	}
	if err == nil {
		err = e.start(ctx, ProcessOptions{Path: eximProgram, Args: []string{"-C", e.dir + "/exim.conf", "-bdf", "-q1h"}})
	}
	if err != nil {
		return nil, errors.Join(err, errors.New(e.Log()), e.Close())
	}
	return e, nil
}

const eximProgram = "/usr/sbin/exim4"

func (e *Exim) configure(o EximOptions) error {
	const text = `
primary_hostname = mail.probe.test
qualify_domain = probe.test
spool_directory = %[1]s/spool
log_file_path = %[1]s/%%slog
pid_file_path = %[1]s/pid
local_interfaces = 127.0.0.1.%[2]d : 127.0.0.1.%[3]d
tls_on_connect_ports = %[3]d
tls_advertise_hosts = *
tls_certificate = %[1]s/tls/server.crt
tls_privatekey = %[1]s/tls/server.key
auth_advertise_hosts = ${if def:tls_in_cipher {*}{}}
pipelining_advertise_hosts = *
chunking_advertise_hosts = *
acl_smtp_rcpt = check_rcpt
deliver_drop_privilege
never_users =
host_lookup =
rfc1413_query_timeout = 0s
timeout_frozen_after = 1d
domainlist taken = %[4]s
%[5]s
begin acl
check_rcpt:
  deny message = relay not permitted
       !domains = +taken
  defer message = come again later
       local_parts = grey
  deny message = not you
       local_parts = refused
  discard local_parts = lost
  accept local_parts = held
       control = freeze
  accept local_parts = probe : twice
  deny message = no such user
begin routers
twice:
  driver = redirect
  local_parts = twice
  data = probe+one@$domain, probe+two@$domain
%[6]s
begin transports
%[7]s
begin retry
* * F,1h,1s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${if and{{eq{$auth2}{probe}}{eq{$auth3}{%[8]s}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${if and{{eq{$auth1}{probe}}{eq{$auth2}{%[8]s}}}}
  server_set_id = $auth1
`
	routers, transports, err := e.routes(o.Routes)
	configuration := fmt.Sprintf(text, e.dir, e.ports["smtp"], e.ports["smtps"],
		strings.Join(slices.Sorted(maps.Keys(o.Routes)), " : "), strings.Join(o.Settings, "\n"), routers, transports, e.password)
	return errors.Join(err,
		e.root.mkdir(e.dir+"/spool", "Debian-exim", 0o750),
		e.root.mkdir(e.dir, "Debian-exim", 0o755), // for the log
		e.root.mkdir(e.dir+"/tls", "Debian-exim", 0o755),
		e.root.give(e.dir+"/tls/server.crt", "Debian-exim"),
		e.root.give(e.dir+"/tls/server.key", "Debian-exim"),
		e.root.write(e.dir+"/exim.conf", configuration),
	)
}

// routes writes a router and a transport for each domain.
func (e *Exim) routes(routes map[string]string) (routers, transports string, err error) {
	for _, domain := range slices.Sorted(maps.Keys(routes)) {
		protocol, address, _ := strings.Cut(routes[domain], ":")
		host, port, problem := net.SplitHostPort(address)
		if problem != nil || protocol != "lmtp" && protocol != "smtp" {
			return "", "", fmt.Errorf("%q is no way for mail", routes[domain])
		}
		name := strings.ReplaceAll(domain, ".", "_")
		routers += fmt.Sprintf("to_%s:\n  driver = manualroute\n  domains = %s\n  route_list = * %s\n  self = send\n  transport = to_%s\n", name, domain, host, name)
		transports += fmt.Sprintf("to_%s:\n  driver = smtp\n  protocol = %s\n  port = %s\n  allow_localhost\n  max_rcpt = 1\n  hosts_avoid_tls = *\n", name, protocol, port)
	}
	return routers, transports, nil
}

// User returns the name to log in with.
func (e *Exim) User() string { return "probe" }

// Password returns the user's password.
func (e *Exim) Password() string { return e.password }

// Addr returns host:port of the port as those of mail exchangers.
func (e *Exim) Addr() string { return e.addr("smtp") }

// SMTPSAddr returns host:port of the port with TLS from the first byte.
func (e *Exim) SMTPSAddr() string { return e.addr("smtps") }

// Spool returns the folder of the queue.
func (e *Exim) Spool() string { return e.root.outside(e.dir + "/spool") }

// Release lets go all mail that is frozen.
func (e *Exim) Release(ctx context.Context) error {
	return e.root.run(ctx, eximProgram, "-C", e.dir+"/exim.conf", "-qff")
}
