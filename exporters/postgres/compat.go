package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// compat is what users of postgres_exporter may have switched on.
type compat struct {
	legacy *bool
	labels *string
}

func (c *compat) flags(a *kingpin.Application) {
	c.legacy = a.Flag("compat.legacy-names", "Serve values also under old names that popular dashboards ask for and postgres_exporter has given up.").
		Envar("PG_EXPORTER_COMPAT_LEGACY_NAMES").Bool()
	c.labels = a.Flag("constantLabels", "Labels for every series, as name=value,name=value. Prometheus' own relabelling does this better.").
		Envar("PG_EXPORTER_CONSTANT_LABELS").String()
}

// constant reads the labels that go on every series.
func (c *compat) constant() ([]metric.Label, error) {
	var labels []metric.Label
	for entry := range splitList(*c.labels) {
		name, value, ok := strings.Cut(entry, "=")
		name = strings.TrimSpace(name)
		if !ok || !labelName.MatchString(name) || strings.HasPrefix(name, "__") {
			return nil, fmt.Errorf("--constantLabels: %q is not of the form name=value with a valid label name", entry)
		}
		labels = append(labels, metric.Label{Name: name, Value: strings.TrimSpace(value)})
	}
	return labels, nil
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// legacyNames are names that popular dashboards still ask for and that postgres_exporter has given up, with the names
// under which the same values are known now. Where two stand for one, a server has only one of them: what checkpoints
// do moved from the background writer's view to their own in version 17.
var legacyNames = map[string]string{
	"pg_stat_bgwriter_buffers_alloc_total":          "pg_stat_bgwriter_buffers_alloc",
	"pg_stat_bgwriter_buffers_backend_fsync_total":  "pg_stat_bgwriter_buffers_backend_fsync",
	"pg_stat_bgwriter_buffers_backend_total":        "pg_stat_bgwriter_buffers_backend",
	"pg_stat_bgwriter_buffers_checkpoint_total":     "pg_stat_bgwriter_buffers_checkpoint",
	"pg_stat_bgwriter_buffers_clean_total":          "pg_stat_bgwriter_buffers_clean",
	"pg_stat_bgwriter_checkpoint_sync_time_total":   "pg_stat_bgwriter_checkpoint_sync_time",
	"pg_stat_bgwriter_checkpoint_write_time_total":  "pg_stat_bgwriter_checkpoint_write_time",
	"pg_stat_bgwriter_checkpoints_req_total":        "pg_stat_bgwriter_checkpoints_req",
	"pg_stat_bgwriter_checkpoints_timed_total":      "pg_stat_bgwriter_checkpoints_timed",
	"pg_stat_bgwriter_maxwritten_clean_total":       "pg_stat_bgwriter_maxwritten_clean",
	"pg_stat_checkpointer_buffers_written_total":    "pg_stat_bgwriter_buffers_checkpoint",
	"pg_stat_checkpointer_num_requested_total":      "pg_stat_bgwriter_checkpoints_req",
	"pg_stat_checkpointer_num_timed_total":          "pg_stat_bgwriter_checkpoints_timed",
	"pg_stat_checkpointer_sync_time_total":          "pg_stat_bgwriter_checkpoint_sync_time",
	"pg_stat_checkpointer_write_time_total":         "pg_stat_bgwriter_checkpoint_write_time",
	"pg_replication_slots_safe_wal_size_bytes":      "pg_replication_slot_safe_wal_size_bytes",
	"pg_replication_slots_slot_confirmed_flush_lsn": "pg_replication_slot_slot_confirmed_flush_lsn",
	"pg_replication_slots_slot_current_wal_lsn":     "pg_replication_slot_slot_current_wal_lsn",
	"pg_replication_slots_slot_is_active":           "pg_replication_slot_slot_is_active",
	"pg_replication_slots_wal_status":               "pg_replication_slot_wal_status",
	"pg_database_size_bytes":                        "pg_database_size",
	"pg_replication_lag_seconds":                    "pg_replication_lag",
	"pg_stat_statements_block_read_seconds_total":   "pg_stat_statements_blk_read_time_seconds",
	"pg_stat_statements_block_write_seconds_total":  "pg_stat_statements_blk_write_time_seconds",
	"pg_stat_statements_calls_total":                "pg_stat_statements_calls",
	"pg_stat_statements_rows_total":                 "pg_stat_statements_rows",
	"pg_stat_statements_seconds_total":              "pg_stat_statements_total_time_seconds",
	"pg_statio_user_tables_heap_blocks_hit":         "pg_statio_user_tables_heap_blks_hit",
	"pg_statio_user_tables_heap_blocks_read":        "pg_statio_user_tables_heap_blks_read",
	"pg_statio_user_tables_idx_blocks_hit":          "pg_statio_user_tables_idx_blks_hit",
	"pg_statio_user_tables_idx_blocks_read":         "pg_statio_user_tables_idx_blks_read",
	"pg_statio_user_tables_tidx_blocks_hit":         "pg_statio_user_tables_tidx_blks_hit",
	"pg_statio_user_tables_tidx_blocks_read":        "pg_statio_user_tables_tidx_blks_read",
	"pg_statio_user_tables_toast_blocks_hit":        "pg_statio_user_tables_toast_blks_hit",
	"pg_statio_user_tables_toast_blocks_read":       "pg_statio_user_tables_toast_blks_read",
}

// addLegacyNames lets a collector publish what it reads under the old names as well.
func addLegacyNames(c *collect.Collector) {
	type pair struct{ now, old *metric.Family }
	var pairs []pair
	for _, f := range c.Families {
		if name, known := legacyNames[f.Name]; known {
			help := strings.TrimSuffix(f.Help, ".") + " (an old name of " + f.Name + ")."
			pairs = append(pairs, pair{f, &metric.Family{Name: name, Help: help, Type: f.Type, Unit: f.BaseUnit(), Labels: f.Labels}})
		}
	}
	if len(pairs) == 0 {
		return
	}
	for _, p := range pairs {
		c.Families = append(c.Families, p.old)
	}
	read := c.Read
	c.Read = func(i int, answer collect.Answer, out *metric.Batch) error {
		err := read(i, answer, out)
		for _, p := range pairs {
			out.AppendAs(p.now, p.old, out)
		}
		return err
	}
}
