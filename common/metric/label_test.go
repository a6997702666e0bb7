package metric

import (
	"testing"

	"github.com/prometheus/common/expfmt"
)

// Labels can be added for a while.
func TestLabel(t *testing.T) {
	bare, own := &Family{Name: "a", Help: "A."}, &Family{Name: "b", Help: "B.", Labels: []string{"mx"}}
	batch := NewBatch(0, Label{"t", "x"})
	batch.Add(bare, 1)
	for _, host := range []string{"one", "two"} {
		batch.Label(Label{"mx", host})
		batch.Add(bare, 2)
		batch.Add(bare, 3) // it is there
		batch.Add(own, 4, "own "+host)
	}
	batch.Label()
	batch.Add(own, 5, "last")
	expect(t, encode(t, expfmt.FmtText, batch), `# HELP a A.
# TYPE a gauge
a{t="x"} 1
a{mx="one",t="x"} 2
a{mx="two",t="x"} 2
# HELP b B.
# TYPE b gauge
b{mx="own one",t="x"} 4
b{mx="own two",t="x"} 4
b{mx="last",t="x"} 5
`)
	if batch.Duplicates != 2 {
		t.Errorf("%d duplicates", batch.Duplicates)
	}
}
