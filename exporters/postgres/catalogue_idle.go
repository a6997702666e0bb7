package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// processIdle gives a histogram, which a table cannot.
type processIdle struct{}

// idleBounds are those of the established family, in seconds.
func idleBounds() []float64 { return []float64{1, 2, 5, 15, 30, 60, 90, 120, 300} }

func (processIdle) Collector() (*collect.Collector, error) {
	family := &metric.Family{
		Name: "pg_process_idle_seconds", Type: metric.Histogram, Labels: []string{"state", "application_name"},
		Help: "Sessions that are idle now, in or outside a transaction, by how long they have been idle, in seconds.",
	}
	text := idleText(idleBounds())
	return &collect.Collector{
		Name: "process_idle", Help: "pg_stat_activity: how long idle sessions have been idle.", Off: true,
		Families: []*metric.Family{family},
		Ask:      func(collect.Identity) []collect.Question { return []collect.Question{{Text: text}} },
		Read:     func(_ int, answer collect.Answer, out *metric.Batch) error { return readIdle(family, answer, out) },
	}, nil
}

// idleText counts the sessions of each bucket on the server: there may be thousands of sessions.
func idleText(bounds []float64) string {
	var text strings.Builder
	text.WriteString(`
		SELECT state, application_name, sum(idle) AS sum`)
	below := "idle >= 0"
	for _, bound := range bounds {
		fmt.Fprintf(&text, ", count(*) FILTER (WHERE %s AND idle <= %v)", below, bound)
		below = fmt.Sprintf("idle > %v", bound)
	}
	fmt.Fprintf(&text, `, count(*) FILTER (WHERE %s)
		FROM (
			SELECT state, application_name, greatest(extract(epoch FROM now() - state_change), 0) AS idle
			FROM pg_stat_activity WHERE state LIKE 'idle%%' AND pid <> pg_backend_pid()
		) AS sessions
		GROUP BY 1, 2 ORDER BY count(*) DESC LIMIT 1000`, below)
	return text.String()
}

func readIdle(family *metric.Family, answer collect.Answer, out *metric.Batch) error {
	bounds := idleBounds()
	for answer.Next() {
		sum, err := strconv.ParseFloat(string(answer.Value(2)), 64)
		if err != nil {
			return err
		}
		value := &metric.HistogramValue{Bounds: bounds, Sum: sum}
		for i := range len(bounds) + 1 {
			count, err := strconv.ParseUint(string(answer.Value(3+i)), 10, 64)
			if err != nil {
				return err
			}
			value.Counts = append(value.Counts, count)
		}
		out.AddHistogram(family, value, string(answer.Value(0)), string(answer.Value(1)))
	}
	return answer.Err()
}
