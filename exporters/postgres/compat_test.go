package main

import (
	"slices"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Each old name stands for one that is served, and none of the old ones is in use.
func TestLegacyNames(t *testing.T) {
	all, err := catalogue("", defaultStatements)
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, c := range all {
		for _, f := range c.Families {
			served[f.Name] = true
		}
	}
	for now, old := range legacyNames {
		if !served[now] {
			t.Errorf("%s stands for %s, which nobody serves", old, now)
		}
		if served[old] {
			t.Errorf("%s is in use", old)
		}
	}
}

func TestConstantLabels(t *testing.T) {
	for text, want := range map[string][]metric.Label{
		"":            nil,
		"a=1":         {{Name: "a", Value: "1"}},
		"a=1, b = x ": {{Name: "a", Value: "1"}, {Name: "b", Value: "x"}},
	} {
		got, err := (&compat{labels: &text}).constant()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"a", "1=a", "__name__=a", "a-b=c"} {
		if got, err := (&compat{labels: &text}).constant(); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestTextArray(t *testing.T) {
	for want, names := range map[string][]string{
		`ARRAY[]::text[]`:                 nil,
		`ARRAY[ E'a', E'b c']::text[]`:    {"a", "b c"},
		`ARRAY[ E'o\'clock\\\'']::text[]`: {`o'clock\'`},
	} {
		if got := textArray(names); got != want {
			t.Errorf("%v: %s, want %s", names, got, want)
		}
	}
}
