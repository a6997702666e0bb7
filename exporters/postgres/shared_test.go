package main

import (
	"testing"
	"time"
)

// Targets have their collectors in common. Those that name the server have all that is large in common, and their label is
// the target's.
func TestCollectorsAreShared(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		l := loader{enabled: func(string) bool { return true }, timeout: time.Second, legacy: legacy, statements: defaultStatements}
		if err := l.share(); err != nil {
			t.Fatal(err)
		}
		before, one, other := 0, l.collectors("a:1"), l.collectors("b:2")
		for i, c := range l.shared {
			before += len(c.Families)
			switch own := one[i] != c; {
			case own != namesServer(c) || own != (one[i] != other[i]):
				t.Errorf("%s: of its own %v", c.Name, own)
			case own && (one[i].Name != c.Name || one[i].Families[0] != c.Families[0] || other[i].Families[0] != c.Families[0]):
				t.Errorf("%s: its families are not shared", c.Name)
			}
		}
		after := 0
		for _, c := range l.shared {
			after += len(c.Families)
		}
		if len(one) != len(l.shared) || after != before {
			t.Errorf("%d collectors of %d, %d families of %d", len(one), len(l.shared), after, before)
		}
	}
}
