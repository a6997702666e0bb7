package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// ioThreads reads what Redis 8 says of its threads in INFO: io_thread_0:clients=1,reads=35,writes=29.
func ioThreads() *collect.Collector {
	clients := gauge("io_thread_clients", "Clients that the thread looks after (Redis 8); thread 0 is the main one.", "thread")
	reads := counter("io_thread_reads_total", "Reads from clients by the thread.", "thread")
	writes := counter("io_thread_writes_total", "Writes to clients by the thread.", "thread")
	return &collect.Collector{
		Name: "io_threads", Help: "INFO threads (Redis 8): what each thread does.",
		Families: []*metric.Family{clients, reads, writes},
		Ask: func(id collect.Identity) []collect.Question {
			if id.Product != "Redis" || id.Version < 80000 {
				return nil
			}
			return askInfo(id)
		},
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for _, line := range answered(answer).Info().Section("threads") {
				thread, ok := strings.CutPrefix(line.field, "io_thread_")
				pair := infoPairs(line.text)
				for field, f := range map[string]*metric.Family{"clients": clients, "reads": reads, "writes": writes} {
					if n, isNumber := parseNumber(pair(field)); ok && isNumber {
						out.Add(f, n, thread)
					}
				}
			}
			return nil
		},
	}
}
