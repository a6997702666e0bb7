package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// spare is how long a connection to the exporter is kept that nothing is asked over: those of a moment in which answers
// were late are not to be counted as the exporter's descriptors ever after.
const spare = 5 * time.Second

// Load is many targets that are scraped through one exporter, evenly spread over an interval, as Prometheus does.
type Load struct {
	URLs     []string       // one for each target
	Live     func(int) bool // which of them answer
	Up       string         // a line of the page of a target that answers
	Interval time.Duration
	Wait     time.Duration // Prometheus' timeout
}

// Outcome is what came of a load.
type Outcome struct {
	Took    []time.Duration // by scrapes of targets that live
	Dead    []time.Duration // by those of the others
	Wrong   int             // answers that are not what the target is: a live one that is not up, or a dead one that is
	Problem error           // the first of these
}

// Run scrapes every target once in each interval, from the first on, until the duration is over, and waits for the last
// answers.
func (l Load) Run(ctx context.Context, duration time.Duration) (*Outcome, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true, IdleConnTimeout: spare}
	client := &http.Client{Transport: transport, Timeout: l.Wait + time.Second}
	defer client.CloseIdleConnections()
	outcome := &Outcome{}
	var mu sync.Mutex
	var all sync.WaitGroup
	begun, step := time.Now(), l.Interval/time.Duration(len(l.URLs))
	for n := range int(duration / step) {
		select {
		case <-time.After(time.Until(begun.Add(time.Duration(n) * step))):
		case <-ctx.Done():
			all.Wait()
			return outcome, ctx.Err()
		}
		all.Go(func() {
			i := n % len(l.URLs)
			took, err := l.scrape(ctx, client, i)
			mu.Lock()
			defer mu.Unlock()
			outcome.add(took, l.Live(i), err)
		})
	}
	all.Wait()
	return outcome, nil
}

func (l Load) scrape(ctx context.Context, client *http.Client, i int) (time.Duration, error) {
	began := time.Now()
	page, err := Get(ctx, client, l.URLs[i], l.Wait)
	took := time.Since(began)
	up := err == nil && hasLine(page.Body, l.Up)
	switch {
	case l.Live(i) && !up:
		return took, fmt.Errorf("%s is not up, after %s: HTTP %d: %w\n%.300s", l.URLs[i], took, page.Code, errors.Join(errors.New("no line "+l.Up), err), page.Body)
	case !l.Live(i) && up:
		return took, fmt.Errorf("%s is up, where nobody answers", l.URLs[i])
	}
	return took, nil
}

func (o *Outcome) add(took time.Duration, live bool, err error) {
	if err != nil {
		o.Wrong++
		if o.Problem == nil {
			o.Problem = err
		}
	}
	if live {
		o.Took = append(o.Took, took)
	} else {
		o.Dead = append(o.Dead, took)
	}
}
