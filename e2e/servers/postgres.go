package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// startPatience bounds the start of one server, on a machine that is busy with others.
const startPatience = 60 * time.Second

// PostgresOptions says what kind of PostgreSQL server to make. The zero value is the
// newest one installed, with UTF-8, pg_stat_statements and password authentication.
type PostgresOptions struct {
	Major    int               // 13 to 18; see PostgresBin for 0
	Settings map[string]string // settings of postgresql.conf; they replace the package's own
	Encoding string            // of the databases; empty means UTF8
	Locale   string            // of the databases; empty means C
	TLS      bool              // offer TLS with a certificate that CAFile verifies
	HBA      []string          // lines of pg_hba.conf, before the usual ones: the first match wins
	Initial  []string          // SQL for the database postgres, run once
	Dir      string            // where the server's folder is made; empty means the system's for temporary files

	bin string // the folder of the server programs; empty means that of Major
}

// Postgres is a PostgreSQL server with one superuser, postgres. It listens on a TCP
// port of the loopback address, with a password, and on a Unix socket.
//
// The methods that start, stop, pause or resume are for one goroutine at a time;
// the others may run beside them.
type Postgres struct {
	bin, version        string
	dir, data, sockets  string
	port                int
	password, caFile    string
	account             *account
	log                 *tail
	process             *Process // the postmaster; nil while stopped
	paused              *guard   // nil while not paused
	temporarySocketsDir bool     // sockets lies outside dir
}

// NewPostgres starts a server for a test and closes it at the test's end.
func NewPostgres(tb testing.TB, o PostgresOptions) *Postgres {
	tb.Helper()
	p, err := StartPostgres(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	p.closeAfter(tb)
	return p
}

// closeAfter closes the server at the test's end, and shows its log if the test failed.
func (p *Postgres) closeAfter(tb testing.TB) {
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			log := p.Log()
			tb.Logf("end of the log of PostgreSQL %s:\n%s", p.version, log[max(0, len(log)-4096):])
		}
	})
}

// StartPostgres makes a server and starts it. The caller closes it.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	if o.bin == "" {
		var err error
		if o.bin, err = PostgresBin(o.Major); err != nil {
			return nil, err
		}
	}
	p, err := newPostgres(ctx, o.bin, o.Dir)
	if err != nil {
		return nil, err
	}
	if err := p.create(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("PostgreSQL %s: %w", p.version, err), p.Close())
	}
	return p, nil
}

// newPostgres makes the folders of a server that has no data yet.
func newPostgres(ctx context.Context, bin, parent string) (*Postgres, error) {
	p := &Postgres{bin: bin, password: rand.Text(), log: &tail{max: outputKept}}
	var err error
	if p.version, err = serverVersion(ctx, p.program("postgres")); err != nil {
		return nil, err
	}
	if p.account, err = serverAccount(); err != nil {
		return nil, err
	}
	if p.dir, err = p.account.makeDir(parent, "postgres-"); err != nil {
		return nil, err
	}
	p.data = filepath.Join(p.dir, "data")
	if err := p.makeSocketDir(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// serverVersion asks the program, which answers "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
func serverVersion(ctx context.Context, program string) (string, error) {
	answer, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", program, err)
	}
	fields := strings.Fields(string(answer))
	if len(fields) < 3 {
		return "", fmt.Errorf("%s --version: %q", program, answer)
	}
	return fields[2], nil
}

// makeSocketDir puts the Unix socket beside the data, or in a folder of its own where
// that path would be longer than the kernel takes.
func (p *Postgres) makeSocketDir() error {
	const longest = 107
	p.sockets = p.dir
	if len(filepath.Join(p.dir, ".s.PGSQL.65535")) <= longest {
		return nil
	}
	dir, err := p.account.makeDir("/tmp", "postgres-socket-")
	if err == nil {
		p.sockets, p.temporarySocketsDir = dir, true
	}
	return err
}

// create fills the folders, starts the server and runs the initial SQL.
func (p *Postgres) create(ctx context.Context, o PostgresOptions) error {
	if err := p.initdb(ctx, o); err != nil {
		return err
	}
	if o.TLS {
		if err := makeCertificates(p.dir, p.account); err != nil {
			return err
		}
		p.caFile = certificate(p.dir, "ca.crt")
	}
	if err := p.configure(o); err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	return p.Exec(ctx, "postgres", o.Initial...)
}

// Start starts a stopped server, with the port and the data it had.
func (p *Postgres) Start(ctx context.Context) error {
	if p.running() {
		return fmt.Errorf("PostgreSQL %s runs already", p.version)
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	command := p.command("postgres", "-D", p.data)
	command.output = p.log
	process, err := StartProcess(command)
	if err != nil {
		return err
	}
	p.process = process
	if err := process.until(ctx, p.ready); err != nil {
		return errors.Join(err, p.Stop())
	}
	return nil
}

// running reports whether there is a postmaster, frozen or not.
func (p *Postgres) running() bool {
	if p.process == nil {
		return false
	}
	select {
	case <-p.process.Done():
		return false
	default:
		return true
	}
}

// command is the way to run one of the server's programs.
func (p *Postgres) command(program string, args ...string) ProcessOptions {
	return ProcessOptions{
		Path:    p.program(program),
		Args:    args,
		Dir:     p.dir,
		account: p.account,
		needs:   []string{p.data, p.sockets},
		// The immediate shutdown: the postmaster takes its children and its
		// shared memory with it, which it cannot after SIGKILL.
		deathSignal: syscall.SIGQUIT,
	}
}

func (p *Postgres) program(name string) string { return filepath.Join(p.bin, name) }

// ready reports whether the server says, in its lock file, that it accepts connections.
// Unlike a connection that does not depend on pg_hba.conf.
func (p *Postgres) ready() bool {
	const pidLine, statusLine = 0, 7
	text, err := os.ReadFile(filepath.Join(p.data, "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	return len(lines) > statusLine && // else it is still being written
		strings.TrimSpace(lines[pidLine]) == strconv.Itoa(p.process.PID()) &&
		strings.TrimSpace(lines[statusLine]) == "ready"
}

// Stop shuts the server down as an administrator would, which ends all sessions, and
// keeps its port and data. A server that does not end is killed, and that is an error.
func (p *Postgres) Stop() error {
	if p.process == nil {
		return nil
	}
	p.Resume()
	signalAll(p.children(), syscall.SIGCONT) // one that PauseBackend stopped would hold up the shutdown
	process := p.process
	p.process = nil
	fast, immediate := syscall.SIGINT, syscall.SIGQUIT
	if process.endBy(fast) || process.endBy(immediate) {
		return nil
	}
	process.endBy(syscall.SIGKILL)
	return fmt.Errorf("PostgreSQL %s did not shut down and was killed", p.version)
}

// Restart stops the server and starts it again.
func (p *Postgres) Restart(ctx context.Context) error {
	if err := p.Stop(); err != nil {
		return err
	}
	return p.Start(ctx)
}

// Close stops the server and removes all it has left.
func (p *Postgres) Close() error {
	err := p.Stop()
	if p.temporarySocketsDir {
		err = errors.Join(err, os.RemoveAll(p.sockets))
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}

// Exec runs statements in a database as the superuser, over the Unix socket. Each
// string may hold several.
func (p *Postgres) Exec(ctx context.Context, database string, statements ...string) error {
	if len(statements) == 0 {
		return nil
	}
	connection, err := p.connect(ctx, database)
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	for _, statement := range statements {
		if _, err := connection.Exec(ctx, statement).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// Query runs statements in a database as the superuser and returns the first value of
// the last one's answer, as text. A NULL is empty; no row is an error.
func (p *Postgres) Query(ctx context.Context, database, statements string) (string, error) {
	connection, err := p.connect(ctx, database)
	if err != nil {
		return "", err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	return firstValue(ctx, connection, statements)
}

func firstValue(ctx context.Context, connection *pgconn.PgConn, statements string) (string, error) {
	row, err := firstRow(ctx, connection, statements)
	if err != nil {
		return "", err
	}
	return string(row[0]), nil
}

func firstRow(ctx context.Context, connection *pgconn.PgConn, statements string) ([][]byte, error) {
	results, err := connection.Exec(ctx, statements).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", statements, err)
	}
	if len(results) == 0 || len(results[len(results)-1].Rows) == 0 {
		return nil, fmt.Errorf("%s: no row", statements)
	}
	return results[len(results)-1].Rows[0], nil
}

func (p *Postgres) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(fmt.Sprintf("user=postgres sslmode=disable connect_timeout=30 host='%s'", p.sockets))
	if err != nil {
		return nil, err
	}
	config.Port = uint16(p.port)
	config.Database = database
	config.Password = p.password
	return pgconn.ConnectConfig(ctx, config)
}

// DSN returns the URL of a database for the superuser, over TCP with the password, and
// with TLS where the server offers it.
func (p *Postgres) DSN(database string) string {
	query := "sslmode=disable"
	if p.caFile != "" {
		query = "sslmode=verify-full&sslrootcert=" + url.QueryEscape(p.caFile)
	}
	address := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword("postgres", p.password),
		Host:     net.JoinHostPort(p.Host(), strconv.Itoa(p.port)),
		Path:     "/" + database,
		RawQuery: query,
	}
	return address.String()
}

// Host returns the address that the server listens on.
func (p *Postgres) Host() string { return "127.0.0.1" }

// Port returns the TCP port.
func (p *Postgres) Port() int { return p.port }

// Addr returns host:port.
func (p *Postgres) Addr() string { return net.JoinHostPort(p.Host(), strconv.Itoa(p.port)) }

// SocketDir returns the folder of the Unix socket, on which the superuser needs no password.
func (p *Postgres) SocketDir() string { return p.sockets }

// Password returns the superuser's password.
func (p *Postgres) Password() string { return p.password }

// CAFile returns the file that verifies the server's certificate; empty without TLS.
func (p *Postgres) CAFile() string { return p.caFile }

// DataDir returns the data directory.
func (p *Postgres) DataDir() string { return p.data }

// Version returns the server's version, as in "15.18".
func (p *Postgres) Version() string { return p.version }

// Log returns the end of the server's log, its last MiB at most, over all its starts.
func (p *Postgres) Log() string { return p.log.String() }

// Process returns the running postmaster; nil while the server is stopped.
func (p *Postgres) Process() *Process { return p.process }
