package main

import (
	"strconv"
	"strings"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// settings makes a gauge of each setting of the server that is a number or a switch. Only the server knows which
// there are, so they cannot be a table.
type settings struct{}

// settingsText asks for the server's values: where our own session has another one, for the one that it would have.
const settingsText = `
		SELECT name, CASE
				WHEN name = 'transaction_read_only' THEN CASE WHEN pg_is_in_recovery() THEN 'on' ELSE (
					SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only') END
				WHEN source = 'session' THEN reset_val
				ELSE setting
			END AS setting, unit, pending_restart
		FROM pg_settings
		WHERE vartype IN ('bool', 'integer', 'real') OR pending_restart ORDER BY name`

func (settings) Collector() (*collect.Collector, error) {
	reader := settingsReader{
		pending: &metric.Family{Name: "pg_settings_pending_restart", Help: "Settings that were changed but count only after a restart of the server."},
		known:   map[string]*metric.Family{},
	}
	return &collect.Collector{
		Name: "settings", Help: "pg_settings: all settings that are numbers or switches.",
		Families: []*metric.Family{
			{Name: "pg_settings_*", Help: "A setting of the server; sizes in bytes, times in seconds, switches 1 or 0."},
			reader.pending,
		},
		Ask:  func(collect.Identity) []collect.Question { return []collect.Question{{Text: settingsText}} },
		Read: reader.read,
	}, nil
}

// mostSettings bounds the families that are kept. A server has some 400; one that invents new names at each scrape must
// not fill the memory.
const mostSettings = 10_000

// settingsReader keeps the families it has made: the settings of a server hardly ever change.
type settingsReader struct {
	pending *metric.Family
	mu      sync.Mutex
	known   map[string]*metric.Family // by setting and unit, and by name
}

func (r *settingsReader) read(_ int, answer collect.Answer, out *metric.Batch) error {
	pending := 0
	for answer.Next() {
		name, unit := string(answer.Value(0)), string(answer.Value(2))
		if string(answer.Value(3)) == "t" {
			pending++
		}
		if value, base, ok := settingValue(string(answer.Value(1)), unit); ok {
			out.Add(r.family(name, base), value)
		}
	}
	out.Add(r.pending, float64(pending))
	return answer.Err()
}

// family gives the same family to settings whose names differ only in what a metric's name cannot have, so that one
// of them is dropped as a duplicate rather than spoil the page.
func (r *settingsReader) family(setting, unit string) *metric.Family {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := setting + " " + unit
	family := r.known[key]
	if family != nil {
		return family
	}
	if len(r.known) > mostSettings {
		clear(r.known)
	}
	family = &metric.Family{Name: "pg_settings_" + strings.Map(nameRune, setting), Help: "Server setting " + setting + "."}
	if unit != "" {
		family.Name, family.Help = family.Name+"_"+unit, "Server setting "+setting+", in "+unit+"."
	}
	if same := r.known[family.Name]; same != nil {
		family = same
	}
	r.known[key], r.known[family.Name] = family, family
	return family
}

func nameRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
		return r
	}
	return '_'
}

// settingValue gives a setting in its base unit. Texts, and units nobody has heard of, are no metric.
func settingValue(setting, unit string) (value float64, base string, ok bool) {
	switch setting {
	case "on":
		return 1, "", true
	case "off":
		return 0, "", true
	}
	number := strings.TrimRight(setting, " kKMGTBsminhd") // some services append the unit
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, "", false
	}
	scale, base, ok := settingUnit(unit)
	if value == -1 { // a special value, such as "no limit", in any unit
		scale = 1
	}
	return value * scale, base, ok
}

// settingUnit takes units apart as the server writes them: "ms", "8kB", "16MB".
func settingUnit(unit string) (scale float64, base string, ok bool) {
	if unit == "" {
		return 1, "", true
	}
	letters := strings.TrimLeft(unit, "0123456789")
	times := 1.0
	if digits := strings.TrimSuffix(unit, letters); digits != "" {
		times, _ = strconv.ParseFloat(digits, 64)
	}
	switch letters {
	case "us":
		return times * 1e-6, "seconds", true
	case "ms":
		return times * 1e-3, "seconds", true
	case "s":
		return times, "seconds", true
	case "min":
		return times * 60, "seconds", true
	case "h":
		return times * 3600, "seconds", true
	case "d":
		return times * 86400, "seconds", true
	case "B":
		return times, "bytes", true
	case "kB":
		return times * (1 << 10), "bytes", true
	case "MB":
		return times * (1 << 20), "bytes", true
	case "GB":
		return times * (1 << 30), "bytes", true
	case "TB":
		return times * (1 << 40), "bytes", true
	}
	return 0, "", false
}
