package main

import (
	"math"
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// latencyBounds are upper bounds in microseconds at which every server cuts its histograms, each four times the one
// before, so that the counts are exact. The server counts what takes longer than a second as one second, so that a
// larger bound would claim too much.
func latencyBounds() []float64 {
	return []float64{2, 8, 33, 132, 528, 2113, 8454, 33816, 135266, 541065}
}

// commandLatency gives LATENCY HISTOGRAM as histograms that have the same buckets for every command, on every server,
// at all times: only such can be added up and compared. The sum is that of the command's statistics in INFO. It is off
// by default, as there are a dozen series for each command that redis_exporter's histograms, which are on, have too.
func commandLatency() *collect.Collector {
	took := &metric.Family{
		Name: "redis_command_duration_seconds", Type: metric.Histogram, Labels: []string{"cmd"},
		Help: "Time that calls of the command took on the server, in buckets that never change.",
	}
	bounds := make([]float64, len(latencyBounds()))
	for i, bound := range latencyBounds() {
		bounds[i] = bound / 1e6
	}
	return &collect.Collector{
		Name: "command_latency", Help: "LATENCY HISTOGRAM: how long the calls of each command took.",
		Families: []*metric.Family{took}, Limit: commandSamples, Off: true,
		Talk: func(id collect.Identity) collect.Talk {
			var spent map[string]float64
			return afterInfo(id, func(i *info) { spent = commandSeconds(i) }, func(_ int, r *reply, out *metric.Batch) error {
				return readLatencyHistograms(r.value, took, bounds, spent, out)
			}, ask("LATENCY", "HISTOGRAM"))
		},
	}
}

// commandSeconds gives the time spent on each command since the statistics were reset.
func commandSeconds(i *info) map[string]float64 {
	spent := make(map[string]float64, len(i.Section("commandstats")))
	for _, line := range i.Section("commandstats") {
		cmd, _ := strings.CutPrefix(line.field, "cmdstat_")
		if usec, ok := parseNumber(infoPairs(line.text)("usec")); ok {
			spent[cmd] = usec / 1e6
		}
	}
	return spent
}

// readLatencyHistograms reads pairs of command and details. A command whose sum is not known yet (its first call came
// after INFO was answered) is left out until the next scrape.
func readLatencyHistograms(r value, f *metric.Family, bounds []float64, spent map[string]float64, out *metric.Batch) error {
	for cmd, details := range r.Pairs() {
		sum, known := spent[cmd]
		if !known {
			continue
		}
		calls, ok := details.Get("calls").Number()
		counts, err := bucketCounts(details.Get("histogram_usec"), calls)
		if err != nil || !ok {
			return fault.Wrap(fault.Malformed, "latency histogram", err)
		}
		out.AddHistogram(f, &metric.HistogramValue{Bounds: bounds, Counts: counts, Sum: sum}, cmd)
	}
	return nil
}

// bucketCounts turns pairs of bound and cumulative count, of which the server leaves out those that add nothing, into
// the counts of our buckets.
func bucketCounts(buckets value, calls float64) ([]uint64, error) {
	bounds := latencyBounds()
	counts := make([]uint64, len(bounds)+1)
	at, seen := 0, 0.0
	list := buckets.Items()
	for i := 0; i+1 < len(list); i += 2 {
		bound, isBound := list[i].Number()
		total, isTotal := list[i+1].Number()
		if !isBound || !isTotal || total < seen || total > calls || total > math.MaxInt64/2 {
			return nil, fault.New(fault.Malformed, "buckets that do not add up")
		}
		for at < len(bounds) && bound > bounds[at] {
			at++
		}
		counts[at] += uint64(total - seen)
		seen = total
	}
	counts[len(bounds)] += uint64(calls - seen)
	return counts, nil
}

// commandQuantiles gives the latencystats section of INFO as summaries in seconds, with quantiles from 0 to 1.
func commandQuantiles() *collect.Collector {
	took := &metric.Family{
		Name: "redis_command_duration_quantiles_seconds", Type: metric.Summary, Labels: []string{"cmd"},
		Help: "Time that calls of the command took on the server, as quantiles since its statistics were reset; which ones, the server's setting latency-tracking-info-percentiles says.",
	}
	return &collect.Collector{
		Name: "command_quantiles", Help: "INFO latencystats: quantiles of how long the calls of each command took.",
		Families: []*metric.Family{took}, Ask: askInfo, Limit: commandSamples, Off: true,
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			i := answered(answer).Info()
			calls, spent := commandCalls(i), commandSeconds(i)
			for _, line := range i.Section("latencystats") {
				cmd, ok := strings.CutPrefix(line.field, "latency_percentiles_usec_")
				count, counted := calls[cmd]
				if ok && counted {
					out.AddSummary(took, &metric.SummaryValue{Count: count, Sum: spent[cmd], Quantiles: quantiles(line.text)}, cmd)
				}
			}
			return nil
		},
	}
}

// commandCalls gives the calls of each command since the statistics were reset.
func commandCalls(i *info) map[string]uint64 {
	calls := make(map[string]uint64, len(i.Section("commandstats")))
	for _, line := range i.Section("commandstats") {
		cmd, _ := strings.CutPrefix(line.field, "cmdstat_")
		if n, err := strconv.ParseUint(infoPairs(line.text)("calls"), 10, 64); err == nil {
			calls[cmd] = n
		}
	}
	return calls
}

// quantiles reads "p50=1.003,p99.9=27.007", in percent and microseconds.
func quantiles(text string) []metric.Quantile {
	var all []metric.Quantile
	for pair := range strings.SplitSeq(text, ",") {
		name, usec, _ := strings.Cut(pair, "=")
		percent, isPercent := parseNumber(strings.TrimPrefix(name, "p"))
		value, isValue := parseNumber(usec)
		if isPercent && isValue {
			all = append(all, metric.Quantile{Rank: math.Round(percent*1e6) / 1e8, Value: value / 1e6})
		}
	}
	return all
}

// latencyEvents reads LATENCY LATEST, of which redis_exporter shows the newest spike alone.
func latencyEvents() *collect.Collector {
	longest := gauge("latency_spike_max_seconds", "Longest spike of the event since the server started or its events were reset.", "event_name")
	count := gauge("latency_spikes_recorded", "Spikes of the event that the server remembers (it keeps the last 160), where it tells (Valkey 8.1).", "event_name")
	sum := gauge("latency_spikes_recorded_seconds", "Duration of the spikes that the server remembers, together, where it tells (Valkey 8.1).", "event_name")
	return &collect.Collector{
		Name: "latency_events", Help: "LATENCY LATEST: the worst spike of each kind of event that the latency monitor watches.",
		Families: []*metric.Family{longest, count, sum},
		Ask:      asks(ask("LATENCY", "LATEST")),
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for _, event := range answered(answer).Items() {
				fields := event.Items()
				if len(fields) < 4 {
					return fault.New(fault.Malformed, "a latency event with few fields")
				}
				name := fields[0].Text()
				addNumber(out, longest, fields[3], 1e3, name)
				if len(fields) >= 6 {
					addNumber(out, sum, fields[4], 1e3, name)
					addNumber(out, count, fields[5], 1, name)
				}
			}
			return nil
		},
	}
}
