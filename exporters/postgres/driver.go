package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Limits on what a server may take or send.
const (
	lockTimeout    = 250 * time.Millisecond // a monitoring query behind a lock fails alone, and soon
	maxMessage     = 16 << 20               // bytes of one protocol message: one row
	maxBatch       = 256 << 20              // bytes of all answers of a scrape
	cleanupLimit   = 2 * time.Second        // for a cancel request to reach a server that may be stalled
	connectTimeout = 10 * time.Second
)

// driver opens connections to one database.
type driver struct {
	settings  func() (*pgconn.Config, error)                         // reads secrets anew
	database  string                                                 // instead of the settings' own, where it is not ""
	statement time.Duration                                          // longest time of one question
	guard     func(network, address string, c syscall.RawConn) error // on the addresses that names resolve to
	write     []collect.Probe                                        // of the health check, where one is configured
}

// identity asks what the server is now. It is the ping of the health check as well: asked first in every batch, so
// that a failover between two scrapes is seen without a question of its own.
const identity = `SELECT '' AS name, pg_is_in_recovery()::text AS place
UNION ALL SELECT e.extname::text, quote_ident(n.nspname) FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace`

// Probes are the steps of the health check: the server answers, a table can be read and, where that is configured, one
// can be written.
func (d *driver) Probes() []collect.Probe {
	return append([]collect.Probe{
		{Operation: collect.Ping, Question: collect.Question{Text: identity}},
		{Operation: collect.Read, Question: collect.Question{Text: `SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()`}},
	}, d.write...)
}

// Connect opens a connection whose session settings travel in the startup message, and asks once who is there.
func (d *driver) Connect(ctx context.Context) (collect.Conn, error) {
	config, err := d.settings()
	if err != nil {
		return nil, fault.Wrap(fault.Config, "connection settings", err)
	}
	c := &conn{prepared: map[string]*pgconn.StatementDescription{}, dialer: net.Dialer{Control: d.guard}}
	if d.database != "" {
		config.Database = d.database
	}
	d.prepare(ctx, config)
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return c.dial(ctx, dial, network, address)
	}
	if c.pg, err = pgconn.ConnectConfig(ctx, config); err != nil {
		c.abandon()
		return nil, err
	}
	c.meter.Allow(maxBatch)
	hello := collect.Question{Text: identity}
	if c.pg.ParameterStatus("server_encoding") == "SQL_ASCII" {
		// Such a server does not know what its bytes mean, and refuses to send what is no UTF-8 to a client that
		// asks for it. It is repaired here instead.
		hello.Prelude = []string{"SET client_encoding TO 'SQL_ASCII'"}
	}
	var refused error
	err = c.Do(ctx, []collect.Question{hello}, func(_ int, answer collect.Answer, err error) {
		if refused = err; err == nil {
			refused = collect.Drain(answer) // the connection takes note itself
		}
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// prepare adds what every session needs to what the user configured, whose word counts where both speak.
func (d *driver) prepare(ctx context.Context, config *pgconn.Config) {
	statement := d.statement
	if deadline, ok := ctx.Deadline(); ok { // the background connection of slow questions, which has its own limit
		statement = max(time.Until(deadline)*9/10, time.Second)
	}
	session := map[string]string{
		"application_name":                    "postgres-exporter",
		"client_encoding":                     "UTF8",
		"default_transaction_read_only":       "on",
		"search_path":                         "pg_catalog",
		"statement_timeout":                   milliseconds(statement),
		"lock_timeout":                        milliseconds(lockTimeout),
		"idle_in_transaction_session_timeout": milliseconds(statement),
	}
	maps.Copy(session, config.RuntimeParams)
	config.RuntimeParams = session
	config.MaxProtocolMessageBodyLen = maxMessage
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// conn is one session. Statements are prepared on first use and kept as long as the connection.
type conn struct {
	pg       *pgconn.PgConn
	dialer   net.Dialer
	meter    collect.Meter
	id       collect.Identity
	prepared map[string]*pgconn.StatementDescription
	names    int // of statements ever prepared

	mu     sync.Mutex
	open   []net.Conn // the connection itself, and those of cancel requests
	closed bool
}

// dial counts the connection and keeps it at hand, so that it can be closed when the library still waits for it.
func (c *conn) dial(ctx context.Context, dial pgconn.DialFunc, network, address string) (net.Conn, error) {
	if c.dialer.Control != nil {
		dial = c.dialer.DialContext
	}
	raw, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = raw.Close()
		return nil, net.ErrClosed
	}
	c.open = append(c.open, raw)
	return c.meter.Wrap(raw), nil
}

// Identity is what the newest batch told.
func (c *conn) Identity() collect.Identity { return c.id }

// Usage counts what the connection cost.
func (c *conn) Usage() collect.Usage { return c.meter.Usage() }

// Close says good-bye to a server that listens; to one that does not, a cancel request is under way already, which
// gets a little time to arrive.
func (c *conn) Close() {
	if c.pg.IsClosed() {
		time.AfterFunc(cleanupLimit, c.abandon)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	_ = c.pg.Close(ctx) // closed in any case
	c.abandon()
}

// abandon closes what is left of the connection.
func (c *conn) abandon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, raw := range c.open {
		_ = raw.Close() // a second time, for most
	}
	c.open = nil
}

// Do asks all questions in one pipeline with a Sync after each, so that one that fails touches no other.
func (c *conn) Do(ctx context.Context, questions []collect.Question, read func(int, collect.Answer, error)) error {
	c.meter.Allow(maxBatch)
	pipeline := c.pg.StartPipeline(ctx)
	defer func() { _ = pipeline.Close() }() // a pipeline that failed has told so already
	names := make([]string, len(questions))
	for i, question := range questions {
		names[i] = c.send(pipeline, question)
	}
	if err := pipeline.Flush(); err != nil {
		return err
	}
	for i, question := range questions {
		if err := c.receive(pipeline, question, names[i], func(answer collect.Answer, err error) { read(i, answer, writeFailure(question, err)) }); err != nil {
			return err
		}
	}
	return pipeline.Close()
}

// send queues a question. It gives the name under which its statement is prepared, or "" where it is already.
func (c *conn) send(pipeline *pgconn.Pipeline, question collect.Question) (name string) {
	for _, statement := range question.Prelude {
		pipeline.SendQueryParams(statement, nil, nil, nil, nil)
	}
	if known := c.prepared[question.Text]; known != nil {
		pipeline.SendQueryStatement(known, nil, nil, nil)
	} else {
		c.names++
		name = fmt.Sprintf("q%d", c.names)
		pipeline.SendPrepare(name, question.Text, nil)
		pipeline.SendQueryPrepared(name, nil, nil, nil)
	}
	pipeline.SendPipelineSync()
	return name
}

// receive takes everything up to the question's Sync and hands its answer, or its error, to read exactly once. The
// error it returns is one of the connection.
func (c *conn) receive(pipeline *pgconn.Pipeline, question collect.Question, name string, read func(collect.Answer, error)) error {
	var failed error
	skip, handed := len(question.Prelude), false
	for {
		result, err := pipeline.GetResults()
		switch result := result.(type) {
		case *pgconn.PipelineSync:
			if !handed {
				failed = cmp.Or(failed, fault.New(fault.Malformed, "no answer to the question"))
				read(nil, failed)
			}
			c.forgetIfStale(question, failed)
			return nil
		case *pgconn.StatementDescription:
			result.Name = name // which the library leaves to us
			c.prepared[question.Text] = result
		case *pgconn.ResultReader:
			if skip--; skip < 0 {
				handed = true
				failed = c.hand(result, question, read)
			} else if _, err = result.Close(); err != nil {
				failed = cmp.Or(failed, err)
			}
		default:
			if !ownFailure(err) {
				return connectionError(err, failed)
			}
			failed = cmp.Or(failed, err)
		}
	}
}

// hand gives an answer to its reader, takes what the reader left, and tells how the answer ended.
func (c *conn) hand(result *pgconn.ResultReader, question collect.Question, read func(collect.Answer, error)) error {
	rows := &answer{conn: c, result: result, identity: question.Text == identity}
	read(rows, nil)
	return rows.close()
}

// ownFailure tells whether an error is that of one question and leaves the connection as it is.
func ownFailure(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Severity != "FATAL" && pgErr.Severity != "PANIC"
}

// connectionError prefers what the server said before it closed the connection to the fact that it is closed.
func connectionError(err, before error) error {
	var pgErr *pgconn.PgError
	if err == nil || errors.As(before, &pgErr) && !errors.As(err, &pgErr) {
		err = before
	}
	if err == nil {
		err = fault.New(fault.Malformed, "the server's answers ended early")
	}
	return err
}

// forgetIfStale drops a prepared statement that the server no longer knows or whose result has changed, such as after
// ALTER EXTENSION UPDATE; the next scrape prepares it anew under another name.
func (c *conn) forgetIfStale(question collect.Question, err error) {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && (pgErr.Code == "0A000" || pgErr.Code == "26000") {
		delete(c.prepared, question.Text)
	}
}

// answer reads the rows of one question as they arrive.
type answer struct {
	conn     *conn
	result   *pgconn.ResultReader
	identity bool
	fresh    collect.Identity
	done     bool
	err      error
}

// Fields gives the names of the columns.
func (a *answer) Fields() []string {
	described := a.result.FieldDescriptions()
	names := make([]string, len(described))
	for i, field := range described {
		names[i] = field.Name
	}
	return names
}

// Next goes to the next row.
func (a *answer) Next() bool {
	if a.done || !a.result.NextRow() {
		_ = a.close() // kept for Err
		return false
	}
	if a.identity {
		a.note()
	}
	return true
}

// Value gives the text of a column, nil for NULL.
func (a *answer) Value(i int) []byte { return a.result.Values()[i] }

// Err tells why the rows ended, nil at their proper end.
func (a *answer) Err() error { return a.err }

// close reads what is left, so that the next question's answer can be reached.
func (a *answer) close() error {
	if !a.done {
		a.done = true
		if _, a.err = a.result.Close(); a.err == nil && a.identity {
			a.conn.identified(a.fresh)
		}
	}
	return a.err
}

// note takes one row of the identity question.
func (a *answer) note() {
	if a.fresh.Features == nil {
		a.fresh.Features = map[string]string{}
	}
	if name, place := string(a.Value(0)), string(a.Value(1)); name != "" {
		a.fresh.Features[name] = place
	} else {
		a.fresh.Replica = place == "true"
	}
}

// identified completes an identity with what the server reports by itself.
func (c *conn) identified(id collect.Identity) {
	id.Product, id.Text = "PostgreSQL", c.pg.ParameterStatus("server_version")
	id.Version = versionNumber(id.Text)
	c.id = id
}

// versionNumber turns "15.4 (Debian …)", "17beta2" or "13.14" into the number that server_version_num has.
func versionNumber(text string) int {
	text, _, _ = strings.Cut(text, " ")
	major, rest, _ := strings.Cut(text, ".")
	number := leadingNumber(major)*10000 + leadingNumber(rest)
	return number
}

func leadingNumber(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		text = text[:end]
	}
	n, _ := strconv.Atoi(text) // nothing is 0
	return n
}

// Classify tells the kind of an error by its SQLSTATE or by what broke below.
func (d *driver) Classify(err error) fault.Kind {
	var known *fault.Error
	var pgErr *pgconn.PgError
	var parseErr *pgconn.ParseConfigError
	var tooLong *pgproto3.ExceededMaxBodyLenErr
	var tlsErr *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var netErr net.Error
	switch {
	case errors.As(err, &known):
		return known.Kind
	case errors.As(err, &pgErr):
		return classifySQLState(pgErr.Code)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.Timeout
	case errors.As(err, &parseErr), refusedTLS(err):
		return fault.Config
	case errors.As(err, &tooLong):
		return fault.Limited
	case errors.As(err, &tlsErr), errors.As(err, &authority):
		return fault.Auth
	case errors.As(err, &netErr), broken(err):
		if netErr != nil && netErr.Timeout() {
			return fault.Timeout
		}
		return fault.Unreachable
	}
	return fault.Malformed
}

// broken tells whether the connection ended.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// refusedTLS knows the one error of the library that has no type: the server has no TLS and sslmode demands it.
func refusedTLS(err error) bool {
	return strings.Contains(err.Error(), "server refused TLS connection")
}

// sqlStates maps conditions, and where a whole class means the same, their first two characters.
var sqlStates = map[string]fault.Kind{
	"28":    fault.Auth,
	"42501": fault.Denied,
	"3D000": fault.Config,      // no such database
	"42P01": fault.Unsupported, // no such table, function or column: another server than we know
	"42883": fault.Unsupported,
	"42703": fault.Unsupported,
	"0A000": fault.Unsupported,
	"55000": fault.Unsupported, // an extension that was not loaded at start
	"57014": fault.Timeout,     // statement_timeout, or a cancel
	"55P03": fault.Busy,        // lock_timeout
	"40":    fault.Busy,
	"53":    fault.Busy, // no connection slot, no memory, no disk
	"57":    fault.Unreachable,
	"58":    fault.Unreachable, // the server cannot read its own files
	"08":    fault.Unreachable,
	"25":    fault.Internal,
	"42":    fault.Internal, // the question itself is wrong
}

func classifySQLState(code string) fault.Kind {
	if kind, ok := sqlStates[code]; ok {
		return kind
	}
	if len(code) == 5 {
		if kind, ok := sqlStates[code[:2]]; ok {
			return kind
		}
	}
	return fault.Malformed
}
