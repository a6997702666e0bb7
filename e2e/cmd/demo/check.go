package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"
)

// check sees through Prometheus and the exporter's own pages that the exporter tells the
// truth: while PostgreSQL works, while it is down, and when it is back.
func (s *stack) check(ctx context.Context) error {
	pid := s.exporter.PID()
	if err := s.checkWorking(ctx); err != nil {
		return err
	}
	if err := s.postgres.Stop(); err != nil {
		return err
	}
	say("PostgreSQL is stopped")
	if err := s.checkDown(ctx); err != nil {
		return err
	}
	if err := s.postgres.Start(ctx); err != nil {
		return err
	}
	say("PostgreSQL is started again")
	if err := s.checkWorking(ctx); err != nil {
		return err
	}
	select {
	case <-s.exporter.Done():
		return errExporterEnded
	default:
		say("the exporter is still process %d", pid)
		return nil
	}
}

func (s *stack) checkWorking(ctx context.Context) error {
	if err := s.eventually(ctx, "pg_up is 1", func() error { return s.every(ctx, "pg_up", 1) }); err != nil {
		return err
	}
	if err := s.eventually(ctx, "service_health is 1", func() error { return s.every(ctx, "service_health", 1) }); err != nil {
		return err
	}
	if err := s.eventually(ctx, `/health answers 200, "ok"`, func() error { return s.health(ctx, 200, "ok") }); err != nil {
		return err
	}
	return s.eventually(ctx, "pg_stat_database_xact_commit rises", s.rises(ctx, "sum(pg_stat_database_xact_commit)"))
}

// rises returns a function that returns an error until the query's value is higher than at first.
func (s *stack) rises(ctx context.Context, query string) func() error {
	first := math.Inf(1)
	return func() error {
		now, err := s.value(ctx, query)
		if err != nil {
			return err
		}
		if now > first {
			return nil
		}
		first = min(first, now)
		return fmt.Errorf("it stays at %v", now)
	}
}

func (s *stack) checkDown(ctx context.Context) error {
	if err := s.eventually(ctx, "pg_up is 0", func() error { return s.every(ctx, "pg_up", 0) }); err != nil {
		return err
	}
	return s.eventually(ctx, `/health answers 503, "error"`, func() error { return s.health(ctx, 503, "error") })
}

// every returns an error unless the query has an answer and all its values are the wanted one.
func (s *stack) every(ctx context.Context, query string, want float64) error {
	samples, err := s.prometheus.Query(ctx, query)
	if err != nil {
		return err
	}
	if len(samples) == 0 {
		return fmt.Errorf("%s: Prometheus has no such series", query)
	}
	for _, sample := range samples {
		if sample.Value != want {
			return fmt.Errorf("%v is %v", sample.Labels, sample.Value)
		}
	}
	return nil
}

func (s *stack) value(ctx context.Context, query string) (float64, error) {
	samples, err := s.prometheus.Query(ctx, query)
	if err != nil {
		return 0, err
	}
	if len(samples) != 1 {
		return 0, fmt.Errorf("%s: Prometheus has %d series, want 1", query, len(samples))
	}
	return samples[0].Value, nil
}

// health returns an error unless the exporter's health page answers as wanted.
func (s *stack) health(ctx context.Context, wantCode int, wantStatus string) error {
	code, body, err := get(ctx, s.exporterURL+"/health")
	if err != nil {
		return err
	}
	var page struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return fmt.Errorf("%d %s: %w", code, body, err)
	}
	if code != wantCode || page.Status != wantStatus {
		return fmt.Errorf("it answers %d %s", code, body)
	}
	return nil
}

// get fetches a page, its first MiB at most.
func get(ctx context.Context, url string) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, body, err
}
