package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// clientEviction shows how near the server is to throwing clients out for their memory (Redis 7).
func clientEviction() *collect.Collector {
	limit := gauge("clients_memory_limit_bytes", "Memory that all clients together may need before the server throws out the largest; absent where there is no limit.")
	used := gauge("clients_memory_limit_used_ratio", "Memory of the clients relative to the limit above which the server throws out the largest; absent where there is no limit.")
	var whole, clients float64
	var known bool
	return &collect.Collector{
		Name: "client_eviction", Help: "INFO memory, CONFIG GET maxmemory-clients: how near clients are to being thrown out for their memory.",
		Families: []*metric.Family{limit, used},
		Ask: func(id collect.Identity) []collect.Question {
			return append(askInfo(id), ask("CONFIG", "GET", "maxmemory-clients"))
		},
		Read: func(i int, answer collect.Answer, out *metric.Batch) error {
			if i == 0 {
				info := answered(answer).Info()
				whole, _ = info.Number("maxmemory")
				clients, known = info.Number("mem_clients_normal")
				return nil
			}
			bytes, limited := memoryLimit(answered(answer).Get("maxmemory-clients").Text(), whole)
			if limited {
				out.Add(limit, bytes)
			}
			if limited && known {
				out.Add(used, clients/bytes)
			}
			return nil
		},
	}
}

// memoryLimit reads a number of bytes, or a share of the server's memory limit such as 5%. 0 is no limit.
func memoryLimit(text string, memory float64) (float64, bool) {
	number, isShare := strings.CutSuffix(text, "%")
	n, ok := parseNumber(number)
	if isShare {
		n = n * memory / 100
	}
	return n, ok && n > 0
}
