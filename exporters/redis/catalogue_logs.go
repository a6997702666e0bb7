package main

import (
	"math"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// latencySpikes reads LATENCY LATEST, which has something only where latency-monitor-threshold is set.
func latencySpikes() *collect.Collector {
	last := gauge("latency_spike_last", "When the event last took too long, in seconds since 1970.", "event_name")
	took := gauge("latency_spike_duration_seconds", "How long the event took when it last took too long.", "event_name")
	return &collect.Collector{
		Name: "latency_spikes", Help: "LATENCY LATEST: events that took too long.", Families: []*metric.Family{last, took},
		Ask: asks(ask("LATENCY", "LATEST")), Limit: 1000,
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for _, event := range answered(answer).Items() {
				if parts := event.Items(); len(parts) >= 3 {
					addNumber(out, last, parts[1], 1, parts[0].Text())
					addNumber(out, took, parts[2], 1e3, parts[0].Text())
				}
			}
			return nil
		},
	}
}

// commandHistograms reads LATENCY HISTOGRAM in the form that redis_exporter gives it: in microseconds, with the buckets
// that the server happens to have for each command.
func commandHistograms() *collect.Collector {
	took := &metric.Family{
		Name: "redis_commands_latencies_usec", Type: metric.Histogram, Unit: "microseconds", Labels: []string{"cmd"},
		Help: "Time that calls of the command took, in microseconds, in buckets that differ from command to command.",
	}
	return &collect.Collector{
		Name: "latency_histograms", Help: "LATENCY HISTOGRAM: how long the calls of each command took, in microseconds, in the server's buckets.",
		Families: []*metric.Family{took}, Limit: commandSamples,
		Talk: func(id collect.Identity) collect.Talk {
			if has(id, sentinel) {
				return &oneRound{}
			}
			var spent map[string]float64
			return &oneRound{questions: append(askInfo(id), ask("LATENCY", "HISTOGRAM")), read: func(i int, r *reply, err error, out *metric.Batch) error {
				if err != nil || i == 0 {
					spent = familySeconds(r.Info())
					return err
				}
				for cmd, details := range r.Pairs() {
					h, err := serverHistogram(details)
					if err != nil {
						return err
					}
					h.Sum = spent[cmd] * 1e6
					out.AddHistogram(took, h, cmd)
				}
				return nil
			}}
		},
	}
}

// familySeconds gives the time spent on each command, together with that on its subcommands.
func familySeconds(i *info) map[string]float64 {
	spent := commandSeconds(i)
	for cmd, seconds := range commandSeconds(i) {
		if container, _, ok := strings.Cut(cmd, "|"); ok {
			spent[container] += seconds
		}
	}
	return spent
}

// serverHistogram takes the server's own buckets: pairs of a bound and the count of all calls below it.
func serverHistogram(details value) (*metric.HistogramValue, error) {
	calls, ok := details.Get("calls").Number()
	h, seen, items := &metric.HistogramValue{}, 0.0, details.Get("histogram_usec").Items()
	for i := 0; i+1 < len(items); i += 2 {
		bound, isBound := items[i].Number()
		total, isTotal := items[i+1].Number()
		ok = ok && isBound && isTotal && total >= seen && (i == 0 || bound > h.Bounds[len(h.Bounds)-1])
		if !ok {
			break
		}
		h.Bounds, h.Counts = append(h.Bounds, bound), append(h.Counts, uint64(total-seen))
		seen = total
	}
	if !ok || calls < seen || calls > math.MaxInt64/2 {
		return nil, fault.New(fault.Malformed, "buckets that do not add up")
	}
	h.Counts = append(h.Counts, uint64(calls-seen))
	return h, nil
}

// slowlogLast reads the length of the slow log and its newest entry.
func slowlogLast() *collect.Collector {
	length := gauge("slowlog_length", "Entries in the slow log.")
	id := gauge("slowlog_last_id", "Number of the newest entry in the slow log; 0 where the log is empty.")
	took := gauge("last_slow_execution_duration_seconds", "How long the newest entry in the slow log took; 0 where the log is empty.")
	return &collect.Collector{
		Name: "slowlog", Help: "SLOWLOG LEN, SLOWLOG GET 1: length of the slow log and its newest entry.",
		Families: []*metric.Family{length, id, took},
		Ask: func(id collect.Identity) []collect.Question {
			if has(id, sentinel) {
				return nil
			}
			return []collect.Question{ask("SLOWLOG", "LEN"), ask("SLOWLOG", "GET", "1")}
		},
		Read: func(i int, answer collect.Answer, out *metric.Batch) error {
			r := answered(answer)
			switch entries := r.Items(); {
			case i == 0:
				addNumber(out, length, r.value, 1)
			case len(entries) == 0:
				out.Add(id, 0)
				out.Add(took, 0)
			case len(entries[0].Items()) >= 3:
				addNumber(out, id, entries[0].Items()[0], 1)
				addNumber(out, took, entries[0].Items()[2], 1e6)
			}
			return nil
		},
	}
}

// commandlogLengths reads the lengths of Valkey's three logs, and their settings.
func commandlogLengths() *collect.Collector {
	kinds := []string{"slow", "large-request", "large-reply"}
	lengths := []*metric.Family{
		gauge("commandlog_slow_length", "Entries in the log of slow commands."),
		gauge("commandlog_large_request_length", "Entries in the log of large requests."),
		gauge("commandlog_large_reply_length", "Entries in the log of large replies."),
	}
	settings := []struct {
		name   string
		family *metric.Family
	}{
		{"commandlog-execution-slower-than", gauge("commandlog_execution_slower_than", "Time above which a command is logged as slow, in microseconds.")},
		{"commandlog-slow-execution-max-len", gauge("commandlog_slow_execution_max_len", "Entries that the log of slow commands may have.")},
		{"commandlog-request-larger-than", gauge("commandlog_request_larger_than", "Size above which a request is logged as large, in bytes.")},
		{"commandlog-large-request-max-len", gauge("commandlog_large_request_max_len", "Entries that the log of large requests may have.")},
		{"commandlog-reply-larger-than", gauge("commandlog_reply_larger_than", "Size above which a reply is logged as large, in bytes.")},
		{"commandlog-large-reply-max-len", gauge("commandlog_large_reply_max_len", "Entries that the log of large replies may have.")},
	}
	collector := &collect.Collector{Name: "commandlog", Help: "COMMANDLOG LEN and its settings, of Valkey 8.1 and later.", Families: append([]*metric.Family{}, lengths...)}
	for _, s := range settings {
		collector.Families = append(collector.Families, s.family)
	}
	collector.Talk = func(id collect.Identity) collect.Talk {
		if id.Product != "Valkey" || id.Version < 80100 || has(id, sentinel) {
			return &oneRound{}
		}
		questions := options{}.askConfig(id)
		for _, kind := range kinds {
			questions = append(questions, ask("COMMANDLOG", "LEN", kind))
		}
		return &oneRound{questions: questions, read: func(i int, r *reply, err error, out *metric.Batch) error {
			switch {
			case i > 0 && err == nil:
				addNumber(out, lengths[i-1], r.value, 1)
			case i > 0:
				return err
			case err == nil: // without CONFIG there are the lengths still
				for _, s := range settings {
					addNumber(out, s.family, r.Get(s.name), 1)
				}
			}
			return nil
		}}
	}
	return collector
}
