package soak

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// Report is what came out of a soak.
type Report struct {
	Seed       uint64             `json:"seed"`
	Planned    time.Duration      `json:"planned"`
	Ran        time.Duration      `json:"ran"`
	Traffic    map[string]Traffic `json:"traffic"` // by exporter/client
	Faults     map[string]int     `json:"faults"`  // by line/fault, as far as they began
	Checks     map[string]int     `json:"checks"`  // by rule
	Broken     map[string]int     `json:"broken"`  // by rule
	Excused    int                `json:"excused"` // pages that came when their time was up, while all was well
	Levels     map[string][]Level `json:"levels"`  // by exporter, at the end of each calm
	PeakRSS    map[string]int64   `json:"peak_rss_bytes"`
	LogBytes   map[string]int64   `json:"log_bytes"`
	Violations []Violation        `json:"violations"` // the first of them
	Schedule   Schedule           `json:"schedule"`
}

// Failed tells that a rule was broken.
func (r *Report) Failed() bool { return len(r.Broken) > 0 }

// Write writes the report to a file, as JSON where its name ends with .json and as Markdown otherwise.
func (r *Report) Write(path string) error {
	if !strings.HasSuffix(path, ".json") {
		return os.WriteFile(path, []byte(r.String()), 0o644)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// String gives the report as Markdown.
func (r *Report) String() string {
	var b strings.Builder
	verdict := "no rule was broken"
	if r.Failed() {
		verdict = "RULES WERE BROKEN"
	}
	fmt.Fprintf(&b, "# Soak: %s\n\nSeed %d, %s of %s, %d faults.\n", verdict, r.Seed, r.Ran.Round(time.Second), r.Planned, total(r.Faults))
	fmt.Fprintf(&b, "\n| rule | looked at | broken |\n| --- | ---: | ---: |\n")
	for _, rule := range slices.Sorted(maps.Keys(r.Checks)) {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", rule, r.Checks[rule], r.Broken[rule])
	}
	fmt.Fprintf(&b, "\n%d times a page was excused: it came when its time was up, while its server was well.\n", r.Excused)
	fmt.Fprintf(&b, "\n| exporter, client | scrapes | left early | over their timeout | slowest |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, who := range slices.Sorted(maps.Keys(r.Traffic)) {
		t := r.Traffic[who]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s |\n", who, t.Scrapes, t.Left, t.Over, t.Worst.Round(time.Millisecond))
	}
	r.writeLevels(&b)
	fmt.Fprintf(&b, "\n| fault | times |\n| --- | ---: |\n")
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(&b, "| %s | %d |\n", name, r.Faults[name])
	}
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "\n## %s: %s\n\nAt %s: %s\n\nFault: %s\n", v.Target, v.Rule, v.At.Round(time.Millisecond), v.Detail, v.Fault)
		if v.Excerpt != "" {
			fmt.Fprintf(&b, "\n```\n%s```\n", v.Excerpt)
		}
	}
	r.writeSchedule(&b)
	return b.String()
}

// writeSchedule lists what was planned, as far as the soak ran.
func (r *Report) writeSchedule(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Schedule\n\n")
	for _, e := range r.Schedule.Events {
		if e.At <= r.Ran {
			fmt.Fprintf(b, "- %s: %s\n", e.At.Round(time.Millisecond), e)
		}
	}
}

func (r *Report) writeLevels(b *strings.Builder) {
	fmt.Fprintf(b, "\nAt the end of the first and of the last calm:\n\n")
	fmt.Fprintf(b, "| exporter | goroutines | files | connections | heap, MiB | RSS, MiB | highest RSS | log, KiB |\n")
	fmt.Fprintf(b, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	mib := func(bytes int64) float64 { return float64(bytes) / (1 << 20) }
	for _, name := range slices.Sorted(maps.Keys(r.Levels)) {
		levels := r.Levels[name]
		if len(levels) == 0 {
			continue
		}
		first, last := levels[0], levels[len(levels)-1]
		fmt.Fprintf(b, "| %s | %d → %d | %d → %d | %d → %d | %.1f → %.1f | %.1f → %.1f | %.1f | %d |\n", name,
			first.Goroutines, last.Goroutines, first.Files, last.Files, first.Connections, last.Connections,
			mib(first.Heap), mib(last.Heap), mib(first.RSS), mib(last.RSS), mib(r.PeakRSS[name]), r.LogBytes[name]>>10)
	}
}

func total(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}
