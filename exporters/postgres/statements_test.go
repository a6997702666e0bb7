package main

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Descriptions are shared where they are equal, and a server that says otherwise has its own.
func TestDescriptions(t *testing.T) {
	describe := func(text, name string, columns ...string) *pgconn.StatementDescription {
		d := &pgconn.StatementDescription{SQL: text, Name: name}
		for _, column := range columns {
			d.Fields = append(d.Fields, pgconn.FieldDescription{Name: column})
		}
		return d
	}
	var all descriptions
	first := describe("SELECT 1", "q1", "a", "b")
	if all.share(first) != first || all.share(describe("SELECT 1", "q1", "a", "b")) != first {
		t.Error("an equal description is not shared")
	}
	for _, other := range []*pgconn.StatementDescription{describe("SELECT 1", "q2", "a", "b"), describe("SELECT 1", "q1", "a"), describe("SELECT 1", "q1", "a", "c")} {
		if got := all.share(other); got != other {
			t.Errorf("another description was replaced: %+v by %+v", other, got)
		}
	}
	for n := range 2 * maxDescriptions {
		own := describe(fmt.Sprint(n), "q1")
		if all.share(own) != own {
			t.Fatal("a new description was replaced")
		}
	}
	if len(all.known) > maxDescriptions {
		t.Errorf("%d descriptions are kept", len(all.known))
	}
}
