// Bench-targets measures an exporter with very many targets, scraped through /probe as Prometheus does, of which a tenth
// does not answer; beside the exporter that it stands in for, under the same load. It prints Markdown.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
)

// patience bounds the whole run.
const patience = 3 * time.Hour

// plan is how much is measured.
type plan struct {
	bin            string
	kinds          []string
	targets        int
	duration, peer time.Duration
	interval       time.Duration
	first          time.Duration
}

func main() { bench.Main("bench-targets", patience, run) }

func run(ctx context.Context, args []string) error {
	var p plan
	flags := flag.NewFlagSet("bench-targets", flag.ContinueOnError)
	flags.StringVar(&p.bin, "bin", "bin", "folder of the exporters' binaries")
	kinds := flags.String("kinds", "postgres,redis,smtp,vector-db", "kinds of targets, one after another")
	flags.IntVar(&p.targets, "targets", 1000, "targets of each kind")
	flags.DurationVar(&p.duration, "duration", 10*time.Minute, "how long they are scraped")
	flags.DurationVar(&p.peer, "peer-duration", 3*time.Minute, "how long they are scraped by other projects' exporters, at most the duration; 0 leaves those out")
	flags.DurationVar(&p.interval, "interval", 15*time.Second, "how often each target is scraped")
	flags.DurationVar(&p.first, "first", 90*time.Second, "over how long the first scrapes of all targets are spread")
	err := flags.Parse(args)
	if err == nil {
		p.bin, err = filepath.Abs(p.bin)
	}
	if err != nil {
		return err
	}
	p.kinds, p.peer = strings.Split(*kinds, ","), min(p.peer, p.duration)
	for _, kind := range bench.Kinds() {
		if slices.Contains(p.kinds, kind.Name) {
			if err := p.measure(ctx, kind); err != nil {
				return fmt.Errorf("%s: %w", kind.Name, err)
			}
		}
	}
	return nil
}

// measure measures ours and the peer on one kind of targets, one after the other.
func (p plan) measure(ctx context.Context, kind bench.Kind) (err error) {
	dir, err := os.MkdirTemp("", "bench-targets")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	crowd, err := kind.Start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crowd.Close()) }()
	field, err := bench.NewField(p.targets, 10, crowd.At)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, field.Close()) }()
	subjects := []*subject{{Asked: crowd.Ours, duration: p.duration}}
	if crowd.Peer != nil && p.peer > 0 {
		subjects = append(subjects, &subject{Asked: *crowd.Peer, duration: p.peer})
	}
	for _, s := range subjects {
		s.plan, s.field = p, field
		if err := s.measure(ctx, dir); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	p.report(os.Stdout, kind.Name, crowd.Note, subjects)
	return nil
}
