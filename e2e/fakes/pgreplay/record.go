package pgreplay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// record is what the real server has answered.
type record struct {
	address string
	asked   atomic.Int64

	mu         sync.RWMutex
	sessions   map[string]*session // as they begin, by the startup message
	statements map[string]*statement
	answers    map[string]known // by the key of the question
	numbers    uint32           // of sessions

	asking sync.Mutex  // one question at a time
	open   *connection // nil, or the one connection there is: a client sees in some answers that there are others
	opened *session    // the session it is in
}

// known is an answer up to ReadyForQuery, and the session that it leaves.
type known struct {
	bytes []byte
	after *session
}

// session is a state that sessions are in.
type session struct {
	number   uint32
	startup  []byte
	hello    []byte     // the answer to that
	settings []dialogue // what was set since
	last     []byte     // the key of the last of them, without the session's number
}

// statement is a text with the types of its parameters, as a Parse or a Query has them.
type statement struct {
	id       uint32
	body     []byte
	settings bool
}

// setting finds what changes the session: SET, RESET, DISCARD, but not what changes a transaction.
var setting = regexp.MustCompile(`(?i)\bset_config\s*\(|^\s*(set\s+(session\s|[^lt])|reset\s|discard\s)`)

// timeouts finds how long a session may take, in milliseconds, which may depend on when it was opened.
var timeouts = regexp.MustCompile(`(_timeout', +E?')\d+'`)

func newRecord(address string) *record {
	return &record{address: address, sessions: map[string]*session{}, statements: map[string]*statement{}, answers: map[string]known{}}
}

// statement gives what stands for a text from now on.
func (r *record) statement(body []byte) *statement {
	r.mu.RLock()
	s := r.statements[string(body)]
	r.mu.RUnlock()
	if s != nil {
		return s
	}
	kept, name := bytes.Clone(body), string(body)
	if bytes.Contains(body, []byte("_timeout'")) {
		name = timeouts.ReplaceAllString(name, "${1}0'")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s = r.statements[name]; s == nil {
		s = &statement{id: uint32(len(r.statements) + 1), body: kept, settings: setting.Match(kept)}
		r.statements[name] = s
	}
	return s
}

// number tells statements apart; 0 is none.
func (s *statement) number() uint32 {
	if s == nil {
		return 0
	}
	return s.id
}

// name is that of the statement at the real server, with its end.
func (s *statement) name() []byte { return fmt.Appendf(nil, "replayed%d\x00", s.id) }

func (s *statement) parse() message { return message{parse, append(s.name(), s.body...)} }

// begin gives the session that a startup message begins.
func (r *record) begin(startup []byte) (*session, error) {
	name := sorted(startup)
	r.mu.RLock()
	s := r.sessions[name]
	r.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	r.asking.Lock()
	defer r.asking.Unlock()
	r.mu.RLock()
	s = r.sessions[name]
	r.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	s = r.newSession(session{startup: startup})
	if err := r.enter(s); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[name] = s
	return s, nil
}

// sorted gives the parameters of a startup message in one order: clients may keep them in none.
func sorted(startup []byte) string {
	words := strings.Split(string(startup[8:]), "\x00")
	var pairs []string
	for pair := range slices.Chunk(words, 2) {
		pairs = append(pairs, strings.Join(pair, "\x00"))
	}
	slices.Sort(pairs)
	return string(startup[4:8]) + strings.Join(pairs, "\x00")
}

// newSession gives a session a number.
func (r *record) newSession(s session) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.numbers++
	s.number = r.numbers
	return &s
}

// enter brings the connection to where a session is.
func (r *record) enter(s *session) error {
	if r.opened == s {
		return nil
	}
	r.leave()
	open, hello, err := connect(r.address, s.startup)
	if err != nil {
		return err
	}
	if s.hello == nil { // else clients read it at this moment
		s.hello = hello
	}
	r.open, r.opened = open, s
	for _, d := range s.settings {
		if _, err := open.ask(d); err != nil {
			r.leave()
			return err
		}
	}
	return nil
}

// leave closes the connection.
func (r *record) leave() {
	if r.open != nil {
		r.open.close()
	}
	r.open, r.opened = nil, nil
}

// answer gives what the real server answers to a question, or has answered.
func (r *record) answer(s *session, q *question) (known, error) {
	key := q.of(s.number)
	if found, ok := r.find(key); ok {
		return found, nil
	}
	r.asking.Lock()
	defer r.asking.Unlock()
	if found, ok := r.find(key); ok { // somebody else has asked meanwhile
		return found, nil
	}
	return r.ask(s, q, key)
}

func (r *record) find(key []byte) (known, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	found, ok := r.answers[string(key)]
	return found, ok
}

// ask asks the real server and keeps the answer, unless it would be another one a little later.
func (r *record) ask(s *session, q *question, key []byte) (known, error) {
	if err := r.enter(s); err != nil {
		return known{}, err
	}
	r.asked.Add(1)
	d := q.dialogue()
	told, err := r.open.ask(d)
	if err == nil && told[len(told)-1] != 'I' {
		err = errors.New("transactions of several questions are not replayed")
	}
	if err != nil {
		r.leave()
		return known{}, err
	}
	answer := known{told, s}
	if passing(told) {
		return answer, nil
	}
	if q.settings && !bytes.Equal(s.last, key[4:]) { // the same once more changes nothing
		answer.after = r.newSession(session{
			startup: s.startup, hello: s.hello, settings: append(slices.Clone(s.settings), d), last: bytes.Clone(key[4:]),
		})
		r.opened = answer.after
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[string(key)] = answer
	return answer, nil
}

// passing tells whether an answer holds an error that is one of the moment: a lock, a limit, a timeout.
func passing(answer []byte) bool {
	for len(answer) > 5 {
		end := 1 + binary.BigEndian.Uint32(answer[1:])
		if answer[0] == 'E' {
			for field := range bytes.SplitSeq(answer[5:end], []byte{0}) {
				for _, class := range []string{"C40", "C53", "C55P03", "C57"} {
					if bytes.HasPrefix(field, []byte(class)) {
						return true
					}
				}
			}
		}
		answer = answer[end:]
	}
	return false
}

// close closes the connection.
func (r *record) close() {
	r.asking.Lock()
	defer r.asking.Unlock()
	r.leave()
}
