package main

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// sampling says what the sample of the keys looks at, and what a run of it may cost the server. A bound that is 0 is the
// one of defaultSampling.
type sampling struct {
	every    time.Duration
	commands int           // that a run may send
	time     time.Duration // that a run may take
	keys     int           // that are looked at before the sample of a database counts as done, be it the whole or not
	patterns []*regexp.Regexp
	names    bool // whether the largest and hottest keys are shown by name
	replicas bool // whether primaries are left alone
}

// defaultSampling looks at some 7,500 keys every five minutes, which keeps a server busy for about a tenth of a second.
func defaultSampling() sampling {
	return sampling{every: 5 * time.Minute, commands: 30000, time: 5 * time.Second, keys: 100000}
}

func (s sampling) bounded() sampling {
	usual := defaultSampling()
	s.every, s.commands = cmp.Or(s.every, usual.every), cmp.Or(s.commands, usual.commands)
	s.time, s.keys = cmp.Or(s.time, usual.time), cmp.Or(s.keys, usual.keys)
	return s
}

// scanCount is how many keys a SCAN is asked for, and so how many the server looks at in one go.
const scanCount = 200

// Bounds on what is remembered and shown of the sample.
const (
	maxDatabases = 64
	topKeys      = 10
	maxPage      = 10 * scanCount // keys of one answer that are looked at; a server gives little more than it is asked for
)

// keySample goes through the keys with SCAN, a part in each run, and looks at each key without touching it. The cursor
// of SCAN goes through the keys in no order, so that any part of them is a fair sample of all.
type keySample struct {
	sampling
	families  *keyFamilies
	databases map[int]*keyspace
	next      int // database that the next run begins with
}

// keyspace is what the runs so far know of a database.
type keyspace struct {
	size, expires float64 // of the whole, as INFO has it
	cursor        string
	present, last *keyCounts // the sample that is being taken, and the one that is done
}

// keySampler is the collector of the sample.
func keySampler(s sampling) *collect.Collector {
	s = s.bounded()
	k := &keySample{sampling: s, families: newKeyFamilies(), databases: map[int]*keyspace{}}
	return &collect.Collector{
		Name: "key_sample", Help: "SCAN with TYPE, PTTL, MEMORY USAGE and OBJECT: kinds, sizes, expiry and use of the keys, from a sample. A run sends up to 30,000 commands, in batches of some 800.",
		Families: k.families.all, Class: collect.Slow, Every: s.every, Off: true, Needs: collect.Needs{Replica: s.replicas},
		Run: k.run,
	}
}

func (k *keySample) run(ctx context.Context, conn collect.Conn, out *metric.Batch) error {
	own := func(q collect.Question) collect.Question { return q }
	r := &keyRun{keySample: k, conn: conn, began: time.Now(), of: own}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	numbers := r.order()
	for _, number := range numbers {
		if err := r.database(ctx, number); err != nil {
			return err
		}
		if r.spent(nil) {
			break
		}
	}
	for _, number := range r.sorted() {
		k.families.put("db"+strconv.Itoa(number), k.databases[number], k.sampling, out)
	}
	out.Add(k.families.commands, float64(r.sent))
	return nil
}

// keyRun is one run of the sample.
type keyRun struct {
	*keySample
	conn  collect.Conn
	began time.Time
	sent  int
	use   string                                  // OBJECT subcommand that tells how much a key is used
	of    func(collect.Question) collect.Question // puts a question to the database that is looked at
}

// spent tells whether the run's budget is, once it has looked at these keys too.
func (r *keyRun) spent(keys []string) bool {
	return r.sent+perKey*len(keys) >= r.commands || time.Since(r.began) >= r.time
}

// ask sends questions and gives their answers in order. A key that is gone, or has moved to another node, has none.
func (r *keyRun) ask(ctx context.Context, questions []collect.Question) ([]value, error) {
	answers := make([]value, len(questions))
	var problem error
	r.sent += len(questions)
	for i := range questions {
		questions[i] = r.of(questions[i])
	}
	err := r.conn.Do(ctx, questions, func(i int, answer collect.Answer, err error) {
		if err == nil {
			answers[i] = answered(answer).value
		} else if !elsewhere(err) {
			problem = cmp.Or(problem, err)
		}
	})
	return answers, cmp.Or(err, problem)
}

// elsewhere tells whether a key is not, or not any more, on the node that was asked, or gone.
func elsewhere(err error) bool {
	var refused refusal
	if !errors.As(err, &refused) {
		return false
	}
	word, _, _ := strings.Cut(string(refused), " ")
	return slices.Contains([]string{"MOVED", "ASK", "TRYAGAIN"}, word) || strings.Contains(string(refused), "no such key")
}

// prepare finds out which databases have keys, and how the server tells how much they are used.
func (r *keyRun) prepare(ctx context.Context) error {
	questions := []collect.Question{ask("INFO", "keyspace"), ask("INFO", "memory")}
	if id := r.conn.Identity(); has(id, cluster) && id.Replica {
		questions = append(questions, ask("READONLY")) // or else a replica sends us to its primary
	}
	answers, err := r.ask(ctx, questions)
	if err != nil {
		return err
	}
	r.use = "IDLETIME"
	if strings.Contains(parseInfo(answers[1].Text()).Text("maxmemory_policy"), "lfu") {
		r.use = "FREQ"
	}
	found := map[int]bool{}
	for _, line := range parseInfo(answers[0].Text()).Section("keyspace") {
		digits, isDatabase := strings.CutPrefix(line.field, "db")
		number, err := strconv.Atoi(digits)
		if !isDatabase || err != nil || len(found) >= maxDatabases {
			continue
		}
		found[number] = true
		if r.databases[number] == nil {
			r.databases[number] = &keyspace{cursor: "0"}
		}
		r.databases[number].size, _ = parseNumber(infoPairs(line.text)("keys"))
		r.databases[number].expires, _ = parseNumber(infoPairs(line.text)("expires"))
	}
	for number := range r.databases {
		if !found[number] {
			delete(r.databases, number)
		}
	}
	return nil
}

func (r *keyRun) sorted() []int {
	var numbers []int
	for number := range r.databases {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	return numbers
}

// order gives the databases from the one on whose turn it is.
func (r *keyRun) order() []int {
	numbers := r.sorted()
	at, _ := slices.BinarySearch(numbers, r.next)
	return append(slices.Clone(numbers[at:]), numbers[:at]...)
}

// database goes on with one database until its sample is done or the run's budget is spent.
func (r *keyRun) database(ctx context.Context, number int) error {
	db := r.databases[number]
	r.next = number
	if db.present == nil {
		db.present = newKeyCounts(len(r.patterns))
	}
	if !has(r.conn.Identity(), cluster) {
		r.of = func(q collect.Question) collect.Question { return inDatabase(number, q) }
	}
	var keys []string
	for {
		questions := []collect.Question{ask("SCAN", db.cursor, "COUNT", strconv.Itoa(scanCount))}
		answers, err := r.ask(ctx, append(questions, r.details(keys)...))
		if err != nil {
			return err
		}
		r.count(db.present, keys, answers[1:])
		scan := answers[0].Items()
		if len(scan) < 2 {
			return fault.New(fault.Malformed, "an answer to SCAN without keys")
		}
		db.cursor, keys = scan[0].Text(), texts(scan[1].Items()[:min(len(scan[1].Items()), maxPage)])
		if db.cursor == "0" || db.present.scanned+len(keys) >= r.keys || r.spent(keys) {
			break
		}
	}
	answers, err := r.ask(ctx, r.details(keys))
	if err != nil {
		return err
	}
	r.count(db.present, keys, answers)
	if db.cursor == "0" || db.present.scanned >= r.keys {
		db.present.coverage = coverage(db.present.scanned, db.size)
		db.last, db.present = db.present, nil
		r.next = number + 1
	}
	return nil
}

func coverage(scanned int, size float64) float64 {
	if size < 1 {
		return 1
	}
	return min(1, float64(scanned)/size)
}

func texts(items []value) []string {
	var all []string
	for _, item := range items {
		all = append(all, item.Text())
	}
	return all
}

// perKey is how many commands look at one key.
const perKey = 4

func (r *keyRun) details(keys []string) []collect.Question {
	questions := make([]collect.Question, 0, perKey*len(keys))
	for _, key := range keys {
		questions = append(questions, ask("TYPE", key), ask("PTTL", key), ask("MEMORY", "USAGE", key), ask("OBJECT", r.use, key))
	}
	return questions
}

func (r *keyRun) count(to *keyCounts, keys []string, answers []value) {
	for i, key := range keys {
		of := answers[perKey*i : perKey*(i+1)]
		ttl, known := of[1].Number()
		bytes, measured := of[2].Number()
		if !known || ttl == -2 || !measured { // gone meanwhile
			to.scanned++
			continue
		}
		one := sampled{name: key, kind: of[0].Text(), bytes: bytes, ttl: ttl / 1e3}
		one.use, one.used = of[3].Number()
		to.add(one, r.pattern(key), r.use == "FREQ")
	}
}

// pattern gives the position of the first pattern that the key has; after the last one for a key that has none.
func (r *keyRun) pattern(key string) int {
	at := slices.IndexFunc(r.patterns, func(p *regexp.Regexp) bool { return p.MatchString(key) })
	if at < 0 {
		at = len(r.patterns)
	}
	return at
}
