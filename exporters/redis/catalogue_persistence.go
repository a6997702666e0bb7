package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// persistence reads the persistence section of INFO for what has to be reckoned: ages by the server's own clock, and
// shares.
func persistence() *collect.Collector {
	saved := gauge("rdb_last_save_age_seconds", "How long ago a snapshot was last saved, by the server's own clock; of a server that has saved none, how long ago it started.")
	progress := gauge("rdb_current_save_progress_ratio", "Share of the keys that the snapshot or the rewrite in progress has written, from 0 to 1; absent while there is none.")
	growth := gauge("aof_growth_ratio", "Size of the append-only file relative to what it was after its last rewrite.")
	loaded := gauge("loading_progress_ratio", "Share of the data that the server has loaded since it started, from 0 to 1; absent once all is loaded.")
	left := gauge("loading_left_seconds", "How long the server expects to go on loading; absent once all is loaded.")
	return &collect.Collector{
		Name: "persistence_progress", Help: "INFO persistence: age of the last snapshot, progress of the present one, growth of the append-only file.",
		Families: []*metric.Family{saved, progress, growth, loaded, left},
		Ask:      askInfo,
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			i := answered(answer).Info()
			if at, ok := i.Number("rdb_last_save_time"); ok && at > 0 {
				if now := serverTime(i); now > 0 {
					out.Add(saved, max(0, now-at))
				}
			}
			addRatio(out, progress, i, "current_save_keys_processed", "current_save_keys_total")
			addRatio(out, growth, i, "aof_current_size", "aof_base_size")
			addRatio(out, loaded, i, "loading_loaded_bytes", "loading_total_bytes")
			if eta, ok := i.Number("loading_eta_seconds"); ok && eta >= 0 {
				out.Add(left, eta)
			}
			return nil
		},
	}
}

// addRatio appends one field divided by another, where there are both and the other is not 0.
func addRatio(out *metric.Batch, f *metric.Family, i *info, part, whole string) {
	p, hasPart := i.Number(part)
	w, hasWhole := i.Number(whole)
	if hasPart && hasWhole && w > 0 {
		out.Add(f, p/w)
	}
}
