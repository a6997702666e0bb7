// Package pgvector asks PostgreSQL for what the extension vector (https://github.com/pgvector/pgvector) keeps in it.
//
// A collection is a table with columns of the types vector, halfvec or sparsevec, written schema.table as SQL quotes
// it; its vectors are those columns. A partitioned table is one collection. Whoever asks sees the tables of one
// database.
package pgvector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/pool"
)

// Limits on what the server may take or send.
const (
	connections    = 2                      // at once: a scrape does not wait for the canary
	lockTimeout    = 250 * time.Millisecond // behind a lock a question fails alone, and soon
	connectTimeout = 10 * time.Second
	maxMessage     = 16 << 20 // bytes of one row
	maxAnswer      = 64 << 20 // bytes of the answers of one turn-around
	maxHello       = 128 << 10
	rollbackLimit  = 2 * time.Second
)

// session keeps a few connections, each opened when it is first needed.
type session struct {
	backend.Lacking

	config *pgconn.Config
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	lines  *pool.Pool[*line]

	mu     sync.Mutex
	shapes map[backend.Place]shape
}

// line is one connection, and what has come over it.
type line struct {
	pg    *pgconn.PgConn
	raw   net.Conn // below TLS and the library
	meter collect.Meter
	dead  bool // the raw connection was ended below the library
}

// Open prepares a session of the database that the URL names:
// postgres://host:port/database?sslmode=verify-full. The mode is that or disable; for a Unix socket the folder goes
// into ?host=.
func Open(_ context.Context, to backend.Endpoint) (backend.Session, error) {
	config, err := pgconn.ParseConfig("host=localhost sslmode=disable passfile=") // only what is set below counts
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "connection settings", err)
	}
	query := to.URL.Query()
	for name := range query {
		if name != "sslmode" && name != "host" {
			return nil, fault.New(fault.Config, "of what can stand behind the ? of the URL, sslmode and host are taken")
		}
	}
	config.Host, config.Port = to.URL.Hostname(), 5432
	if folder := query.Get("host"); folder != "" {
		config.Host = folder
	}
	if port := to.URL.Port(); port != "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fault.New(fault.Config, "the URL has a wrong port")
		}
		config.Port = uint16(number)
	}
	config.User, config.Password = to.User, to.Password
	config.Database = strings.TrimPrefix(to.URL.Path, "/")
	config.Fallbacks, config.RuntimeParams = nil, map[string]string{"application_name": "vector-db-exporter", "client_encoding": "UTF8"}
	config.ConnectTimeout, config.MaxProtocolMessageBodyLen = connectTimeout, maxMessage
	if config.TLSConfig, err = encryption(query.Get("sslmode"), config.Host, to.TLS); err != nil {
		return nil, err
	}
	s := &session{config: config, dial: to.Dial, shapes: map[backend.Place]shape{}}
	s.lines = pool.New(connections, s.connect)
	return s, nil
}

// encryption tells how to encrypt; nil does not. What is not known to be the server is not spoken to.
func encryption(mode, host string, settings *tls.Config) (*tls.Config, error) {
	switch {
	case mode == "disable", strings.HasPrefix(host, "/"):
		return nil, nil
	case mode != "" && mode != "verify-full":
		return nil, fault.New(fault.Config, "sslmode is verify-full or disable")
	}
	if settings == nil {
		settings = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	settings = settings.Clone()
	if settings.ServerName == "" {
		settings.ServerName = host
	}
	return settings, nil
}

// Close ends the connections.
func (s *session) Close() { s.lines.Close() }

// Broken tells whether the connection is gone.
func (l *line) Broken() bool { return l.dead || l.pg.IsClosed() }

// Close ends the connection.
func (l *line) Close() { hangUp(l.pg) }

// hangUp ends a connection without waiting for the server.
func hangUp(pg *pgconn.PgConn) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = pg.Close(ended) // that it could not say goodbye is meant
}

// with lends a connection, and ends what an error has left open on it.
func (s *session) with(ctx context.Context, use func(*line) error) error {
	return s.lines.Use(ctx, func(l *line) error {
		err := use(l)
		if err != nil {
			l.settle()
		}
		return err
	})
}

func (s *session) connect(ctx context.Context) (*line, error) {
	l := &line{}
	config := s.config.Copy()
	if config.TLSConfig != nil {
		config.TLSConfig = config.TLSConfig.Clone()
	}
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := s.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if l.raw == nil { // later ones are for cancel requests
			l.raw = conn
		}
		return l.meter.Wrap(conn), nil
	}
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil } // dial does it
	l.meter.Allow(maxHello)
	var err error
	if l.pg, err = pgconn.ConnectConfig(ctx, config); err != nil {
		return nil, fault.Wrap(classify(err), "connecting", withoutWords(err))
	}
	return l, nil
}

// settle ends a transaction that is not over.
func (l *line) settle() {
	if l.Broken() || l.pg.TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackLimit)
	defer cancel()
	if _, err := l.pg.Exec(ctx, "ROLLBACK").ReadAll(); err != nil {
		hangUp(l.pg)
	}
}

// read asks in one turn-around and one transaction that writes nothing, and gives an answer for each statement.
func (s *session) read(ctx context.Context, statements ...string) (answers []*pgconn.Result, err error) {
	err = s.with(ctx, func(l *line) error {
		answers, err = l.transact(ctx, "READ ONLY", statements...)
		return err
	})
	return answers, err
}

// write does the same for statements that may write.
func (s *session) write(ctx context.Context, statements ...string) error {
	return s.with(ctx, func(l *line) error {
		_, err := l.transact(ctx, "READ WRITE", statements...)
		return err
	})
}

// transact begins with what makes the session ours: it may be another one each time, behind a pooler.
func (l *line) transact(ctx context.Context, mode string, statements ...string) ([]*pgconn.Result, error) {
	all := append(begin(ctx, mode), statements...)
	answers, err := l.exec(ctx, strings.Join(append(all, "COMMIT"), ";\n"))
	if err != nil {
		return nil, err
	}
	if len(answers) != len(all)+1 {
		return nil, fault.New(fault.Malformed, "the server answers more or less than was asked")
	}
	return answers[len(all)-len(statements) : len(all)], nil
}

// columnsAsked is more than any question here has. What a server leaves out is as absent as what it tells as NULL.
const columnsAsked = 16

// complete makes all rows of an answer as wide as they can be needed.
func complete(answer *pgconn.Result) {
	for i, row := range answer.Rows {
		if missing := columnsAsked - len(row); missing > 0 {
			answer.Rows[i] = append(row, make([][]byte, missing)...)
		}
	}
}

// first gives the first row of an answer, of NULLs where there is none.
func first(answer *pgconn.Result) [][]byte {
	if len(answer.Rows) == 0 {
		return make([][]byte, columnsAsked)
	}
	return answer.Rows[0]
}

// begin starts a transaction that ends before the context does.
func begin(ctx context.Context, mode string) []string {
	limit := time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(time.Until(deadline)*9/10, 10*time.Millisecond)
	}
	return []string{
		"BEGIN " + mode,
		"SET LOCAL standard_conforming_strings = on",
		fmt.Sprintf("SET LOCAL statement_timeout = %d", limit.Milliseconds()),
		fmt.Sprintf("SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds()),
		"SET LOCAL search_path = pg_catalog",
	}
}

// exec asks and reads all answers. Where the end of an answer is lost, the library reads on after it has stopped watching
// the context; so the connection is ended below it.
func (l *line) exec(ctx context.Context, text string) ([]*pgconn.Result, error) {
	l.meter.Allow(maxAnswer)
	stop := context.AfterFunc(ctx, func() { _ = l.raw.Close() })
	answers, err := l.pg.Exec(ctx, text).ReadAll()
	if !stop() {
		l.dead = true
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fault.Wrap(fault.Timeout, "asking", ctx.Err())
	case err != nil:
		return nil, fault.Wrap(classify(err), "asking", withoutWords(err))
	}
	for _, answer := range answers {
		complete(answer)
	}
	return answers, nil
}

// literal quotes a text for SQL.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// array quotes texts for SQL as one value.
func array(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = literal(text)
	}
	return "ARRAY[" + strings.Join(quoted, ",") + "]::text[]"
}

// errNoExtension is what a PostgreSQL without pgvector fails with.
var errNoExtension = errors.New("the database has no extension vector")
