package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// bouncerDatabase is the name under which pgbouncer offers its admin console.
const bouncerDatabase = "pgbouncer"

// bouncer opens the admin console of a pgbouncer. It speaks PostgreSQL's protocol, but of its questions only the
// simplest form.
type bouncer struct{ *driver }

const showVersion = `SHOW VERSION`

// Probes are the steps of the health check: the console answers.
func (b bouncer) Probes() []collect.Probe {
	return []collect.Probe{{Operation: collect.Ping, Question: collect.Question{Text: showVersion}}}
}

// Connect opens the console.
func (b bouncer) Connect(ctx context.Context) (collect.Conn, error) {
	simple := *b.driver
	simple.simple = true
	c, err := simple.open(ctx)
	if err != nil {
		return nil, err
	}
	console := &console{conn: c}
	console.id = collect.Identity{Product: "PgBouncer", Text: c.pg.ParameterStatus("server_version")}
	console.id.Text, _, _ = strings.Cut(console.id.Text, "/")
	console.id.Version = versionNumber(console.id.Text)
	return console, nil
}

// console is a connection to it.
type console struct{ *conn }

// Do sends all questions at once and reads the answers in order.
func (c *console) Do(ctx context.Context, questions []collect.Question, read func(int, collect.Answer, error)) error {
	defer context.AfterFunc(ctx, c.abandon)() // which ends whatever is read or written
	c.meter.Allow(maxBatch)
	frontend := c.pg.Frontend()
	for _, question := range questions {
		frontend.Send(&pgproto3.Query{String: question.Text})
	}
	if err := frontend.Flush(); err != nil {
		return called(ctx, err)
	}
	for i := range questions {
		if err := receiveShown(frontend, func(answer collect.Answer, err error) { read(i, answer, err) }); err != nil {
			return called(ctx, err)
		}
	}
	return nil
}

// called prefers the reason for which we closed the connection to the fact that it is closed.
func called(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// receiveShown takes everything up to the end of one question and hands its answer, or its error, to read.
func receiveShown(frontend *pgproto3.Frontend, read func(collect.Answer, error)) error {
	answer := &shown{frontend: frontend}
	for !answer.over && answer.fields == nil {
		answer.receive()
	}
	handed := answer.fields != nil
	if handed {
		read(answer, nil)
	}
	for !answer.over {
		answer.receive()
	}
	if answer.broken == nil && !handed {
		read(nil, cmp.Or(answer.failed, fault.New(fault.Malformed, "no answer to the question")))
	}
	return answer.broken
}

// shown is the answer to a SHOW command, read as it arrives.
type shown struct {
	frontend *pgproto3.Frontend
	fields   []string
	row      [][]byte
	complete bool  // no rows come any more
	over     bool  // the console is ready for the next question, or broken
	failed   error // of this question
	broken   error // of the connection
}

// receive takes one message and tells whether it was a row.
func (s *shown) receive() bool {
	message, err := s.frontend.Receive()
	if err != nil {
		s.broken, s.complete, s.over = err, true, true
		return false
	}
	switch message := message.(type) {
	case *pgproto3.RowDescription:
		s.fields = make([]string, len(message.Fields))
		for i, field := range message.Fields {
			s.fields[i] = string(field.Name)
		}
	case *pgproto3.DataRow:
		s.row = message.Values
		return len(s.row) == len(s.fields) && !s.complete
	case *pgproto3.ErrorResponse:
		s.failed, s.complete = pgconn.ErrorResponseToPgError(message), true
	case *pgproto3.CommandComplete:
		s.complete = true
	case *pgproto3.ReadyForQuery:
		s.complete, s.over = true, true
	}
	return false
}

// Fields gives the names of the columns.
func (s *shown) Fields() []string { return s.fields }

// Next goes to the next row.
func (s *shown) Next() bool {
	for !s.complete {
		if s.receive() {
			return true
		}
	}
	return false
}

// Value gives the text of a column, nil for NULL.
func (s *shown) Value(i int) []byte { return s.row[i] }

// Err tells why the rows ended, nil at their proper end.
func (s *shown) Err() error { return cmp.Or(s.broken, s.failed) }

// bouncerSpec describes a target that is a pgbouncer's console.
func (l loader) bouncerSpec(server string, d *driver) (collect.Spec, error) {
	all, err := bouncerCatalogue()
	return collect.Spec{
		Name: server + "/" + bouncerDatabase, Service: bouncerDatabase, Database: bouncerDatabase,
		Driver: bouncer{d}, Collectors: l.wanted(all), Labels: l.labels,
	}, err
}
