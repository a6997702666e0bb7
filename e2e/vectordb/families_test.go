package vectordb

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

// common are the series that dashboards and alerts of all kinds of server are made of. What stands for the server, the
// collection and the vector is filled in.
var common = []string{
	`vectordb_up{target="$target"}`,
	`vectordb_auth_ok{target="$target"}`,
	`vectordb_collections{target="$target"}`,
	`vectordb_collection_success{collection="$collection",target="$target"}`,
	`vectordb_collection_status{collection="$collection",status="ok",target="$target"}`,
	`vectordb_collection_status{collection="$collection",status="error",target="$target"}`,
	`vectordb_collection_objects{collection="$collection",target="$target"}`,
	`vectordb_vector_dimensions{collection="$collection",target="$target",vector="$vector"}`,
	`vectordb_canary_success{target="$target"}`,
	`vectordb_canary_operation_duration_seconds_count{operation="search",target="$target"}`,
	`vectordb_canary_freshness_seconds_count{target="$target"}`,
	`vectordb_search_recall_ratio{collection="$collection",k="10",target="$target",vector="$vector"}`,
	`vectordb_search_self_hit_ratio{collection="$collection",target="$target",vector="$vector"}`,
	`vectordb_exporter_collector_success{collector="collections",target="$target"}`,
	`service_health{service="$target",target="$target"}`,
	`db_write_success{db_name="$database",service="$target",target="$target"}`,
}

// One exporter asks four kinds of real servers, and all of them are told of in the same words, with the numbers that
// were put in.
func TestEveryServerIsToldOfInTheSameWords(t *testing.T) {
	stores := everyStore(t)
	yaml := "targets:\n"
	for _, s := range stores {
		s.fill(t, "docs", vectors(3000, 16), usual)
		collection, _ := s.named("docs")
		yaml += fmt.Sprintf("  - %s\n    canary:\n      every: 1s\n    recall:\n      every: 1s\n      collections:\n        - name: %q\n", s.target(), collection)
	}
	e := start(t, yaml)
	for _, s := range stores {
		series := words(t, s)
		var page harness.Page
		harness.Eventually(t, 30*time.Second, "all that dashboards need of "+s.kind(), func() error {
			page = e.Scrape("10")
			for _, one := range series {
				if _, ok := page.Value(one); !ok {
					return fmt.Errorf("%s is not on the page:\n%.8000s", one, about(page.Body, "search_", "canary_success", "write_success", "status", "objects"))
				}
			}
			return nil
		})
		for i, want := range []float64{1, 1, 2, 1, 1, 0, 3000, 16, 1} {
			page.Want(t, series[i], want)
		}
		page.Want(t, series[len(series)-1], 1)
		if info := about(page.Body, `system="`+s.kind()+`"`); !strings.Contains(info, "vectordb_info{") {
			t.Errorf("there is no vectordb_info of a %s", s.kind())
		}
	}
}

// words fills in what stands for one server.
func words(t *testing.T, s store) []string {
	t.Helper()
	url, _, _ := strings.Cut(strings.TrimPrefix(s.target(), "url: "), "\n")
	_, target, _ := strings.Cut(url, "://")
	target, _, _ = strings.Cut(target, "?")
	collection, vector := s.named("docs")
	fill := strings.NewReplacer("$target", target, "$collection", collection, "$vector", vector, "$database", "")
	var all []string
	for _, one := range common {
		all = append(all, fill.Replace(one))
	}
	return all
}
