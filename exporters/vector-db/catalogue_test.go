package main

import (
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
)

// Names, types and help texts are by the conventions.
func TestLint(t *testing.T) {
	all, err := (&settings{}).Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	suitetest.Lint(t, all, collect.NewSelf("vectordb", nil), func(string) bool { return false })
}
