package main

import (
	"fmt"
	"maps"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

func TestSettingValue(t *testing.T) {
	for _, c := range []struct {
		setting, unit string
		value         float64
		base          string
		ok            bool
	}{
		{"on", "", 1, "", true},
		{"off", "", 0, "", true},
		{"0700", "", 700, "", true},
		{"0.9", "", 0.9, "", true},
		{"-0.5", "", -0.5, "", true},
		{"100", "ms", 0.1, "seconds", true},
		{"5", "min", 300, "seconds", true},
		{"2", "h", 7200, "seconds", true},
		{"16384", "8kB", 134217728, "bytes", true},
		{"64", "MB", 67108864, "bytes", true},
		{"1", "16MB", 16777216, "bytes", true},
		{"-1", "kB", -1, "bytes", true},
		{"-1", "min", -1, "seconds", true},
		{"16384 kB", "kB", 16777216, "bytes", true}, // as some services write it
		{"300s", "s", 300, "seconds", true},
		{"7", "parsec", 0, "", false},
		{"", "", 0, "", false},
		{"replica", "", 0, "", false},
	} {
		value, base, ok := settingValue(c.setting, c.unit)
		if ok != c.ok || ok && (value != c.value || base != c.base) {
			t.Errorf("settingValue(%q, %q) = %v, %q, %v", c.setting, c.unit, value, base, ok)
		}
	}
}

// TestSettingNames has two settings that differ only in what the name of a metric cannot have.
func TestSettingNames(t *testing.T) {
	collector, err := settings{}.Collector()
	if err != nil {
		t.Fatal(err)
	}
	batch := metric.NewBatch(0)
	err = collector.Read(0, &rows{values: [][]string{
		{"ext.a-b", "1", "", "f"}, {"ext.a_b", "2", "", "t"}, {"naïve.$x", "3", "", "f"}, {"work_mem", "4096", "kB", "f"}, {"a_text", "none", "", "t"},
	}}, batch)
	if err != nil || batch.Duplicates != 1 {
		t.Errorf("%v, %d duplicates", err, batch.Duplicates)
	}
	got := map[string]float64{}
	for _, family := range batch.Families() {
		got[family.GetName()] = family.Metric[0].Gauge.GetValue()
	}
	want := map[string]float64{
		"pg_settings_ext_a_b": 1, "pg_settings_na_ve__x": 3, "pg_settings_work_mem_bytes": 4194304, "pg_settings_pending_restart": 2,
	}
	if !maps.Equal(got, want) {
		t.Error(got)
	}
}

// TestInventedSettings has a server that invents new names for ever.
func TestInventedSettings(t *testing.T) {
	reader := settingsReader{known: map[string]*metric.Family{}}
	for i := range 5 * mostSettings {
		if f := reader.family(fmt.Sprint("invented.", i), "bytes"); f.Name != fmt.Sprintf("pg_settings_invented_%d_bytes", i) {
			t.Fatal(f.Name)
		}
		if len(reader.known) > mostSettings+2 {
			t.Fatalf("%d are kept", len(reader.known))
		}
	}
}

// rows is an answer without a server.
type rows struct {
	values [][]string
	at     int
}

func (r *rows) Fields() []string { return nil }
func (r *rows) Next() bool       { r.at++; return r.at <= len(r.values) }
func (r *rows) Err() error       { return nil }
func (r *rows) Value(i int) []byte {
	return []byte(r.values[r.at-1][i])
}
