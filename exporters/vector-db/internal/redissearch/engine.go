package redissearch

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// isGone tells whether a refusal says that there is no such index. Each of the engines has words of its own for it.
func isGone(reply any) bool {
	refused, ok := reply.(refusal)
	words := strings.ToLower(refused.words)
	return ok && (strings.Contains(words, "no such index") || strings.Contains(words, "unknown index name") || strings.Contains(words, "index with name") && strings.Contains(words, "not found"))
}

// describeIndex reads FT.INFO. Vectors are counted by the engine as documents are: one that lacks the field is not told
// apart, so there is no count of vectors.
func describeIndex(c *backend.Collection, info map[string]any) {
	c.Objects = number(info["num_docs"])
	c.Status = backend.OK
	if indexing := number(info["indexing"]); indexing != nil && *indexing != 0 {
		c.Status = backend.Optimizing
	}
	if backlog := number(info["backfill_in_progress"]); backlog != nil && *backlog != 0 { // valkey-search
		c.Status = backend.Optimizing
	}
	fields, _ := info["attributes"].([]any)
	for _, one := range fields {
		if space, ok := field(one); ok {
			c.Spaces = append(c.Spaces, space)
		}
	}
}

// metrics by the engine's words.
var metrics = map[string]backend.Distance{"cosine": backend.Cosine, "l2": backend.Euclidean, "ip": backend.Dot}

// field reads an attribute of an index; ok is false where it is no vector.
func field(told any) (space backend.Space, ok bool) {
	list, _ := told.([]any)
	facts := flat(list)
	if !strings.EqualFold(word(facts["type"]), "vector") {
		return space, false
	}
	space.Vector = word(facts["attribute"])
	space.Dimensions = number(facts["dim"])
	if space.Dimensions == nil {
		space.Dimensions = number(facts["dimensions"])
	}
	metric := strings.ToLower(word(facts["distance_metric"]))
	if space.Distance = metrics[metric]; space.Distance == "" {
		space.Distance = backend.Distance(metric)
	}
	space.Index = strings.ToLower(word(facts["algorithm"]))
	space.Datatype = strings.ToLower(word(facts["data_type"]))
	space.Parameters = map[string]float64{}
	for from, to := range map[string]string{"m": "m", "ef_construction": "ef_construct", "ef_runtime": "ef_search"} {
		if value := number(facts[from]); value != nil {
			space.Parameters[to] = *value
		}
	}
	return space, true
}

// flat reads names and values by turns, their names in lower case, with those of lists within: valkey-search tells of
// the index and of its algorithm in lists of their own.
func flat(list []any) map[string]any {
	all := map[string]any{}
	for i := 0; i+1 < len(list); i += 2 {
		name := strings.ToLower(word(list[i]))
		inner, nested := list[i+1].([]any)
		if !nested {
			all[name] = list[i+1]
			continue
		}
		for key, value := range flat(inner) {
			if name == "algorithm" && key == "name" {
				key = "algorithm"
			}
			all[key] = value
		}
	}
	return all
}

// indexBytes gives the size of the vectors' indexes, which the engine tells in MiB.
func indexBytes(info map[string]any) *float64 {
	size := number(info["vector_index_sz_mb"])
	if size == nil {
		return nil
	}
	return backend.Some(*size * (1 << 20))
}
