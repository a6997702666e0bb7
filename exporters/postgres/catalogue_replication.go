package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

// walPosition is how far the log is known here: what was written last, or on a replica what was received last.
const walPosition = `CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END`

var replication = collect.Table{
	Name: "replication", Prefix: "pg_replication", Help: "pg_last_xact_replay_timestamp() and its kin: what this server is, and how far behind its primary.",
	Sources: []collect.Source{collect.Always(`
		SELECT is_replica, behind, age,
			CASE WHEN NOT is_replica OR behind = 0 THEN 0 ELSE age END AS lag,
			CASE WHEN is_replica THEN pg_is_wal_replay_paused() END AS paused,
			CASE WHEN is_replica THEN EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') END AS streaming
		FROM (
			SELECT pg_is_in_recovery() AS is_replica,
				CASE WHEN replayed >= received THEN 0 ELSE received - replayed END AS behind,
				CASE WHEN replayed_at > now() THEN 0 ELSE extract(epoch FROM now() - replayed_at) END AS age
			FROM (SELECT pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), pg_last_xact_replay_timestamp()) AS l(received, replayed, replayed_at)
			OFFSET 0
		) AS state`)},
	Columns: []collect.Column{
		collect.Value("is_replica", "is_replica", "1 for a replica, 0 for a primary."),
		collect.Value("lag", "lag_seconds", "Age of the last transaction replayed, in seconds; 0 on a primary, and where all that was received is replayed. A replica that receives nothing any more says 0 as well: see pg_replication_wal_receiver_streaming."),
		collect.Value("age", "last_replay_seconds", "Age of the last transaction replayed, in seconds. Grows while the primary is idle. Absent on a primary."),
		collect.Value("behind", "replay_lag_bytes", "Bytes of the log received but not yet replayed. Absent on a primary."),
		collect.Value("paused", "replay_paused", "1 while an operator has paused the replay, else 0. Absent on a primary."),
		collect.Value("streaming", "wal_receiver_streaming", "1 while the replica receives the log from its primary, 0 while the link is broken or the log comes from an archive. Absent on a primary."),
	},
}

// replicas are known to a slot by the process that serves them.
var replicas = collect.Table{
	Name: "stat_replication", Prefix: "pg_stat_replication", Help: "pg_stat_replication: the replicas and other receivers of the log that are connected now.",
	Sources: []collect.Source{collect.Always(`
		SELECT r.application_name, host(r.client_addr) AS client_addr, r.state, s.slot_name, r.pid,
			here - '0/0' AS position, here - r.sent_lsn AS unsent, here - r.write_lsn AS unwritten,
			here - r.flush_lsn AS unflushed, here - r.replay_lsn AS unreplayed,
			extract(epoch FROM r.write_lag) AS write_lag, extract(epoch FROM r.flush_lag) AS flush_lag,
			extract(epoch FROM r.replay_lag) AS replay_lag, extract(epoch FROM r.reply_time) AS replied,
			r.sync_state IN ('sync', 'quorum') AS synchronous, age(r.backend_xmin) AS xmin_age
		FROM pg_stat_replication AS r
		LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid
		CROSS JOIN (SELECT ` + walPosition + `) AS position(here)
		ORDER BY unreplayed DESC NULLS LAST`)},
	Columns: []collect.Column{
		collect.Label("application_name"), collect.Label("client_addr"), collect.Label("state"), collect.Label("slot_name"), collect.Label("pid"),
		collect.Value("position", "pg_current_wal_lsn_bytes", "Position in the log up to which this server has written it, or on a replica received it, in bytes."),
		collect.Value("unreplayed", "pg_wal_lsn_diff", "Bytes of the log that the receiver has not replayed yet.").In("bytes"),
		collect.Value("unsent", "sent_lag_bytes", "Bytes of the log that have not been sent to the receiver yet."),
		collect.Value("unwritten", "write_lag_bytes", "Bytes of the log that the receiver has not written yet."),
		collect.Value("unflushed", "flush_lag_bytes", "Bytes of the log that the receiver has not flushed to disk yet."),
		collect.Value("unreplayed", "replay_lag_bytes", "Bytes of the log that the receiver has not replayed yet."),
		collect.Value("write_lag", "write_lag_seconds", "Time from a recent commit until the receiver had written it, in seconds. Absent when there has been nothing to write for a while."),
		collect.Value("flush_lag", "flush_lag_seconds", "Time from a recent commit until the receiver had flushed it to disk, in seconds. Absent when there has been nothing to flush for a while."),
		collect.Value("replay_lag", "replay_lag_seconds", "Time from a recent commit until the receiver had replayed it, in seconds. Absent when there has been nothing to replay for a while."),
		collect.Value("replied", "reply_timestamp_seconds", "When the receiver last reported, by its own clock, in Unix seconds."),
		collect.Value("synchronous", "synchronous", "1 where commits wait for the receiver, else 0."),
		collect.Value("xmin_age", "backend_xmin_age_transactions", "Age of the oldest transaction that the replica's hot_standby_feedback keeps from vacuum."),
	},
}

var slots = collect.Table{
	Name: "replication_slots", Prefix: "pg_replication_slots", Help: "pg_replication_slots: what each slot keeps from being removed, and whether somebody uses it.",
	Sources: []collect.Source{
		collect.Since(170000, slotsText(`, extract(epoch FROM inactive_since) AS inactive, CASE WHEN invalidation_reason IS NOT NULL THEN 1 END AS invalidated`)),
		collect.Until(170000, slotsText(``)),
	},
	Columns: []collect.Column{
		collect.Label("slot_name"), collect.Label("slot_type"), collect.Label("database"), collect.Label("wal_status"), collect.Label("invalidation_reason"),
		collect.Value("active", "active", "1 while somebody uses the slot, else 0.").Per("slot_name", "database"),
		collect.Value("retained", "pg_wal_lsn_diff", "Bytes of the log written since the position from which the slot keeps it.").In("bytes").Per("slot_name", "database"),
		collect.Value("position", "slot_current_wal_lsn", "Position in the log up to which this server has written it, or on a replica received it, in bytes.").In("bytes").Per("slot_name", "slot_type"),
		collect.Value("confirmed", "slot_confirmed_flush_lsn", "Position in the log up to which the user of an active logical slot has confirmed it, in bytes.").In("bytes").Per("slot_name", "slot_type"),
		collect.Value("active", "slot_is_active", "1 while somebody uses the slot, else 0.").Per("slot_name", "slot_type"),
		collect.Value("safe_wal_size", "safe_wal_size_bytes", "Bytes that can still be written to the log before the slot may lose what it needs. Absent without max_slot_wal_keep_size, and once the slot is lost.").Per("slot_name", "slot_type"),
		collect.Value("has_status", "wal_status", "Always 1; the label tells whether the log the slot needs is reserved, extended, unreserved or lost.").Per("slot_name", "slot_type", "wal_status"),
		collect.Value("retained", "retained_wal_bytes", "Bytes of the log written since the position from which the slot keeps it.").Per("slot_name", "slot_type"),
		collect.Value("unconfirmed", "unconfirmed_wal_bytes", "Bytes of the log that the user of a logical slot has not confirmed yet.").Per("slot_name", "slot_type"),
		collect.Value("xmin_age", "xmin_age_transactions", "Age of the oldest transaction that the slot keeps from vacuum.").Per("slot_name", "slot_type"),
		collect.Value("catalog_xmin_age", "catalog_xmin_age_transactions", "Age of the oldest transaction that the slot keeps from vacuum in the system catalogues.").Per("slot_name", "slot_type"),
		collect.Value("two_phase", "two_phase", "1 where the slot decodes prepared transactions, else 0. Since PostgreSQL 14.").Per("slot_name", "slot_type"),
		collect.Value("conflicting", "conflicting", "1 where a logical slot conflicted with recovery and is of no use any more, else 0. Since PostgreSQL 16.").Per("slot_name", "slot_type"),
		collect.Value("invalidated", "invalidated", "1 for a slot that is of no use any more; the label tells why. Absent for all others. Since PostgreSQL 17.").Per("slot_name", "slot_type", "invalidation_reason"),
		collect.Value("inactive", "inactive_since_timestamp_seconds", "Since when nobody has used the slot, in Unix seconds. Absent while it is active. Since PostgreSQL 17.").Per("slot_name", "slot_type"),
		collect.Value("failover", "failover", "1 where the slot is copied to replicas, so that its user can go on after a failover, else 0. Since PostgreSQL 17.").Per("slot_name", "slot_type"),
		collect.Value("synced", "synced", "1 on a replica where the slot is a copy of the primary's, else 0. Since PostgreSQL 17.").Per("slot_name", "slot_type"),
	},
}

func slotsText(more string) string {
	return `
		SELECT s.*, here - '0/0' AS position, here - restart_lsn AS retained, here - confirmed_flush_lsn AS unconfirmed,
			CASE WHEN active THEN confirmed_flush_lsn - '0/0' END AS confirmed,
			CASE WHEN wal_status IS NOT NULL THEN 1 END AS has_status,
			age(xmin) AS xmin_age, age(catalog_xmin) AS catalog_xmin_age` + more + `
		FROM pg_replication_slots AS s
		CROSS JOIN (SELECT ` + walPosition + `) AS position(here)
		ORDER BY retained DESC NULLS LAST`
}

// walReceiver gives positions modulo 2^52 and times as counters: so the established families are.
var walReceiver = collect.Table{
	Name: "stat_wal_receiver", Prefix: "pg_stat_wal_receiver", Help: "pg_stat_wal_receiver: the link of a replica to its primary.",
	Off: true, Needs: collect.Needs{Replica: true},
	Sources: []collect.Source{collect.Always(`
		SELECT coalesce(substring(conninfo FROM 'host=''?([^'' ]+)'), sender_host) AS upstream_host, slot_name, status,
			(receive_start_lsn - '0/0') % 4503599627370496 AS receive_start_lsn, receive_start_tli,
			(flushed_lsn - '0/0') % 4503599627370496 AS flushed_lsn, received_tli,
			(latest_end_lsn - '0/0') % 4503599627370496 AS latest_end_lsn,
			extract(epoch FROM latest_end_time) AS latest_end, extract(epoch FROM last_msg_send_time) AS sent,
			extract(epoch FROM last_msg_receipt_time) AS received,
			substring(slot_name FROM 'repmgr_slot_([0-9]+)') AS upstream_node
		FROM pg_stat_wal_receiver`)},
	Columns: []collect.Column{
		collect.Label("upstream_host"), collect.Label("slot_name"), collect.Label("status"),
		collect.Count("receive_start_lsn", "receive_start_lsn", "Position in the log from which this link has received it, in bytes modulo 2^52.").In("bytes"),
		collect.Value("receive_start_tli", "receive_start_tli", "Timeline on which this link began to receive the log."),
		collect.Count("flushed_lsn", "flushed_lsn", "Position in the log up to which it was received and flushed to disk, in bytes modulo 2^52.").In("bytes"),
		collect.Value("received_tli", "received_tli", "Timeline of the last part of the log that was received and flushed to disk."),
		collect.Count("sent", "last_msg_send_time", "When the primary sent its last message, by its clock, in Unix seconds.").In("timestamp_seconds"),
		collect.Count("received", "last_msg_receipt_time", "When the last message of the primary was received, in Unix seconds.").In("timestamp_seconds"),
		collect.Count("latest_end_lsn", "latest_end_lsn", "Position in the log that was last reported to the primary, in bytes modulo 2^52.").In("bytes"),
		collect.Count("latest_end", "latest_end_time", "When a position in the log was last reported to the primary, in Unix seconds.").In("timestamp_seconds"),
		collect.Value("upstream_node", "upstream_node", "Number of the primary's node in repmgr, which names its slots by it. Absent without repmgr."),
	},
}
