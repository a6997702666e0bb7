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
	return &collect.Collector{
		Name: "client_eviction", Help: "INFO memory, CONFIG GET maxmemory-clients: how near clients are to being thrown out for their memory.",
		Families: []*metric.Family{limit, used},
		Talk: func(id collect.Identity) collect.Talk {
			var own *info
			return afterInfo(id, func(i *info) { own = i }, func(_ int, r *reply, out *metric.Batch) error {
				whole, _ := own.Number("maxmemory")
				bytes, limited := memoryLimit(r.Get("maxmemory-clients").Text(), whole)
				if !limited {
					return nil
				}
				out.Add(limit, bytes)
				if clients, ok := own.Number("mem_clients_normal"); ok {
					out.Add(used, clients/bytes)
				}
				return nil
			}, ask("CONFIG", "GET", "maxmemory-clients"))
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
