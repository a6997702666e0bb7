package main

import (
	"context"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// streamFamilies declare what is shown of streams, their groups and their consumers.
type streamFamilies struct {
	stream, group, consumer []streamField
	first, last             *metric.Family
	all                     []*metric.Family
}

// streamField is a field of XINFO with its metric.
type streamField struct {
	field  string
	family *metric.Family
	per    float64 // 0: the field is an entry's id, of which the time counts
}

func newStreamFamilies() *streamFamilies {
	stream, group, consumer := []string{"db", "stream"}, []string{"db", "stream", "group"}, []string{"db", "stream", "group", "consumer"}
	f := &streamFamilies{
		first: gauge("stream_first_entry_id", "Time in the id of the first entry, in milliseconds since 1970; 0 where there is none.", stream...),
		last:  gauge("stream_last_entry_id", "Time in the id of the last entry, in milliseconds since 1970; 0 where there is none.", stream...),
	}
	f.stream = []streamField{
		{"length", gauge("stream_length", "Entries of the stream.", stream...), 1},
		{"radix-tree-keys", gauge("stream_radix_tree_keys", "Keys of the stream's tree.", stream...), 1},
		{"radix-tree-nodes", gauge("stream_radix_tree_nodes", "Nodes of the stream's tree.", stream...), 1},
		{"last-generated-id", gauge("stream_last_generated_id", "Time in the newest id that the stream has made, in milliseconds since 1970.", stream...), 0},
		{"groups", gauge("stream_groups", "Groups of consumers of the stream.", stream...), 1},
		{"max-deleted-entry-id", gauge("stream_max_deleted_entry_id", "Time in the newest id of the entries that were deleted, in milliseconds since 1970.", stream...), 0},
		{"entries-added", counter("stream_entries_added_total", "Entries that were ever added to the stream.", stream...), 1},
	}
	f.group = []streamField{
		{"consumers", gauge("stream_group_consumers", "Consumers of the group.", group...), 1},
		{"pending", gauge("stream_group_messages_pending", "Entries delivered to the group and not confirmed.", group...), 1},
		{"last-delivered-id", gauge("stream_group_last_delivered_id", "Time in the id of the last entry that was delivered to the group, in milliseconds since 1970.", group...), 0},
		{"entries-read", gauge("stream_group_entries_read", "Entries that the group has read; absent where the server does not know.", group...), 1},
		{"lag", gauge("stream_group_lag", "Entries that wait to be delivered to the group; absent where the server does not know.", group...), 1},
	}
	f.consumer = []streamField{
		{"pending", gauge("stream_group_consumer_messages_pending", "Entries delivered to the consumer and not confirmed.", consumer...), 1},
		{"idle", gauge("stream_group_consumer_idle_seconds", "Time since the consumer last tried to read.", consumer...), 1e3},
	}
	f.all = []*metric.Family{f.first, f.last}
	for _, fields := range [][]streamField{f.stream, f.group, f.consumer} {
		for _, field := range fields {
			f.all = append(f.all, field.family)
		}
	}
	return f
}

// put shows the fields of one stream, group or consumer.
func put(fields []streamField, v value, out *metric.Batch, labels ...string) {
	for _, f := range fields {
		if f.per > 0 {
			addNumber(out, f.family, v.Get(f.field), f.per, labels...)
		} else if at, ok := entryTime(v.Get(f.field)); ok {
			out.Add(f.family, at, labels...)
		}
	}
}

// entryTime gives the time in an entry's id, such as 1700000000000-0.
func entryTime(id value) (float64, bool) {
	milliseconds, _, _ := strings.Cut(id.Text(), "-")
	return parseNumber(milliseconds)
}

// streams lists the collectors of streams that the user names.
func streams(k keyChecks) collect.Catalogue {
	families := newStreamFamilies()
	return collect.Catalogue{
		{
			Name: "check_streams", Help: "XINFO: the streams of --check-single-streams, and of those of --check-streams that are no pattern.",
			Families: families.all, Class: collect.Dear, Needs: k.needs(),
			Talk: func(id collect.Identity) collect.Talk {
				return &streamTalk{streamFamilies: families, id: id, streams: k.streams, consumers: k.consumers}
			},
		},
		{
			Name: "check_stream_patterns", Help: "SCAN, in the background, and XINFO for the streams of --check-streams that are patterns.",
			Families: families.all, Class: collect.Slow, Every: scanEvery, Needs: k.needs(),
			Run: func(ctx context.Context, conn collect.Conn, out *metric.Batch) error {
				found, err := scanAll(ctx, conn, k.streamPatterns, k.batch, out)
				for len(found) > 0 && err == nil {
					part := found[:min(maxAtOnce, len(found))]
					found = found[len(part):]
					err = converse(ctx, conn, &streamTalk{streamFamilies: families, id: conn.Identity(), streams: part, consumers: k.consumers}, out)
				}
				return err
			},
		},
	}
}

// streamTalk looks at streams and their groups, and then at the consumers of the groups.
type streamTalk struct {
	*streamFamilies
	id        collect.Identity
	streams   []keyRef
	consumers bool
	rounds    int
	groups    []streamGroup
}

type streamGroup struct {
	keyRef
	group string
}

// maxGroupsAsked is how many groups are asked for their consumers.
const maxGroupsAsked = 10_000

// Ask gives the questions of a round.
func (t *streamTalk) Ask() []collect.Question {
	var questions []collect.Question
	switch t.rounds++; t.rounds {
	case 1:
		for _, s := range t.streams {
			questions = append(questions, s.put(t.id, "XINFO", "STREAM", s.name), s.put(t.id, "XINFO", "GROUPS", s.name))
		}
	case 2:
		for _, g := range t.groups {
			questions = append(questions, g.put(t.id, "XINFO", "CONSUMERS", g.name, g.group))
		}
	}
	return questions
}

// Read takes the answers. A stream that is not there, or is none, has no samples.
func (t *streamTalk) Read(i int, answer collect.Answer, err error, out *metric.Batch) error {
	r := answered(answer)
	switch {
	case err != nil && (changedMeanwhile(err) || strings.HasPrefix(err.Error(), "NOGROUP")):
		return nil
	case err != nil:
		return err
	case t.rounds == 2:
		g := t.groups[i]
		for _, consumer := range r.Items() {
			put(t.consumer, consumer, out, g.label(), g.name, g.group, consumer.Get("name").Text())
		}
		return nil
	}
	s := t.streams[i/2]
	if i%2 == 0 {
		put(t.stream, r.value, out, s.label(), s.name)
		for field, family := range map[string]*metric.Family{"first-entry": t.first, "last-entry": t.last} {
			at := 0.0
			if entry := r.Get(field).Items(); len(entry) > 0 {
				at, _ = entryTime(entry[0])
			}
			out.Add(family, at, s.label(), s.name)
		}
		return nil
	}
	for _, group := range r.Items() {
		name := group.Get("name").Text()
		put(t.group, group, out, s.label(), s.name, name)
		if t.consumers && len(t.groups) < maxGroupsAsked {
			t.groups = append(t.groups, streamGroup{s, name})
		} else if t.consumers {
			out.Limited++
		}
	}
	return nil
}
