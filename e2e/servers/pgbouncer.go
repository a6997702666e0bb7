package servers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// PgBouncer is a running connection pooler before a PostgreSQL server.
type PgBouncer struct {
	server  *Postgres
	process *Process
	dir     string
	port    int
}

// NewPgBouncer starts a pooler for a test and ends it with the test. Settings are lines of pgbouncer.ini, which
// otherwise says only where the server is, who may log in, and that a server connection is lent for a transaction.
func NewPgBouncer(tb testing.TB, server *Postgres, settings map[string]string) *PgBouncer {
	tb.Helper()
	b, err := startPgBouncer(tb.Context(), server, settings)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := errors.Join(b.process.Stop(), os.RemoveAll(b.dir)); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("output of pgbouncer:\n%s", b.process.Output())
		}
	})
	return b
}

func startPgBouncer(ctx context.Context, server *Postgres, settings map[string]string) (*PgBouncer, error) {
	b := &PgBouncer{server: server}
	path, err := pgBouncerPath()
	if err != nil {
		return nil, err
	}
	if b.port, err = FreePort(); err != nil {
		return nil, err
	}
	if b.dir, err = server.account.makeDir("", "pgbouncer-"); err != nil {
		return nil, err
	}
	if err = b.configure(settings); err == nil {
		b.process, err = StartProcess(ProcessOptions{
			Path: path, Args: []string{filepath.Join(b.dir, "pgbouncer.ini")}, Dir: b.dir, account: server.account, needs: []string{b.dir},
		})
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.dir))
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := b.process.until(ctx, b.listens); err != nil {
		return nil, errors.Join(err, b.process.Stop(), os.RemoveAll(b.dir))
	}
	return b, nil
}

func pgBouncerPath() (string, error) {
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path, nil
	}
	if path := "/usr/sbin/pgbouncer"; isProgram(path) {
		return path, nil
	}
	return "", errors.New("no pgbouncer here; run: tools/ensure.sh pgbouncer")
}

func (b *PgBouncer) configure(settings map[string]string) error {
	users := filepath.Join(b.dir, "users.txt")
	all := map[string]string{
		"listen_addr": "127.0.0.1", "listen_port": strconv.Itoa(b.port), "unix_socket_dir": "",
		"auth_type": "plain", "auth_file": users, "pool_mode": "transaction", "admin_users": "postgres",
	}
	maps.Copy(all, settings)
	var text strings.Builder
	fmt.Fprintf(&text, "[databases]\n* = host=%s port=%d\n[pgbouncer]\n", b.server.Host(), b.server.Port())
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s = %s\n", name, all[name])
	}
	return errors.Join(
		b.server.account.writeFile(users, fmt.Sprintf("\"postgres\" \"%s\"\n", b.server.Password())),
		b.server.account.writeFile(filepath.Join(b.dir, "pgbouncer.ini"), text.String()),
	)
}

func (b *PgBouncer) listens() bool {
	conn, err := net.DialTimeout("tcp", b.Addr(), time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close() // it was opened to see that it can be
	return true
}

// Addr returns host:port.
func (b *PgBouncer) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port)) }

// DSN returns the URL of a database behind the pooler, for the server's superuser.
func (b *PgBouncer) DSN(database string) string {
	return fmt.Sprintf("postgres://postgres:%s@%s/%s?sslmode=disable", b.server.Password(), b.Addr(), database)
}
