package servers

import (
	"context"
	"path/filepath"
	"testing"
)

// NewPgvector starts a PostgreSQL server that has pgvector, with the extension in the database postgres, for a test.
func NewPgvector(tb testing.TB, o PostgresOptions) *Postgres {
	tb.Helper()
	p, err := StartPgvector(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	p.closeAfter(tb)
	return p
}

// StartPgvector makes such a server and starts it. The caller closes it. There is one major version, whichever o says.
func StartPgvector(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	program, err := cached("pgvector", "bin", "postgres")
	if err != nil {
		return nil, err
	}
	o.bin = filepath.Dir(program)
	o.Initial = append([]string{"CREATE EXTENSION vector"}, o.Initial...)
	return StartPostgres(ctx, o)
}
