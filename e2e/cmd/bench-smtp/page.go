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

// pages is how often one page of all targets is asked for.
const pages = 5

// duration finds how long each probe took, by the target.
var duration = regexp.MustCompile(`(?m)^smtp_probe_duration_seconds\{[^}]*target="([^"]+)"[^}]*\} (\S+)$`)

// onePage has all targets told of on one page, with dead ones and without.
func onePage(ctx context.Context, path, dir, caFile string, f *field) error {
	fmt.Printf("\nThe same targets on one page of /metrics, with a timeout of 5 s; %d pages each.\n\n", pages)
	fmt.Println("| | page, median ms | probes of the living, median ms | p99 ms |\n| --- | ---: | ---: | ---: |")
	for _, withDead := range []bool{false, true} {
		all, alive := f.addresses(withDead)
		living := map[string]bool{}
		var b strings.Builder
		fmt.Fprintf(&b, "modules: {starttls: {tls: starttls, tls_config: {ca_file: %s, server_name: mail.test}, timeout: 5s}}\ntargets:\n", caFile)
		for i, address := range all {
			living[address] = alive(i)
			fmt.Fprintf(&b, "- {target: '%s', module: starttls}\n", address)
		}
		whole, probes, err := readPages(ctx, path, filepath.Join(dir, "page.yml"), b.String(), living)
		if err != nil {
			return err
		}
		name := map[bool]string{false: "none dead", true: "a tenth dead"}[withDead]
		fmt.Printf("| %s | %.0f | %.1f | %.1f |\n", name, bench.Median(whole), bench.Median(probes), bench.Quantile(probes, 0.99))
	}
	return nil
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
