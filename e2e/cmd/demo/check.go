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

// check sees through Prometheus and the exporters' own pages that they tell the truth:
// while the servers work, while each is down, and when it is back.
func (s *stack) check(ctx context.Context) error {
	for _, p := range s.pairs {
		if err := s.checkPair(ctx, p); err != nil {
			return err
		}
	}
	return s.exportersRun()
}

func (s *stack) checkPair(ctx context.Context, p *pair) error {
	if err := s.checkWorking(ctx, p); err != nil {
		return err
	}
	if err := p.backend.Stop(); err != nil {
		return err
	}
	say("%s is stopped", p.title)
	if err := s.checkDown(ctx, p); err != nil {
		return err
	}
	if err := p.backend.Start(ctx); err != nil {
		return err
	}
	say("%s is started again", p.title)
	return s.checkWorking(ctx, p)
}

func (s *stack) checkWorking(ctx context.Context, p *pair) error {
	if err := s.eventually(ctx, p.up+" is 1", func() error { return s.every(ctx, p.up, 1) }); err != nil {
		return err
	}
	service := fmt.Sprintf("service_health{job=%q}", p.kind)
	if err := s.eventually(ctx, service+" is 1", func() error { return s.every(ctx, service, 1) }); err != nil {
		return err
	}
	if err := s.eventually(ctx, `/health answers 200, "ok"`, func() error { return p.health(ctx, 200, "ok") }); err != nil {
		return err
	}
	return s.eventually(ctx, p.rises+" rises", s.higher(ctx, p.rises))
}

// higher returns a function that returns an error until the query's value is higher than at first.
func (s *stack) higher(ctx context.Context, query string) func() error {
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

func (s *stack) checkDown(ctx context.Context, p *pair) error {
	if err := s.eventually(ctx, p.up+" is 0", func() error { return s.every(ctx, p.up, 0) }); err != nil {
		return err
	}
	return s.eventually(ctx, `/health answers 503, "error"`, func() error { return p.health(ctx, 503, "error") })
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
func (p *pair) health(ctx context.Context, wantCode int, wantStatus string) error {
	code, body, err := get(ctx, p.url+"/health")
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
