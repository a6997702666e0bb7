package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

var slotStats = collect.Table{
	Name: "stat_replication_slots", Prefix: "pg_stat_replication_slots", Help: "pg_stat_replication_slots: what decoding has cost for each logical slot. Since PostgreSQL 14.",
	Created: "reset", Rows: 500,
	Sources: []collect.Source{collect.Since(140000, `
		SELECT *, extract(epoch FROM stats_reset) AS reset FROM pg_stat_replication_slots ORDER BY spill_bytes DESC, slot_name LIMIT 501`)},
	Columns: []collect.Column{
		collect.Label("slot_name"),
		collect.Count("spill_txns", "spill_transactions_total", "Transactions of which decoded changes were written to disk because they did not fit in logical_decoding_work_mem."),
		collect.Count("spill_count", "spills_total", "Times decoded changes were written to disk."),
		collect.Count("spill_bytes", "spill_bytes_total", "Bytes of decoded changes that were written to disk."),
		collect.Count("stream_txns", "stream_transactions_total", "Transactions of which decoded changes were sent before their end because they did not fit in logical_decoding_work_mem."),
		collect.Count("stream_count", "streams_total", "Times decoded changes were sent before the end of their transaction."),
		collect.Count("stream_bytes", "stream_bytes_total", "Bytes of decoded changes that were sent before the end of their transaction."),
		collect.Count("total_txns", "transactions_total", "Transactions decoded."),
		collect.Count("total_bytes", "bytes_total", "Bytes of changes decoded, those of subtransactions included."),
	},
}

// subscriptions are known in all databases of a server. Before PostgreSQL 14 nobody but a superuser may see which of
// two databases has a subscription that both have the name of: then the label is empty.
var subscriptions = collect.Table{
	Name: "stat_subscription", Prefix: "pg_stat_subscription", Help: "pg_stat_subscription: the subscriptions of all databases, and the processes that serve them.",
	Rows: 500,
	Sources: []collect.Source{
		collect.Since(160000, subscriptionsText(`SELECT oid, subdbid, subenabled FROM pg_subscription`, `sub.oid = s.subid`, `s.leader_pid`)),
		collect.Between(140000, 160000, subscriptionsText(`SELECT oid, subdbid, subenabled FROM pg_subscription`, `sub.oid = s.subid`, `NULL::int`)),
		collect.Until(140000, subscriptionsText(
			`SELECT subname, min(subdbid) AS subdbid, bool_and(subenabled) AS subenabled FROM pg_subscription GROUP BY 1 HAVING count(*) = 1`,
			`sub.subname = s.subname`, `NULL::int`)),
	},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("subname"),
		collect.Value("enabled", "enabled", "1 for a subscription that is enabled, else 0."),
		collect.Value("running", "apply_worker_running", "1 while a process receives and applies the changes, else 0: as while it is started again and again because of an error."),
		collect.Value("syncing", "sync_workers", "Processes that copy tables at the start of the subscription."),
		collect.Value("parallel", "parallel_apply_workers", "Processes that apply large transactions beside the first. Since PostgreSQL 16."),
		collect.Value("received", "received_lsn_bytes", "Position in the publisher's log up to which it was received, in bytes."),
		collect.Value("reported", "latest_end_lsn_bytes", "End of the publisher's log as it last told, in bytes."),
		collect.Value("sent_at", "last_message_sent_timestamp_seconds", "When the publisher sent its last message, by its own clock, in Unix seconds."),
		collect.Value("received_at", "last_message_received_timestamp_seconds", "When the last message of the publisher was received, in Unix seconds."),
		collect.Value("reported_at", "latest_end_timestamp_seconds", "When the publisher last told the end of its log, in Unix seconds."),
	},
}

// subscriptionsText takes what is said of the transfer from the process that receives.
func subscriptionsText(catalogue, same, leader string) string {
	first := `FILTER (WHERE relid IS NULL AND leader IS NULL)`
	return `
		SELECT d.datname, subname, bool_or(subenabled) AS enabled,
			count(pid) ` + first + ` AS running, count(pid) FILTER (WHERE relid IS NOT NULL) AS syncing,
			count(leader) AS parallel,
			max(received_lsn - '0/0') ` + first + ` AS received, max(latest_end_lsn - '0/0') ` + first + ` AS reported,
			extract(epoch FROM max(last_msg_send_time) ` + first + `) AS sent_at,
			extract(epoch FROM max(last_msg_receipt_time) ` + first + `) AS received_at,
			extract(epoch FROM max(latest_end_time) ` + first + `) AS reported_at
		FROM (
			SELECT s.*, ` + leader + ` AS leader, sub.subdbid, sub.subenabled
			FROM pg_stat_subscription AS s LEFT JOIN (` + catalogue + `) AS sub ON ` + same + `
		) AS workers
		LEFT JOIN pg_database AS d ON d.oid = subdbid
		GROUP BY d.datname, subname ORDER BY running, 1, 2 LIMIT 501`
}

var subscriptionStats = collect.Table{
	Name: "stat_subscription_stats", Prefix: "pg_stat_subscription_stats", Help: "pg_stat_subscription_stats: errors and conflicts of subscriptions. Since PostgreSQL 15.",
	Created: "reset", Rows: 500,
	Sources: []collect.Source{collect.Since(150000, `
		SELECT d.datname, s.*, extract(epoch FROM stats_reset) AS reset
		FROM pg_stat_subscription_stats AS s
		LEFT JOIN pg_subscription AS sub ON sub.oid = s.subid
		LEFT JOIN pg_database AS d ON d.oid = sub.subdbid
		ORDER BY apply_error_count + sync_error_count DESC, 1, subname LIMIT 501`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("subname"),
		collect.Count("apply_error_count", "apply_errors_total", "Errors while changes were applied. Each ends the process, which then tries again."),
		collect.Count("sync_error_count", "sync_errors_total", "Errors while tables were copied at the start of the subscription."),
		collect.Count("confl_insert_exists", "confl_insert_exists_total", "Rows to insert whose key exists already. Since PostgreSQL 18."),
		collect.Count("confl_update_origin_differs", "confl_update_origin_differs_total", "Rows updated that another source had changed before. Since PostgreSQL 18."),
		collect.Count("confl_update_exists", "confl_update_exists_total", "Rows to update whose new key exists already. Since PostgreSQL 18."),
		collect.Count("confl_update_missing", "confl_update_missing_total", "Rows to update that do not exist. Since PostgreSQL 18."),
		collect.Count("confl_delete_origin_differs", "confl_delete_origin_differs_total", "Rows deleted that another source had changed before. Since PostgreSQL 18."),
		collect.Count("confl_delete_missing", "confl_delete_missing_total", "Rows to delete that do not exist. Since PostgreSQL 18."),
		collect.Count("confl_multiple_unique_conflicts", "confl_multiple_unique_conflicts_total", "Rows to insert or update of which several keys exist already. Since PostgreSQL 18."),
	},
}

var subscriptionTables = collect.Table{
	Name: "subscription_tables", Prefix: "pg_subscription", Help: "pg_subscription_rel: how far the tables of each subscription of the database are copied.",
	PerMember: true, Rows: 1000,
	Sources: []collect.Source{collect.Always(`
		SELECT current_database() AS datname, subname,
			CASE srsubstate WHEN 'i' THEN 'initialize' WHEN 'd' THEN 'copying' WHEN 'f' THEN 'copied' WHEN 's' THEN 'synchronized' WHEN 'r' THEN 'ready' ELSE srsubstate::text END AS state,
			count(*) AS tables
		FROM ` + ownSubscriptions + `
		GROUP BY 2, 3 ORDER BY 2, 3 LIMIT 1001`)},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("subname"), collect.Label("state"),
		collect.Value("tables", "tables", "Tables of the subscription in this state; what is not ready is still being copied or catching up."),
	},
}

// ownSubscriptions finds the name of a table's subscription in a view that all versions show everybody.
const ownSubscriptions = `pg_subscription_rel AS r JOIN (SELECT DISTINCT subid, subname FROM pg_stat_subscription) AS s ON s.subid = r.srsubid`

// publications counts what is named in them. To list all that is published the server would lock every table.
var publications = collect.Table{
	Name: "publications", Prefix: "pg_publication", Help: "pg_publication: the publications of the database.",
	PerMember: true, Rows: 500,
	Sources: []collect.Source{
		collect.Since(150000, publicationsText(`, (SELECT count(*) FROM pg_publication_namespace WHERE pnpubid = p.oid) AS schemas`)),
		collect.Until(150000, publicationsText(``)),
	},
	Columns: []collect.Column{
		collect.Label("datname"), collect.Label("pubname"),
		collect.Value("tables", "tables", "Tables that the publication names, each with all its partitions."),
		collect.Value("schemas", "schemas", "Schemas of which the publication holds all tables. Since PostgreSQL 15."),
		collect.Value("puballtables", "all_tables", "1 where all tables of the database are published, else 0."),
	},
}

func publicationsText(more string) string {
	return `
		SELECT current_database() AS datname, pubname, puballtables, (SELECT count(*) FROM pg_publication_rel WHERE prpubid = p.oid) AS tables` + more + `
		FROM pg_publication AS p ORDER BY tables DESC, pubname LIMIT 501`
}
