package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// keySizeFamilies declare what is said of the sizes.
type keySizeFamilies struct{ sizes, largest *metric.Family }

// keySizes reads the keysizes section of INFO (Redis 8): how many keys are how large, kept up to date by the server, so
// that big keys are seen without a scan.
func keySizes() *collect.Collector {
	k := keySizeFamilies{
		sizes:   gauge("db_key_size_keys", "Keys whose size is at least the one that the label tells and less than twice that; bytes of strings, elements of all else.", "db", "type", "unit", "size"),
		largest: gauge("db_key_size_largest", "Size that the largest key has at least; bytes of strings, elements of all else.", "db", "type", "unit"),
	}
	return &collect.Collector{
		Name: "key_sizes", Help: "INFO keysizes (Redis 8): how many keys are how large.",
		Families: []*metric.Family{k.sizes, k.largest},
		Ask: func(id collect.Identity) []collect.Question {
			if id.Product != "Redis" || id.Version < 80000 {
				return nil
			}
			return askInfo(id)
		},
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for _, line := range answered(answer).Info().Section("keysizes") {
				k.read(line, out)
			}
			return nil
		},
	}
}

// read takes a line: how many keys of a kind a database has, by size.
func (k keySizeFamilies) read(line infoLine, out *metric.Batch) {
	db, of, ok := strings.Cut(line.field, "_distrib_")
	kind, unit, hasUnit := strings.Cut(of, "_")
	if !ok || !hasUnit {
		return
	}
	if unit == "sizes" {
		unit = "bytes"
	}
	largest := -1.0
	for bin := range strings.SplitSeq(line.text, ",") {
		text, count, _ := strings.Cut(bin, "=")
		size, isSize := binaryNumber(text)
		keys, isCount := parseNumber(count)
		if !isSize || !isCount {
			continue
		}
		out.Add(k.sizes, keys, db, kind, unit, threshold(size))
		if keys > 0 {
			largest = max(largest, size)
		}
	}
	if largest >= 0 {
		out.Add(k.largest, largest, db, kind, unit)
	}
}

// binaryNumber reads a number with the letter of a power of 1024, as the server writes them: 512, 4K, 1M.
func binaryNumber(text string) (float64, bool) {
	scale := 1.0
	if at := strings.IndexAny(text, "KMGTPE"); at > 0 && at == len(text)-1 {
		scale = float64(uint64(1) << (10 * (1 + strings.IndexByte("KMGTPE", text[at]))))
		text = text[:at]
	}
	n, ok := parseNumber(text)
	return n * scale, ok
}

// keyspaceExpiry reads the keyspace section of INFO for what is not said there in so many words.
func keyspaceExpiry() *collect.Collector {
	lasting := gauge("db_keys_persistent", "Keys of the database that do not expire.", "db")
	fields := gauge("db_keys_with_expiring_fields", "Hashes of the database with fields that expire (Redis 7.4).", "db")
	return &collect.Collector{
		Name: "keyspace_expiry", Help: "INFO keyspace: keys that do not expire, and those of which parts do.",
		Families: []*metric.Family{lasting, fields},
		Ask:      askInfo,
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for _, line := range answered(answer).Info().Section("keyspace") {
				if !strings.HasPrefix(line.field, "db") {
					continue
				}
				pair := infoPairs(line.text)
				keys, hasKeys := parseNumber(pair("keys"))
				expiring, hasExpires := parseNumber(pair("expires"))
				if hasKeys && hasExpires {
					out.Add(lasting, max(0, keys-expiring), line.field)
				}
				if n, ok := parseNumber(pair("subexpiry")); ok {
					out.Add(fields, n, line.field)
				}
			}
			return nil
		},
	}
}
