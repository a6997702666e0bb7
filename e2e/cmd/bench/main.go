// Bench measures what a scrape costs: time, turn-arounds and bytes on the line, and the processor time and memory of
// the exporter and of the server, for the exporter of this repository beside postgres_exporter. All are scraped in turn
// within one run, on the same server, so that the ratios hold on a machine that is busy with other things. It prints
// Markdown.
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
const patience = 4 * time.Minute

// phase is a length of the line, and how often each exporter is scraped over it.
type phase struct {
	delay   time.Duration // one way
	scrapes int
}

var phases = []phase{{0, 30}, {5 * time.Millisecond, 9}, {25 * time.Millisecond, 9}}

func main() { bench.Main("bench", patience, run) }

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	exporter := flags.String("exporter", "bin/postgres-exporter", "the exporter's binary")
	if err := flags.Parse(args); err != nil {
		return err
	}
	path, err := filepath.Abs(*exporter)
	if err != nil {
		return err
	}
	db, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	subjects, err := newSubjects(ctx, path)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		defer func() { err = errors.Join(err, s.stop()) }()
		if err := s.start(ctx, db); err != nil {
			return err
		}
	}
	if err := measure(ctx, db, subjects); err != nil {
		return err
	}
	report(os.Stdout, db, subjects)
	return nil
}

// measure scrapes the subjects in turn, over lines of all lengths.
func measure(ctx context.Context, db *servers.Postgres, subjects []*subject) error {
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
				if err := s.measure(ctx, db, p.delay); err != nil {
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
