package soak

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// longestTimeout is the longest that a scraper announces.
const longestTimeout = 2500 * time.Millisecond

// client asks an exporter for its page again and again, as Prometheus does.
type client struct {
	name           string
	pause, timeout time.Duration // pauses are short, so that scrapes overlap as those of several Prometheis do
	accept         string
	leaves         bool // before the answer is there
}

var clients = []client{
	{name: "text", pause: 600 * time.Millisecond, timeout: 1500 * time.Millisecond, accept: "text/plain;version=0.0.4"},
	{name: "openmetrics", pause: 400 * time.Millisecond, timeout: longestTimeout, accept: "application/openmetrics-text;version=1.0.0"},
	{name: "leaver", pause: 900 * time.Millisecond, timeout: time.Second, accept: "text/plain", leaves: true},
}

// leave is how long the leaver has patience at most: half the time hardly enough for a healthy server.
var leave = []time.Duration{40 * time.Millisecond, time.Second}

// Traffic is what a client did.
type Traffic struct {
	Scrapes int           `json:"scrapes"`
	Left    int           `json:"left"` // before the answer was there
	Over    int           `json:"over"` // came after the announced timeout, though within the slack
	Worst   time.Duration `json:"worst"`
}

// traffic counts what the clients do.
type traffic struct {
	mu sync.Mutex
	by map[string]Traffic
}

func (t *traffic) count(who string, took, timeout time.Duration, left bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.by[who]
	one.Scrapes++
	if left {
		one.Left++
	} else {
		one.Worst = max(one.Worst, took)
		if took > timeout {
			one.Over++
		}
	}
	t.by[who] = one
}

// scrape asks until the soak ends, and has every page judged.
func (c client) scrape(ctx context.Context, s *subject, seed uint64, counts *traffic, seen func(scrape)) {
	transport := &http.Transport{DisableKeepAlives: c.leaves}
	defer transport.CloseIdleConnections()
	dice := rand.New(rand.NewPCG(seed, uint64(len(c.name))))
	for sleep(ctx, c.pause) {
		patience := 2*c.timeout + 2*time.Second // so that it is known how late an answer is
		if c.leaves {
			patience = between(dice, time.Millisecond, leave[dice.IntN(len(leave))])
		}
		at := c.once(ctx, transport, s.url, patience)
		if ctx.Err() != nil {
			return
		}
		left := c.leaves && at.err != nil
		counts.count(s.name+"/"+c.name, at.ended.Sub(at.began), c.timeout, left)
		if !left {
			seen(at)
		}
	}
}

// once asks once.
func (c client) once(ctx context.Context, transport *http.Transport, url string, patience time.Duration) scrape {
	at := scrape{client: c.name, timeout: c.timeout}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		at.err = err
		return at
	}
	request.Header.Set("Accept", c.accept)
	request.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(c.timeout.Seconds(), 'g', -1, 64))
	at.began = time.Now()
	answer, err := transport.RoundTrip(request)
	if err == nil {
		at.code, at.contentType = answer.StatusCode, answer.Header.Get("Content-Type")
		at.body, err = io.ReadAll(io.LimitReader(answer.Body, 64<<20))
		_ = answer.Body.Close()
	}
	at.ended, at.err = time.Now(), err
	return at
}
