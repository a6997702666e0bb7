package main

import (
	"bytes"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// refusal is what a server says instead of an answer, such as "NOPERM this user has no permissions …".
type refusal string

// Error gives the server's words.
func (r refusal) Error() string { return string(r) }

// value is one value of a reply. Its accessors take every shape and give nothing for one that does not fit, so that a
// server which answers otherwise than expected leads to absent samples. The zero value is null.
type value struct {
	kind  byte // the sign that it begins with; 0 for null
	text  []byte
	items []value // of a list; of a map, keys and values in turn
}

// parseReply reads a whole reply whose framing has been checked.
func parseReply(raw []byte) (value, error) {
	v, rest, err := parseValue(raw)
	if err == nil && len(rest) > 0 {
		err = fault.New(fault.Malformed, "a reply with more behind it")
	}
	return v, err
}

func parseValue(raw []byte) (v value, rest []byte, err error) {
	line, rest, found := bytes.Cut(raw, []byte("\r\n"))
	if !found || len(line) == 0 {
		return v, nil, fault.New(fault.Malformed, "a reply that is cut")
	}
	kind, text := line[0], line[1:]
	if !counts(kind) {
		if kind == '_' {
			kind = 0
		}
		return value{kind: kind, text: text}, rest, nil
	}
	n, _ := strconv.Atoi(string(text)) // whose form has been checked
	if n < 0 {
		return v, rest, nil
	}
	v.kind = kind
	switch kind {
	case '%':
		n *= 2
	case '$', '!', '=':
		if len(rest) < n+2 {
			return v, nil, fault.New(fault.Malformed, "a reply that is cut")
		}
		v.text, rest = rest[:n], rest[n+2:]
		if kind == '=' && n >= 4 { // "txt:" goes before it
			v.text = v.text[4:]
		}
		return v, rest, nil
	}
	v.items = make([]value, 0, min(n, len(rest)))
	for range n {
		var item value
		if item, rest, err = parseValue(rest); err != nil {
			return v, nil, err
		}
		v.items = append(v.items, item)
	}
	return v, rest, nil
}

// Null tells whether there is nothing.
func (v value) Null() bool { return v.kind == 0 }

// Err gives the refusal that the value is, or nil.
func (v value) Err() error {
	if v.kind == '-' || v.kind == '!' {
		return refusal(v.text)
	}
	return nil
}

// Bytes gives the text of a string, status or number, nil for all else. It shares the memory of the whole reply.
func (v value) Bytes() []byte {
	switch v.kind {
	case '$', '+', ':', ',', '(', '=', '#':
		return v.text
	}
	return nil
}

// Text is a copy of Bytes.
func (v value) Text() string { return string(v.Bytes()) }

// Number gives the number that the value is or whose text it is. Infinity and NaN are none.
func (v value) Number() (float64, bool) {
	if v.kind == '#' {
		return map[string]float64{"t": 1}[string(v.text)], true
	}
	return parseNumber(v.Text())
}

// parseNumber reads a finite number.
func parseNumber(text string) (float64, bool) {
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// Items gives the elements of a list; of a map, keys and values in turn.
func (v value) Items() []value { return v.items }

// Pairs gives keys and values of a map, or of a list that holds them in turn, as RESP2 writes maps.
func (v value) Pairs() iter.Seq2[string, value] {
	return func(yield func(string, value) bool) {
		for i := 0; i+1 < len(v.items); i += 2 {
			if !yield(v.items[i].Text(), v.items[i+1]) {
				return
			}
		}
	}
}

// Get gives the value of a key of such a map, null where it lacks the key.
func (v value) Get(key string) value {
	for i := 0; i+1 < len(v.items); i += 2 {
		if string(v.items[i].Bytes()) == key {
			return v.items[i+1]
		}
	}
	return value{}
}

// tree is a whole reply, which several collectors may read.
type tree struct {
	value
	info *info
}

// Info reads the reply as the answer to INFO, once for all who ask.
func (t *tree) Info() *info {
	if t.info == nil {
		t.info = parseInfo(t.Text())
	}
	return t.info
}

// reply is the answer to one command. As a collect.Answer it is a table: of a list of maps, each is a row; a map is one
// row; a text of lines field:value is one row, and one of lines field=value field=value a row each; anything else is
// one row with the one field "value".
type reply struct {
	*tree
	long    *longText // in its place
	rows    []row
	at      int
	tabular bool
}

type row struct {
	fields []string
	values [][]byte
}

// answered gives the reply behind an Answer, for collectors that read its tree. One of another driver is null.
func answered(answer collect.Answer) *reply {
	if r, ok := answer.(*reply); ok {
		return r
	}
	return &reply{tree: &tree{}}
}

// Fields gives the fields of the present row, or of the first before Next was called.
func (r *reply) Fields() []string {
	r.tabulate()
	if at := max(r.at-1, 0); at < len(r.rows) {
		return r.rows[at].fields
	}
	return nil
}

// Next goes to the next row.
func (r *reply) Next() bool {
	r.tabulate()
	if r.at >= len(r.rows) {
		return false
	}
	r.at++
	return true
}

// Value gives a field of the first row's Fields by position.
func (r *reply) Value(i int) []byte {
	if r.at == 0 || i < 0 || len(r.rows[0].fields) <= i {
		return nil
	}
	present, name := r.rows[r.at-1], r.rows[0].fields[i]
	if i < len(present.fields) && present.fields[i] == name {
		return present.values[i]
	}
	for j, field := range present.fields {
		if field == name {
			return present.values[j]
		}
	}
	return nil
}

// Lines gives the lines of a text with their ends. It has to be asked for Err afterwards.
func (r *reply) Lines() iter.Seq[[]byte] {
	if r.long != nil {
		return r.long.lines()
	}
	return bytes.Lines(r.Bytes())
}

// Err tells why a text that was read as it arrived is not whole. Every other reply is complete when it is handed out.
func (r *reply) Err() error {
	if r.long != nil {
		return r.long.err
	}
	return nil
}

// tabulate makes rows of the tree, once.
func (r *reply) tabulate() {
	if r.tabular {
		return
	}
	r.tabular = true
	switch {
	case r.kind == '%':
		r.rows = []row{mapRow(r.items)}
	case len(r.items) > 0 && len(r.items[0].items) > 0:
		for _, item := range r.items {
			r.rows = append(r.rows, mapRow(item.items))
		}
	case len(r.items) > 0:
		for _, item := range r.items {
			r.rows = append(r.rows, row{[]string{"value"}, [][]byte{item.Bytes()}})
		}
	case r.kind == '$' || r.kind == '=':
		r.rows = textRows(string(r.text))
	case !r.Null():
		r.rows = []row{{[]string{"value"}, [][]byte{r.Bytes()}}}
	}
}

func mapRow(items []value) row {
	var made row
	for i := 0; i+1 < len(items); i += 2 {
		made.fields, made.values = append(made.fields, items[i].Text()), append(made.values, items[i+1].Bytes())
	}
	return made
}

// textRows reads the two forms of text in which servers answer.
func textRows(text string) []row {
	var whole row
	var rows []row
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		name, rest, colon := strings.Cut(line, ":")
		switch {
		case line == "" || line[0] == '#':
		case colon && !strings.ContainsAny(name, " ="):
			whole.fields, whole.values = append(whole.fields, name), append(whole.values, []byte(rest))
		case strings.Contains(line, "="):
			rows = append(rows, pairsRow(line))
		default:
			return []row{{[]string{"value"}, [][]byte{[]byte(text)}}}
		}
	}
	if len(whole.fields) > 0 {
		rows = append(rows, whole)
	}
	return rows
}

func pairsRow(line string) row {
	var made row
	for pair := range strings.FieldsSeq(line) {
		name, text, _ := strings.Cut(pair, "=")
		made.fields, made.values = append(made.fields, name), append(made.values, []byte(text))
	}
	return made
}
