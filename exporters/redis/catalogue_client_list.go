package main

import (
	"slices"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// clientField is a field of CLIENT LIST with its metric. An age is shown as the time at which it began.
type clientField struct {
	field  string
	family *metric.Family
	age    bool
}

// clientList shows each client with series of its own, as redis_exporter does where that is asked for.
func clientList(ports bool) *collect.Collector {
	labels := []string{"id", "name"}
	fields := []clientField{
		{"omem", gauge("connected_client_output_buffer_memory_usage_bytes", "Memory for replies to the client.", labels...), false},
		{"tot-mem", gauge("connected_client_total_memory_consumed_bytes", "Memory for the client in all.", labels...), false},
		{"age", gauge("connected_client_created_at_timestamp", "When the client connected, in seconds since 1970.", labels...), true},
		{"idle", gauge("connected_client_idle_since_timestamp", "When the client last sent something, in seconds since 1970.", labels...), true},
		{"sub", gauge("connected_client_channel_subscriptions_count", "Channels that the client has subscribed to.", labels...), false},
		{"psub", gauge("connected_client_pattern_matching_subscriptions_count", "Patterns that the client has subscribed to.", labels...), false},
		{"ssub", gauge("connected_client_shard_channel_subscriptions_count", "Channels of the node's slots that the client has subscribed to.", labels...), false},
		{"watch", gauge("connected_client_shard_channel_watched_keys", "Keys that the client watches.", labels...), false},
		{"qbuf", gauge("connected_client_query_buffer_length_bytes", "Bytes of commands that the client has sent and the server has not read.", labels...), false},
		{"qbuf-free", gauge("connected_client_query_buffer_free_space_bytes", "Room in the buffer for the client's commands.", labels...), false},
		{"obl", gauge("connected_client_output_buffer_length_bytes", "Bytes of replies in the client's fixed buffer.", labels...), false},
		{"oll", gauge("connected_client_output_list_length", "Replies beyond the client's fixed buffer.", labels...), false},
	}
	about := newClientInfo(ports)
	collector := &collect.Collector{
		Name: "client_list", Help: "CLIENT LIST: each client with series of its own; --export-client-list.", Off: true,
		Families: about.all(), Ask: asks(ask("CLIENT", "LIST")), Class: collect.Dear,
	}
	for _, f := range fields {
		collector.Families = append(collector.Families, f.family)
	}
	collector.Read = func(_ int, answer collect.Answer, out *metric.Batch) error {
		now := float64(infoTime(&info{}).Unix())
		list := answered(answer)
		for line := range list.Lines() {
			if out.Limited > 0 { // no more fit in
				out.Limited += len(fields) + 1
				continue
			}
			client := clientWords(string(line))
			if client["id"] == "" || client["addr"] == "" {
				return fault.New(fault.Malformed, "a client without id or address")
			}
			about.put(client, out)
			putClient(fields, client, now, out.Set(labels, client["id"], client["name"]), out)
		}
		return list.Err()
	}
	return collector
}

// putClient shows the numbers of one client.
func putClient(fields []clientField, client map[string]string, now float64, set *metric.Set, out *metric.Batch) {
	for _, f := range fields {
		n, ok := parseNumber(client[f.field])
		if !ok {
			continue
		}
		if f.age {
			n = now - n
		}
		out.AddSet(f.family, n, 0, set)
	}
}

// clientWords reads "id=3 addr=127.0.0.1:52555 name= …".
func clientWords(line string) map[string]string {
	words := map[string]string{}
	for word := range strings.FieldsSeq(line) {
		if name, text, ok := strings.Cut(word, "="); ok {
			words[name] = text
		}
	}
	return words
}

// clientInfo declares the metric that says who a client is. Old servers know neither user nor protocol, and then the
// labels are not there.
type clientInfo struct {
	ports bool
	of    map[[2]bool]*metric.Family // by whether there is a user, and a protocol
}

func newClientInfo(ports bool) clientInfo {
	c := clientInfo{ports: ports, of: map[[2]bool]*metric.Family{}}
	for _, user := range []bool{false, true} {
		for _, protocol := range []bool{false, true} {
			labels := []string{"id", "name", "flags", "db", "host"}
			for _, more := range []struct {
				name string
				has  bool
			}{{"port", ports}, {"user", user}, {"resp", protocol}} {
				if more.has {
					labels = append(labels, more.name)
				}
			}
			c.of[[2]bool{user, protocol}] = gauge("connected_client_info", "A client: who it is and where from.", labels...)
		}
	}
	return c
}

func (c clientInfo) all() []*metric.Family {
	var all []*metric.Family
	for _, user := range []bool{true, false} {
		all = append(all, c.of[[2]bool{user, true}], c.of[[2]bool{user, false}])
	}
	return slices.Clip(all)
}

func (c clientInfo) put(client map[string]string, out *metric.Batch) {
	family := c.of[[2]bool{client["user"] != "", client["resp"] != ""}]
	at := strings.LastIndexByte(client["addr"], ':')
	client["host"] = client["addr"][:max(at, 0)]
	client["port"] = client["addr"][at+1:]
	values := make([]string, len(family.Labels))
	for i, label := range family.Labels {
		values[i] = client[label]
	}
	out.Add(family, 1, values...)
}
