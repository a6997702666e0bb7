// Bench-redis measures what a scrape of Redis costs: time, turn-arounds and bytes on the line, and the processor time and
// memory of the exporter, for the exporter of this repository beside redis_exporter. Both are scraped in turn within one
// run, on the same server, so that the ratios hold on a machine that is busy with other things. It prints Markdown.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// patience bounds the whole run.
const patience = 5 * time.Minute

// phase is a length of the line, and how often each exporter is scraped over it.
type phase struct {
	delay   time.Duration // one way
	scrapes int
}

var phases = []phase{{0, 30}, {5 * time.Millisecond, 5}, {25 * time.Millisecond, 5}}

func main() { bench.Main("bench-redis", patience, run) }

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench-redis", flag.ContinueOnError)
	exporter := flags.String("exporter", "bin/redis-exporter", "the exporter's binary")
	if err := flags.Parse(args); err != nil {
		return err
	}
	path, err := filepath.Abs(*exporter)
	if err != nil {
		return err
	}
	peer, err := servers.RedisPeer()
	if err != nil {
		return err
	}
	server, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	var all []*subject
	for _, c := range cases() {
		for _, who := range []*subject{{name: "ours", path: path}, {name: "peer", path: peer}} {
			who.name, who.args, who.nearOnly = who.name+", "+c.name, c.args, who.path == peer && c.peerNearOnly
			defer func() { err = errors.Join(err, who.stop()) }()
			if err := who.start(ctx, server.primary.Addr()); err != nil {
				return err
			}
			all = append(all, who)
		}
	}
	if err := measure(ctx, all); err != nil {
		return err
	}
	report(os.Stdout, all)
	crowds, err := measureCrowds(ctx, server.primary, path, peer)
	if err != nil {
		return err
	}
	reportCrowds(os.Stdout, crowds)
	bench.ReportAims(os.Stdout, append(aims(all), crowdAims(crowds)...))
	return nil
}

// measure scrapes the subjects in turn, over lines of all lengths.
func measure(ctx context.Context, subjects []*subject) error {
	for range 3 { // connections, caches and heaps are warm
		for _, s := range subjects {
			if _, err := s.scrape(ctx); err != nil {
				return err
			}
		}
	}
	for _, p := range phases {
		for _, s := range subjects {
			s.line.SetDelay(p.delay)
		}
		for range p.scrapes {
			for _, s := range subjects {
				if err := s.measure(ctx, p.delay); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
		}
	}
	for _, s := range subjects {
		if err := s.finish(); err != nil {
			return err
		}
	}
	return nil
}
