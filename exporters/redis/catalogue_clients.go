package main

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// clientSummary reads CLIENT LIST into sums whose number does not grow with that of the clients: at most 21 series for
// each thing by which they are told apart. It is off by default, as the server writes a line for each client.
func clientSummary() *collect.Collector {
	s := newClientFamilies()
	return &collect.Collector{
		Name: "client_summary", Help: "CLIENT LIST: clients by name, user, library, kind, age, idleness and size, added up. The server writes some 400 bytes for each client.",
		Families: s.all, Off: true, Class: collect.Dear,
		Ask: asks(ask("CLIENT", "LIST")),
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			sums := newClientSums()
			list := answered(answer)
			for line := range list.Lines() {
				if c, ok := readClient(line); ok {
					sums.add(&c)
				}
			}
			s.put(sums, out)
			return list.Err()
		},
	}
}

// clientLines is the command whose answer is read as it arrives.
const clientLines = "CLIENT LIST"

// Thresholds above which clients are counted.
func clientSeconds() []float64 { return []float64{60, 600, 3600, 86400} }
func clientBytes() []float64   { return []float64{1 << 20, 16 << 20, 256 << 20} }

// client is a line of the list, as far as it is looked at; its texts are pieces of the list. A text that the server does
// not tell is nil. A number that it does not tell is NaN, and so is then every sum with it: a batch takes no such sample.
type client struct {
	name, user, cmd, flags, library, version []byte
	age, idle, multi, query, output, memory  float64
}

// readClient reads fields of name=value between spaces.
func readClient(line []byte) (c client, ok bool) {
	none := math.NaN()
	c.age, c.idle, c.multi, c.query, c.output, c.memory = none, none, none, none, none, none
	for line = bytes.TrimSuffix(line, []byte("\n")); len(line) > 0; {
		var part []byte
		part, line, _ = cut(line, ' ')
		field, value, found := cut(part, '=')
		if !found {
			continue
		}
		ok = true
		switch string(field) {
		case "name":
			c.name = value
		case "user":
			c.user = value
		case "cmd":
			c.cmd = value
		case "flags":
			c.flags = value
		case "lib-name":
			c.library = value
		case "lib-ver":
			c.version = value
		default:
			c.number(string(field), value)
		}
	}
	return c, ok
}

// cut is bytes.Cut for one byte, which is quicker.
func cut(text []byte, at byte) (before, after []byte, found bool) {
	if i := bytes.IndexByte(text, at); i >= 0 {
		return text[:i], text[i+1:], true
	}
	return text, nil, false
}

func (c *client) number(field string, value []byte) {
	var to *float64
	switch field {
	case "age":
		to = &c.age
	case "idle":
		to = &c.idle
	case "multi":
		to = &c.multi
	case "qbuf":
		to = &c.query
	case "omem":
		to = &c.output
	case "tot-mem":
		to = &c.memory
	default:
		return
	}
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		*to = float64(n)
	}
}

// kind tells what a client is.
func (c *client) kind() string {
	switch {
	case bytes.ContainsAny(c.flags, "O"):
		return "monitor"
	case bytes.ContainsAny(c.flags, "S"):
		return "replica"
	case bytes.ContainsAny(c.flags, "M"):
		return "primary"
	case bytes.ContainsAny(c.flags, "P"):
		return "pubsub"
	}
	return "normal"
}

// clientSums is what a list of clients comes to.
type clientSums struct {
	names, users, commands, libraries tally  // memory by value
	memory, query, output             tally  // bytes by kind
	library                           []byte // room for the present client's
	older, idle, large                []float64
	oldest, longestIdle, transactions float64
}

func newClientSums() *clientSums {
	return &clientSums{
		names: tally{}, users: tally{}, commands: tally{}, libraries: tally{}, memory: tally{}, query: tally{}, output: tally{},
		older: make([]float64, len(clientSeconds())), idle: make([]float64, len(clientSeconds())), large: make([]float64, len(clientBytes())),
	}
}

func (s *clientSums) add(c *client) {
	s.told(s.names, c.name, c.memory)
	s.told(s.users, c.user, c.memory)
	s.told(s.commands, c.cmd, c.memory)
	if c.library != nil {
		s.library = append(append(append(s.library[:0], c.library...), ' '), c.version...)
		s.told(s.libraries, s.library, c.memory)
	}
	kind := c.kind()
	s.memory.add(kind, c.memory)
	s.query.add(kind, c.query)
	s.output.add(kind, c.output)
	above(s.large, clientBytes(), c.memory)
	above(s.older, clientSeconds(), c.age)
	s.oldest = max(s.oldest, c.age)
	if kind == "normal" { // the others are silent by nature
		above(s.idle, clientSeconds(), c.idle)
		s.longestIdle = max(s.longestIdle, c.idle)
	}
	if c.multi >= 0 {
		s.transactions++
	}
}

// told counts a client by a text, where the server tells it.
func (*clientSums) told(by tally, text []byte, memory float64) {
	if text == nil {
		return
	}
	a := by[string(text)] // which makes no string
	if a == nil {
		a = &amounts{}
		by[string(text)] = a
	}
	a.add(memory)
}

// above counts a value at each threshold that it exceeds. A value that is not known makes the counts unknown.
func above(counts, thresholds []float64, value float64) {
	for i, threshold := range thresholds {
		switch {
		case math.IsNaN(value):
			counts[i] = value
		case value > threshold:
			counts[i]++
		}
	}
}

// clientFamilies declare what is said of the clients.
type clientFamilies struct {
	names, users, commands, libraries, kinds                  *metric.Family
	nameBytes, userBytes, bytes, queryBytes, outputBytes      *metric.Family
	largest, largestQuery, largestOutput, oldest, longestIdle *metric.Family
	older, idle, large, transactions                          *metric.Family
	all                                                       []*metric.Family
}

func newClientFamilies() *clientFamilies {
	s := &clientFamilies{}
	declare := func(name, help string, labels ...string) *metric.Family {
		f := gauge(name, help, labels...)
		s.all = append(s.all, f)
		return f
	}
	s.names = declare("clients_by_name", "Clients that gave themselves this name; of more than 20 names the rest count as (other).", "name")
	s.nameBytes = declare("clients_by_name_memory_bytes", "Memory that the server needs for the clients of this name.", "name")
	s.users = declare("clients_by_user", "Clients that are logged in as this user; of more than 20 users the rest count as (other).", "user")
	s.userBytes = declare("clients_by_user_memory_bytes", "Memory that the server needs for the clients of this user.", "user")
	s.commands = declare("clients_by_command", "Clients whose last command was this; of more than 20 commands the rest count as (other).", "cmd")
	s.libraries = declare("clients_by_library", "Clients by the library that they are made with; of more than 20 the rest count as (other).", "library", "version")
	s.kinds = declare("clients_by_kind", "Clients by what they are: normal, replica, primary, pubsub or monitor.", "kind")
	s.bytes = declare("clients_memory_bytes", "Memory that the server needs for the clients of this kind.", "kind")
	s.queryBytes = declare("clients_query_buffer_bytes", "Bytes that clients of this kind have sent and the server has not carried out yet.", "kind")
	s.outputBytes = declare("clients_output_buffer_bytes", "Memory of the replies that clients of this kind have not fetched yet.", "kind")
	s.largest = declare("clients_largest_bytes", "Memory of the client of this kind that needs most.", "kind")
	s.largestQuery = declare("clients_largest_query_buffer_bytes", "Largest query buffer of a client of this kind.", "kind")
	s.largestOutput = declare("clients_largest_output_buffer_bytes", "Largest output buffer of a client of this kind.", "kind")
	s.large = declare("clients_larger_than", "Clients for which the server needs more memory than so many bytes.", "bytes")
	s.older = declare("clients_older_than", "Clients that have been connected for more than so many seconds.", "seconds")
	s.idle = declare("clients_idle_longer_than", "Clients of the normal kind that have been idle for more than so many seconds.", "seconds")
	s.oldest = declare("clients_oldest_seconds", "Age of the oldest connection.")
	s.longestIdle = declare("clients_longest_idle_seconds", "How long the most idle client of the normal kind has been idle.")
	s.transactions = declare("clients_in_transaction", "Clients that have begun a transaction (MULTI) and not ended it.")
	return s
}

func (s *clientFamilies) put(sums *clientSums, out *metric.Batch) {
	sums.names.each(func(name string, a amounts) {
		out.Add(s.names, a.count, name)
		out.Add(s.nameBytes, a.sum, name)
	})
	sums.users.each(func(user string, a amounts) {
		out.Add(s.users, a.count, user)
		out.Add(s.userBytes, a.sum, user)
	})
	sums.commands.each(func(cmd string, a amounts) { out.Add(s.commands, a.count, cmd) })
	sums.libraries.each(func(name string, a amounts) {
		library, version, _ := strings.Cut(name, " ")
		out.Add(s.libraries, a.count, library, version)
	})
	sums.memory.each(func(kind string, a amounts) {
		out.Add(s.kinds, a.count, kind)
		out.Add(s.bytes, a.sum, kind)
		out.Add(s.largest, a.most, kind)
	})
	for _, buffer := range []struct {
		by        tally
		sum, most *metric.Family
	}{{sums.query, s.queryBytes, s.largestQuery}, {sums.output, s.outputBytes, s.largestOutput}} {
		buffer.by.each(func(kind string, a amounts) {
			out.Add(buffer.sum, a.sum, kind)
			out.Add(buffer.most, a.most, kind)
		})
	}
	addThresholds(out, s.large, clientBytes(), sums.large)
	addThresholds(out, s.older, clientSeconds(), sums.older)
	addThresholds(out, s.idle, clientSeconds(), sums.idle)
	out.Add(s.oldest, sums.oldest)
	out.Add(s.longestIdle, sums.longestIdle)
	out.Add(s.transactions, sums.transactions)
}

// addThresholds appends a count for each threshold, which is the last label.
func addThresholds(out *metric.Batch, f *metric.Family, thresholds, counts []float64, labels ...string) {
	for i, t := range thresholds {
		out.Add(f, counts[i], append(append([]string{}, labels...), threshold(t))...)
	}
}

func threshold(t float64) string { return strconv.FormatFloat(t, 'f', -1, 64) }
