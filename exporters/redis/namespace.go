package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// namespace is the word with which the names of all families are declared.
const namespace = "redis"

// Namespace gives the word with which names begin instead.
func (b *backend) Namespace() (string, error) {
	name := b.flags.namespace
	switch f := (metric.Family{Name: name}); {
	case f.Check() != nil || strings.HasSuffix(name, "*"):
		return "", fmt.Errorf("--namespace is %q, and must be what the name of a metric can begin with: letters, digits that do not come first, and _", name)
	case slices.Contains([]string{"db", "go", "process", "service"}, name):
		return "", fmt.Errorf("--namespace cannot be %s: the exporter has other metrics whose names begin with it", name)
	}
	return name, nil
}

// rename puts the word of the flag before the names of all families in place of the one that they are declared with. Names
// that only the server knows are made after the family that stands for them, which is among them.
func rename(all collect.Catalogue, word string) {
	renamed := map[*metric.Family]bool{}
	for _, c := range all {
		for _, f := range c.Families {
			if rest, ok := strings.CutPrefix(f.Name, namespace+"_"); ok && !renamed[f] {
				f.Name = cmp.Or(word, namespace) + "_" + rest
				renamed[f] = true
			}
		}
	}
}

var _ app.Namespaced = (*backend)(nil)
