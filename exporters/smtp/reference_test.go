package main

import (
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
)

// Every key of the configuration is explained where it is declared.
func TestReference(t *testing.T) {
	suitetest.Reference(t, exporter())
	if err := (&module{DNS: &dnsChecks{}}).prepare(); err != nil {
		t.Errorf("an empty module is faulty: %v", err)
	}
}
