package main

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// beyondOptions is what the flags say of these collectors.
type beyondOptions struct {
	sampling       sampling
	searchIndexes  *regexp.Regexp // those that are looked at; nil: all
	scripts        []script
	scriptReadOnly bool
}

// beyond lists the collectors for what redis_exporter does not show, and those of its collectors that stand apart from
// the rest, in reading order. They keep what they know from one run to the next: each target needs its own.
func beyond(o beyondOptions) collect.Catalogue {
	return collect.Catalogue{
		// catalogue_latency.go
		commandLatency(), commandQuantiles(), latencyEvents(),
		// catalogue_slowlog.go
		slowlog(), commandlog(),
		// catalogue_clients.go
		clientSummary(),
		// catalogue_eviction.go
		clientEviction(),
		// catalogue_threads.go
		ioThreads(),
		// catalogue_security.go
		aclLog(),
		// catalogue_replication.go
		replicationLag(),
		// catalogue_persistence.go
		persistence(),
		// catalogue_memory.go
		memoryCategories(),
		// catalogue_keyspace.go
		keySizes(), keyspaceExpiry(),
		// catalogue_functions.go
		functions(),
		// catalogue_scripts.go
		scriptCollector(o.scripts, o.scriptReadOnly),
		// catalogue_search.go
		searchIndexes(o.searchIndexes),
		// catalogue_cluster.go
		clusterNodes(), clusterLinks(), slotStats(),
		// catalogue_sentinel.go
		sentinelMasters(),
		// catalogue_keys.go
		keySampler(o.sampling),
	}
}

func gauge(name, help string, labels ...string) *metric.Family {
	return &metric.Family{Name: "redis_" + name, Help: help, Labels: labels}
}

func counter(name, help string, labels ...string) *metric.Family {
	return &metric.Family{Name: "redis_" + name, Help: help, Type: metric.Counter, Labels: labels}
}

// asks is for a collector that asks every server the same.
func asks(questions ...collect.Question) func(collect.Identity) []collect.Question {
	return func(collect.Identity) []collect.Question { return questions }
}

// afterInfo is a talk of one round in which other answers are read in the light of INFO.
func afterInfo(id collect.Identity, light func(*info), read func(i int, r *reply, out *metric.Batch) error, questions ...collect.Question) *oneRound {
	return &oneRound{questions: append(askInfo(id), questions...), read: func(i int, r *reply, err error, out *metric.Batch) error {
		switch {
		case err != nil:
			return err
		case i == 0:
			light(r.Info())
			return nil
		}
		return read(i-1, r, out)
	}}
}

// optional makes of a talk one that an account without the right to it does not have, rather than one that fails: what
// is on by default gets by with the rights that redis_exporter asks for.
func optional(o *oneRound) *oneRound {
	read := o.read
	o.read = func(i int, r *reply, err error, out *metric.Batch) error {
		if denied(err) {
			return fault.Wrap(fault.Unsupported, "without the right", err)
		}
		return read(i, r, err, out)
	}
	return o
}

// addNumber appends a sample where the server gave a number: what it does not tell is absent. Per is how many of the
// server's units make one of the metric's; a thousand is exact, where a thousandth is not.
func addNumber(out *metric.Batch, f *metric.Family, r value, per float64, labels ...string) {
	if n, ok := r.Number(); ok {
		out.Add(f, n/per, labels...)
	}
}

// others is the label of all that is not among the first of its kind. No name or user can contain a parenthesis by
// mistake, and a reader sees what it is.
const others = "(other)"

// shown is how many names of a kind have series of their own.
const shown = 20

// tally adds up amounts by name. It keeps copies of the names, which are pieces of answers that are not kept.
type tally map[string]*amounts

// amounts are counted together, so that what is shown of a name is shown whole.
type amounts struct{ count, sum, most float64 }

func (a *amounts) add(value float64) {
	a.count++
	a.sum += value
	a.most = max(a.most, value)
}

func (t tally) add(name string, value float64) { t.at(name).add(value) }

// addTimes counts something that happened several times.
func (t tally) addTimes(name string, times float64) { t.at(name).count += times }

func (t tally) at(name string) *amounts {
	a := t[name]
	if a == nil {
		a = &amounts{}
		t[strings.Clone(name)] = a
	}
	return a
}

// each calls for the largest names, by count and then by sum, and once for the others together.
func (t tally) each(call func(name string, a amounts)) {
	type named struct {
		name string
		amounts
	}
	all := make([]named, 0, len(t))
	for name, a := range t {
		all = append(all, named{name, *a})
	}
	slices.SortFunc(all, func(x, y named) int {
		return cmp.Or(cmp.Compare(y.count, x.count), cmp.Compare(y.sum, x.sum), cmp.Compare(x.name, y.name))
	})
	var left amounts
	for i, a := range all {
		if i < shown || len(all) == shown+1 {
			call(a.name, a.amounts)
			continue
		}
		left.count, left.sum, left.most = left.count+a.count, left.sum+a.sum, max(left.most, a.most)
	}
	if left.count > 0 {
		call(others, left)
	}
}
