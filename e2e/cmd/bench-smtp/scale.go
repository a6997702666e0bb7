package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

const (
	targets  = 1000
	dead     = 100 // 70 of them silent, the others refuse
	silent   = 70
	interval = 15 * time.Second
)

// field is the many targets.
type field struct {
	listeners []net.Listener
	silent    []net.Listener // to which nobody answers
	refusing  []string       // where nobody listens
}

func newField(config *tls.Config) (*field, error) {
	f := &field{}
	for range targets {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return f, err
		}
		f.listeners = append(f.listeners, listener)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go func() { _ = smtp.Follow(conn, config, bench.Polite) }()
			}
		}()
	}
	for i := range dead {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return f, err
		}
		if i < silent {
			f.silent = append(f.silent, listener)
			continue
		}
		f.refusing = append(f.refusing, listener.Addr().String())
		if err := listener.Close(); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *field) close() {
	for _, listener := range append(f.listeners, f.silent...) {
		_ = listener.Close()
	}
}

// addresses gives the targets of a round: all alive, or a tenth of them dead.
func (f *field) addresses(withDead bool) (all []string, alive func(i int) bool) {
	for _, listener := range f.listeners {
		all = append(all, listener.Addr().String())
	}
	alive = func(i int) bool { return !withDead || i%(targets/dead) != 0 }
	for i := range all {
		if !alive(i) {
			n := i / (targets / dead)
			if n < len(f.silent) {
				all[i] = f.silent[n].Addr().String()
			} else {
				all[i] = f.refusing[n-len(f.silent)]
			}
		}
	}
	return all, alive
}

// scale probes a thousand targets every 15 s, as Prometheus does, with and without dead ones.
func scale(ctx context.Context, path, dir string, rounds int) (err error) {
	authority := smtp.NewAuthority()
	caFile := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(caFile, authority.PEM(), 0o600); err != nil {
		return err
	}
	f, err := newField(authority.Good())
	defer f.close()
	if err != nil {
		return err
	}
	e, err := begin(ctx, path, filepath.Join(dir, "scale.yml"), fmt.Sprintf(
		"probe: {targets: ['127.0.0.1']}\nmodules: {starttls: {tls: starttls, tls_config: {ca_file: %s, server_name: mail.test}, timeout: 5s}}", caFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Stop()) }()
	idle, err := e.RSS()
	if err != nil {
		return err
	}
	var took [2][]time.Duration
	cpu := time.Duration(0)
	for range rounds {
		for i, withDead := range []bool{false, true} {
			before, _ := e.CPU()
			all, err := round(ctx, e, f, withDead)
			if err != nil {
				return err
			}
			after, _ := e.CPU()
			cpu += after - before
			took[i] = append(took[i], all...)
		}
	}
	peak, err := e.PeakRSS()
	if err != nil {
		return err
	}
	fmt.Printf("\n%d targets with STARTTLS every %s from one process, %d rounds of each kind; in the second, %d are silent and %d refuse.\n\n", targets, interval, rounds, silent, dead-silent)
	fmt.Println("| live targets | median ms | p99 ms |\n| --- | ---: | ---: |")
	fmt.Printf("| none dead | %.1f | %.1f |\n| a tenth dead | %.1f | %.1f |\n", bench.Median(took[0]), bench.Quantile(took[0], 0.99), bench.Median(took[1]), bench.Quantile(took[1], 0.99))
	fmt.Printf("\n%.0f %% of a core; %.1f MB resident at most, %.1f MB before the first probe: %.0f kB for each target that was ever probed.\n",
		cpu.Seconds()/(2*float64(rounds)*interval.Seconds())*100, float64(peak)/1e6, float64(idle)/1e6, float64(peak-idle)/1e3/(targets+dead))
	return onePage(ctx, path, dir, caFile, f)
}

// round probes every target once, evenly over the interval, and gives the times of those that are alive.
func round(ctx context.Context, e *servers.Exporter, f *field, withDead bool) ([]time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	all, alive := f.addresses(withDead)
	begun := time.Now()
	var mu sync.Mutex
	var took []time.Duration
	var failed error
	var wg sync.WaitGroup
	for i, target := range all {
		time.Sleep(time.Until(begun.Add(time.Duration(i) * interval / targets)))
		wg.Go(func() {
			asked := time.Now()
			text, err := get(ctx, client, e.URL+"/probe?module=starttls&target="+url.QueryEscape(target))
			lasted := time.Since(asked)
			if good := strings.Contains(text, "\nsmtp_probe_success 1\n"); err == nil && good != alive(i) {
				err = fmt.Errorf("success of %s is %v:\n%s", target, good, text)
			}
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
			if alive(i) {
				took = append(took, lasted)
			}
		})
	}
	wg.Wait()
	return took, failed
}
