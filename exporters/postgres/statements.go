package main

import (
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxDescriptions bounds the statements whose description is shared: a server has its part in their texts.
const maxDescriptions = 1000

// descriptions shares what servers say of prepared statements. Servers of one version say the same, and a thousand
// connections would each keep it: the names and types of some six hundred columns.
type descriptions struct {
	mu    sync.Mutex
	known map[string]*pgconn.StatementDescription // by text
}

// share gives the known description of a statement where it is the same as a new one, which is not changed any more. Without
// descriptions nothing is shared.
func (d *descriptions) share(now *pgconn.StatementDescription) *pgconn.StatementDescription {
	if d == nil {
		return now
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.known[now.SQL]
	switch {
	case before != nil && before.Name == now.Name && slices.Equal(before.ParamOIDs, now.ParamOIDs) && slices.Equal(before.Fields, now.Fields):
		return before
	case before == nil && len(d.known) >= maxDescriptions:
		return now
	case d.known == nil:
		d.known = map[string]*pgconn.StatementDescription{}
	}
	d.known[now.SQL] = now
	return now
}
