package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

const (
	scrapeInterval = 2 * time.Second
	// patience bounds each wait for something to be seen. The exporter may wait
	// half a minute before it tries a lost server again.
	patience = 60 * time.Second
)

// stack is everything that the demo runs.
type stack struct {
	dir        string
	pairs      []*pair
	prometheus *servers.Prometheus
}

// starters start a server of each kind, in a folder of their own, and say how its exporter is told of it.
var starters = []func(ctx context.Context, dir string) (*pair, error){startPostgres, startRedis, startVectorDB, startSMTP}

func (s *stack) start(ctx context.Context, bin, rules string) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "demo-"); err != nil {
		return err
	}
	for _, start := range starters {
		p, err := start(ctx, s.dir)
		if p != nil {
			s.pairs = append(s.pairs, p) // what has started must be closed
		}
		if err != nil {
			return err
		}
		if err := p.startExporter(bin, s.dir, 9091+len(s.pairs)-1); err != nil {
			return err
		}
	}
	if err := s.startPrometheus(ctx, rules); err != nil {
		return err
	}
	return s.eventually(ctx, "Prometheus scrapes the exporters", func() error { return s.scraped(ctx) })
}

func (s *stack) startPrometheus(ctx context.Context, rules string) error {
	port, err := portOr(9090)
	if err != nil {
		return err
	}
	ruleFiles, err := filepath.Glob(rules)
	if err != nil {
		return fmt.Errorf("--rules %s: %w", rules, err)
	}
	targets := map[string][]string{}
	for _, p := range s.pairs {
		targets[p.kind] = []string{strings.TrimPrefix(p.url, "http://")}
	}
	s.prometheus, err = servers.StartPrometheus(ctx, servers.PrometheusOptions{
		Targets:        targets,
		ScrapeInterval: scrapeInterval,
		Rules:          ruleFiles,
		Port:           port,
	})
	if err != nil {
		return err
	}
	say("Prometheus runs on %s, with %d rule files", s.prometheus.URL(), len(ruleFiles))
	return nil
}

// portOr returns the usual port when it is free, else another.
func portOr(usual int) (int, error) {
	if servers.PortFree(usual) == nil {
		return usual, nil
	}
	return servers.FreePort()
}

// scraped returns an error until Prometheus has scraped every target.
func (s *stack) scraped(ctx context.Context) error {
	targets, err := s.prometheus.Targets(ctx)
	if err != nil {
		return err
	}
	if len(targets) < len(s.pairs) {
		return fmt.Errorf("%d targets of %d", len(targets), len(s.pairs))
	}
	for _, target := range targets {
		if target.Health != "up" {
			return fmt.Errorf("%s is %s: %s", target.ScrapeURL, target.Health, target.LastError)
		}
	}
	return nil
}

// eventually repeats see until it returns nil, and says what was seen. It fails when
// patience or the context ends, or an exporter does.
func (s *stack) eventually(ctx context.Context, what string, see func() error) error {
	began := time.Now()
	for {
		err := see()
		switch {
		case err == nil:
			say("%s (%.1f s)", what, time.Since(began).Seconds())
			return nil
		case time.Since(began) > patience:
			return fmt.Errorf("not within %v: %s: %w", patience, what, err)
		}
		if ended := s.exportersRun(); ended != nil {
			return fmt.Errorf("%s: %w: %w", what, ended, err)
		}
		if !pause(ctx, 200*time.Millisecond) {
			return fmt.Errorf("%s: interrupted: %w", what, err)
		}
	}
}

// pause waits, and tells whether it did so to the end.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// exportersRun returns an error when one has ended.
func (s *stack) exportersRun() error {
	for _, p := range s.pairs {
		if ended(p.exporter) {
			return fmt.Errorf("the %s exporter has ended", p.title)
		}
	}
	return nil
}

func ended(p *servers.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// wait waits for Ctrl-C, and fails when something ends before it.
func (s *stack) wait(ctx context.Context) error {
	for pause(ctx, 200*time.Millisecond) {
		if err := s.exportersRun(); err != nil {
			return err
		}
		if ended(s.prometheus.Process()) {
			return errors.New("the Prometheus server has ended:\n" + lastLines(s.prometheus.Process().Output()))
		}
		for _, p := range s.pairs {
			if ended(p.backend.Process()) {
				return fmt.Errorf("the %s server has ended:\n%s", p.title, lastLines(p.backend.Process().Output()))
			}
		}
	}
	return nil
}

// explain adds the ends of the exporters' logs to an error.
func (s *stack) explain(err error) error {
	err = fmt.Errorf("FAILED: %w", err)
	for _, p := range s.pairs {
		if p.exporter != nil {
			err = fmt.Errorf("%w\nthe end of the %s exporter's log:\n%s", err, p.title, lastLines(p.exporter.Output()))
		}
	}
	return err
}

func lastLines(log string) string { return log[max(0, len(log)-4096):] }

// describe tells a person where to look.
func (s *stack) describe(ctx context.Context) {
	path, remark := "/graph?g0.tab=0&g0.range_input=5m&g0.expr=", ""
	if !s.prometheusHasPages(ctx) {
		path, remark = "/api/v1/query?query=", ", without its web pages: its answers are JSON"
	}
	fmt.Printf("\nLook at, and at /metrics and /health below it\n")
	for _, p := range s.pairs {
		fmt.Printf("  %s/  the %s exporter\n", p.url, p.title)
	}
	fmt.Printf("Ask Prometheus (%s%s)\n", s.prometheus.URL(), remark)
	for _, p := range s.pairs {
		for _, query := range p.queries {
			fmt.Printf("  %s\n    %s\n", query, s.prometheus.URL()+path+url.QueryEscape(query))
		}
	}
	for _, p := range s.pairs {
		fmt.Printf("Talk to %s\n  %s\n", p.title, p.talk)
	}
	fmt.Println("Ctrl-C ends all of it.")
}

// prometheusHasPages is false for Debian's Prometheus, which finds them only when it is installed.
func (s *stack) prometheusHasPages(ctx context.Context) bool {
	status, _, err := get(ctx, s.prometheus.URL()+"/graph")
	return err == nil && status == http.StatusOK
}

// close ends everything, in the order in which nobody complains.
func (s *stack) close() error {
	var err error
	if s.prometheus != nil {
		err = errors.Join(err, s.prometheus.Close())
	}
	for _, p := range s.pairs {
		err = errors.Join(err, p.close())
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

func say(format string, args ...any) { fmt.Printf("ok  "+format+"\n", args...) }
