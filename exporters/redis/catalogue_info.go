package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// infoField is one field of INFO and the metric that it becomes.
type infoField struct {
	field, name string
	kind        metric.Type
	scale       float64 // 0 means 1
	since       string  // the first version that has it, of Redis where no other server is named
	help        string
}

var infoFields = []infoField{
	{"uptime_in_seconds", "uptime_in_seconds", metric.Gauge, 0, "", "Time since the server started."},
	{"connected_clients", "connected_clients", metric.Gauge, 0, "", "Connections of clients, without those of replicas."},
	{"used_memory", "memory_used_bytes", metric.Gauge, 0, "", "Memory that the server's allocator has handed out."},
	{"total_commands_processed", "commands_processed_total", metric.Counter, 0, "", "Commands that the server has carried out."},
}

// infoCollector reads the fields of INFO that are one number each.
func infoCollector() *collect.Collector {
	c := &collect.Collector{Name: "info", Help: "What the server says of itself: clients, memory, persistence, statistics.", Ask: askInfo}
	families := map[string]*metric.Family{}
	for _, f := range infoFields {
		families[f.field] = &metric.Family{Name: "redis_" + f.name, Help: f.help, Type: f.kind}
		c.Families = append(c.Families, families[f.field])
	}
	c.Read = func(_ int, answer collect.Answer, out *metric.Batch) error {
		info := answered(answer).Info()
		for _, f := range infoFields {
			if n, ok := info.Number(f.field); ok {
				if f.scale != 0 {
					n *= f.scale
				}
				out.Add(families[f.field], n)
			}
		}
		return nil
	}
	return c
}
