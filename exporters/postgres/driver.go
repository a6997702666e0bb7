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
	"slices"
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
	maxHello       = 128 << 10              // bytes until the server is ready for questions
	maxAhead       = 16 << 20               // bytes that are read while questions are sent: they wait in memory
	maxBatch       = 64 << 20               // bytes of all answers of a scrape
	maxFeatures    = 1000                   // extensions of a database
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
	simple    bool                                                   // the server knows simple questions only
	shared    *descriptions                                          // of statements, with other drivers; nil where there are none
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

// Connect opens a connection, asks who is there, and settles the session.
func (d *driver) Connect(ctx context.Context) (collect.Conn, error) {
	c, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.hello(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// open brings a connection to where questions can be asked. The startup message holds what every pooler takes; what
// else a session needs comes afterwards, so that the server still knows its own values, which pg_settings shows.
func (d *driver) open(ctx context.Context) (*conn, error) {
	config, err := d.settings()
	if err != nil {
		return nil, fault.Wrap(fault.Config, "connection settings", err)
	}
	if d.database != "" {
		config.Database = d.database
	}
	d.prepare(ctx, config)
	c := &conn{shared: d.shared, dialer: net.Dialer{Control: d.guard}, session: config.RuntimeParams, wire: wire{simple: d.simple}}
	config.RuntimeParams = maps.Clone(c.session)
	maps.DeleteFunc(config.RuntimeParams, func(name, _ string) bool { return name == readOnly || slices.Contains(localSettings, name) })
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return c.dial(ctx, dial, network, address)
	}
	config.BuildFrontend = c.frontend
	c.meter.Allow(maxHello)
	if c.pg, err = pgconn.ConnectConfig(ctx, config); err != nil {
		c.abandon()
		return nil, err
	}
	config.RuntimeParams, config.Fallbacks = nil, nil // they have served, and the connection keeps its configuration
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
		"jit":                                 "off", // with a large catalogue, compiling costs more than the answer
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

// localSettings are those of prepare that a pooler does not know, and that a transaction can have for itself.
var localSettings = []string{"idle_in_transaction_session_timeout", "jit", "lock_timeout", "search_path", "statement_timeout"}

// readOnly is the one that a transaction calls otherwise.
const readOnly = "default_transaction_read_only"

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// conn is one session. Statements are prepared on first use and kept as long as the connection.
//
// Behind a pooler there is no session: each question may meet another one, with settings and statements of others. So
// nothing is prepared there, and the settings go before each question, in its transaction.
type conn struct {
	pg       *pgconn.PgConn       // nil while it rests
	resting  *pgconn.HijackedConn // what is left of it then
	speaker  *speaker             // of pg
	wire     wire
	dialer   net.Dialer
	meter    collect.Meter
	id       collect.Identity
	session  map[string]string              // the settings that our questions need; nil once the session has them
	pooled   bool                           // a pooler is between us and the server
	local    string                         // the statement that gives one question its settings; "" in a session of our own
	prepared []*pgconn.StatementDescription // nil behind a pooler
	shared   *descriptions
	names    int // of statements ever prepared

	mu     sync.Mutex
	open   []net.Conn // the connection itself, and those of cancel requests
	closed bool
}

// ownSession tells whether the startup message has reached the session itself. A pooler speaks in its own name.
const ownSession = `SELECT source = 'client' FROM pg_catalog.pg_settings WHERE name = 'application_name'`

// hello asks who is there, and whether a pooler is between. Where that is not to be learned, one is assumed: what is
// done for its sake is right without one too.
func (c *conn) hello(ctx context.Context) error {
	questions := []collect.Question{{Text: identity}, {Text: ownSession}}
	if c.pg.ParameterStatus("server_encoding") == "SQL_ASCII" {
		// Such a server does not know what its bytes mean, and refuses to send what is no UTF-8 to a client that
		// asks for it. It is repaired here instead.
		questions[0].Prelude = []string{"SET client_encoding TO 'SQL_ASCII'"}
	}
	var refused error
	own := false
	err := c.Do(ctx, questions, func(i int, answer collect.Answer, err error) {
		for err == nil && answer.Next() {
			own = i == 1 && string(answer.Value(0)) == "t" // of the identity, the connection takes note itself
		}
		if i == 0 {
			refused = err
			if err == nil {
				refused = answer.Err()
			}
		}
	})
	if err = cmp.Or(err, refused); err != nil {
		return err
	}
	if !own {
		c.pooled = true
		c.local = c.configure(localSettings, true)
		return nil
	}
	if err := c.settle(ctx); err != nil { // which is asked but once, and so is not prepared
		return err
	}
	c.prepared, c.session = []*pgconn.StatementDescription{}, nil
	return nil
}

// settle gives a session of our own its settings.
func (c *conn) settle(ctx context.Context) error {
	var refused error
	question := collect.Question{Text: c.configure(append([]string{readOnly}, localSettings...), false)}
	err := c.Do(ctx, []collect.Question{question}, func(_ int, answer collect.Answer, err error) {
		if refused = err; err == nil {
			refused = collect.Drain(answer)
		}
	})
	return cmp.Or(err, refused)
}

// configure makes the statement that sets settings, for the session or for one transaction. It is a function call
// because SET LOCAL would fill the server's log with warnings.
func (c *conn) configure(settings []string, local bool) string {
	var calls []string
	for _, name := range settings {
		calls = append(calls, fmt.Sprintf("pg_catalog.set_config(%s, %s, %v)", quote(name), quote(c.session[name]), local))
	}
	return "SELECT " + strings.Join(calls, ", ")
}

// quoted writes a text between apostrophes, in SQL and in connection strings alike.
var quoted = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

// quote writes a text as SQL, whatever it holds and however the server reads a backslash.
func quote(text string) string { return " E'" + quoted.Replace(text) + "'" }

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
	if c.wake() != nil || c.pg.IsClosed() {
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
	if err := c.wake(); err != nil {
		return err
	}
	if c.pg.Frontend().ReadBufferLen() > 0 {
		return fault.New(fault.Malformed, "the server says what nobody asked")
	}
	c.meter.Allow(maxAhead)
	pipeline := c.pg.StartPipeline(ctx)
	defer func() { _ = pipeline.Close() }() // a pipeline that failed has told so already
	names := make([]string, len(questions))
	for i, question := range questions {
		names[i] = c.send(pipeline, question)
	}
	if err := pipeline.Flush(); err != nil {
		return err
	}
	c.meter.Allow(maxBatch)
	for i, question := range questions {
		if err := c.receive(pipeline, question, names[i], func(answer collect.Answer, err error) { read(i, answer, writeFailure(question, err)) }); err != nil {
			if !c.pg.IsClosed() { // it is our judgement: closing the pipeline would wait for answers that may never come
				c.abandon()
			}
			return err
		}
	}
	if err := pipeline.Close(); err != nil {
		return err
	}
	c.noteRole()
	c.rest()
	return nil
}

// send queues a question. It gives the name under which its statement is prepared, or "" where it is already or is not
// going to be.
func (c *conn) send(pipeline *pgconn.Pipeline, question collect.Question) (name string) {
	for _, statement := range c.prelude(question) {
		pipeline.SendQueryParams(statement, nil, nil, nil, nil)
	}
	if known := c.known(question); known != nil {
		pipeline.SendQueryStatement(known, nil, nil, nil)
	} else if c.prepared == nil {
		pipeline.SendQueryParams(question.Text, nil, nil, nil, nil)
	} else {
		c.names++
		name = fmt.Sprintf("q%d", c.names)
		pipeline.SendPrepare(name, question.Text, nil)
		pipeline.SendQueryPrepared(name, nil, nil, nil)
	}
	pipeline.SendPipelineSync()
	return name
}

// known gives the statement that is prepared for a question, nil where there is none. They are too few for a map of each
// connection.
func (c *conn) known(question collect.Question) *pgconn.StatementDescription {
	at := slices.IndexFunc(c.prepared, func(d *pgconn.StatementDescription) bool { return d.SQL == question.Text })
	if at < 0 {
		return nil
	}
	return c.prepared[at]
}

// prelude is what goes before a question in its transaction. Whether it may write has to be said first of all.
func (c *conn) prelude(question collect.Question) []string {
	if c.local == "" {
		return question.Prelude
	}
	mode, rest := "SET transaction_read_only TO "+quote(c.session[readOnly]), question.Prelude
	if len(rest) > 0 && rest[0] == readWrite {
		mode, rest = readWrite, rest[1:]
	}
	return append([]string{mode, c.local}, rest...)
}

// receive takes everything up to the question's Sync and hands its answer, or its error, to read exactly once. The
// error it returns is one of the connection.
func (c *conn) receive(pipeline *pgconn.Pipeline, question collect.Question, name string, read func(collect.Answer, error)) error {
	var failed error
	skip, handed := len(c.prelude(question)), false
	for {
		result, err := pipeline.GetResults()
		switch result := result.(type) {
		case *pgconn.PipelineSync:
			if !handed {
				failed = cmp.Or(c.forgetIfStale(question, name, failed), fault.New(fault.Malformed, "no answer to the question"))
				read(nil, failed)
			}
			return nil
		case *pgconn.StatementDescription:
			result.Name, result.SQL = name, question.Text // which the library leaves to us
			c.prepared = append(c.prepared, c.shared.share(result))
		case *pgconn.ResultReader:
			if skip--; skip < 0 {
				handed = true
				failed = c.hand(result, question, read)
			} else if _, err = result.Close(); err != nil {
				failed = cmp.Or(failed, err)
			}
			if !ownFailure(failed) {
				return failed
			}
		default:
			if err == nil {
				return fault.New(fault.Malformed, "the server's answers ended early")
			}
			if !ownFailure(err) {
				return err
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
	if !errors.As(err, &pgErr) {
		return err == nil
	}
	switch cmp.Or(pgErr.SeverityUnlocalized, pgErr.Severity) { // the latter in the server's language
	case "FATAL", "PANIC":
		return false
	}
	return pgErr.Code != "26000" // what we prepared is gone, and so is the session that was ours
}

// forgetIfStale drops a prepared statement whose result has changed, such as after ALTER EXTENSION UPDATE. This scrape
// came too early for it; the next one prepares it anew under another name.
func (c *conn) forgetIfStale(question collect.Question, name string, err error) error {
	var pgErr *pgconn.PgError
	if name != "" || c.known(question) == nil || !errors.As(err, &pgErr) || pgErr.Code != "0A000" {
		return err
	}
	c.prepared = slices.DeleteFunc(c.prepared, func(d *pgconn.StatementDescription) bool { return d.SQL == question.Text })
	return fault.Wrap(fault.Busy, "the server changes what it answers", err)
}

// answer reads the rows of one question as they arrive.
type answer struct {
	conn     *conn
	result   *pgconn.ResultReader
	identity bool
	fresh    collect.Identity
	role     bool // it is among the rows
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
	if len(a.result.Values()) != len(a.result.FieldDescriptions()) {
		a.err = fault.New(fault.Malformed, "a row with more or fewer values than columns")
	} else if a.identity {
		a.err = a.note()
	}
	a.done = a.err != nil // and the connection is lost: what is left of the answer is not worth waiting for
	return !a.done
}

// Value gives the text of a column, nil for NULL and for one that the answer lacks.
func (a *answer) Value(i int) []byte {
	if values := a.result.Values(); i < len(values) {
		return values[i]
	}
	return nil
}

// Err tells why the rows ended, nil at their proper end.
func (a *answer) Err() error { return a.err }

// close reads what is left, so that the next question's answer can be reached.
func (a *answer) close() error {
	if a.done {
		return a.err
	}
	a.done = true
	_, a.err = a.result.Close()
	if a.identity && a.err == nil {
		a.err = a.identified()
	}
	return a.err
}

// note takes one row of the identity question.
func (a *answer) note() error {
	if a.fresh.Features == nil {
		a.fresh.Features = map[string]string{}
	}
	if len(a.result.Values()) != 2 {
		return fault.New(fault.Malformed, "the server does not say what it is")
	}
	if name, place := string(a.Value(0)), string(a.Value(1)); name != "" {
		a.fresh.Features[name] = place
	} else {
		a.role, a.fresh.Replica = true, place == "true"
	}
	if len(a.fresh.Features) > maxFeatures {
		return fault.New(fault.Limited, "the server has extensions without end")
	}
	return nil
}

// identified completes an identity with what the server reports by itself.
func (a *answer) identified() error {
	if !a.role {
		return fault.New(fault.Malformed, "the server does not say what it is")
	}
	a.fresh.Product, a.fresh.Text = "PostgreSQL", a.conn.pg.ParameterStatus("server_version")
	a.fresh.Version = versionNumber(a.fresh.Text)
	a.conn.id = a.fresh
	return nil
}

// noteRole takes the role from what the server reports at the end of each answer since version 14, so that a replica
// which is promoted during a batch is known as a primary at its end. A pooler may repeat what it heard long ago.
func (c *conn) noteRole() {
	if standby := c.pg.ParameterStatus("in_hot_standby"); standby != "" && !c.pooled {
		c.id.Replica = standby == "on"
	}
}

// versionNumber turns "15.4 (Debian …)", "17beta2" or "13.14" into the number that server_version_num has.
func versionNumber(text string) int {
	text, _, _ = strings.Cut(text, " ")
	major, rest, _ := strings.Cut(text, ".")
	number := leadingNumber(major)*10000 + leadingNumber(rest)
	return number
}

// leadingNumber reads digits up to the first other sign. None, or more than a version has, are 0.
func leadingNumber(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		text = text[:end]
	}
	if len(text) > 4 {
		return 0
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
	var alert tls.AlertError
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
	case errors.As(err, &tlsErr), errors.As(err, &authority), errors.As(err, &alert): // the last: it does not want ours
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
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed)
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
	"26":    fault.Unreachable, // what we prepared is not there: another session than ours
	"55006": fault.Busy,
	"40":    fault.Busy,
	"53":    fault.Busy, // no connection slot, no memory, no disk
	"54":    fault.Limited,
	"57":    fault.Unreachable,
	"58":    fault.Unreachable, // the server cannot read its own files
	"08":    fault.Unreachable,
	"25P03": fault.Unreachable, // the session was ended for being idle, or slow, in a transaction
	"25P04": fault.Unreachable,
	"25":    fault.Internal,
	"42":    fault.Internal, // the question itself is wrong
}

func classifySQLState(code string) fault.Kind {
	if len(code) != 5 {
		return fault.Malformed
	}
	return cmp.Or(sqlStates[code], sqlStates[code[:2]], fault.Malformed)
}
