package collect

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Members are parts of a server that only a connection of their own can ask, such as the databases of PostgreSQL.
//
// The collectors marked PerMember are asked of each. Few members are asked within the scrape, at the same time and on
// kept connections. More than there are connections for are asked in the background, one after another, and a scrape
// serves their last answers with their age. One that cannot be asked costs only itself.
type Members struct {
	Label       string                   // that tells them apart: datname
	Question    Question                 // lists their names in the target's own batch, the most important first
	Admit       func(name string) bool   // those that are wanted
	Driver      func(name string) Driver // connects to one
	Connections int                      // at once, beside the target's own
}

// How often members are asked in the background, for how long an answer of theirs is served, and how many times the
// samples that a collector may publish of one it may of all together.
const (
	memberEvery = time.Minute
	memberGood  = 3 * memberEvery
	memberShare = 10
)

// Limits on asking within a scrape: for how long, how soon a member that did not answer is asked again, and how many
// members there may be.
const (
	memberLimit = 2 * time.Second
	memberPause = 30 * time.Second
	maxMembers  = 10000
)

// members is the state of a target's members.
type members struct {
	mu      sync.Mutex
	names   []string // as they were listed last
	known   map[string]*member
	swept   time.Time // when the last background run began
	running chan struct{}
	cancel  context.CancelFunc
	stopped bool
}

// member is one of them.
type member struct {
	name string
	link link // touched by the one who asks only

	// Under the lock of members.
	parts []*part
	fault fault.Kind
	at    time.Time // of the answer
	tried time.Time
}

// list reads the answer to the question for the members' names.
func (m *members) list(answer Answer, err error, admit func(string) bool) {
	if err != nil {
		return // those known before stay
	}
	var names []string
	for answer.Next() {
		if name := string(answer.Value(0)); len(names) < maxMembers && admit(name) {
			names = append(names, name)
		}
	}
	if answer.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names = names
}

// listed gives the names as they were listed last.
func (m *members) listed() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names
}

// present gives the listed members in their order, and the connections of those that are gone.
func (m *members) present(driver func(string) Driver) (list, gone []*member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known = map[string]*member{}
	}
	listed := map[string]bool{}
	for _, name := range m.names {
		listed[name] = true
	}
	for name, one := range m.known {
		if !listed[name] {
			gone = append(gone, one)
			delete(m.known, name)
		}
	}
	for _, name := range m.names {
		one := m.known[name]
		if one == nil {
			one = &member{name: name, link: link{driver: driver(name)}}
			m.known[name] = one
		}
		list = append(list, one)
	}
	return list, gone
}

// askMembers asks the members as part of a run and tells what that cost, or begins to in the background where they are
// many.
func (t *Target) askMembers(ctx context.Context) (cost Usage, first <-chan struct{}) {
	spec, m := t.spec.Members, &t.members
	if m.isRunning() { // and touches their connections
		return cost, nil
	}
	list, gone := m.present(spec.Driver)
	for _, one := range gone {
		_ = guard(func() error { one.link.drop(); return nil })
	}
	if len(list) > spec.Connections {
		return cost, t.sweep(list)
	}
	ctx, cancel := context.WithTimeout(ctx, memberLimit)
	defer cancel()
	var all sync.WaitGroup
	costs := make([]Usage, len(list))
	for i, one := range list {
		all.Go(func() { _ = guard(func() error { costs[i] = t.askMember(ctx, one, true); return nil }) })
	}
	all.Wait()
	for _, one := range costs {
		cost = cost.plus(one)
	}
	return cost, nil
}

func (m *members) isRunning() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running != nil
}

// sweep asks all members in the background when that is due. It gives what is closed at the end of the first time.
func (t *Target) sweep(list []*member) (first <-chan struct{}) {
	m := &t.members
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped || !m.swept.IsZero() && time.Since(m.swept) < memberEvery {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), memberGood)
	m.running, m.cancel = make(chan struct{}), cancel
	if m.swept.IsZero() {
		first = m.running
	}
	m.swept = time.Now()
	go func() {
		t.askAll(ctx, list)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.cancel()
		close(m.running)
		m.running, m.cancel = nil, nil
	}()
	return first
}

// askAll goes through the members with as many connections as there may be.
func (t *Target) askAll(ctx context.Context, list []*member) {
	next := make(chan *member)
	var all sync.WaitGroup
	for range max(t.spec.Members.Connections, 1) {
		all.Go(func() {
			for one := range next {
				_ = guard(func() error { t.askMember(ctx, one, false); return nil })
			}
		})
	}
	for _, one := range list {
		if ctx.Err() != nil {
			break
		}
		next <- one
	}
	close(next)
	all.Wait()
}

// askMember asks one member what is asked of each, and tells what that cost.
func (t *Target) askMember(ctx context.Context, one *member, keep bool) Usage {
	if keep && t.members.pausing(one) {
		return Usage{}
	}
	before := one.link.usage()
	r := &run{target: t, member: one.name, started: time.Now()}
	for _, collector := range t.spec.Collectors {
		if collector.PerMember && collector.Class != Slow {
			r.parts = append(r.parts, &part{collector: collector})
		}
	}
	err := guard(func() error { return t.attempt(ctx, &one.link, r) })
	if err != nil {
		r.lose(err)
	}
	if err != nil || !keep {
		_ = guard(func() error { one.link.drop(); return nil })
	}
	if !errors.Is(context.Cause(ctx), context.Canceled) { // when the callers hang up, that says nothing of the member
		t.noteMember(one, r)
	}
	return one.link.usage().minus(before)
}

// pausing tells whether a member did not answer lately: waiting for it at every scrape would cost all others.
func (m *members) pausing(one *member) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return one.fault == fault.Timeout && time.Since(one.tried) < memberPause
}

// noteMember keeps what a member answered, and counts and logs what failed.
func (t *Target) noteMember(one *member, r *run) {
	check := r.check()
	compact(r.parts)
	t.mu.Lock()
	for _, p := range r.parts {
		switch p.state {
		case finished:
			t.totals.bring(p.batch)
		case broken:
			t.totals.failures[failure{p.collector.Name, p.kind}]++
		}
	}
	t.mu.Unlock()
	m := &t.members
	m.mu.Lock()
	before, known := one.fault, !one.tried.IsZero()
	one.fault, one.tried = check.Fault(), time.Now()
	if check.Status() != health.Down {
		one.parts, one.at = r.parts, one.tried
	}
	now := one.fault
	m.mu.Unlock()
	switch {
	case now == before:
	case now == fault.None && known:
		t.log.Info(t.spec.Members.Label+" answers again", "name", one.name)
	case now != fault.None:
		t.log.Warn(t.spec.Members.Label+" cannot be asked", "name", one.name, "reason", now, "err", r.cause())
	}
}

// memberState is what a page says of one member.
type memberState struct {
	name   string
	fault  fault.Kind
	served bool // an answer of it is on the page
	age    time.Duration
}

// memberParts is what the members together bring to a page.
type memberParts struct {
	batches []*metric.Batch
	failing map[string]bool // collectors that fail in a member that answers
	limited map[string]int  // samples that a collector had to leave out
	total   map[string]int
}

// snapshot gives the members' answers that are still good, and how each member fares. Since is when the run began
// that asked them, where they are so few that it did.
func (m *members) snapshot(now, since time.Time, connections int) (memberParts, []memberState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := memberParts{failing: map[string]bool{}, limited: map[string]int{}, total: map[string]int{}}
	good := now.Add(-memberGood)
	if len(m.names) <= connections {
		good = since
	}
	var states []memberState
	for _, name := range m.names {
		one := m.known[name]
		state := memberState{name: name, fault: fault.Timeout}
		if one != nil && (!one.tried.Before(good) || one.fault == fault.Timeout) {
			state.fault = one.fault
		}
		if one != nil && one.at.Equal(one.tried) && !one.at.Before(good) { // it answered when it was asked last
			state.served, state.age = true, now.Sub(one.at)
			all.add(one.parts)
		}
		states = append(states, state)
	}
	return all, states
}

// add takes a member's answer. All members together may bring memberShare times what a collector may.
func (all *memberParts) add(parts []*part) {
	for _, p := range parts {
		name := p.collector.Name
		if p.state == broken {
			all.failing[name] = true
		}
		if p.batch == nil {
			continue
		}
		all.limited[name] += p.batch.Limited
		if all.total[name] += p.batch.Len(); all.total[name] > memberShare*p.collector.limit() {
			all.limited[name] += p.batch.Len()
			continue
		}
		all.batches = append(all.batches, p.batch)
	}
}

// stop ends a background run and closes the connections.
func (m *members) stop() {
	m.mu.Lock()
	m.stopped = true
	running := m.running
	if m.cancel != nil {
		m.cancel()
	}
	m.mu.Unlock()
	if running != nil {
		<-running
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.known {
		_ = guard(func() error { one.link.drop(); return nil })
	}
}
