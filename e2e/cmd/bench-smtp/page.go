package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
)

// What is asked.
const (
	pages   = 5 // how often a page of all targets is asked for
	targets = 1000
)

// duration finds how long each probe took, by the target.
var duration = regexp.MustCompile(`(?m)^smtp_probe_duration_seconds\{[^}]*target="([^"]+)"[^}]*\} (\S+)$`)

// success finds each probe that succeeded.
var success = regexp.MustCompile(`(?m)^smtp_probe_success\{[^}]*\} 1$`)

// onePage has a thousand targets told of on one page, with dead ones and without. What they cost one by one is measured by
// bench-targets.
func onePage(ctx context.Context, path, dir string) (err error) {
	crowd, err := fakes(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crowd.Close()) }()
	fmt.Printf("\n%d targets with STARTTLS on one page of /metrics, with a timeout of 5 s; %d pages each. %s\n\n", targets, pages, crowd.Note)
	fmt.Println("| | page, median ms | probes of the living, median ms | p99 ms |\n| --- | ---: | ---: | ---: |")
	for _, dead := range []struct {
		name  string
		every int
	}{{"none dead", 0}, {"a tenth dead", 10}} {
		whole, probes, err := inField(ctx, path, dir, crowd, dead.every)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.0f | %.1f | %.1f |\n", dead.name, bench.Median(whole), bench.Median(probes), bench.Quantile(probes, 0.99))
	}
	return nil
}

// fakes are those of mail servers.
func fakes(ctx context.Context, dir string) (*bench.Crowd, error) {
	for _, kind := range bench.Kinds() {
		if kind.Name == "smtp" {
			return kind.Start(ctx, dir)
		}
	}
	return nil, errors.New("there are no fakes of mail servers")
}

// inField gives the times of pages, and of the probes of targets that live, where one in so many is dead.
func inField(ctx context.Context, path, dir string, crowd *bench.Crowd, every int) (whole, probes []time.Duration, err error) {
	field, err := bench.NewField(targets, every, crowd.At)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, field.Close()) }()
	living := map[string]bool{}
	var b strings.Builder
	b.WriteString(crowd.Ours.Configuration + "targets:\n")
	for n, address := range field.Addresses {
		if field.Live(n) {
			living[address] = true
		}
		fmt.Fprintf(&b, "- {target: '%s', module: starttls}\n", address)
	}
	return readPages(ctx, path, filepath.Join(dir, "page.yml"), b.String(), living)
}

// readPages gives the times of the pages, and of the probes of targets that live.
func readPages(ctx context.Context, path, file, configuration string, living map[string]bool) (whole, probes []time.Duration, err error) {
	e, err := begin(ctx, path, file, configuration)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, e.Stop()) }()
	for range pages {
		asked := time.Now()
		text, err := get(ctx, http.DefaultClient, e.URL+"/metrics")
		if err != nil {
			return nil, nil, err
		}
		whole = append(whole, time.Since(asked))
		if up := len(success.FindAllString(text, -1)); up != len(living) {
			return nil, nil, fmt.Errorf("%d probes have succeeded, where %d targets live", up, len(living))
		}
		for _, match := range duration.FindAllStringSubmatch(text, -1) {
			seconds, err := strconv.ParseFloat(match[2], 64)
			if err != nil {
				return nil, nil, err
			}
			if living[match[1]] {
				probes = append(probes, time.Duration(seconds*float64(time.Second)))
			}
		}
		time.Sleep(time.Second) // an answer is shared for half of it
	}
	return whole, probes, nil
}
