package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// Dovecot is a server with one mailbox, whose user is "probe", by IMAP and POP3. It takes mail for it by LMTP, whatever
// the domain; mail for probe+Junk goes into the folder Junk. It also checks passwords for Postfix.
type Dovecot struct {
	mailServer
	password string
}

// NewDovecot starts a server for a test and closes it at the test's end. The lines are added to its configuration.
func NewDovecot(tb testing.TB, lines ...string) *Dovecot {
	tb.Helper()
	d, err := StartDovecot(tb.Context(), lines...)
	if err != nil {
		tb.Fatal(err)
	}
	d.closeAfter(tb, "dovecot")
	return d
}

// StartDovecot makes a server and starts it. The caller closes it.
func StartDovecot(ctx context.Context, lines ...string) (*Dovecot, error) {
	d := &Dovecot{password: rand.Text()}
	err := d.prepare("postfix", "imap", "imaps", "pop3", "pop3s", "lmtp", "auth")
	if err == nil {
		err = d.configure(lines)
	}
	if err == nil {
		err = d.start(ctx, ProcessOptions{Path: "/usr/sbin/dovecot", Args: []string{"-F", "-c", d.dir + "/dovecot.conf"}})
	}
	if err != nil {
		return nil, errors.Join(err, errors.New(d.Log()), d.Close())
	}
	return d, nil
}

func (d *Dovecot) configure(lines []string) error {
	const text = `
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
listen = 127.0.0.1
protocols = imap pop3 lmtp
ssl = yes
ssl_cert = <%[1]s/tls/server.crt
ssl_key = <%[1]s/tls/server.key
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_format = %%Ln
mail_location = maildir:~/Maildir
first_valid_uid = 1
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
passdb {
  driver = passwd-file
  args = scheme=PLAIN %[1]s/users
}
userdb {
  driver = static
  args = uid=vmail gid=vmail home=%[1]s/mail/%%n allow_all_users=yes
}
namespace inbox {
  inbox = yes
  mailbox Junk {
    auto = create
    special_use = \Junk
  }
}
service imap-login {
  inet_listener imap {
    port = %[2]d
  }
  inet_listener imaps {
    port = %[3]d
    ssl = yes
  }
}
service pop3-login {
  inet_listener pop3 {
    port = %[4]d
  }
  inet_listener pop3s {
    port = %[5]d
    ssl = yes
  }
}
service lmtp {
  inet_listener lmtp {
    port = %[6]d
  }
}
service auth {
  inet_listener {
    port = %[7]d
  }
}
`
	configuration := fmt.Sprintf(text, d.dir,
		d.ports["imap"], d.ports["imaps"], d.ports["pop3"], d.ports["pop3s"], d.ports["lmtp"], d.ports["auth"])
	for _, line := range lines {
		configuration += line + "\n"
	}
	return errors.Join(
		d.root.mkdir(d.dir+"/mail", "vmail", 0o755),
		d.root.write(d.dir+"/users", "probe:{PLAIN}"+d.password+"\n"),
		d.root.write(d.dir+"/dovecot.conf", configuration),
	)
}

// User returns the name to log in with.
func (d *Dovecot) User() string { return "probe" }

// Password returns the user's password.
func (d *Dovecot) Password() string { return d.password }

// IMAPAddr and the others return host:port.
func (d *Dovecot) IMAPAddr() string { return d.addr("imap") }

// IMAPSAddr is where IMAP is spoken within TLS.
func (d *Dovecot) IMAPSAddr() string { return d.addr("imaps") }

// POP3Addr is where POP3 is spoken, with STLS.
func (d *Dovecot) POP3Addr() string { return d.addr("pop3") }

// POP3SAddr is where POP3 is spoken within TLS.
func (d *Dovecot) POP3SAddr() string { return d.addr("pop3s") }

// LMTPAddr is where mail is taken.
func (d *Dovecot) LMTPAddr() string { return d.addr("lmtp") }

// Maildir returns the user's mailbox on disk; its folders are in it.
func (d *Dovecot) Maildir() string {
	return d.root.outside(filepath.Join(d.dir, "mail", "probe", "Maildir"))
}
