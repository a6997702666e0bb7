package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

type inner struct {
	Secret Secret        `yaml:"secret" help:"What nobody sees."`
	Every  time.Duration `yaml:"every" help:"How often."`
}

type shared struct {
	On bool `yaml:"on" help:"Whether it is on."`
}

type documented struct {
	shared  `yaml:",inline"`
	List    []inner          `yaml:"list" help:"Some."`
	Names   map[string]inner `yaml:"names" key:"PHASE" help:"By phase."`
	Codes   map[string][]int `yaml:"codes,omitempty" help:"Numbers."`
	Maybe   *inner           `yaml:"maybe" help:"One or none."`
	Fall    *bool            `yaml:"fall" help:"Or not."`
	Kinds   []string         `yaml:"kinds" type:"list of kinds" help:"Which."`
	Skipped string           `yaml:"-"`
	private int
}

func TestKeys(t *testing.T) {
	yes := true
	keys, err := Keys(documented{
		Maybe: &inner{Every: time.Hour}, Fall: &yes, Kinds: []string{"a", "b"}, private: 1,
		List: []inner{{Every: 90 * time.Second, Secret: SecretValue(canary)}}, Names: map[string]inner{"": {Every: time.Minute}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Key{
		{"on", "true or false", "false", "Whether it is on."},
		{"list", "list of sections", "", "Some."},
		{"list[].secret", "secret", "<secret>", "What nobody sees."},
		{"list[].every", "duration", "1m30s", "How often."},
		{"names", "map to sections", "", "By phase."},
		{"names.PHASE.secret", "secret", "", "What nobody sees."},
		{"names.PHASE.every", "duration", "1m", "How often."},
		{"codes.NAME", "list of numbers", "", "Numbers."},
		{"maybe", "section", "", "One or none."},
		{"maybe.secret", "secret", "", "What nobody sees."},
		{"maybe.every", "duration", "1h", "How often."},
		{"fall", "true or false", "true", "Or not."},
		{"kinds", "list of kinds", "[a, b]", "Which."},
	}
	if !slices.Equal(keys, want) {
		t.Errorf("got  %q\nwant %q", keys, want)
	}
}

// A key that nobody explains is an error that says where it is.
func TestKeysMustBeExplained(t *testing.T) {
	for _, of := range []any{
		struct {
			Deep []struct {
				Name string `yaml:"name"`
			} `yaml:"deep" help:"Deep."`
		}{},
		struct {
			Deep struct {
				Name string `yaml:"name" help:"no sentence"`
			} `yaml:"deep" help:"Deep."`
		}{},
	} {
		if _, err := Keys(of); err == nil || !strings.Contains(err.Error(), "name, field Name: the tag") || !strings.HasPrefix(err.Error(), "deep") {
			t.Errorf("%v", err)
		}
	}
}
