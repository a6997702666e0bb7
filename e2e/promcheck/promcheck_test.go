package promcheck

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	page := filepath.Join(t.TempDir(), "metrics.md")
	if err := os.WriteFile(page, []byte("# Metrics\n\n| metric | type | labels | unit | meaning |\n| --- | --- | --- | --- | --- |\n"+
		"| `up_gauge` | gauge | `db` |  | Help. |\n| `requests_total` | counter | `db`, `code` |  | Help. |\n"+
		"| `took_seconds` | histogram | `db` | seconds | Help. |\n| `set_*` | gauge |  |  | Help. |\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Catalogue{"job:recorded:rate5m": {Open: true}}
	if err := c.Read(page); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`up_gauge == 0`:                                                 "",
		`up_gauge{db="a"} == 0`:                                         "",
		`set_max > 3`:                                                   "",
		`job:recorded:rate5m{anything="x"}`:                             "",
		`sum by (db) (rate(requests_total[5m]))`:                        "",
		`requests_total offset 1h unless requests_total`:                "counter is read as it is",
		`count by (db) (requests_total)`:                                "",
		`absent(requests_total)`:                                        "",
		`requests_total > 5`:                                            "counter is read as it is",
		`delta(requests_total[5m])`:                                     "counter is read as it is",
		`rate(up_gauge[5m])`:                                            "rate of a gauge",
		`rate(requests_total[30s])`:                                     "shorter than four scrapes",
		`missing_metric`:                                                "nobody exposes it",
		`up_gauge{code="1"}`:                                            "no label code",
		`sum by (code) (up_gauge)`:                                      "no label code",
		`up_gauge / rate(requests_total[5m])`:                           "cannot match",
		`up_gauge / ignoring (code) rate(requests_total[5m])`:           "",
		`up_gauge / on (db) sum by (db) (rate(requests_total[5m]))`:     "",
		`up_gauge / on (code) sum by (code) (rate(requests_total[5m]))`: "not on both sides",
		`up_gauge / sum by (db) (rate(requests_total[5m]))`:             "cannot match",
		`histogram_quantile(0.9, sum by (db, le) (rate(took_seconds_bucket[5m])))`: "",
		`rate(took_seconds_sum[5m]) / rate(took_seconds_count[5m])`:                "",
		`rate(up_gauge[`: "parse error",
	} {
		got := strings.Join(c.Check(text, Options{Interval: 15 * time.Second}), "; ")
		if want == "" && got != "" || want != "" && !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
