package main

import (
	"strings"
	"sync/atomic"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// keyTalk looks at keys: what they are first, then what fits, and last at texts that turn out to be HyperLogLogs. Keys
// that were looked at before are asked at once for what fitted then, and only those that have become something else are
// asked again.
type keyTalk struct {
	families checkedKeys
	id       collect.Identity
	keys     []keyRef
	values   bool
	memory   *keyMemory // of keys that the user has named; nil for those that a pattern found

	began  bool
	asked  []keyQuestion // of the present round
	next   []keyQuestion
	states map[keyRef]*keyState
}

// keyMemory is what the keys of a target were when they were last looked at. Each talk replaces it as a whole.
type keyMemory struct {
	kinds atomic.Pointer[map[keyRef]keyKind]
}

// keyKind is what a key is: its type as the server names it, and whether a text is a HyperLogLog.
type keyKind struct {
	name  string
	hyper bool
}

// keyState is what a talk has learned of a key.
type keyState struct {
	guess, kind keyKind
	length      float64 // of a text
	measured    bool    // the length is known
}

// keyQuestion is a question about a key.
type keyQuestion struct {
	keyRef
	command string   // before the key
	args    []string // behind it
	guess   bool     // it is asked before it is known what the key is
}

// longestValue is as much of a text as a label can hold. More is never fetched: it may be half a gigabyte.
const longestValue = "1023"

// sizeQuestions are by type of the value.
func sizeQuestions(k keyRef, kind keyKind, values, guess bool) []keyQuestion {
	switch kind.name {
	case "string":
		end := longestValue
		if !values {
			end = "3" // enough to see whether it is a HyperLogLog
		}
		questions := []keyQuestion{{k, "STRLEN", nil, guess}, {k, "GETRANGE", []string{"0", end}, guess}}
		if kind.hyper {
			questions = append(questions, keyQuestion{k, "PFCOUNT", nil, guess})
		}
		return questions
	case "list":
		return []keyQuestion{{k, "LLEN", nil, guess}}
	case "set":
		return []keyQuestion{{k, "SCARD", nil, guess}}
	case "zset":
		return []keyQuestion{{k, "ZCARD", nil, guess}}
	case "hash":
		return []keyQuestion{{k, "HLEN", nil, guess}}
	case "stream":
		return []keyQuestion{{k, "XLEN", nil, guess}}
	case "array":
		return []keyQuestion{{k, "ARCOUNT", nil, guess}}
	}
	return nil
}

// Ask gives the questions of a round.
func (t *keyTalk) Ask() []collect.Question {
	if !t.began {
		t.begin()
	}
	t.asked, t.next = t.next, nil
	if len(t.asked) == 0 {
		t.remember()
	}
	questions := make([]collect.Question, 0, len(t.asked))
	for _, q := range t.asked {
		words := append(strings.Fields(q.command), q.name)
		questions = append(questions, q.put(t.id, append(words, q.args...)...))
	}
	return questions
}

// begin plans the first round.
func (t *keyTalk) begin() {
	t.began, t.states = true, make(map[keyRef]*keyState, len(t.keys))
	var known map[keyRef]keyKind
	if t.memory != nil {
		if kinds := t.memory.kinds.Load(); kinds != nil {
			known = *kinds
		}
	}
	for _, k := range t.keys {
		if t.states[k] != nil {
			continue // it is named twice
		}
		t.states[k] = &keyState{guess: known[k]}
		t.next = append(t.next, keyQuestion{k, "TYPE", nil, false}, keyQuestion{k, "MEMORY USAGE", nil, false})
		t.next = append(t.next, sizeQuestions(k, known[k], t.values, true)...)
	}
}

// remember keeps what the keys are for the next talk. A key that is gone is remembered as what it was: a queue that was
// worked off comes back as a queue.
func (t *keyTalk) remember() {
	if t.memory == nil {
		return
	}
	kinds := make(map[keyRef]keyKind, len(t.states))
	for k, state := range t.states {
		if kinds[k] = state.kind; state.kind.name == "" || state.kind.name == "none" {
			kinds[k] = state.guess
		}
	}
	t.memory.kinds.Store(&kinds)
}

// Read takes the answers. A key that vanishes or changes its type meanwhile is left out. Whether a guess was right is
// known by then, as the server answers in order: to one that was not it may say anything.
func (t *keyTalk) Read(i int, answer collect.Answer, err error, out *metric.Batch) error {
	q, r := t.asked[i], answered(answer)
	state := t.states[q.keyRef]
	if q.guess && (state.kind.name != state.guess.name || q.command == "PFCOUNT" && !state.kind.hyper) {
		return nil
	}
	switch {
	case q.command == "MEMORY USAGE": // not every server has it, nor every account the right
		if err == nil {
			addNumber(out, t.families.memory, r.value, 1, q.label(), q.name)
		}
	case err != nil && changedMeanwhile(err):
	case q.command == "GETRANGE" && denied(err):
		t.getWhole(q, out)
	case err != nil:
		return err
	case q.command == "TYPE":
		t.readKind(q.keyRef, r.Text(), out)
	case q.command == "STRLEN":
		state.length, state.measured = r.Number()
	case q.command == "GETRANGE", q.command == "GET":
		t.readText(q, r.Text(), out)
	default:
		addNumber(out, t.families.size, r.value, 1, q.label(), q.name)
	}
	return nil
}

// readKind takes what a key is. One that is not there is an empty list where the user has named it, which is what a
// queue is that was worked off.
func (t *keyTalk) readKind(k keyRef, kind string, out *metric.Batch) {
	state := t.states[k]
	state.kind = keyKind{name: kind}
	switch {
	case kind == "none" && t.memory != nil:
		out.Add(t.families.size, 0, k.label(), k.name)
	case kind != state.guess.name:
		t.next = append(t.next, sizeQuestions(k, state.kind, t.values, false)...)
	}
}

// mostWhole is the length up to which a text is fetched as a whole where its beginning cannot be had.
const mostWhole = 64 << 10

// getWhole is for accounts that have the right to GET and not to GETRANGE, such as those made for redis_exporter.
func (t *keyTalk) getWhole(q keyQuestion, out *metric.Batch) {
	if state := t.states[q.keyRef]; state.measured && state.length <= mostWhole {
		t.next = append(t.next, keyQuestion{q.keyRef, "GET", nil, false})
	} else {
		t.readText(q, "", out)
	}
}

// readText takes the beginning of a text. A HyperLogLog has a count rather than a length.
func (t *keyTalk) readText(q keyQuestion, text string, out *metric.Batch) {
	state := t.states[q.keyRef]
	switch {
	case !state.measured:
	case strings.HasPrefix(text, "HYLL"):
		state.kind.hyper = true
		if counted := q.guess && state.guess.hyper; !counted { // or the count comes next
			t.next = append(t.next, keyQuestion{q.keyRef, "PFCOUNT", nil, false})
		}
	default:
		out.Add(t.families.size, state.length, q.label(), q.name)
		if t.values && text != "" {
			t.putValue(q.keyRef, text, out)
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
