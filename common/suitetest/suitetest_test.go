package suitetest

import (
	"slices"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

func TestUnknown(t *testing.T) {
	families := []*metric.Family{
		{Name: "pg_up"},
		{Name: "pg_locks_count", Labels: []string{"datname", "mode"}},
		{Name: "pg_settings_*", Labels: []string{"server"}},
		{Name: "db_query_duration_seconds", Type: metric.Histogram, Labels: []string{"service"}},
	}
	for expression, want := range map[string][]string{
		`pg_up == 0`: nil,
		`sum by (datname) (pg_locks_count{mode="x", datname=~"a|b", job="j"}) > 3`: nil,
		`pg_settings_max_connections{server="a"} - pg_settings_x`:                  nil,
		`rate(db_query_duration_seconds_bucket{service="a",le="1"}[5m])`:           nil,
		`pg_gone > 1 and redis_up`:                                                 {"unknown metric pg_gone"},
		`pg_locks_count{modus="x"}`:                                                {"unknown label modus of pg_locks_count"},
		`instance:pg_gone:sum`:                                                     nil,
	} {
		if got := unknown(expression, families, []string{"pg_", "db_"}); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", expression, got, want)
		}
	}
}
