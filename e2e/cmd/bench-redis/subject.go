package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// subject is one exporter with what is switched on in it, on a line of its own, and what was measured of it.
type subject struct {
	name, path string
	args       []string
	nearOnly   bool // it is not scraped over a long line

	line     *proxy.Proxy
	exporter *servers.Exporter
	scraped  time.Time

	wall              map[time.Duration][]time.Duration // by the delay
	far               proxy.Stats                       // all scrapes over the longest line
	cpu               time.Duration                     // all scrapes without a delay
	series, pageBytes int
	rss, peak         int64
}

// start runs the exporter behind its line.
func (s *subject) start(ctx context.Context, address string) error {
	var err error
	s.wall = map[time.Duration][]time.Duration{}
	if s.line, err = proxy.Start(address); err != nil {
		return err
	}
	s.exporter, err = servers.StartExporter(ctx, s.path, []string{"REDIS_ADDR=redis://" + s.line.Addr()}, s.args...)
	return err
}

func (s *subject) stop() error {
	var err error
	if s.exporter != nil {
		err = s.exporter.Stop()
	}
	if s.line != nil {
		s.line.Close()
	}
	return err
}

// scrape asks as Prometheus does, with much patience, and returns how long the answer took.
func (s *subject) scrape(ctx context.Context) (time.Duration, error) {
	time.Sleep(time.Until(s.scraped.Add(bench.Sharing)))
	page, err := bench.Get(ctx, http.DefaultClient, s.exporter.URL+"/metrics", time.Minute)
	s.scraped = time.Now()
	if err != nil {
		return 0, err
	}
	return page.Took, s.check(page.Body)
}

// check reads a page: one that is not whole was not worth measuring.
func (s *subject) check(page []byte) error {
	s.pageBytes, s.series = len(page), 0
	up := false
	for line := range bytes.Lines(page) {
		switch {
		case bytes.HasPrefix(line, []byte("#")):
		case bytes.Contains(line, []byte("redis_exporter_collector_success{")) && bytes.HasSuffix(line, []byte(" 0\n")),
			bytes.HasPrefix(line, []byte("redis_exporter_last_scrape_error")) && !bytes.HasSuffix(line, []byte(" 0\n")):
			return fmt.Errorf("%s: %s", s.name, line)
		default:
			up = up || bytes.Equal(line, []byte("redis_up 1\n"))
			s.series++
		}
	}
	if !up {
		return errors.New(s.name + ": the server is not up")
	}
	return nil
}

// measure scrapes once.
func (s *subject) measure(ctx context.Context, delay time.Duration) error {
	if delay > 0 && s.nearOnly {
		return nil
	}
	used, err := s.exporter.CPU()
	if err != nil {
		return err
	}
	s.line.ResetStats()
	took, err := s.scrape(ctx)
	if err != nil {
		return err
	}
	s.wall[delay] = append(s.wall[delay], took)
	if delay == 0 {
		usedNow, err := s.exporter.CPU()
		s.cpu += usedNow - used
		return err
	}
	if delay == phases[len(phases)-1].delay { // where turn-arounds can be told apart
		stats := s.line.Stats()
		s.far.Conns += stats.Conns
		s.far.TurnArounds += stats.TurnArounds
		s.far.Up += stats.Up
		s.far.Down += stats.Down
	}
	return nil
}

func (s *subject) finish() error {
	var err, problem error
	s.rss, err = s.exporter.RSS()
	s.peak, problem = s.exporter.PeakRSS()
	return cmp.Or(err, problem)
}
