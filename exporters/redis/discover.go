package main

import (
	"context"
	"net"
	"regexp"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// nodeAddress reads the address of a node as CLUSTER NODES gives it: ip:port@busport,hostname.
var nodeAddress = regexp.MustCompile(`^(.+):([0-9]+)@[0-9]+(?:,([^,=]*))?`)

// discovery finds the nodes of a target's cluster, for Prometheus to scrape.
func (l loader) discovery(d *driver) func(context.Context) ([]app.TargetGroup, error) {
	return func(ctx context.Context) ([]app.TargetGroup, error) {
		conn, err := d.Connect(ctx)
		if err != nil {
			return nil, fault.Wrap(d.Classify(err), "connecting", err)
		}
		defer conn.Close()
		if !has(conn.Identity(), cluster) {
			return nil, fault.New(fault.Unsupported, "the server is no node of a cluster")
		}
		r, err := askOne(ctx, conn, ask("CLUSTER", "NODES"))
		if err != nil {
			return nil, fault.Wrap(d.Classify(err), "asking for the nodes", err)
		}
		s, err := d.settings()
		if err != nil {
			return nil, err
		}
		scheme := "redis://"
		if s.tls != nil {
			scheme = "rediss://"
		}
		group := app.TargetGroup{Targets: []string{}, Labels: map[string]string{}}
		for _, address := range clusterAddresses(r.Text(), l.flags.hostnames) {
			group.Targets = append(group.Targets, scheme+address)
		}
		return []app.TargetGroup{group}, nil
	}
}

// clusterAddresses reads the lines of CLUSTER NODES. Nodes whose address is not known yet are left out.
func clusterAddresses(text string, hostnames bool) []string {
	var all []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		match := nodeAddress.FindStringSubmatch(words[1])
		if match == nil {
			continue
		}
		host := match[1]
		if hostnames && match[3] != "" && match[3] != "?" {
			host = match[3]
		}
		all = append(all, net.JoinHostPort(strings.Trim(host, "[]"), match[2]))
	}
	return all
}
