package suitetest

import (
	"bytes"
	"io"
	"testing"
)

// Reference checks that an exporter can print its reference, in which every key of its configuration has to be explained
// where it is declared.
func Reference(t *testing.T, exporter interface {
	Run(args []string, stdout, stderr io.Writer) int
}) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := exporter.Run([]string{"docs", "reference"}, &stdout, &stderr); code != 0 {
		t.Errorf("code %d: %s", code, stderr.String())
	}
}
