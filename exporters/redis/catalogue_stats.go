package main

import (
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Samples of collectors with a row for each command: servers with many modules have thousands.
const commandSamples = 100_000

// oneRound is a talk of one round, for collectors that can do without some of the answers.
type oneRound struct {
	questions []collect.Question
	read      func(i int, r *reply, err error, out *metric.Batch) error
}

// Ask gives the questions, once.
func (o *oneRound) Ask() []collect.Question {
	questions := o.questions
	o.questions = nil
	return questions
}

// Read hands on answers and errors alike.
func (o *oneRound) Read(i int, answer collect.Answer, err error, out *metric.Batch) error {
	return o.read(i, answered(answer), err, out)
}

// databases reads the keyspace section of INFO. Databases without a key are not in it: their number is part of the
// configuration, and where that is known they are shown as empty.
func databases(o options) *collect.Collector {
	k := keyspaceFamilies{
		keys:     gauge("db_keys", "Keys of the database.", "db"),
		expiring: gauge("db_keys_expiring", "Keys of the database that expire.", "db"),
		cached:   gauge("db_keys_cached", "Keys of the database that are kept in memory beside the storage (KeyDB).", "db"),
		ttl:      gauge("db_avg_ttl_seconds", "Average time until keys of the database that expire do so, as the server reckons.", "db"),
	}
	return &collect.Collector{
		Name: "keyspace", Help: "INFO keyspace: keys of each database, and how many expire.",
		Families: []*metric.Family{k.keys, k.expiring, k.cached, k.ttl},
		Talk: func(id collect.Identity) collect.Talk {
			if has(id, sentinel) {
				return &oneRound{}
			}
			questions := askInfo(id)
			if o.emptyDatabases && !has(id, cluster) {
				questions = append(questions, o.askConfig(id)...)
			}
			seen := map[string]bool{}
			return &oneRound{questions: questions, read: func(i int, r *reply, err error, out *metric.Batch) error {
				switch {
				case i == 0 && err != nil:
					return err
				case i == 0:
					k.read(r.Info(), seen, out)
				case err == nil:
					k.pad(r.Get("databases"), seen, out)
				}
				return nil
			}}
		},
	}
}

type keyspaceFamilies struct{ keys, expiring, cached, ttl *metric.Family }

func (k keyspaceFamilies) read(i *info, seen map[string]bool, out *metric.Batch) {
	for _, line := range i.Section("keyspace") {
		pair := infoPairs(line.text)
		for _, part := range []struct {
			family *metric.Family
			name   string
			scale  float64
		}{{k.keys, "keys", 1}, {k.expiring, "expires", 1}, {k.ttl, "avg_ttl", 1e-3}, {k.cached, "cached_keys", 1}} {
			if n, ok := parseNumber(pair(part.name)); ok {
				out.Add(part.family, n*part.scale, line.field)
			}
		}
		seen[line.field] = true
	}
}

// maxPadded is how many databases without a key are shown at most.
const maxPadded = 1000

func (k keyspaceFamilies) pad(databases value, seen map[string]bool, out *metric.Batch) {
	n, _ := databases.Number()
	for i := range int(min(n, maxPadded)) {
		if db := "db" + strconv.Itoa(i); !seen[db] {
			out.Add(k.keys, 0, db)
			out.Add(k.expiring, 0, db)
		}
	}
}

// commandStats reads the commandstats section of INFO.
func commandStats() *collect.Collector {
	columns := []struct {
		family *metric.Family
		name   string
		scale  float64
	}{
		{counter("commands_total", "Calls of the command.", "cmd"), "calls", 1},
		{counter("commands_duration_seconds_total", "Time spent on calls of the command.", "cmd"), "usec", 1e-6},
		{counter("commands_rejected_calls_total", "Calls of the command that were refused before it ran.", "cmd"), "rejected_calls", 1},
		{counter("commands_failed_calls_total", "Calls of the command that failed while it ran.", "cmd"), "failed_calls", 1},
	}
	collector := &collect.Collector{Name: "commandstats", Help: "INFO commandstats: calls, time and failures of each command.", Ask: askInfo, Limit: commandSamples}
	for _, column := range columns {
		collector.Families = append(collector.Families, column.family)
	}
	labels := []string{"cmd"}
	collector.Read = func(_ int, answer collect.Answer, out *metric.Batch) error {
		for _, line := range answered(answer).Info().Section("commandstats") {
			cmd, ok := strings.CutPrefix(line.field, "cmdstat_")
			if !ok {
				continue
			}
			set, pair := out.Set(labels, cmd), infoPairs(line.text)
			for _, column := range columns {
				if n, ok := parseNumber(pair(column.name)); ok {
					out.AddSet(column.family, n*column.scale, 0, set)
				}
			}
		}
		return nil
	}
	return collector
}

// commandPercentiles reads the latencystats section of INFO in the form that redis_exporter gives it: in microseconds,
// with ranks from 0 to 100.
func commandPercentiles() *collect.Collector {
	took := &metric.Family{
		Name: "redis_latency_percentiles_usec", Type: metric.Summary, Unit: "microseconds", Labels: []string{"cmd"},
		Help: "Time that calls of the command took, in microseconds; ranks are percentiles.",
	}
	return &collect.Collector{
		Name: "latency_percentiles", Help: "INFO latencystats: percentiles of how long the calls of each command took, in microseconds.",
		Families: []*metric.Family{took}, Ask: askInfo, Limit: commandSamples,
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			i := answered(answer).Info()
			calls, spent := commandCalls(i), commandSeconds(i)
			for _, line := range i.Section("latencystats") {
				cmd, ok := strings.CutPrefix(line.field, "latency_percentiles_usec_")
				if count, counted := calls[cmd]; ok && counted {
					out.AddSummary(took, &metric.SummaryValue{Count: count, Sum: spent[cmd] * 1e6, Quantiles: percentiles(line.text)}, cmd)
				}
			}
			return nil
		},
	}
}

// percentiles reads p50=1.003,p99.9=4.015.
func percentiles(text string) []metric.Quantile {
	var all []metric.Quantile
	for pair := range strings.SplitSeq(text, ",") {
		name, amount, _ := strings.Cut(pair, "=")
		rank, isRank := parseNumber(strings.TrimPrefix(name, "p"))
		if n, ok := parseNumber(amount); ok && isRank {
			all = append(all, metric.Quantile{Rank: rank, Value: n})
		}
	}
	return all
}

// errorStats reads the errorstats section of INFO. The server itself bounds how many kinds it counts.
func errorStats() *collect.Collector {
	failed := counter("errors_total", "Errors that were answered, by the word that they begin with.", "err")
	return &collect.Collector{
		Name: "errorstats", Help: "INFO errorstats: errors by kind.", Families: []*metric.Family{failed}, Ask: askInfo, Limit: 1000,
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for _, line := range answered(answer).Info().Section("errorstats") {
				kind, ok := strings.CutPrefix(line.field, "errorstat_")
				if n, isNumber := parseNumber(infoPairs(line.text)("count")); ok && isNumber {
					out.Add(failed, n, kind)
				}
			}
			return nil
		},
	}
}
