package main

import (
	"context"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Bounds on what patterns of keys may cost in a run, and how often they are looked for.
const (
	scanEvery   = 30 * time.Second
	scanTime    = 15 * time.Second
	maxMatching = 20_000 // keys that all patterns together may find
	maxAtOnce   = 2000   // keys that are looked at in one batch
)

// checkedKeys declare what is shown of a key. A key that is not there has no samples.
type checkedKeys struct{ size, memory, number, text *metric.Family }

func newCheckedKeys() checkedKeys {
	return checkedKeys{
		size:   gauge("key_size", "Length or number of elements of the key's value.", "db", "key"),
		memory: gauge("key_memory_usage_bytes", "Memory of the key and its value.", "db", "key"),
		number: gauge("key_value", "Value of the key, where it is a number.", "db", "key"),
		text:   gauge("key_value_as_string", "Value of the key, where it is a text.", "db", "key", "val"),
	}
}

func (f checkedKeys) all() []*metric.Family {
	return []*metric.Family{f.size, f.memory, f.number, f.text}
}

// checkKeys lists the collectors of keys that the user names.
func checkKeys(k keyChecks) collect.Catalogue {
	families, known := newCheckedKeys(), &keyMemory{}
	return collect.Catalogue{
		{
			Name: "check_keys", Help: "TYPE, MEMORY USAGE, STRLEN, GETRANGE and their like: size and value of the keys of --check-single-keys, and of those of --check-keys that are no pattern.",
			Families: families.all(), Class: collect.Dear, Needs: k.needs(), Remembers: true,
			Talk: func(id collect.Identity) collect.Talk {
				return &keyTalk{families: families, id: id, keys: k.keys, values: k.values, memory: known}
			},
		},
		{
			Name: "check_key_patterns", Help: "SCAN, in the background, for the keys of --check-keys that are patterns.",
			Families: families.all(), Class: collect.Slow, Every: scanEvery, Needs: k.needs(),
			Run: func(ctx context.Context, conn collect.Conn, out *metric.Batch) error {
				keys, err := scanAll(ctx, conn, k.keyPatterns, k.batch, out)
				for len(keys) > 0 && err == nil {
					part := keys[:min(maxAtOnce, len(keys))]
					keys = keys[len(part):]
					err = converse(ctx, conn, &keyTalk{families: families, id: conn.Identity(), keys: part, values: k.values}, out)
				}
				return err
			},
		},
	}
}

// converse holds a talk on a connection of its own.
func converse(ctx context.Context, conn collect.Conn, talk collect.Talk, out *metric.Batch) error {
	for questions := talk.Ask(); len(questions) > 0; questions = talk.Ask() {
		var failed error
		err := conn.Do(ctx, questions, func(i int, answer collect.Answer, err error) {
			if failed == nil {
				failed = talk.Read(i, answer, err, out)
			}
		})
		if err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}

// search looks for keys that match patterns, within bounds.
type search struct {
	conn  collect.Conn
	nodes []string
	batch int
	until time.Time
	keys  []keyRef
}

// scanAll gives the keys that match patterns. What is above the bounds counts as left out.
func scanAll(ctx context.Context, conn collect.Conn, patterns []keyRef, batch int, out *metric.Batch) ([]keyRef, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	nodes, err := primaries(ctx, conn)
	if err != nil {
		return nil, err
	}
	s := search{conn: conn, nodes: nodes, batch: batch, until: time.Now().Add(scanTime)}
	for _, pattern := range patterns {
		whole, err := s.look(ctx, pattern)
		if err != nil {
			return nil, err
		}
		if !whole {
			out.Limited++
			break
		}
	}
	return s.keys, nil
}

// look finds the keys of one pattern, and tells whether it found all.
func (s *search) look(ctx context.Context, pattern keyRef) (whole bool, err error) {
	seen := map[string]bool{} // a table that is resized shows some keys twice
	for _, node := range s.nodes {
		var conn collect.Conn
		if conn, err = at(ctx, s.conn, node); err != nil {
			return false, err
		}
		if whole, err = s.lookAt(ctx, conn, pattern, seen); err != nil || !whole {
			return false, err
		}
	}
	return true, nil
}

// lookAt finds the keys of one pattern that one node has.
func (s *search) lookAt(ctx context.Context, conn collect.Conn, pattern keyRef, seen map[string]bool) (whole bool, err error) {
	for cursor := "0"; ; {
		var names []string
		if cursor, names, err = scan(ctx, conn, pattern, cursor, s.batch); err != nil {
			return false, err
		}
		for _, name := range names {
			if seen[name] {
				continue
			}
			if len(s.keys) == maxMatching {
				return false, nil
			}
			seen[name] = true
			s.keys = append(s.keys, keyRef{pattern.db, name})
		}
		if cursor == "0" || time.Now().After(s.until) {
			return cursor == "0", nil
		}
	}
}

// scan goes one step on.
func scan(ctx context.Context, conn collect.Conn, pattern keyRef, cursor string, batch int) (next string, names []string, err error) {
	r, err := askOne(ctx, conn, pattern.put(conn.Identity(), "SCAN", cursor, "MATCH", pattern.name, "COUNT", itoa(batch)))
	if err != nil {
		return "", nil, err
	}
	parts := r.Items()
	if len(parts) < 2 || parts[0].Text() == "" {
		return "", nil, fault.New(fault.Malformed, "an answer to SCAN without keys")
	}
	return parts[0].Text(), texts(parts[1].Items()), nil
}

// askOne asks one question.
func askOne(ctx context.Context, conn collect.Conn, question collect.Question) (*reply, error) {
	var r *reply
	var refused error
	err := conn.Do(ctx, []collect.Question{question}, func(_ int, answer collect.Answer, err error) { r, refused = answered(answer), err })
	if err == nil {
		err = refused
	}
	return r, err
}
