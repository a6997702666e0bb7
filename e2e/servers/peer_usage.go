package servers

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is the processor time of a process, and that of its children which have ended.
type usage struct{ own, ended time.Duration }

// CPU returns the processor time that the process has used, in steps of a hundredth of a second.
func (p *Process) CPU() (time.Duration, error) {
	used, err := readUsage(p.PID())
	return used.own, err
}

// CPU returns the processor time that the server's processes have used, those that have ended included.
func (p *Postgres) CPU() (time.Duration, error) {
	postmaster, err := readUsage(p.process.PID())
	total := postmaster.own + postmaster.ended
	for _, child := range p.children() {
		if used, err := readUsage(child); err == nil { // else it has ended, and the next call sees it
			total += used.own
		}
	}
	return total, err
}

// readUsage reads utime, stime, cutime and cstime: the fields 14 to 17 of /proc/PID/stat.
func readUsage(pid int) (usage, error) {
	const afterName, first, tick = 2, 14, 10 * time.Millisecond
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks [4]time.Duration
	for i := range ticks {
		n, err := strconv.Atoi(fields[first-afterName-1+i])
		if err != nil {
			return usage{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks[i] = time.Duration(n) * tick
	}
	return usage{own: ticks[0] + ticks[1], ended: ticks[2] + ticks[3]}, nil
}

// PeakRSS returns the most memory in bytes that was ever resident.
func (p *Process) PeakRSS() (int64, error) {
	text, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscan(after, &kilobytes); err != nil {
		return 0, fmt.Errorf("%s: %w", p.proc("status"), err)
	}
	return kilobytes << 10, nil
}
