package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// pendingEntries shows what waits longest in the streams that the user names without patterns: how old the oldest entry
// is that a group has been given and nobody has confirmed. How many wait is the matter of check_streams.
func pendingEntries(k keyChecks) *collect.Collector {
	labels := []string{"db", "stream", "group"}
	oldest := gauge("stream_group_oldest_pending_timestamp_seconds", "Time in the id of the oldest entry that was delivered to the group and not confirmed; absent where there is none.", labels...)
	delivered := gauge("stream_group_oldest_pending_delivered_timestamp_seconds", "When that entry was last delivered, by the server's clock.", labels...)
	times := gauge("stream_group_oldest_pending_deliveries", "How often that entry was delivered.", labels...)
	return &collect.Collector{
		Name: "stream_pending", Help: "XINFO STREAM FULL: the oldest entry without confirmation, of the streams of --check-single-streams and --check-streams that are no pattern.",
		Families: []*metric.Family{oldest, delivered, times}, Class: collect.Dear, Off: true, Needs: k.needs(),
		Talk: func(id collect.Identity) collect.Talk {
			var questions []collect.Question
			for _, s := range k.streams {
				questions = append(questions, s.put(id, "XINFO", "STREAM", s.name, "FULL", "COUNT", "1"))
			}
			return &oneRound{questions: questions, read: func(i int, r *reply, err error, out *metric.Batch) error {
				if err != nil && changedMeanwhile(err) {
					return nil // it is not there, or is no stream
				}
				for _, group := range r.Get("groups").Items() {
					pending := group.Get("pending").Items()
					if len(pending) == 0 || len(pending[0].Items()) < 4 {
						continue
					}
					entry, with := pending[0].Items(), []string{k.streams[i].label(), k.streams[i].name, group.Get("name").Text()}
					if at, ok := entryTime(entry[0]); ok {
						out.Add(oldest, at/1e3, with...)
					}
					addNumber(out, delivered, entry[2], 1e3, with...)
					addNumber(out, times, entry[3], 1, with...)
				}
				return err
			}}
		},
	}
}
