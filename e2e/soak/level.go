package soak

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Level is what an exporter holds at the end of a calm: the least of the calm's last seconds, since what is under way
// comes on top.
type Level struct {
	At          time.Duration `json:"at"`
	Goroutines  int           `json:"goroutines"`
	Files       int           `json:"files"`
	Connections int           `json:"connections"` // to its servers
	RSS         int64         `json:"rss_bytes"`
	Heap        int64         `json:"heap_bytes"` // what lived after the last collection, about: half of the next one's goal
}

// least gives the lower of each; fields that are 0 are not known.
func (l Level) least(o Level) Level {
	return Level{
		At: max(l.At, o.At), Goroutines: lower(l.Goroutines, o.Goroutines), Files: lower(l.Files, o.Files),
		Connections: min(l.Connections, o.Connections), RSS: lower(l.RSS, o.RSS), Heap: lower(l.Heap, o.Heap),
	}
}

func lower[N int | int64](a, b N) N {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

const (
	mostRSS       = 160 << 20 // at any time, floods included
	levelWindow   = 6 * time.Second
	moreRoutines  = 20 // above the first level, at the end of a calm
	moreFiles     = 10
	moreConns     = 10
	growRoutines  = 3 // from the first third of the levels to the last
	growFiles     = 2
	growConns     = 2
	enoughLevels  = 6
	growRSS       = 10 << 20
	growHeap      = 3 << 20
	logBytes      = 64 << 10
	logBytesEvent = 4 << 10
)

// judgeLevels compares each level with the first, and the middle of the last third with the highest of the first third.
func judgeLevels(levels []Level) []string {
	if len(levels) == 0 {
		return nil
	}
	var wrong []string
	first := levels[0]
	for _, l := range levels[1:] {
		for _, held := range []struct {
			what              string
			first, now, above int
		}{
			{"goroutines", first.Goroutines, l.Goroutines, moreRoutines}, {"files", first.Files, l.Files, moreFiles},
			{"connections", first.Connections, l.Connections, moreConns},
		} {
			if held.now > held.first+held.above {
				wrong = append(wrong, fmt.Sprintf("%d %s after the calm at %s, %d at first", held.now, held.what, l.At.Round(time.Second), held.first))
			}
		}
	}
	if len(levels) < enoughLevels {
		return wrong
	}
	third := len(levels) / 3
	for _, grown := range []struct {
		what  string
		of    func(Level) int64
		above int64
	}{
		{"goroutines", func(l Level) int64 { return int64(l.Goroutines) }, growRoutines},
		{"files", func(l Level) int64 { return int64(l.Files) }, growFiles},
		{"connections", func(l Level) int64 { return int64(l.Connections) }, growConns},
		{"bytes of resident memory", func(l Level) int64 { return l.RSS }, growRSS},
		{"bytes of heap", func(l Level) int64 { return l.Heap }, growHeap},
	} {
		begin, end := sorted(levels[:1+third], grown.of)[third], sorted(levels[len(levels)-third:], grown.of)[third/2]
		if end > begin+grown.above {
			wrong = append(wrong, fmt.Sprintf("%d %s in the last third of the calms, at most %d in the first", end, grown.what, begin))
		}
	}
	return wrong
}

func sorted(levels []Level, of func(Level) int64) []int64 {
	values := make([]int64, 0, len(levels))
	for _, l := range levels {
		values = append(values, of(l))
	}
	slices.Sort(values)
	return values
}

// ruleOf tells which rule a finding of judgeLevels breaks.
func ruleOf(finding string) string {
	if strings.Contains(finding, "bytes") {
		return ruleMemory
	}
	return ruleLeak
}
