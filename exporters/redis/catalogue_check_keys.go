package main

import (
	"context"
	"strings"
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
	families := newCheckedKeys()
	return collect.Catalogue{
		{
			Name: "check_keys", Help: "TYPE, MEMORY USAGE, then STRLEN, GETRANGE and their like: size and value of the keys of --check-single-keys, and of those of --check-keys that are no pattern.",
			Families: families.all(), Class: collect.Dear, Needs: k.needs(),
			Talk: func(id collect.Identity) collect.Talk {
				return &keyTalk{families: families, id: id, keys: k.keys, values: k.values, named: true}
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

// keyTalk looks at keys: what they are first, then what fits, and last at texts that turn out to be HyperLogLogs.
type keyTalk struct {
	families checkedKeys
	id       collect.Identity
	keys     []keyRef
	values   bool
	named    bool // the user has named them: one that is not there is an empty list, which is what a queue is that was worked off
	rounds   int
	asked    []keyQuestion // of the present round
	next     []keyQuestion
	lengths  map[keyRef]float64 // of texts
}

// keyQuestion is one of the questions after the first round.
type keyQuestion struct {
	keyRef
	command string
	args    []string
}

// longestValue is as much of a text as a label can hold. More is never fetched: it may be half a gigabyte.
const longestValue = "1023"

// sizeQuestions are by type of the value.
func sizeQuestions(k keyRef, kind string, values bool) []keyQuestion {
	switch kind {
	case "string":
		end := longestValue
		if !values {
			end = "3" // enough to see whether it is a HyperLogLog
		}
		return []keyQuestion{{k, "STRLEN", nil}, {k, "GETRANGE", []string{"0", end}}}
	case "list":
		return []keyQuestion{{k, "LLEN", nil}}
	case "set":
		return []keyQuestion{{k, "SCARD", nil}}
	case "zset":
		return []keyQuestion{{k, "ZCARD", nil}}
	case "hash":
		return []keyQuestion{{k, "HLEN", nil}}
	case "stream":
		return []keyQuestion{{k, "XLEN", nil}}
	case "array":
		return []keyQuestion{{k, "ARCOUNT", nil}}
	}
	return nil
}

// Ask gives the questions of a round.
func (t *keyTalk) Ask() []collect.Question {
	var questions []collect.Question
	if t.rounds++; t.rounds == 1 {
		t.lengths = map[keyRef]float64{}
		for _, k := range t.keys {
			questions = append(questions, k.put(t.id, "TYPE", k.name), k.put(t.id, "MEMORY", "USAGE", k.name))
		}
		return questions
	}
	t.asked, t.next = t.next, nil
	for _, q := range t.asked {
		questions = append(questions, q.put(t.id, append([]string{q.command, q.name}, q.args...)...))
	}
	return questions
}

// Read takes the answers. A key that vanishes or changes its type meanwhile is left out.
func (t *keyTalk) Read(i int, answer collect.Answer, err error, out *metric.Batch) error {
	if t.rounds == 1 {
		return t.readKind(t.keys[i/2], i%2 == 1, answered(answer), err, out)
	}
	q, r := t.asked[i], answered(answer)
	switch {
	case err != nil && changedMeanwhile(err):
		return nil
	case q.command == "GETRANGE" && denied(err):
		t.getWhole(q.keyRef, out)
	case err != nil:
		return err
	case q.command == "STRLEN":
		t.lengths[q.keyRef], _ = r.Number()
	case q.command == "GETRANGE", q.command == "GET":
		t.readText(q.keyRef, r.Text(), out)
	default:
		addNumber(out, t.families.size, r.value, 1, q.label(), q.name)
	}
	return nil
}

// mostWhole is the length up to which a text is fetched as a whole where its beginning cannot be had.
const mostWhole = 64 << 10

// getWhole is for accounts that have the right to GET and not to GETRANGE, such as those made for redis_exporter.
func (t *keyTalk) getWhole(k keyRef, out *metric.Batch) {
	if length, known := t.lengths[k]; known && length <= mostWhole {
		t.next = append(t.next, keyQuestion{k, "GET", nil})
	} else {
		t.readText(k, "", out)
	}
}

// readText takes the beginning of a text. A HyperLogLog has a count rather than a length.
func (t *keyTalk) readText(k keyRef, text string, out *metric.Batch) {
	length, known := t.lengths[k]
	switch {
	case !known:
	case strings.HasPrefix(text, "HYLL"):
		t.next = append(t.next, keyQuestion{k, "PFCOUNT", nil})
	default:
		out.Add(t.families.size, length, k.label(), k.name)
		if t.values && text != "" {
			t.putValue(k, text, out)
		}
	}
}

// putValue shows a text: as a number where it is one, else as a label.
func (t *keyTalk) putValue(k keyRef, text string, out *metric.Batch) {
	if n, ok := parseNumber(text); ok {
		out.Add(t.families.number, n, k.label(), k.name)
	} else {
		out.Add(t.families.text, 1, k.label(), k.name, text)
	}
}

// changedMeanwhile tells whether a refusal says that the key is not what it was, or not on this node of a cluster.
func changedMeanwhile(err error) bool {
	return strings.HasPrefix(err.Error(), "WRONGTYPE") || elsewhere(err)
}

func (t *keyTalk) readKind(k keyRef, memory bool, r *reply, err error, out *metric.Batch) error {
	switch {
	case memory && err == nil:
		addNumber(out, t.families.memory, r.value, 1, k.label(), k.name)
	case memory: // not every server has it, nor every account the right
	case err != nil && changedMeanwhile(err):
	case err != nil:
		return err
	case r.Text() == "none":
		if t.named {
			out.Add(t.families.size, 0, k.label(), k.name)
		}
	default:
		t.next = append(t.next, sizeQuestions(k, r.Text(), t.values)...)
	}
	return nil
}

// search looks for keys that match patterns, within bounds.
type search struct {
	conn  collect.Conn
	batch int
	until time.Time
	keys  []keyRef
}

// scanAll gives the keys that match patterns. What is above the bounds counts as left out.
func scanAll(ctx context.Context, conn collect.Conn, patterns []keyRef, batch int, out *metric.Batch) ([]keyRef, error) {
	s := search{conn: conn, batch: batch, until: time.Now().Add(scanTime)}
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
	for cursor := "0"; ; {
		var names []string
		if cursor, names, err = scan(ctx, s.conn, pattern, cursor, s.batch); err != nil {
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
