package redis

import (
	"os"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// established is a family as the list has it.
type established struct {
	name, kind      string
	labels          []string
	servers, hidden []string // kinds of server that have it, and those where it must be switched on
}

func establishedFamilies(t *testing.T) []established {
	t.Helper()
	text, err := os.ReadFile("../../exporters/redis/testdata/peer_families.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var all []established
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		all = append(all, established{f[0], f[1], list(f[2]), list(f[3]), list(f[4])})
	}
	return all
}

func list(text string) []string {
	return slices.DeleteFunc(strings.Split(text, ","), func(s string) bool { return s == "" })
}

// modulesOnly are families that need a module that the servers here lack.
var modulesOnly = []string{"redis_module_info"}

// On every kind of server, with default settings and with everything on, there is every family of the list with its type
// and its labels, but for what differences.md names.
func TestFamilies(t *testing.T) {
	intended, all := differences(t), establishedFamilies(t)
	for name, create := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := create(t)
			for how, args := range map[string][]string{"default": nil, "everything": w.args} {
				e := start(t, login(w.server), args...)
				settle(t, e)
				page := e.Families()
				for _, f := range all {
					expected := slices.Contains(f.servers, name) && (how == "everything" || !slices.Contains(f.hidden, name))
					if !expected || intended[f.name] || slices.Contains(modulesOnly, f.name) {
						continue
					}
					if found := shapes(page[f.name]); !slices.Contains(found, f.kind+" "+strings.Join(f.labels, ",")) {
						t.Errorf("%s: %s is %q, want %s %v", how, f.name, found, f.kind, f.labels)
					}
				}
			}
		})
	}
}

// shapes lists a family's type with each set of labels that it has.
func shapes(family *dto.MetricFamily) []string {
	var all []string
	for _, m := range family.GetMetric() {
		var labels []string
		for _, l := range m.Label {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		shape := strings.ToLower(family.GetType().String()) + " " + strings.Join(labels, ",")
		if !slices.Contains(all, shape) {
			all = append(all, shape)
		}
	}
	return all
}
