package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// aclLog reads ACL LOG: what was refused to whom. What was asked for (a key, a channel) stays out of sight, and so does
// the name in a refused login: whoever tries to log in may write anything there, a password among it.
func aclLog() *collect.Collector {
	refused := gauge("acl_log_refusals", "Refusals by reason and user among the newest 128 entries of the ACL log; the user is empty for refused logins, and of more than 20 pairs the rest count as (other).", "reason", "user")
	newest := gauge("acl_log_newest_age_seconds", "How long ago something was last refused for the reason.", "reason")
	return &collect.Collector{
		Name: "acl_log", Help: "ACL LOG: what was refused to which user, by reason.", Off: true,
		Families: []*metric.Family{refused, newest},
		Ask:      asks(ask("ACL", "LOG", logEntries)),
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			r := answered(answer)
			refusals, ages := tally{}, map[string]float64{}
			for _, entry := range r.Items() {
				reason, user := entry.Get("reason").Text(), entry.Get("username").Text()
				if reason == "auth" {
					user = ""
				}
				if count, ok := entry.Get("count").Number(); ok {
					refusals.addTimes(reason+" "+user, count)
				}
				age, ok := entry.Get("age-seconds").Number()
				if known, has := ages[reason]; ok && (!has || age < known) {
					ages[reason] = age
				}
			}
			refusals.each(func(name string, a amounts) {
				reason, user, _ := strings.Cut(name, " ")
				out.Add(refused, a.count, reason, user)
			})
			for _, reason := range slices.Sorted(maps.Keys(ages)) {
				out.Add(newest, ages[reason], reason)
			}
			return nil
		},
	}
}
