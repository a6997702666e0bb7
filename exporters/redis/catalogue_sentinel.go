package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// sentinelMasters shows what this sentinel alone thinks of the masters that it watches. Where it finds one down and the
// others do not, it is on its own; where sentinels know different addresses for one name, they disagree, which shows
// by asking each.
func sentinelMasters() *collect.Collector {
	labels := []string{"master_name", "master_address"}
	alone := gauge("sentinel_master_subjectively_down", "Whether this sentinel finds that the master does not answer (1) or not (0).", labels...)
	agreed := gauge("sentinel_master_objectively_down", "Whether enough sentinels agree that the master is down (1) or not (0).", labels...)
	failover := gauge("sentinel_master_failover_in_progress", "Whether the master is being replaced by one of its replicas (1) or not (0).", labels...)
	mismatch := gauge("sentinel_master_role_mismatch", "Whether the server that should be the master says that it is a replica (1) or not (0).", labels...)
	missing := gauge("sentinel_master_quorum_missing_sentinels", "Sentinels that are known too few for the quorum of the master; 0 where there are enough.", labels...)
	refreshed := gauge("sentinel_master_info_age_seconds", "How long ago the master last told the sentinel of itself and its replicas.", labels...)
	return &collect.Collector{
		Name: "sentinel_views", Help: "SENTINEL MASTERS: what this sentinel thinks of the masters, and whether it is alone in that.",
		Families: []*metric.Family{alone, agreed, failover, mismatch, missing, refreshed},
		Needs:    collect.Needs{Feature: sentinel},
		Ask:      asks(ask("SENTINEL", "MASTERS")),
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for _, m := range answered(answer).Items() {
				flags := "," + m.Get("flags").Text() + ","
				is := func(flag string) float64 { return metric.Truth(strings.Contains(flags, ","+flag+",")) }
				with := []string{m.Get("name").Text(), m.Get("ip").Text() + ":" + m.Get("port").Text()}
				out.Add(alone, is("s_down"), with...)
				out.Add(agreed, is("o_down"), with...)
				out.Add(failover, is("failover_in_progress"), with...)
				if role := m.Get("role-reported").Text(); role != "" {
					out.Add(mismatch, metric.Truth(role != "master"), with...)
				}
				quorum, isQuorum := m.Get("quorum").Number()
				if known, ok := m.Get("num-other-sentinels").Number(); ok && isQuorum {
					out.Add(missing, max(0, quorum-known-1), with...)
				}
				addNumber(out, refreshed, m.Get("info-refresh"), 1e3, with...)
			}
			return nil
		},
	}
}
