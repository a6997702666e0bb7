// Package weaviate asks Weaviate, from 1.19 on, over its REST and GraphQL interfaces.
package weaviate

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/rest"
)

// metricsPort is where Weaviate has its own metrics, when it is told to have them.
const metricsPort = "2112"

// session is a Weaviate node.
type session struct {
	backend.Lacking
	client *rest.Client
	native *url.URL

	mu         sync.Mutex
	classes    map[string]class             // as they were listed last
	dimensions map[backend.Place]dimensions // of stored vectors, which no other answer tells
}

// Open begins a session.
func Open(_ context.Context, to backend.Endpoint) (backend.Session, error) {
	header := http.Header{}
	if to.Key != "" {
		header.Set("Authorization", "Bearer "+to.Key)
	}
	native := to.Native
	if native == nil {
		native = &url.URL{Scheme: "http", Host: to.URL.Hostname() + ":" + metricsPort, Path: "/metrics"}
		if strings.Contains(to.URL.Hostname(), ":") {
			native.Host = "[" + to.URL.Hostname() + "]:" + metricsPort
		}
	}
	return &session{client: rest.New(to, header), native: native, dimensions: map[backend.Place]dimensions{}}, nil
}

// Detect tells whether the server is a Weaviate: it lives, with nothing to say about it, and has a place for what it is.
func Detect(ctx context.Context, client *rest.Client) bool {
	if client.Get(ctx, "/v1/.well-known/live", nil) != nil {
		return false
	}
	var meta meta
	err := client.Get(ctx, "/v1/meta", &meta)
	return err == nil && meta.Version != "" || fault.Of(err) == fault.Auth || fault.Of(err) == fault.Denied
}

// Close ends the connections.
func (s *session) Close() { s.client.Close() }

// Live asks the open endpoint.
func (s *session) Live(ctx context.Context) error {
	return s.client.Get(ctx, "/v1/.well-known/live", nil)
}

// Ready asks whether the node has joined its cluster and loaded its schema.
func (s *session) Ready(ctx context.Context) error {
	return s.client.Get(ctx, "/v1/.well-known/ready", nil)
}

type meta struct {
	Version string `json:"version"`
}

// Identify asks for the version, which takes credentials.
func (s *session) Identify(ctx context.Context) (backend.Server, error) {
	var told meta
	err := s.client.Get(ctx, "/v1/meta", &told)
	if err == nil && told.Version == "" {
		err = fault.New(fault.Config, "the server is no Weaviate")
	}
	return backend.Server{Version: told.Version}, err
}

// Native reads the server's own metrics, which are of a port of their own and open to everybody.
func (s *session) Native(ctx context.Context, read func(io.Reader) error) error {
	return s.client.Text(ctx, s.native, read)
}

// node is one of the answer to /v1/nodes. Its shards are there in the verbose answer.
type node struct {
	Name    string  `json:"name"`
	Status  string  `json:"status"`
	Version string  `json:"version"`
	Shards  []shard `json:"shards"`
}

// nodes asks for the nodes, in as much detail as output says.
func (s *session) nodes(ctx context.Context, output string) ([]node, error) {
	var told struct {
		Nodes []node `json:"nodes"`
	}
	if err := s.client.Get(ctx, "/v1/nodes?output="+output, &told); err != nil {
		return nil, err
	}
	if len(told.Nodes) == 0 {
		return nil, fault.New(fault.Malformed, "the answer has no node, not even itself")
	}
	return told.Nodes, nil
}

// statistics is the answer to /v1/cluster/statistics, from 1.25 on. Its numbers are texts.
type statistics struct {
	Statistics []struct {
		Name   string `json:"name"`
		Leader string `json:"leaderId"`
		Raft   struct {
			State   string `json:"state"`
			Term    string `json:"term"`
			Commit  string `json:"commitIndex"`
			Pending string `json:"fsmPending"`
		} `json:"raft"`
	} `json:"statistics"`
	Synchronized *bool `json:"synchronized"`
}

// Cluster tells of the nodes and, where it can, of their agreement. The node that answers does not say which it is.
func (s *session) Cluster(ctx context.Context) (*backend.Cluster, error) {
	var all []node
	var agreed statistics
	failures := make([]error, 2)
	err := s.client.Each(ctx, 2, func(ctx context.Context, i int) error {
		if i == 0 {
			all, failures[i] = s.nodes(ctx, "minimal")
		} else {
			failures[i] = s.client.Get(ctx, "/v1/cluster/statistics", &agreed)
		}
		return failures[i]
	})
	if err == nil {
		err = failures[0]
	}
	if err == nil && fault.Of(failures[1]) != fault.Unsupported {
		err = failures[1]
	}
	if err != nil {
		return nil, err
	}
	c := &backend.Cluster{Enabled: len(all) > 1, Working: agreed.Synchronized}
	for _, one := range all {
		up := one.Status == "HEALTHY"
		c.Peers = append(c.Peers, backend.Peer{ID: one.Name, Up: &up, Version: one.Version})
	}
	agreed.addTo(c)
	return c, nil
}

// addTo takes the numbers from the leader.
func (told *statistics) addTo(c *backend.Cluster) {
	if len(told.Statistics) == 0 {
		return
	}
	hasLeader := false
	for _, one := range told.Statistics {
		hasLeader = hasLeader || one.Leader != ""
		if one.Raft.State == "Leader" {
			c.Term, c.Commit, c.Pending = number(one.Raft.Term), number(one.Raft.Commit), number(one.Raft.Pending)
		}
	}
	c.HasLeader = &hasLeader
}

func number(text string) *float64 {
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil
	}
	return backend.Some(float64(value))
}

var _ backend.Session = (*session)(nil)
