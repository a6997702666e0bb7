package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
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
	dir         string
	postgres    *servers.Postgres
	exporter    *servers.Process
	exporterURL string
	prometheus  *servers.Prometheus
	endLoad     func()
}

func (s *stack) start(ctx context.Context, exporter, rules string) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "demo-"); err != nil {
		return err
	}
	if err := s.startPostgres(ctx); err != nil {
		return err
	}
	s.endLoad = startLoad(s.postgres.DSN(loadDatabase))
	if err := s.startExporter(exporter); err != nil {
		return err
	}
	if err := s.startPrometheus(ctx, rules); err != nil {
		return err
	}
	return s.eventually(ctx, "Prometheus scrapes the exporter", func() error { return s.scraped(ctx) })
}

func (s *stack) startPostgres(ctx context.Context) error {
	password := rand.Text()
	if err := os.WriteFile(s.passwordFile(), []byte(password), 0o600); err != nil {
		return err
	}
	var err error
	s.postgres, err = servers.StartPostgres(ctx, servers.PostgresOptions{
		Initial: []string{
			"SET pg_stat_statements.track_utility = off", // it would keep the password's text
			"CREATE ROLE monitor LOGIN PASSWORD '" + password + "'",
			"GRANT pg_monitor TO monitor",
			"CREATE EXTENSION pg_stat_statements",
			"CREATE DATABASE " + loadDatabase,
		},
	})
	if err != nil {
		return err
	}
	say("PostgreSQL %s runs on %s", s.postgres.Version(), s.postgres.Addr())
	return s.postgres.Exec(ctx, loadDatabase, loadSchema)
}

func (s *stack) passwordFile() string { return filepath.Join(s.dir, "monitor-password") }

func (s *stack) startExporter(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	port, err := portOr(9091)
	if err != nil {
		return err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	s.exporter, err = servers.StartProcess(servers.ProcessOptions{
		Path: path,
		Args: []string{"--web.listen-address=" + address},
		Dir:  s.dir,
		Env: []string{
			"DATA_SOURCE_URI=" + s.postgres.Addr() + "/postgres?sslmode=disable",
			"DATA_SOURCE_USER=monitor",
			"DATA_SOURCE_PASS_FILE=" + s.passwordFile(),
		},
	})
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w; run: make build", err)
	}
	if err != nil {
		return err
	}
	s.exporterURL = "http://" + address
	say("the exporter runs on %s, process %d", s.exporterURL, s.exporter.PID())
	return nil
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
	s.prometheus, err = servers.StartPrometheus(ctx, servers.PrometheusOptions{
		Targets:        map[string][]string{"postgres": {s.exporterURL[len("http://"):]}},
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
	if len(targets) == 0 {
		return errors.New("no target yet")
	}
	for _, target := range targets {
		if target.Health != "up" {
			return fmt.Errorf("%s is %s: %s", target.ScrapeURL, target.Health, target.LastError)
		}
	}
	return nil
}

// eventually repeats see until it returns nil, and says what was seen. It fails when
// patience or the context ends, or the exporter does.
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
		select {
		case <-time.After(200 * time.Millisecond):
		case <-s.exporter.Done():
			return fmt.Errorf("%s: %w: %w", what, errExporterEnded, err)
		case <-ctx.Done():
			return fmt.Errorf("%s: interrupted: %w", what, err)
		}
	}
}

var errExporterEnded = errors.New("the exporter has ended")

// wait waits for Ctrl-C, and fails when something ends before it.
func (s *stack) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.exporter.Done():
		return errExporterEnded
	case <-s.prometheus.Process().Done():
		return errors.New("the Prometheus server has ended:\n" + lastLines(s.prometheus.Process().Output()))
	case <-s.postgres.Process().Done():
		return errors.New("the PostgreSQL server has ended:\n" + lastLines(s.postgres.Log()))
	}
}

// explain adds the end of the exporter's log to an error.
func (s *stack) explain(err error) error {
	if s.exporter == nil {
		return fmt.Errorf("FAILED: %w", err)
	}
	return fmt.Errorf("FAILED: %w\nthe end of the exporter's log:\n%s", err, lastLines(s.exporter.Output()))
}

func lastLines(log string) string { return log[max(0, len(log)-4096):] }

// describe tells a person where to look.
func (s *stack) describe(ctx context.Context) {
	path, remark := "/graph?g0.tab=0&g0.range_input=5m&g0.expr=", ""
	if !s.prometheusHasPages(ctx) {
		path, remark = "/api/v1/query?query=", ", without its web pages: its answers are JSON"
	}
	fmt.Printf(`
Look at
  %[1]s/         the exporter
  %[1]s/metrics
  %[1]s/health
Ask Prometheus (%[2]s%[3]s)
`, s.exporterURL, s.prometheus.URL(), remark)
	for _, query := range []string{
		`rate(pg_stat_database_xact_commit{datname="` + loadDatabase + `"}[30s])`,
		`pg_database_size_bytes`,
		`service_health`,
	} {
		fmt.Printf("  %s\n    %s\n", query, s.prometheus.URL()+path+url.QueryEscape(query))
	}
	fmt.Printf(`Talk to PostgreSQL
  psql -h %s -p %d -U postgres %s
Ctrl-C ends all of it.
`, s.postgres.SocketDir(), s.postgres.Port(), loadDatabase)
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
	if s.exporter != nil {
		err = errors.Join(err, s.exporter.Stop())
	}
	if s.endLoad != nil {
		s.endLoad()
	}
	if s.postgres != nil {
		err = errors.Join(err, s.postgres.Close())
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

func say(format string, args ...any) { fmt.Printf("ok  "+format+"\n", args...) }
