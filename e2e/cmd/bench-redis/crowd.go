package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// crowd is a server that tells of very many commands or clients, and what a scrape of it cost. A stand-in tells of them.
type crowd struct {
	name            string
	args            []string
	commands        int
	histograms      bool
	clients         int
	ours, theirs    *subject
	oursMS, peersMS float64
}

func crowdCases() []*crowd {
	return []*crowd{
		{name: "400 commands with histograms", commands: 400, histograms: true},
		{name: "2,000 commands with histograms", commands: 2000, histograms: true},
		{name: "10,000 commands", commands: 10000, args: []string{"--exclude-latency-histogram-metrics"}},
		{name: "20,000 clients", clients: 20000, args: []string{"--export-client-list"}},
	}
}

// measureCrowds scrapes each crowd some times with ours and once with the peer, after a first time that nobody looks at.
func measureCrowds(ctx context.Context, server *servers.Redis, path, peer string) ([]*crowd, error) {
	info, err := server.Text(ctx, "INFO", "ALL")
	if err != nil {
		return nil, err
	}
	all := crowdCases()
	for _, c := range all {
		fake, err := servers.StartRedisFake(server.Addr())
		if err != nil {
			return nil, err
		}
		fake.Answer("INFO", servers.BulkText(servers.ManyCommands(info, c.commands)))
		if c.histograms {
			fake.Answer("LATENCY HISTOGRAM", servers.ManyHistograms(c.commands))
		}
		if c.clients > 0 {
			fake.Answer("CLIENT LIST", servers.ManyClients(c.clients))
		}
		err = c.measure(ctx, fake.Addr(), path, peer)
		fake.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return all, nil
}

func (c *crowd) measure(ctx context.Context, address, path, peer string) (err error) {
	c.ours, c.theirs = &subject{name: "ours, " + c.name, path: path, args: c.args}, &subject{name: "peer, " + c.name, path: peer, args: c.args}
	for _, one := range []struct {
		*subject
		scrapes int
		ms      *float64
	}{{c.ours, 5, &c.oursMS}, {c.theirs, 1, &c.peersMS}} {
		defer func() { err = errors.Join(err, one.stop()) }()
		if err := one.start(ctx, address); err != nil {
			return err
		}
		if one.scrapes > 1 {
			if _, err := one.scrape(ctx); err != nil {
				return err
			}
		}
		var total time.Duration
		for range one.scrapes {
			if err := one.measure(ctx, 0); err != nil {
				return err
			}
		}
		for _, took := range one.wall[0] {
			total += took
		}
		*one.ms = bench.Milliseconds(total) / float64(one.scrapes)
		if err := one.finish(); err != nil {
			return err
		}
	}
	return nil
}

// cpuMS is the processor time of a scrape in milliseconds.
func (s *subject) cpuMS() float64 { return bench.Milliseconds(s.cpu) / float64(max(1, len(s.wall[0]))) }
