package main

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// Two connections talk in turns, with the same memory: each rests in between, and is the session that it was, with what it
// has prepared, when it wakes. One that has something left to be read does not rest.
func TestRest(t *testing.T) {
	t.Parallel()
	server := servers.NewPostgres(t, servers.PostgresOptions{})
	d := &driver{settings: func() (*pgconn.Config, error) { return pgconn.ParseConfig(server.DSN("postgres")) }, statement: questionLimit}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var conns [2]*conn
	for i := range conns {
		opened, err := d.Connect(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		conns[i] = opened.(*conn)
	}
	questions := []collect.Question{{Text: identity}, {Text: `SELECT pg_backend_pid() AS pid, (SELECT count(*) FROM pg_prepared_statements) AS prepared`}}
	var pids [2]string
	for round := range 3 {
		for i, c := range conns {
			if c.pg != nil || c.resting == nil || c.speaker != nil || c.wire.from != nil {
				t.Fatalf("in round %d, connection %d does not rest", round, i)
			}
			if reported := c.resting.ParameterStatuses; len(reported) > len(heeded) || reported["server_version"] == "" {
				t.Errorf("of the parameters is kept %v", reported)
			}
			pid, count := askPair(ctx, t, c, questions)
			if round == 0 {
				pids[i] = pid
			}
			if pid != pids[i] || count != "2" {
				t.Errorf("in round %d, connection %d is session %s with %s statements, not %s with 2", round, i, pid, count, pids[i])
			}
			if c.Identity().Version < 130000 {
				t.Errorf("the identity is %+v", c.Identity())
			}
		}
	}
	if pids[0] == pids[1] {
		t.Error("both connections are one session")
	}
}

// askPair gives the two values of the answer to the second question.
func askPair(ctx context.Context, t *testing.T, c *conn, questions []collect.Question) (first, second string) {
	t.Helper()
	err := c.Do(ctx, questions, func(i int, answer collect.Answer, err error) {
		for err == nil && answer.Next() {
			if i == 1 {
				first, second = string(answer.Value(0)), string(answer.Value(1))
			}
		}
		if err != nil || answer.Err() != nil {
			t.Errorf("question %d: %v, %v", i, err, answer.Err())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return first, second
}
