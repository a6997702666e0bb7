package main

import (
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// logEntries is how many entries of a log are looked at: as many as a server keeps unless told otherwise.
const logEntries = "128"

// recent are the ages, in seconds, up to which the entries of a log are counted.
func recent() []int64 { return []int64{60, 600, 3600, 86400} }

// slowlog reads the entries of SLOWLOG GET: of each only when, how long and the command's name. Arguments, and what is
// known of the client, stay out of sight.
func slowlog() *collect.Collector {
	l := &commandLog{
		entries: gauge("slowlog_command_entries", "Entries of the command among the newest 128 of the slow log.", "cmd"),
		sum:     gauge("slowlog_command_seconds", "Time that the command's entries among the newest 128 of the slow log took together.", "cmd"),
		most:    gauge("slowlog_command_longest_seconds", "Longest entry of the command among the newest 128 of the slow log.", "cmd"),
		within:  gauge("slowlog_recent_entries", "Entries among the newest 128 of the slow log that are no older than so many seconds.", "seconds"),
		oldest:  gauge("slowlog_oldest_timestamp_seconds", "When the oldest of the newest 128 entries of the slow log was made."),
		newest:  gauge("slowlog_newest_timestamp_seconds", "When the newest entry of the slow log was made."),
		per:     1e6,
	}
	return &collect.Collector{
		Name: "slowlog_entries", Help: "SLOWLOG GET: which commands are slow, how slow and since when; names of commands only.",
		Families: l.families(),
		Talk: func(id collect.Identity) collect.Talk {
			var now float64
			return afterInfo(id, func(i *info) { now = serverTime(i) }, func(_ int, r *reply, out *metric.Batch) error {
				return l.read(r.value, now, out)
			}, ask("SLOWLOG", "GET", logEntries))
		},
	}
}

// commandlog reads the logs that Valkey has beside the slow one.
func commandlog() *collect.Collector {
	l := &commandLog{
		entries: gauge("commandlog_command_entries", "Entries of the command among the newest 128 of the log.", "type", "cmd"),
		sum:     gauge("commandlog_command_bytes", "Size of the command's entries among the newest 128 of the log, together.", "type", "cmd"),
		most:    gauge("commandlog_command_largest_bytes", "Largest entry of the command among the newest 128 of the log.", "type", "cmd"),
		within:  gauge("commandlog_recent_entries", "Entries among the newest 128 of the log that are no older than so many seconds.", "type", "seconds"),
		oldest:  gauge("commandlog_oldest_timestamp_seconds", "When the oldest of the newest 128 entries of the log was made.", "type"),
		newest:  gauge("commandlog_newest_timestamp_seconds", "When the newest entry of the log was made.", "type"),
		per:     1,
	}
	types := []string{"large-request", "large-reply"}
	return &collect.Collector{
		Name: "commandlog_entries", Help: "COMMANDLOG GET: which commands have large requests and replies, how large and since when; names of commands only.",
		Families: l.families(),
		Talk: func(id collect.Identity) collect.Talk {
			if id.Product != "Valkey" || id.Version < 80100 {
				return &oneRound{}
			}
			var now float64
			return optional(afterInfo(id, func(i *info) { now = serverTime(i) }, func(i int, r *reply, out *metric.Batch) error {
				return l.read(r.value, now, out, types[i])
			}, ask("COMMANDLOG", "GET", logEntries, types[0]), ask("COMMANDLOG", "GET", logEntries, types[1])))
		},
	}
}

// serverTime is the server's own clock, in Unix seconds: its entries have their times from the same. 0 where an old
// server does not tell.
func serverTime(i *info) float64 {
	usec, _ := i.Number("server_time_usec")
	return usec / 1e6
}

// commandLog reads a log of commands: entries of id, time, amount, command with arguments and more.
type commandLog struct {
	entries, sum, most, within, oldest, newest *metric.Family
	per                                        float64 // units of the log that make one of the metrics
}

func (l *commandLog) families() []*metric.Family {
	return []*metric.Family{l.entries, l.sum, l.most, l.within, l.oldest, l.newest}
}

func (l *commandLog) read(r value, now float64, out *metric.Batch, labels ...string) error {
	commands, oldest, newest := tally{}, 0.0, 0.0
	within := make([]float64, len(recent()))
	for i, entry := range r.Items() {
		fields := entry.Items()
		if len(fields) < 4 {
			return fault.New(fault.Malformed, "an entry of a command log with few fields")
		}
		at, isTime := fields[1].Number()
		amount, isAmount := fields[2].Number()
		if !isTime || !isAmount {
			return fault.New(fault.Malformed, "an entry of a command log without numbers")
		}
		if i == 0 {
			oldest, newest = at, at
		}
		oldest, newest = min(oldest, at), max(newest, at)
		commands.add(loggedCommand(fields[3].Items()), amount)
		for i, seconds := range recent() {
			if now-at <= float64(seconds) {
				within[i]++
			}
		}
	}
	with := func(more string) []string { return append(append([]string{}, labels...), more) }
	commands.each(func(cmd string, a amounts) {
		out.Add(l.entries, a.count, with(cmd)...)
		out.Add(l.sum, a.sum/l.per, with(cmd)...)
		out.Add(l.most, a.most/l.per, with(cmd)...)
	})
	if now > 0 {
		for i, seconds := range recent() {
			out.Add(l.within, within[i], with(strconv.FormatInt(seconds, 10))...)
		}
	}
	if newest > 0 {
		out.Add(l.oldest, oldest, labels...)
		out.Add(l.newest, newest, labels...)
	}
	return nil
}

// loggedCommand is the first word of a logged command, in small letters. What does not look like a command's name is not
// shown: it could be anything.
func loggedCommand(words []value) string {
	if len(words) == 0 {
		return others
	}
	name := words[0].Text()
	if len(name) == 0 || len(name) > 64 {
		return others
	}
	const signs = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-|"
	if strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(signs, r) }) {
		return others
	}
	return strings.ToLower(name)
}
