package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Collectors that remember something of their server are each target's own: with another's keys, folder or cursor they
// would tell of the wrong server.
func TestWhoRemembersIsNotShared(t *testing.T) {
	all, err := (&backend{}).Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	own := []string{"check_keys", "check_key_patterns", "check_streams", "check_stream_patterns", "count_keys", "key_groups", "key_sample", "rdb_file", "search_indexes"}
	for _, c := range all {
		if c.Shareable() == slices.Contains(own, c.Name) {
			t.Errorf("%s: shareable is %v", c.Name, c.Shareable())
		}
	}
	l := loader{flags: &flags{}, options: options{}, enabled: func(name string) bool { return name == "info" || name == "rdb_file" }}
	if err := l.share(); err != nil || l.shared != nil {
		t.Errorf("shared with a collector that remembers: %v, %v", l.shared, err)
	}
	l.enabled = func(name string) bool { return name == "info" }
	if err := l.share(); err != nil || len(l.shared) != 1 {
		t.Errorf("not shared: %v, %v", l.shared, err)
	}
}

// A collector that targets have in common reads the answers of several at the same time.
func TestSharedCollectorsReadAtTheSameTime(t *testing.T) {
	shared := clusterInfo()
	var all sync.WaitGroup
	for target := range 8 {
		all.Go(func() {
			for round := range 20 {
				out := metric.NewBatch(0)
				kind := fmt.Sprintf("kind-%c", 'a'+(target+round)%26)
				if err := shared.Read(0, answerOf(t, bulk("cluster_stats_messages_"+kind+"_sent:7\r\n")), out); err != nil {
					t.Error(err)
				}
				want := "cluster_stats_messages_" + strings.ReplaceAll(kind, "-", "_") + "_sent{} 7"
				if got := samples(out); !slices.Equal(got, []string{want}) {
					t.Errorf("%v, want %s", got, want)
				}
				if f := out.Undeclared(func(f *metric.Family) bool { return strings.HasPrefix(f.Name, "redis_cluster_stats_messages_") }); f != nil {
					t.Errorf("%s is not declared", f.Name)
				}
			}
		})
	}
	all.Wait()
}
