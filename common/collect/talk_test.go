package collect

import (
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// listing asks for a list of names, and then for each of them, for ever where it is endless.
type listing struct {
	family  *metric.Family
	prefix  string
	rounds  int
	names   []string
	endless bool
}

func (l *listing) Ask() []Question {
	l.rounds++
	switch {
	case l.rounds == 1 || l.endless:
		return []Question{{Text: l.prefix + "list"}}
	case l.rounds == 2:
		var questions []Question
		for _, name := range l.names {
			questions = append(questions, Question{Text: l.prefix + name})
		}
		return questions
	}
	return nil
}

func (l *listing) Read(i int, answer Answer, err error, out *metric.Batch) error {
	if fault.Of(err) == fault.Busy { // it does without
		return nil
	}
	if err != nil {
		return err
	}
	for answer.Next() {
		if l.rounds == 1 {
			l.names = append(l.names, string(answer.Value(0)))
		} else if !l.endless {
			out.Add(l.family, float64(len(answer.Value(0))), l.names[i])
		}
	}
	return answer.Err()
}

// talks is a collector that lists and looks.
func talks(name string, endless bool) *Collector {
	family := &metric.Family{Name: "fake_" + name, Help: "What " + name + " holds.", Labels: []string{"key"}}
	return &Collector{Name: name, Help: "Rounds.", Families: []*metric.Family{family}, Talk: func(id Identity) Talk {
		l := &listing{family: family, prefix: name + " ", endless: endless}
		if id.Version < 17 {
			l.rounds = 2 // which asks nothing
		}
		return l
	}}
}

// TestTalks holds that the rounds of all talks travel together, and that one that fails leaves the others alone.
func TestTalks(t *testing.T) {
	s := newServer()
	s.replies["a list"], s.replies["a x"], s.replies["a y"] = table("name", "x", "y"), table("value", "1"), table("value", "22")
	s.replies["b list"], s.replies["b z"] = table("name", "z", "busy"), table("value", "333")
	s.replies["b busy"] = reply{err: fault.New(fault.Busy, "not now")}
	s.replies["c list"], s.replies["c x"] = table("name", "x"), reply{err: fault.New(fault.Denied, "no")}
	s.replies["d list"] = table("name")
	s.replies["e list"] = table("name")
	s.replies["g"] = table("key value", "k 7")
	all := Catalogue{talks("a", false), gauge("g"), talks("b", false), talks("c", false), talks("d", false), talks("e", true)}
	bubble(t, s, all, func(f *fixture) {
		result := f.scrape(second)
		want := `fake_a{key="x"} 1
fake_a{key="y"} 2
fake_b{key="z"} 3
fake_exporter_collector_failures_total{collector="c",reason="denied"} 1
fake_exporter_collector_failures_total{collector="e",reason="limited"} 1
fake_exporter_collector_success{collector="a"} 1
fake_exporter_collector_success{collector="g"} 1
fake_exporter_collector_success{collector="b"} 1
fake_exporter_collector_success{collector="c"} 0
fake_exporter_collector_success{collector="d"} 1
fake_exporter_collector_success{collector="e"} 0
fake_exporter_last_scrape_turnarounds 8
fake_g{key="k"} 7
`
		got := lines(page(t, result), "fake_a{", "fake_b{", "fake_c", "fake_d", "fake_e{", "fake_g{", "fake_exporter_collector_success", "fake_exporter_collector_failures", "fake_exporter_last_scrape_turnarounds")
		if asked := s.count("e list"); got != want || asked != maxRounds {
			t.Errorf("asked for e %d times, the page says\n%s, want\n%s", asked, got, want)
		}
	})
}

// TestTalkOfAnOldServer holds that a talk without a first question says that the server is too old.
func TestTalkOfAnOldServer(t *testing.T) {
	s := newServer()
	s.identity.Version = 16
	bubble(t, s, Catalogue{talks("a", false)}, func(f *fixture) {
		got := lines(page(t, f.scrape(second)), "fake_exporter_collector_unsupported_info")
		if want := "fake_exporter_collector_unsupported_info{collector=\"a\",missing=\"version\"} 1\n"; got != want {
			t.Errorf("the page says %q, want %q", got, want)
		}
	})
}

// TestTalkBreaksOff holds that a connection lost between rounds costs the talk, and leaves what was read.
func TestTalkBreaksOff(t *testing.T) {
	s := newServer()
	s.replies["a list"], s.replies["a x"] = table("name", "x"), reply{stalls: true}
	s.replies["g"] = table("key value", "k 7")
	bubble(t, s, Catalogue{talks("a", false), gauge("g")}, func(f *fixture) {
		got := lines(page(t, f.scrape(second)), "fake_a{", "fake_g{", "fake_exporter_collector_success", "fake_up")
		want := `fake_exporter_collector_success{collector="a"} 0
fake_exporter_collector_success{collector="g"} 1
fake_g{key="k"} 7
fake_up 1
`
		if got != want {
			t.Errorf("the page says\n%s, want\n%s", got, want)
		}
	})
}
