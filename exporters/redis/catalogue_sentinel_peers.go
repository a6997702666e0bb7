package main

import (
	"regexp"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// sentinelFields are the fields of a sentinel's INFO.
var sentinelFields = []infoField{
	{"sentinel_masters", "sentinel_masters", g, "", 0, "2.8", "Masters that this sentinel watches."},
	{"sentinel_tilt", "sentinel_tilt", g, "", 0, "2.8", "Whether the sentinel distrusts its own clock and does nothing (1) or not (0)."},
	{"sentinel_running_scripts", "sentinel_running_scripts", g, "", 0, "2.8", "Scripts of the user that run now."},
	{"sentinel_scripts_queue_length", "sentinel_scripts_queue_length", g, "", 0, "2.8", "Scripts of the user that wait or run."},
	{"sentinel_simulate_failure_flags", "sentinel_simulate_failure_flags", g, "", 0, "3.2", "Failures that the sentinel was told to simulate."},
}

// sentinelMaster finds the lines on masters.
var sentinelMaster = regexp.MustCompile(`^master[0-9]+$`)

// sentinelSection reads the sentinel section of INFO.
func sentinelSection() *collect.Collector {
	families := infoFamilies(sentinelFields)
	labels := []string{"master_name", "master_address"}
	status := gauge("sentinel_master_status", "Whether the sentinel finds the master in order (1) or not (0), and its word for it.", "master_name", "master_address", "master_status")
	slaves := gauge("sentinel_master_slaves", "Replicas of the master.", labels...)
	sentinels := gauge("sentinel_master_sentinels", "Sentinels that watch the master, this one among them.", labels...)
	return &collect.Collector{
		Name: "sentinel", Help: "INFO sentinel: the masters that a sentinel watches.", Needs: collect.Needs{Feature: sentinel},
		Families: append([]*metric.Family{status, slaves, sentinels}, families...), Ask: askInfo,
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			i := answered(answer).Info()
			for at, f := range sentinelFields {
				if n, ok := f.read(i); ok {
					out.Add(families[at], n)
				}
			}
			for _, line := range i.Section("sentinel") {
				if !sentinelMaster.MatchString(line.field) {
					continue
				}
				pair := infoPairs(line.text)
				name, address := pair("name"), pair("address")
				out.Add(status, metric.Truth(pair("status") == "ok"), name, address, pair("status"))
				for family, field := range map[*metric.Family]string{slaves: "slaves", sentinels: "sentinels"} {
					if n, ok := parseNumber(pair(field)); ok {
						out.Add(family, n, name, address)
					}
				}
			}
			return nil
		},
	}
}

// sentinelFamilies declare what a sentinel says of each master, and of the others that watch it.
type sentinelFamilies struct {
	numbers  []sentinelNumber
	quorum   *metric.Family
	good     map[string]*metric.Family // by what is counted: sentinels or slaves
	peer     *metric.Family            // nil where they are not shown
	families []*metric.Family
}

type sentinelNumber struct {
	field  string
	family *metric.Family
	per    float64
}

func newSentinelFamilies(peers bool) *sentinelFamilies {
	labels := []string{"master_name", "master_address"}
	f := &sentinelFamilies{
		numbers: []sentinelNumber{
			{"quorum", gauge("sentinel_master_setting_ckquorum", "Sentinels that have to agree that the master is down.", labels...), 1},
			{"failover-timeout", gauge("sentinel_master_setting_failover_timeout", "Setting failover-timeout of the master, in milliseconds.", labels...), 1},
			{"parallel-syncs", gauge("sentinel_master_setting_parallel_syncs", "Replicas that turn to a new master at the same time.", labels...), 1},
			{"down-after-milliseconds", gauge("sentinel_master_setting_down_after_milliseconds", "Silence after which the master counts as down, in milliseconds.", labels...), 1},
			{"config-epoch", gauge("sentinel_master_config_epoch", "Epoch of the master's configuration, which grows with each failover.", labels...), 1},
			{"last-ok-ping-reply", gauge("sentinel_master_last_ok_ping_reply_seconds", "Time since the master last answered a ping in order.", labels...), 1e3},
		},
		quorum: gauge("sentinel_master_ckquorum_status", "Whether enough sentinels can be reached for a failover (1) or not (0), and the word for it.", "master_name", "message"),
		good: map[string]*metric.Family{
			"SENTINELS": gauge("sentinel_master_ok_sentinels", "Sentinels that watch the master and answer, this one among them.", labels...),
			"SLAVES":    gauge("sentinel_master_ok_slaves", "Replicas of the master that answer.", labels...),
		},
	}
	for _, n := range f.numbers {
		f.families = append(f.families, n.family)
	}
	f.families = append(f.families, f.quorum, f.good["SENTINELS"], f.good["SLAVES"])
	if peers {
		f.peer = gauge("sentinel_peer_info", "Another sentinel that watches the master.", "master_name", "master_address", "name", "ip", "port", "runid", "flags")
		f.families = append(f.families, f.peer)
	}
	return f
}

// sentinelState asks for the masters, and then all about all of them at once.
func sentinelState(peers bool) *collect.Collector {
	f := newSentinelFamilies(peers)
	return &collect.Collector{
		Name: "sentinel_masters", Help: "SENTINEL MASTERS, CKQUORUM, SENTINELS, SLAVES: settings and quorum of each master, and how many answer.",
		Families: f.families, Needs: collect.Needs{Feature: sentinel},
		Talk: func(collect.Identity) collect.Talk { return &sentinelTalk{sentinelFamilies: f} },
	}
}

// sentinelTalk is one scrape of a sentinel.
type sentinelTalk struct {
	*sentinelFamilies
	rounds int
	asked  []sentinelQuestion
}

// sentinelQuestion is one of the questions on a master.
type sentinelQuestion struct{ command, name, address string }

// Ask asks for the masters first, and then of each.
func (s *sentinelTalk) Ask() []collect.Question {
	if s.rounds++; s.rounds == 1 {
		return []collect.Question{ask("SENTINEL", "MASTERS")}
	}
	if s.rounds > 2 {
		return nil
	}
	questions := make([]collect.Question, 0, len(s.asked))
	for _, q := range s.asked {
		questions = append(questions, ask("SENTINEL", q.command, q.name))
	}
	return questions
}

// Read takes what is said of the masters. That there is no quorum is said as an error.
func (s *sentinelTalk) Read(i int, answer collect.Answer, err error, out *metric.Batch) error {
	if s.rounds == 1 {
		if err == nil {
			s.masters(answered(answer).Items(), out)
		}
		return err
	}
	q, r := s.asked[i], answered(answer)
	switch {
	case q.command == "CKQUORUM":
		return s.checkQuorum(q.name, r, err, out)
	case err != nil:
		return err
	}
	count := metric.Truth(q.command == "SENTINELS") // this one
	for _, one := range r.Items() {
		flags := one.Get("flags").Text()
		if flags != "" && !strings.Contains(flags, "o_down") && !strings.Contains(flags, "s_down") {
			count++
		}
		if s.peer != nil && q.command == "SENTINELS" {
			text := func(field string) string { return one.Get(field).Text() }
			out.Add(s.peer, 1, q.name, q.address, text("name"), text("ip"), text("port"), text("runid"), flags)
		}
	}
	out.Add(s.good[q.command], count, q.name, q.address)
	return nil
}

// maxMasters is how many masters are asked about one by one.
const maxMasters = 500

func (s *sentinelTalk) masters(masters []value, out *metric.Batch) {
	for i, m := range masters {
		name, address := m.Get("name").Text(), m.Get("ip").Text()+":"+m.Get("port").Text()
		for _, n := range s.numbers {
			addNumber(out, n.family, m.Get(n.field), n.per, name, address)
		}
		if i >= maxMasters {
			out.Limited += 3
			continue
		}
		for _, command := range []string{"CKQUORUM", "SENTINELS", "SLAVES"} {
			s.asked = append(s.asked, sentinelQuestion{command, name, address})
		}
	}
}

// checkQuorum takes the word with which the answer begins; its text counts the sentinels and would make a new series
// each time.
func (s *sentinelTalk) checkQuorum(name string, r *reply, err error, out *metric.Batch) error {
	text := r.Text()
	if err != nil {
		text = err.Error()
	}
	switch word, _, _ := strings.Cut(text, " "); {
	case word == "OK" && err == nil:
		out.Add(s.quorum, 1, name, word)
	case word == "NOQUORUM":
		out.Add(s.quorum, 0, name, word)
	default:
		return err
	}
	return nil
}

// sentinelConfig reads the settings of a sentinel.
func sentinelConfig() *collect.Collector {
	text := gauge("sentinel_config_key_value", "A setting of the sentinel and its text.", "key", "value")
	number := gauge("sentinel_config_value", "A setting of the sentinel that is a number.", "key")
	return &collect.Collector{
		Name: "sentinel_config", Help: "SENTINEL CONFIG GET: settings of a sentinel; --include-config-metrics.", Off: true,
		Families: []*metric.Family{text, number}, Needs: collect.Needs{Feature: sentinel}, Ask: asks(ask("SENTINEL", "CONFIG", "GET", "*")),
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for name, setting := range answered(answer).Pairs() {
				if strings.Contains(name, "pass") {
					continue
				}
				out.Add(text, 1, name, setting.Text())
				addNumber(out, number, setting, 1, name)
			}
			return nil
		},
	}
}
