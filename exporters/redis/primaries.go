package main

import (
	"context"
	"net"
	"slices"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// primaries gives the nodes whose keys together are all there are, each of which SCAN has to ask: of a cluster that is
// followed, its primaries as host:port; else "" alone, for the server of the connection.
func primaries(ctx context.Context, to collect.Conn) ([]string, error) {
	c, ours := to.(*conn)
	if !ours || !c.nodes.follow || !has(c.id, cluster) {
		return []string{""}, nil
	}
	// Each entry is a range of slots: its first, its last, its primary as address, port and more, its replicas.
	r, err := askOne(ctx, c, ask("CLUSTER", "SLOTS"))
	if err != nil {
		return nil, err
	}
	var nodes []string
	for _, slots := range r.Items() {
		parts := slots.Items()
		if len(parts) < 3 || len(parts[2].Items()) < 2 {
			return nil, fault.New(fault.Malformed, "a range of slots without a primary")
		}
		primary := parts[2].Items()
		node := "" // which does not know its own address, and so means itself
		if host := primary[0].Text(); host != "" && host != "?" {
			node = net.JoinHostPort(host, primary[1].Text())
		}
		if !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	if len(nodes) == 0 {
		return nil, fault.New(fault.Busy, "the cluster has no slots yet")
	}
	return nodes, nil
}

// at gives the connection to one of primaries.
func at(ctx context.Context, to collect.Conn, node string) (collect.Conn, error) {
	if c, ours := to.(*conn); ours && node != "" {
		return c.nodes.conn(ctx, node)
	}
	return to, nil
}
