package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// replicationLag reads the replication section of INFO: how far the replicas of a primary are behind and how long they
// may stay away, and what a replica has received but not carried out.
func replicationLag() *collect.Collector {
	l, own := newLagFamilies(), replicaFields()
	failover := gauge("failover_in_progress", "Whether the primary is handing over to a replica on command (1) or not (0).")
	unapplied := gauge("slave_unapplied_bytes", "Bytes that this replica has received and not carried out.")
	c := &collect.Collector{
		Name: "replication_lag", Help: "INFO replication: how far replicas are behind, and how long they may stay away.",
		Families: []*metric.Family{l.lag, l.online, l.left, l.filled, failover, unapplied},
		Ask:      askInfo,
	}
	for _, f := range own {
		c.Families = append(c.Families, f.family)
	}
	c.Read = func(_ int, answer collect.Answer, out *metric.Batch) error {
		i := answered(answer).Info()
		l.put(i, out)
		received, known := i.Number("slave_read_repl_offset")
		if applied, ok := i.Number("slave_repl_offset"); ok && known {
			out.Add(unapplied, max(0, received-applied))
		}
		if state := i.Text("master_failover_state"); state != "" {
			out.Add(failover, metric.Truth(state != "no-failover"))
		}
		for _, f := range own {
			if n, ok := i.Number(f.field); ok && n >= 0 { // -1: there is nothing to tell
				out.Add(f.family, n)
			}
		}
		return nil
	}
	return c
}

// replicaField is a field that the server has only now and then, or -1.
type replicaField struct {
	field  string
	family *metric.Family
}

func replicaFields() []replicaField {
	return []replicaField{
		{"master_link_down_since_seconds", gauge("master_link_down_seconds", "How long the link to the primary has been down; absent while it is up.")},
		{"master_sync_left_bytes", gauge("master_sync_left_bytes", "Bytes of the primary's data that this replica still has to receive; absent where none are being sent.")},
		{"master_sync_total_bytes", gauge("master_sync_size_bytes", "Bytes of the primary's data that this replica receives in all; absent where none are being sent.")},
		{"master_sync_last_io_seconds_ago", gauge("master_sync_last_io_seconds", "How long ago data last arrived from the primary; absent where none are being sent.")},
		{"replicas_waiting_psync", gauge("replicas_waiting_psync", "Replicas that wait to be sent the data (Valkey).")},
		{"min_slaves_good_slaves", gauge("good_replicas", "Replicas whose lag is small enough for min-replicas-to-write; absent where that is not set.")},
	}
}

// lagFamilies declare what a primary says of its replicas.
type lagFamilies struct{ lag, online, left, filled *metric.Family }

func newLagFamilies() lagFamilies {
	with := []string{"slave_ip", "slave_port"}
	return lagFamilies{
		lag:    gauge("connected_slave_lag_bytes", "Bytes that the replica has not confirmed yet.", with...),
		online: gauge("connected_slave_online", "Whether the replica gets the stream of changes (1), or is still being sent the data (0).", with...),
		left:   gauge("connected_slave_backlog_left_bytes", "Bytes that may be written before the replica, were its link to break now, could no longer go on where it was and would have to be sent all data.", with...),
		filled: gauge("repl_backlog_filled_ratio", "Share of the replication backlog that is filled, from 0 to 1."),
	}
}

func (l lagFamilies) put(i *info, out *metric.Batch) {
	written, isPrimary := i.Number("master_repl_offset")
	backlog, hasBacklog := i.Number("repl_backlog_size")
	if active, ok := i.Number("repl_backlog_active"); !ok || active == 0 {
		hasBacklog = false
	}
	if history, ok := i.Number("repl_backlog_histlen"); ok && hasBacklog && backlog > 0 {
		out.Add(l.filled, min(1, history/backlog))
	}
	for _, line := range i.Section("replication") {
		pair := infoPairs(line.text)
		if !strings.HasPrefix(line.field, "slave") || pair("ip") == "" || pair("type") == "rdb-channel" {
			continue // a second link of a replica, over which it is sent the data, is none of its own
		}
		ip, port, online := pair("ip"), pair("port"), pair("state") == "online"
		out.Add(l.online, metric.Truth(online), ip, port)
		offset, ok := parseNumber(pair("offset"))
		if !ok || !online || !isPrimary {
			continue
		}
		lag := max(0, written-offset)
		out.Add(l.lag, lag, ip, port)
		if hasBacklog {
			out.Add(l.left, max(0, backlog-lag), ip, port)
		}
	}
}
