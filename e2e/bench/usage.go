package bench

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// hasLine tells whether a page has a line.
func hasLine(page []byte, line string) bool {
	return bytes.HasPrefix(page, []byte(line+"\n")) || bytes.Contains(page, []byte("\n"+line+"\n"))
}

// Value gives the value of a series of a page, by its name and labels as they are written there.
func Value(page []byte, series string) (float64, bool) {
	for line := range bytes.Lines(page) {
		if rest, found := bytes.CutPrefix(line, []byte(series+" ")); found {
			value, err := strconv.ParseFloat(string(bytes.TrimSpace(rest)), 64)
			return value, err == nil
		}
	}
	return 0, false
}

// Usage is what a process uses.
type Usage struct {
	RSS, Peak  int64 // bytes
	CPU        time.Duration
	FDs        int
	Goroutines float64
	Live       float64 // bytes of Go's heap and stacks, as far as they are in use: garbage is among them
}

// Used reads what an exporter uses. What Go's runtime knows is read from its page, which must have no target of its own.
func Used(ctx context.Context, e *servers.Exporter) (Usage, error) {
	page, err := Get(ctx, http.DefaultClient, e.URL+"/metrics", 5*time.Second)
	if err != nil {
		return Usage{}, err
	}
	goroutines, found := Value(page.Body, "go_goroutines")
	if !found {
		return Usage{}, errors.New("the page of the exporter does not tell its goroutines")
	}
	heap, _ := Value(page.Body, "go_memstats_heap_inuse_bytes")
	stacks, _ := Value(page.Body, "go_memstats_stack_inuse_bytes")
	u := Usage{Goroutines: goroutines, Live: heap + stacks}
	var errs [4]error
	u.RSS, errs[0] = e.RSS()
	u.Peak, errs[1] = e.PeakRSS()
	u.CPU, errs[2] = e.CPU()
	u.FDs, errs[3] = e.FDs()
	return u, cmp.Or(errs[0], errs[1], errs[2], errs[3])
}
