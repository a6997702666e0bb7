package main

import (
	"cmp"
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// searchField is a field of FT.INFO and the metric that it becomes.
type searchField struct {
	field, name string
	per         float64
	kind        metric.Type
	help        string
}

// mebibyte is how many of the server's units, of 2^20 bytes, make a byte.
const mebibyte = 1.0 / (1 << 20)

func searchFields() []searchField {
	return []searchField{
		{"num_docs", "num_docs", 1, metric.Gauge, "Documents in the index."},
		{"max_doc_id", "max_doc_id", 1, metric.Gauge, "Largest internal number of a document."},
		{"num_terms", "num_terms", 1, metric.Gauge, "Different words in the index."},
		{"num_records", "num_records", 1, metric.Gauge, "Records in the index."},
		{"inverted_sz_mb", "inverted_size_bytes", mebibyte, metric.Gauge, "Memory of the inverted index."},
		{"total_inverted_index_blocks", "total_inverted_index_blocks", 1, metric.Gauge, "Blocks of the inverted index."},
		{"vector_index_sz_mb", "vector_index_size_bytes", mebibyte, metric.Gauge, "Memory of the index of vectors."},
		{"offset_vectors_sz_mb", "offset_vectors_size_bytes", mebibyte, metric.Gauge, "Memory of the positions of words in documents."},
		{"doc_table_size_mb", "doc_table_size_bytes", mebibyte, metric.Gauge, "Memory of the table of documents."},
		{"sortable_values_size_mb", "sortable_values_size_bytes", mebibyte, metric.Gauge, "Memory of the values that are kept for sorting."},
		{"key_table_size_mb", "key_table_size_bytes", mebibyte, metric.Gauge, "Memory of the table of keys."},
		{"tag_overhead_sz_mb", "tag_overhead_size_bytes", mebibyte, metric.Gauge, "Memory of what makes the search by tags fast."},
		{"text_overhead_sz_mb", "text_overhead_size_bytes", mebibyte, metric.Gauge, "Memory of what makes the search by words fast."},
		{"total_index_memory_sz_mb", "total_index_memory_size_bytes", mebibyte, metric.Gauge, "Memory of the index."},
		{"geoshapes_sz_mb", "geoshapes_size_bytes", mebibyte, metric.Gauge, "Memory of the index of shapes."},
		{"records_per_doc_avg", "avg_per_doc_records", 1, metric.Gauge, "Records per document on average, deleted ones included."},
		{"bytes_per_record_avg", "avg_per_record_bytes", 1, metric.Gauge, "Bytes per record on average."},
		{"offsets_per_term_avg", "avg_per_term_offsets", 1, metric.Gauge, "Positions per word on average."},
		{"offset_bits_per_record_avg", "avg_per_record_offset_bits", 1, metric.Gauge, "Bits for positions per record on average."},
		{"indexing", "indexing", 1, metric.Gauge, "Whether the index is being built (1) or not (0)."},
		{"percent_indexed", "percent_indexed", 1, metric.Gauge, "Share of the documents that are in the index, from 0 to 1."},
		{"hash_indexing_failures", "hash_indexing_failures", 1, metric.Gauge, "Documents that could not be put into the index."},
		{"number_of_uses", "number_of_uses_total", 1, metric.Counter, "Times that the index was used."},
		{"cleaning", "cleaning", 1, metric.Gauge, "Whether the index is being deleted (1) or not (0)."},
	}
}

// maxIndexes is how many indexes are asked for.
const maxIndexes = 1000

// searchIndexes asks for the names of the indexes, and then for each that is wanted. The names and labels are those of
// redis_exporter.
func searchIndexes(wanted *regexp.Regexp) *collect.Collector {
	fields, families := searchFields(), map[string]*metric.Family{}
	c := &collect.Collector{
		Name: "search_indexes", Help: "FT._LIST, FT.INFO: size, contents and use of the search indexes.", Off: true,
		Class: collect.Slow, Every: time.Minute,
		Limit: maxIndexes * len(fields),
	}
	for _, f := range fields {
		families[f.field] = &metric.Family{Name: "redis_search_index_" + f.name, Help: f.help, Type: f.kind, Labels: []string{"index_name"}}
		c.Families = append(c.Families, families[f.field])
	}
	c.Run = func(ctx context.Context, conn collect.Conn, out *metric.Batch) error {
		questions, err := askIndexes(ctx, conn, wanted)
		if err != nil || len(questions) == 0 {
			return err
		}
		var problem error
		err = conn.Do(ctx, questions, func(_ int, answer collect.Answer, err error) {
			if err != nil {
				if !strings.Contains(strings.ToLower(err.Error()), "index") { // one that is gone meanwhile is missed by nobody
					problem = cmp.Or(problem, err)
				}
				return
			}
			r := answered(answer)
			for _, f := range fields {
				addNumber(out, families[f.field], r.Get(f.field), f.per, r.Get("index_name").Text())
			}
		})
		return cmp.Or(err, problem)
	}
	return c
}

// askIndexes gives the questions for the indexes that there are.
func askIndexes(ctx context.Context, conn collect.Conn, wanted *regexp.Regexp) (questions []collect.Question, err error) {
	var problem error
	err = conn.Do(ctx, []collect.Question{ask("FT._LIST")}, func(_ int, answer collect.Answer, err error) {
		if problem = err; err != nil {
			return
		}
		for _, item := range answered(answer).Items() {
			if name := item.Text(); (wanted == nil || wanted.MatchString(name)) && len(questions) < maxIndexes {
				questions = append(questions, ask("FT.INFO", name))
			}
		}
	})
	return questions, cmp.Or(err, problem)
}
