package main

import (
	"cmp"
	"slices"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// expirySeconds are the times within which keys are said to expire, and idleSeconds those for longer than which nobody
// used them.
func expirySeconds() []float64 { return []float64{60, 3600, 86400, 7 * 86400, 30 * 86400} }
func idleSeconds() []float64   { return []float64{3600, 86400, 7 * 86400, 30 * 86400} }

// sampled is one key of the sample.
type sampled struct {
	name, kind string
	bytes      float64
	ttl        float64 // in seconds; below 0: it does not expire
	use        float64 // seconds since, or how often
	used       bool    // whether the server tells
}

// keyCounts is what a sample of a database comes to.
type keyCounts struct {
	scanned  int
	coverage float64 // of a sample that is done
	kinds    tally
	all      expiry
	patterns []patternCounts // the last one is of keys that have no pattern
	idle     []float64
	hottest  float64
	frequent bool // whether use is a frequency
	largest  []sampled
	hot      []sampled
}

type patternCounts struct {
	size   amounts
	expiry expiry
}

// expiry counts keys by when they expire.
type expiry struct {
	never, ever float64
	within      [5]float64 // by expirySeconds
}

func (e *expiry) add(ttl float64) {
	if ttl < 0 {
		e.never++
		return
	}
	e.ever++
	for i, seconds := range expirySeconds() {
		if ttl <= seconds {
			e.within[i]++
		}
	}
}

func newKeyCounts(patterns int) *keyCounts {
	return &keyCounts{kinds: tally{}, patterns: make([]patternCounts, patterns+1), idle: make([]float64, len(idleSeconds()))}
}

func (c *keyCounts) add(key sampled, pattern int, frequency bool) {
	c.scanned++
	c.kinds.add(key.kind, key.bytes)
	c.all.add(key.ttl)
	p := &c.patterns[pattern]
	p.size.add(key.bytes)
	p.expiry.add(key.ttl)
	c.largest = keepTop(c.largest, key, func(k sampled) float64 { return k.bytes })
	c.frequent = frequency
	switch {
	case !key.used:
	case frequency:
		c.hottest = max(c.hottest, key.use)
		c.hot = keepTop(c.hot, key, func(k sampled) float64 { return k.use })
	default:
		above(c.idle, idleSeconds(), key.use)
	}
}

// keepTop keeps the first of a kind. SCAN may give a key twice.
func keepTop(top []sampled, key sampled, by func(sampled) float64) []sampled {
	if len(top) == topKeys && by(key) <= by(top[topKeys-1]) {
		return top
	}
	top = slices.DeleteFunc(top, func(k sampled) bool { return k.name == key.name })
	at, _ := slices.BinarySearchFunc(top, by(key), func(k sampled, value float64) int { return cmp.Compare(value, by(k)) })
	top = slices.Insert(top, at, key)
	return top[:min(len(top), topKeys)]
}

// keyFamilies declare what is said of the sample.
type keyFamilies struct {
	keys, coverage, kinds, bytes, largest                *metric.Family
	never, within, forecast, idle, hottest               *metric.Family
	patterns, patternBytes, patternLargest, patternNever *metric.Family
	patternWithin, bigKeys, hotKeys, commands            *metric.Family
	all                                                  []*metric.Family
}

func newKeyFamilies() *keyFamilies {
	f := &keyFamilies{}
	declare := func(name, help string, labels ...string) *metric.Family {
		family := gauge(name, help, labels...)
		f.all = append(f.all, family)
		return family
	}
	f.keys = declare("key_sample_keys", "Keys in the sample of the database.", "db")
	f.coverage = declare("key_sample_coverage_ratio", "Share of the database's keys that are in the sample, from 0 to 1.", "db")
	f.commands = declare("key_sample_commands", "Commands that the last run of the sample sent.")
	f.kinds = declare("key_sample_type_keys", "Keys in the sample by type.", "db", "type")
	f.bytes = declare("key_sample_type_bytes", "Memory of the keys in the sample and their values, by type.", "db", "type")
	f.largest = declare("key_sample_type_largest_bytes", "Memory of the largest key in the sample, by type.", "db", "type")
	f.never = declare("key_sample_persistent_keys", "Keys in the sample that do not expire.", "db")
	f.within = declare("key_sample_expiring_keys", "Keys in the sample that expire within so many seconds.", "db", "seconds")
	f.forecast = declare("db_expiry_forecast_keys", "Keys of the database that are expected to expire within so many seconds: those of the sample, times what there are of them.", "db", "seconds")
	f.idle = declare("key_sample_idle_keys", "Keys in the sample that were not used for more than so many seconds; absent where the server counts frequencies instead.", "db", "seconds")
	f.hottest = declare("key_sample_hottest_frequency", "Largest frequency of use of a key in the sample, from 0 to 255 on the server's logarithmic scale; absent where the eviction policy is not LFU.", "db")
	f.patterns = declare("key_sample_pattern_keys", "Keys in the sample by the first pattern that they have; those that have none count as (other).", "db", "pattern")
	f.patternBytes = declare("key_sample_pattern_bytes", "Memory of the keys in the sample and their values, by pattern.", "db", "pattern")
	f.patternLargest = declare("key_sample_pattern_largest_bytes", "Memory of the largest key in the sample, by pattern.", "db", "pattern")
	f.patternNever = declare("key_sample_pattern_persistent_keys", "Keys in the sample that do not expire, by pattern.", "db", "pattern")
	f.patternWithin = declare("key_sample_pattern_expiring_keys", "Keys in the sample that expire within so many seconds, by pattern.", "db", "pattern", "seconds")
	f.bigKeys = declare("key_sample_big_key_bytes", "Memory of the ten largest keys in the sample.", "db", "key", "type")
	f.hotKeys = declare("key_sample_hot_key_frequency", "Frequency of use of the ten hottest keys in the sample, from 0 to 255 on the server's logarithmic scale.", "db", "key", "type")
	return f
}

// put says what is known of a database: of the sample that is done, or of what there is of the first.
func (f *keyFamilies) put(db string, space *keyspace, s sampling, out *metric.Batch) {
	c := space.last
	if c == nil {
		c = space.present
	}
	if c == nil {
		return
	}
	if c == space.present {
		c.coverage = coverage(c.scanned, space.size)
	}
	out.Add(f.keys, float64(c.scanned), db)
	out.Add(f.coverage, c.coverage, db)
	c.kinds.each(func(kind string, a amounts) {
		out.Add(f.kinds, a.count, db, kind)
		out.Add(f.bytes, a.sum, db, kind)
		out.Add(f.largest, a.most, db, kind)
	})
	f.putExpiry(db, space, c, out)
	f.putUse(db, c, s.names, out)
	if len(s.patterns) > 0 {
		f.putPatterns(db, c, s, out)
	}
	if s.names {
		for _, key := range c.largest {
			out.Add(f.bigKeys, key.bytes, db, key.name, key.kind)
		}
	}
}

func (f *keyFamilies) putExpiry(db string, space *keyspace, c *keyCounts, out *metric.Batch) {
	out.Add(f.never, c.all.never, db)
	addThresholds(out, f.within, expirySeconds(), c.all.within[:], db)
	if expiring := c.all.ever; expiring > 0 {
		for i, seconds := range expirySeconds() {
			out.Add(f.forecast, c.all.within[i]*space.expires/expiring, db, threshold(seconds))
		}
	}
}

func (f *keyFamilies) putUse(db string, c *keyCounts, names bool, out *metric.Batch) {
	if !c.frequent {
		addThresholds(out, f.idle, idleSeconds(), c.idle, db)
		return
	}
	out.Add(f.hottest, c.hottest, db)
	if names {
		for _, key := range c.hot {
			out.Add(f.hotKeys, key.use, db, key.name, key.kind)
		}
	}
}

func (f *keyFamilies) putPatterns(db string, c *keyCounts, s sampling, out *metric.Batch) {
	for i, p := range c.patterns {
		name := others
		if i < len(s.patterns) {
			name = s.patterns[i].String()
		}
		out.Add(f.patterns, p.size.count, db, name)
		out.Add(f.patternBytes, p.size.sum, db, name)
		out.Add(f.patternLargest, p.size.most, db, name)
		out.Add(f.patternNever, p.expiry.never, db, name)
		addThresholds(out, f.patternWithin, expirySeconds(), p.expiry.within[:], db, name)
	}
}
