package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// slack is what an answer may take longer than its scraper waits: the soak shares the machine with what it watches.
	slack = 500 * time.Millisecond
	// aside is how much older than its scrape a page's values may be. A result is good for half a second for the next
	// caller, and who comes while a scrape is under way shares it.
	aside = longestTimeout + time.Second
	// upAfter is how long a line has to be well until the exporter has to say so, and slowAfter until collectors must have
	// recovered that are asked in the background: a minute after a failure.
	upAfter   = 4 * time.Second
	slowAfter = 80 * time.Second
)

// The rules that pages and exporters have to keep.
const (
	ruleAnswer   = "answers within the announced timeout"
	rulePage     = "every page can be read and has no series twice"
	ruleSecret   = "no secret is shown"
	ruleDeaf     = "up 1 only when the server has answered"
	ruleWell     = "up 1 when the server is well"
	ruleSuccess  = "every collector succeeds when the server is well"
	ruleTruth    = "a value is true or absent"
	ruleBackward = "no counter goes backwards without a restart of the server"
	ruleLives    = "the exporter neither ends nor restarts"
	ruleLeak     = "goroutines, files and connections return to their level"
	ruleMemory   = "memory stays small and does not grow"
	ruleLog      = "the log stays small"
)

// scrape is a request for a page as it went.
type scrape struct {
	client       string
	began, ended time.Time
	timeout      time.Duration // as announced
	code         int
	contentType  string
	body         []byte
	err          error
}

func (s scrape) took() time.Duration { return s.ended.Sub(s.began).Round(time.Millisecond) }

// Violation is a broken rule.
type Violation struct {
	At      time.Duration `json:"at"` // after the beginning
	Rule    string        `json:"rule"`
	Target  string        `json:"target"`
	Detail  string        `json:"detail"`
	Fault   string        `json:"fault"` // that was there, or was there last
	Excerpt string        `json:"excerpt,omitempty"`
}

func (v Violation) String() string {
	return fmt.Sprintf("%s %s: %s: %s (%s)", v.At.Round(time.Millisecond), v.Target, v.Rule, v.Detail, v.Fault)
}

// mostViolations bounds what is kept; all are counted.
const mostViolations = 200

// judge keeps the rules. It is safe for concurrent use.
type judge struct {
	begin time.Time
	tell  func(Violation) // is told of each that is kept

	mu         sync.Mutex
	checks     map[string]int // how often each rule was looked at
	broken     map[string]int // how often it was broken
	excused    int            // pages that were let pass
	violations []Violation
	seen       map[string]*memory // by the subject's name
}

// memory is what is known of a subject from earlier pages.
type memory struct {
	counters map[string]seenCounter
	slow     map[string]bool // collectors that are asked in the background
	late     map[*line]bool  // whose last page, while they were well, came only when its time was up
	started  float64         // when the process was, 0 for not known
}

type seenCounter struct {
	value   float64
	ended   time.Time // of the scrape
	changed time.Time // the beginning of the scrape in which it last changed
}

func newJudge(begin time.Time, tell func(Violation)) *judge {
	return &judge{begin: begin, tell: tell, checks: map[string]int{}, broken: map[string]int{}, seen: map[string]*memory{}}
}

// look counts that a rule was looked at, and takes note where it is broken.
func (j *judge) look(rule string, good bool, violation func() Violation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.checks[rule]++
	if good {
		return
	}
	j.broken[rule]++
	if len(j.violations) < mostViolations {
		v := violation()
		v.Rule = rule
		j.violations = append(j.violations, v)
		j.tell(v)
	}
}

// lookAt is look for a page of a subject, or of one of its lines.
func (j *judge) lookAt(rule string, good bool, s *subject, l *line, at scrape, detail, series string) {
	j.look(rule, good, func() Violation {
		v := Violation{At: at.ended.Sub(j.begin), Target: s.name, Detail: at.client + ": " + detail, Excerpt: excerpt(string(at.body), series)}
		for _, one := range s.lines {
			if l == nil || one == l {
				v.Fault = strings.TrimPrefix(v.Fault+"; "+one.past.at(at.ended), "; ")
			}
		}
		if l != nil {
			v.Target += "/" + l.name
		}
		return v
	})
}

// scrape judges an answer to /metrics.
func (j *judge) scrape(s *subject, at scrape) {
	j.lookAt(ruleAnswer, at.err == nil && at.code == 200 && at.took() <= at.timeout+slack, s, nil, at,
		fmt.Sprintf("code %d after %s of %s: %v", at.code, at.took(), at.timeout, at.err), "")
	if at.err != nil || at.code != 200 {
		return
	}
	j.secrets(s, at)
	p, err := readPage(at.body, at.contentType)
	j.lookAt(rulePage, err == nil, s, nil, at, fmt.Sprint(err), "")
	if err != nil {
		return
	}
	known := j.remember(s, p)
	j.process(s, p, known, at)
	for _, l := range s.lines {
		j.up(s, l, p, at)
		if since, well := l.well(at); well && !j.excuse(known, l, at) {
			j.well(s, l, p, at, since)
			j.collectors(s, l, p, known, at, since)
		}
		j.truths(s, l, p, at)
	}
	j.counters(s, p, known, at)
}

// remember gives what is known of a subject.
func (j *judge) remember(s *subject, p page) *memory {
	j.mu.Lock()
	defer j.mu.Unlock()
	known := j.seen[s.name]
	if known == nil {
		known = &memory{counters: map[string]seenCounter{}, slow: map[string]bool{}, late: map[*line]bool{}}
		j.seen[s.name] = known
	}
	for series := range p.with(s.prefix + "_exporter_collector_age_seconds") {
		known.slow[label(series, "collector")] = true
	}
	return known
}

func (j *judge) secrets(s *subject, at scrape) {
	for _, secret := range s.secrets {
		j.lookAt(ruleSecret, !strings.Contains(string(at.body), secret), s, nil, at, "a secret is on the page", "")
	}
}

// process wants the page to be of the process that began.
func (j *judge) process(s *subject, p page, known *memory, at scrape) {
	j.mu.Lock()
	started := p.values["process_start_time_seconds"]
	if known.started == 0 {
		known.started = started
	}
	same := started == known.started
	j.mu.Unlock()
	j.lookAt(ruleLives, same, s, nil, at, "the process is another one", "process_start_time_seconds")
}

// up compares what is said of the server with what is known of the line.
func (j *judge) up(s *subject, l *line, p page, at scrape) {
	series := l.up(s)
	value, shown := p.values[series]
	if fault, deaf := l.past.deaf(at.began.Add(-aside), at.ended); deaf {
		j.lookAt(ruleDeaf, shown && value == 0, s, l, at, fmt.Sprintf("%s is %v (shown: %v) during %s", series, value, shown, fault), series)
	}
	if l.quiet.since(at.began.Add(-aside), l.down()) {
		j.lookAt(ruleDeaf, shown && value == 0, s, l, at, fmt.Sprintf("%s is %v (shown: %v), though no byte came from the server", series, value, shown), series)
	}
}

// well tells for how long all was well with a line when a page was asked for, and whether that is long enough for it to
// be whole.
func (l *line) well(at scrape) (since time.Duration, well bool) {
	moment := l.past.wellSince(at.ended)
	since = at.began.Sub(moment)
	return since, !moment.IsZero() && since >= upAfter
}

// excuse lets one page pass that came when its time was up, and with it what had no time left: the machine may have been
// busy with others. It lets no second one pass.
func (j *judge) excuse(known *memory, l *line, at scrape) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	late := at.ended.Sub(at.began) > at.timeout*4/5
	excused := late && !known.late[l]
	known.late[l] = late
	if excused {
		j.excused++
	}
	return excused
}

func (j *judge) well(s *subject, l *line, p page, at scrape, since time.Duration) {
	series := l.up(s)
	value, shown := p.values[series]
	j.lookAt(ruleWell, shown && value == 1, s, l, at,
		fmt.Sprintf("%s is %v (shown: %v) on a page that took %s, all is well for %s", series, value, shown, at.took(), since.Round(time.Millisecond)), series)
}

// collectors wants all to succeed that had time to.
func (j *judge) collectors(s *subject, l *line, p page, known *memory, at scrape, since time.Duration) {
	for series, value := range p.with(s.prefix + "_exporter_collector_success") {
		if !l.owns(series) {
			continue
		}
		j.mu.Lock()
		slow := known.slow[label(series, "collector")]
		j.mu.Unlock()
		if !slow || since >= slowAfter {
			j.lookAt(ruleSuccess, value == 1, s, l, at, fmt.Sprintf("%s is %v on a page that took %s", series, value, at.took()), label(series, "collector"))
		}
	}
}

func (j *judge) truths(s *subject, l *line, p page, at scrape) {
	for _, t := range l.truths {
		if got, shown := p.values[t.series]; shown {
			err := t.check(got, at.began.Add(-aside), at.ended)
			j.lookAt(ruleTruth, err == nil, s, l, at, fmt.Sprint(err), t.series)
		}
	}
	since, well := l.well(at)
	if !well || since < slowAfter || at.ended.Sub(at.began) > at.timeout*4/5 {
		return
	}
	for _, t := range l.truths {
		_, shown := p.values[t.series]
		j.lookAt(ruleTruth, shown, s, l, at, t.series+" is absent, though all is well", t.series)
	}
}

// counters compares with the pages that were there before this one was asked for.
func (j *judge) counters(s *subject, p page, known *memory, at scrape) {
	for _, series := range slices.Sorted(maps.Keys(p.counters)) {
		value := p.values[series]
		j.mu.Lock()
		before, old := known.counters[series]
		fell := old && before.ended.Before(at.began) && value < before.value && !s.mayFall(series, before.changed.Add(-aside), at.ended)
		next := seenCounter{value, at.ended, at.began}
		if old && value == before.value {
			next.changed = before.changed
		}
		if !old || before.ended.Before(at.began) || value > before.value {
			known.counters[series] = next
		}
		j.mu.Unlock()
		j.lookAt(ruleBackward, !fell, s, nil, at, fmt.Sprintf("%s is %v, after %v", series, value, before.value), series)
	}
}

// mayFall tells that a counter is the server's, and that the server began anew since the counter last changed.
func (s *subject) mayFall(series string, from, to time.Time) bool {
	own := strings.Contains(series, "_exporter_") || !strings.HasPrefix(series, "pg_") && !strings.HasPrefix(series, "redis_")
	if own {
		return false
	}
	return slices.ContainsFunc(s.lines, func(l *line) bool { return l.owns(series) && l.past.restarted(from, to) })
}

// excerpt gives the lines of a page that tell why something is as it is: 3000 bytes at most.
func excerpt(body, series string) string {
	const most = 3000
	var text strings.Builder
	for row := range strings.Lines(body) {
		if strings.HasPrefix(row, "#") || text.Len()+len(row) > most {
			continue
		}
		if series != "" && strings.Contains(row, series) || strings.Contains(row, "_failure_info") || strings.Contains(row, "_up ") || strings.Contains(row, "_up{") ||
			strings.Contains(row, "_collector_success{") && strings.HasSuffix(row, " 0\n") {
			text.WriteString(row)
		}
	}
	return text.String()
}
