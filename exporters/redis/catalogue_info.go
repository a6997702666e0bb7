package main

import (
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// established lists the collectors for what redis_exporter shows too, but for those that beyond lists, in reading order.
func established(o options) collect.Catalogue {
	all := collect.Catalogue{
		// catalogue_info.go
		infoCollector(o.unknownFields), instanceInfo(),
		// catalogue_stats.go
		databases(o), commandStats(), commandPercentiles(), errorStats(),
		// catalogue_links.go
		replicas(), primaryLink(), clusterInfo(),
		// catalogue_config.go
		configuration(o), snapshotSize(o),
		// catalogue_logs.go
		latencySpikes(), commandHistograms(), slowlogLast(), commandlogLengths(),
		// catalogue_client_list.go
		clientList(o.clientPorts),
		// catalogue_modules.go
		modules(),
		// catalogue_tile38.go
		tile38(),
		// catalogue_sentinel_peers.go
		sentinelSection(), sentinelState(o.sentinelPeers), sentinelConfig(),
		// catalogue_count_keys.go
		countKeys(o.keys), keyGroups(o.keys),
	}
	// catalogue_check_keys.go, catalogue_streams.go
	return append(append(all, checkKeys(o.keys)...), streams(o.keys)...)
}

// infoFamilies declares the metrics of a table's fields, in its order.
func infoFamilies(fields []infoField) []*metric.Family {
	families := make([]*metric.Family, len(fields))
	for i, f := range fields {
		families[i] = &metric.Family{Name: "redis_" + f.name, Help: f.helpText(), Type: f.kind, Unit: f.unit}
	}
	return families
}

// infoCollector reads the fields of INFO that are one number each. Numbers of fields that the table does not know are
// shown too where the user wants that.
func infoCollector(unknown bool) *collect.Collector {
	fields := infoTable()
	families := infoFamilies(fields)
	threads := counter("active_time_io_thread_seconds_total", "Time that the thread was at work.", "thread")
	collector := &collect.Collector{
		Name: "info", Help: "INFO: what the server says of itself, one number each.", Ask: askInfo,
		Families: append(families[:len(families):len(families)], threads),
	}
	open := unknownFields{}
	if unknown {
		open = newUnknownFields(fields)
		collector.Families = append(collector.Families, open.family)
	}
	collector.Read = func(_ int, answer collect.Answer, out *metric.Batch) error {
		i := answered(answer).Info()
		for at, f := range fields {
			if n, ok := f.read(i); ok {
				out.Add(families[at], n)
			}
		}
		for field := range i.fields {
			if thread, ok := strings.CutPrefix(field, "used_active_time_io_thread_"); ok {
				addInfo(out, threads, i, field, 1, thread)
			}
		}
		open.read(i, out)
		return nil
	}
	return collector
}

// addInfo appends a field of INFO that is a number.
func addInfo(out *metric.Batch, f *metric.Family, i *info, field string, scale float64, labels ...string) {
	if n, ok := i.Number(field); ok {
		out.Add(f, n*scale, labels...)
	}
}

// unknownFields shows numbers of fields that no table of ours knows, under names made of theirs.
type unknownFields struct {
	family *metric.Family // nil: they are not shown
	known  map[string]bool
}

func newUnknownFields(fields []infoField) unknownFields {
	known := map[string]bool{}
	for _, f := range fields {
		known[f.field] = true
	}
	return unknownFields{family: gauge("info_unknown_field", "A number in INFO that the exporter does not know.", "field"), known: known}
}

func (u unknownFields) read(i *info, out *metric.Batch) {
	if u.family == nil {
		return
	}
	for field, text := range i.fields {
		if n, ok := parseNumber(text); ok && !u.known[field] {
			out.Add(u.family, n, strings.Clone(field))
		}
	}
}

// instanceLabels are the fields of INFO that say which server it is. Valkey has more than Redis.
func instanceLabels() (redis, valkey []string) {
	redis = []string{"role", "redis_version", "redis_build_id", "redis_mode", "os", "maxmemory_policy", "tcp_port", "run_id", "process_id", "master_replid"}
	return redis, append(redis[:len(redis):len(redis)], "valkey_version", "valkey_release_stage")
}

// instanceInfo says which server it is and since when it runs.
func instanceInfo() *collect.Collector {
	redis, valkey := instanceLabels()
	const help = "Which server it is; of Valkey, with its own version."
	of := map[bool]*metric.Family{false: gauge("instance_info", help, redis...), true: gauge("instance_info", help, valkey...)}
	started := gauge("start_time_seconds", "When the server started, by its own clock where it tells it.")
	return &collect.Collector{
		Name: "instance", Help: "INFO: version, role and start of the server.", Ask: askInfo,
		Families: []*metric.Family{of[false], of[true], started},
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			i := answered(answer).Info()
			family := of[i.Text("valkey_version") != ""]
			values := make([]string, len(family.Labels))
			for at, label := range family.Labels {
				values[at] = i.Text(label)
			}
			out.Add(family, 1, values...)
			if up, ok := i.Number("uptime_in_seconds"); ok {
				out.Add(started, float64(infoTime(i).Unix())-up)
			}
			return nil
		},
	}
}

// infoTime is the time at which a server wrote INFO: by its clock, or by ours where it does not tell.
func infoTime(i *info) time.Time {
	if usec, ok := i.Number("server_time_usec"); ok && usec > 0 {
		return time.UnixMicro(int64(usec))
	}
	return time.Now()
}
