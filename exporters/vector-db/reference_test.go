package main

import (
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
)

// Every key of the configuration is explained where it is declared.
func TestReference(t *testing.T) {
	suitetest.Reference(t, exporter())
}
