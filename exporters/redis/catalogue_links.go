package main

import (
	"regexp"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// replicas reads what a primary, or a replica with replicas of its own, says of those that follow it.
func replicas() *collect.Collector {
	labels := []string{"slave_ip", "slave_port", "slave_state"}
	offset := gauge("connected_slave_offset_bytes", "Position in the stream of changes that the replica has confirmed.", labels...)
	lag := gauge("connected_slave_lag_seconds", "Time since the replica last confirmed something.", labels...)
	offset.Unit = "bytes"
	return &collect.Collector{
		Name: "replicas", Help: "INFO replication: position and lag of each replica.",
		Families: []*metric.Family{offset, lag}, Ask: askInfo,
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for _, line := range answered(answer).Info().Section("replication") {
				pair := infoPairs(line.text)
				at, ok := parseNumber(pair("offset"))
				if !strings.HasPrefix(line.field, "slave") || !ok {
					continue
				}
				with := []string{pair("ip"), pair("port"), pair("state")}
				out.Add(offset, at, with...)
				if behind, ok := parseNumber(pair("lag")); ok && behind >= 0 {
					out.Add(lag, behind, with...)
				}
			}
			return nil
		},
	}
}

// primaryField finds the fields of a replica on its primary. KeyDB has several primaries: master_1_host and so on.
var primaryField = regexp.MustCompile(`^master(?:_[0-9]+)?_(host|port|link_status|last_io_seconds_ago|sync_in_progress)$`)

// primaryLink reads what a replica says of its link to the primary.
func primaryLink() *collect.Collector {
	labels := []string{"master_host", "master_port"}
	link := gauge("master_link_up", "Whether the link to the primary is up (1) or not (0).", labels...)
	numbers := map[string]*metric.Family{
		"last_io_seconds_ago": gauge("master_last_io_seconds_ago", "Time since the primary last sent something, in seconds; -1 while the link is down.", labels...),
		"sync_in_progress":    gauge("master_sync_in_progress", "Whether the primary is sending all data (1) or not (0).", labels...),
		"slave_repl_offset":   gauge("slave_repl_offset", "Position in the stream of changes up to which the replica has come.", labels...),
	}
	about := gauge("slave_info", "Of which primary the server is a replica, and whether it takes no writes (1).", "master_host", "master_port", "read_only")
	collector := &collect.Collector{
		Name: "primary_link", Help: "INFO replication: the link of a replica to its primary.", Ask: askInfo,
		Families: []*metric.Family{link, numbers["last_io_seconds_ago"], numbers["sync_in_progress"], numbers["slave_repl_offset"], about},
	}
	collector.Read = func(_ int, answer collect.Answer, out *metric.Batch) error {
		i := answered(answer).Info()
		host, port := "", ""
		for _, line := range i.Section("replication") {
			name := line.field
			if match := primaryField.FindStringSubmatch(name); match != nil {
				name = match[1]
			}
			switch n, ok := parseNumber(line.text); {
			case name == "host":
				host = line.text
			case name == "port":
				port = line.text
			case name == "link_status":
				out.Add(link, metric.Truth(line.text == "up"), host, port)
			case ok && numbers[name] != nil:
				out.Add(numbers[name], n, host, port)
			}
		}
		if i.Text("role") == "slave" {
			out.Add(about, 1, i.Text("master_host"), i.Text("master_port"), i.Text("slave_read_only"))
		}
		return nil
	}
	return collector
}

// clusterInfoFields are the fields of CLUSTER INFO. The kinds of messages grow with each version: see messageField.
var clusterInfoFields = []infoField{
	{"cluster_state", "cluster_state", g, "", 0, "3.0", "Whether the cluster can answer queries, as this node sees it (1), or not (0)."},
	{"cluster_slots_assigned", "cluster_slots_assigned", g, "", 0, "3.0", "Slots that some node has; all 16384 should be."},
	{"cluster_slots_ok", "cluster_slots_ok", g, "", 0, "3.0", "Slots of nodes that answer."},
	{"cluster_slots_pfail", "cluster_slots_pfail", g, "", 0, "3.0", "Slots of nodes that this node suspects to have failed."},
	{"cluster_slots_fail", "cluster_slots_fail", g, "", 0, "3.0", "Slots of nodes that have failed."},
	{"cluster_known_nodes", "cluster_known_nodes", g, "", 0, "3.0", "Nodes that this node knows."},
	{"cluster_size", "cluster_size", g, "", 0, "3.0", "Primaries with slots."},
	{"cluster_current_epoch", "cluster_current_epoch", g, "", 0, "3.0", "Newest epoch of the cluster that this node knows."},
	{"cluster_my_epoch", "cluster_my_epoch", g, "", 0, "3.0", "Epoch of this node's configuration."},
	{"cluster_stats_messages_sent", "cluster_messages_sent_total", g, "", 0, "3.0", "Messages that the node has sent to others."},
	{"cluster_stats_messages_received", "cluster_messages_received_total", g, "", 0, "3.0", "Messages that the node has received from others."},
	{"total_cluster_links_buffer_limit_exceeded", "cluster_links_buffer_limit_exceeded_total", c, "", 0, "7.0", "Links to other nodes that were closed because their buffers were too large."},
}

// messageField finds the fields of one kind of message.
var messageField = regexp.MustCompile("^" + messagesField + "[a-z-]+_(sent|received)$")

const messagesField = "cluster_stats_messages_"

// clusterInfo reads CLUSTER INFO.
func clusterInfo() *collect.Collector {
	families := infoFamilies(clusterInfoFields)
	messages := gauge(messagesField+"*", "Messages of one kind that the node has sent to or received from others.")
	return &collect.Collector{
		Name: "cluster", Help: "CLUSTER INFO: state of the cluster as the node sees it.", Needs: collect.Needs{Feature: cluster},
		Families: append(families[:len(families):len(families)], messages), Ask: asks(ask("CLUSTER", "INFO")), Limit: 1000,
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			i := answered(answer).Info()
			for at, f := range clusterInfoFields {
				if n, ok := f.read(i); ok {
					out.Add(families[at], n)
				}
			}
			for field := range i.fields {
				if !messageField.MatchString(field) {
					continue
				}
				kind := strings.ReplaceAll(strings.TrimPrefix(field, messagesField), "-", "_")
				addInfo(out, &metric.Family{Name: strings.TrimSuffix(messages.Name, "*") + kind, Help: messages.Help}, i, field, 1)
			}
			return nil
		},
	}
}
