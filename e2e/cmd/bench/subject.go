package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// subject is one exporter with one choice of collectors, on a line of its own, and what was measured of it.
type subject struct {
	name, role, path string
	args             []string

	line     *proxy.Proxy
	exporter *servers.Exporter
	scraped  time.Time

	wall                           map[time.Duration][]time.Duration // by the delay
	far                            proxy.Stats                       // all scrapes over the longest line
	cpu, serverCPU                 time.Duration                     // all scrapes without a delay
	statements, execution          float64                           // of these, too
	series, pageBytes, zippedBytes int
	rss, peak                      int64
}

// newSubjects are ours and the peer, each with its own choice of collectors and with all, and ours with those that have
// the peer's families.
func newSubjects(ctx context.Context, path string) ([]*subject, error) {
	peer, err := servers.Peer()
	if err != nil {
		return nil, err
	}
	oursAll, err := servers.Collectors(ctx, path)
	if err != nil {
		return nil, err
	}
	theirsAll, err := servers.Collectors(ctx, peer)
	if err != nil {
		return nil, err
	}
	shared, err := sharedCollectors(ctx, path)
	if err != nil {
		return nil, err
	}
	var sharedArgs []string
	for _, name := range oursAll {
		if slices.Contains(shared, name) {
			sharedArgs = append(sharedArgs, "--collector."+name)
		} else {
			sharedArgs = append(sharedArgs, "--no-collector."+name)
		}
	}
	subjects := []*subject{
		{name: "ours, default", path: path},
		{name: "peer, default", path: peer},
		{name: "ours, the peer's families", path: path, args: sharedArgs},
		{name: "peer, all", path: peer, args: switchOn(theirsAll)},
		{name: "ours, all", path: path, args: switchOn(oursAll)},
	}
	for i, s := range subjects {
		s.role, s.wall = fmt.Sprintf("monitor%d", i), map[time.Duration][]time.Duration{}
	}
	return subjects, nil
}

func switchOn(collectors []string) []string {
	var args []string
	for _, name := range collectors {
		args = append(args, "--collector."+name)
	}
	return args
}

var (
	heading = regexp.MustCompile("^## (.*)$")
	family  = regexp.MustCompile("^[|] `(pg_[a-z0-9_*]+)`")
)

// sharedCollectors are those of ours that have a family of the peer, by the list of families that the exporter prints.
func sharedCollectors(ctx context.Context, path string) ([]string, error) {
	established, err := establishedFamilies()
	if err != nil {
		return nil, err
	}
	list, err := exec.CommandContext(ctx, path, "docs").Output()
	if err != nil {
		return nil, fmt.Errorf("%s docs: %w", path, err)
	}
	var shared []string
	var collector string
	for line := range strings.Lines(string(list)) {
		if match := heading.FindStringSubmatch(strings.TrimSpace(line)); match != nil {
			collector = match[1]
		}
		if match := family.FindStringSubmatch(line); match != nil && (established[match[1]] || match[1] == "pg_settings_*") {
			shared = append(shared, collector)
		}
	}
	if len(shared) == 0 {
		return nil, errors.New("no collector has a family of the peer: has the form of the list of families changed?")
	}
	return slices.Compact(shared), nil
}

// start runs the exporter behind its line.
func (s *subject) start(ctx context.Context, db *servers.Postgres) error {
	err := admit(ctx, db, s.role)
	if err != nil {
		return err
	}
	if s.line, err = proxy.Start(db.Addr()); err != nil {
		return err
	}
	s.exporter, err = servers.StartExporter(ctx, s.path, []string{"DATA_SOURCE_NAME=" + connectionString(s.role, s.line)}, s.args...)
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

// scrape asks as Prometheus does, and returns how long the answer took.
func (s *subject) scrape(ctx context.Context) (time.Duration, error) {
	time.Sleep(time.Until(s.scraped.Add(bench.Sharing)))
	page, err := bench.Get(ctx, http.DefaultClient, s.exporter.URL+"/metrics", 10*time.Second)
	s.scraped = time.Now()
	if err != nil {
		return 0, err
	}
	return page.Took, s.check(page)
}

// check reads a page: one that is not whole was not worth measuring.
func (s *subject) check(page bench.Page) error {
	s.zippedBytes, s.pageBytes, s.series = page.Wire, len(page.Body), 0
	for line := range bytes.Lines(page.Body) {
		switch {
		case bytes.HasPrefix(line, []byte("#")):
		case bytes.Contains(line, []byte("pg_exporter_collector_success{")) && bytes.HasSuffix(line, []byte(" 0\n")),
			bytes.HasPrefix(line, []byte("pg_up 0")), bytes.HasPrefix(line, []byte("pg_exporter_last_scrape_error 1")):
			return fmt.Errorf("%s: %s", s.name, line)
		default:
			s.series++
		}
	}
	return nil
}

// measure scrapes once. What the server did is read when it has had time to end what the scrape has begun.
func (s *subject) measure(ctx context.Context, db *servers.Postgres, delay time.Duration) error {
	calls, execution, err := statements(ctx, db, s.role)
	if err != nil {
		return err
	}
	server, err := db.CPU()
	if err != nil {
		return err
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
	if delay > 0 {
		s.count(delay)
		return nil
	}
	time.Sleep(50 * time.Millisecond)
	serverNow, err := db.CPU()
	usedNow, problem := s.exporter.CPU()
	callsNow, executionNow, third := statements(ctx, db, s.role)
	s.serverCPU += serverNow - server
	s.cpu += usedNow - used
	s.statements += callsNow - calls
	s.execution += executionNow - execution
	return cmp.Or(err, problem, third)
}

// count adds what a scrape said over the longest line, where turn-arounds can be told apart.
func (s *subject) count(delay time.Duration) {
	if delay != phases[len(phases)-1].delay {
		return
	}
	stats := s.line.Stats()
	s.far.Conns += stats.Conns
	s.far.TurnArounds += stats.TurnArounds
	s.far.Up += stats.Up
	s.far.Down += stats.Down
}

func (s *subject) finish() error {
	var err, problem error
	s.rss, err = s.exporter.RSS()
	s.peak, problem = s.exporter.PeakRSS()
	return cmp.Or(err, problem)
}
