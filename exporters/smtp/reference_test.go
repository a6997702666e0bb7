package main

import (
	"bytes"
	"testing"
)

// Every key of the configuration is explained where it is declared.
func TestReference(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := exporter().Run([]string{"docs", "reference"}, &stdout, &stderr); code != 0 {
		t.Errorf("code %d: %s", code, stderr.String())
	}
	if err := (&module{DNS: &dnsChecks{}}).prepare(); err != nil {
		t.Errorf("an empty module is faulty: %v", err)
	}
}
