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
	families, known := newStreamFamilies(), &groupMemory{}
	return collect.Catalogue{
		{
			Name: "check_streams", Help: "XINFO: the streams of --check-single-streams, and of those of --check-streams that are no pattern.",
			Families: families.all, Class: collect.Dear, Needs: k.needs(), Remembers: true,
			Talk: func(id collect.Identity) collect.Talk {
				return &streamTalk{streamFamilies: families, id: id, streams: k.streams, consumers: k.consumers, memory: known}
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
