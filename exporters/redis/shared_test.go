package main

import (
	"slices"
	"testing"
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
