package main

import (
	"strings"
	"sync/atomic"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// streamTalk looks at streams and their groups, and then at the consumers of the groups. Groups that were there before
// are asked for theirs at once, and only new ones afterwards.
type streamTalk struct {
	*streamFamilies
	id        collect.Identity
	streams   []keyRef
	consumers bool
	memory    *groupMemory // of streams that the user has named; nil for those that a pattern found

	began  bool
	asked  []streamQuestion // of the present round
	next   []streamQuestion
	early  map[streamGroup]bool // that are asked for their consumers before they are known to be there
	groups map[streamGroup]bool // that are there
	found  []streamGroup        // the same in order
}

// groupMemory is which groups a target's streams had when they were last looked at. Each talk replaces it as a whole.
type groupMemory struct {
	groups atomic.Pointer[[]streamGroup]
}

type streamGroup struct {
	keyRef
	group string
}

// streamQuestion is a question about a stream, or about one of its groups.
type streamQuestion struct {
	streamGroup
	about string
}

// The words of XINFO.
const (
	aboutStream    = "STREAM"
	aboutGroups    = "GROUPS"
	aboutConsumers = "CONSUMERS"
)

// maxGroupsAsked is how many groups are asked for their consumers.
const maxGroupsAsked = 10_000

// Ask gives the questions of a round.
func (t *streamTalk) Ask() []collect.Question {
	if !t.began {
		t.begin()
	}
	t.asked, t.next = t.next, nil
	if len(t.asked) == 0 && t.memory != nil {
		t.memory.groups.Store(&t.found)
	}
	questions := make([]collect.Question, 0, len(t.asked))
	for _, q := range t.asked {
		words := []string{"XINFO", q.about, q.name}
		if q.about == aboutConsumers {
			words = append(words, q.group)
		}
		questions = append(questions, q.put(t.id, words...))
	}
	return questions
}

// begin plans the first round. What is early is asked last, when it is known which groups there are.
func (t *streamTalk) begin() {
	t.began, t.early, t.groups = true, map[streamGroup]bool{}, map[streamGroup]bool{}
	for _, s := range t.streams {
		of := streamGroup{keyRef: s}
		t.next = append(t.next, streamQuestion{of, aboutStream}, streamQuestion{of, aboutGroups})
	}
	if t.memory == nil {
		return
	}
	if known := t.memory.groups.Load(); known != nil {
		for _, g := range *known {
			t.early[g] = true
			t.next = append(t.next, streamQuestion{g, aboutConsumers})
		}
	}
}

// Read takes the answers. A stream that is not there, or is none, has no samples, nor has a group that is gone.
func (t *streamTalk) Read(i int, answer collect.Answer, err error, out *metric.Batch) error {
	q, r := t.asked[i], answered(answer)
	switch {
	case q.about == aboutConsumers && !t.groups[q.streamGroup]:
	case err != nil && (changedMeanwhile(err) || strings.HasPrefix(err.Error(), "NOGROUP")):
	case err != nil:
		return err
	case q.about == aboutStream:
		t.readStream(q.keyRef, r, out)
	case q.about == aboutGroups:
		t.readGroups(q.keyRef, r, out)
	default:
		for _, consumer := range r.Items() {
			put(t.consumer, consumer, out, q.label(), q.name, q.group, consumer.Get("name").Text())
		}
	}
	return nil
}

func (t *streamTalk) readStream(s keyRef, r *reply, out *metric.Batch) {
	put(t.stream, r.value, out, s.label(), s.name)
	for field, family := range map[string]*metric.Family{"first-entry": t.first, "last-entry": t.last} {
		at := 0.0
		if entry := r.Get(field).Items(); len(entry) > 0 {
			at, _ = entryTime(entry[0])
		}
		out.Add(family, at, s.label(), s.name)
	}
}

func (t *streamTalk) readGroups(s keyRef, r *reply, out *metric.Batch) {
	for _, group := range r.Items() {
		g := streamGroup{s, group.Get("name").Text()}
		put(t.group, group, out, s.label(), s.name, g.group)
		switch {
		case !t.consumers:
		case len(t.groups) == maxGroupsAsked:
			out.Limited++
		default:
			t.groups[g], t.found = true, append(t.found, g)
			if !t.early[g] {
				t.next = append(t.next, streamQuestion{g, aboutConsumers})
			}
		}
	}
}
