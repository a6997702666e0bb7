// Package qdrant asks Qdrant, from 1.7 on, over its REST interface.
package qdrant

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/rest"
)

// session is a Qdrant node.
type session struct {
	client *rest.Client
	native *url.URL

	mu        sync.Mutex
	version   version
	clustered bool
	distances map[backend.Place]string // how places compare, in Qdrant's word
}

// Open begins a session.
func Open(_ context.Context, to backend.Endpoint) (backend.Session, error) {
	header := http.Header{}
	if to.Key != "" {
		header.Set("Api-Key", to.Key)
	}
	native := to.Native
	if native == nil {
		native = to.URL.JoinPath("metrics")
	}
	return &session{client: rest.New(to, header), native: native, distances: map[backend.Place]string{}}, nil
}

// Detect tells whether the server is a Qdrant.
func Detect(ctx context.Context, client *rest.Client) bool {
	var root root
	return client.Get(ctx, "/", &root) == nil && strings.Contains(root.Title, "qdrant")
}

// Close ends the connections.
func (s *session) Close() { s.client.Close() }

// Live asks the open endpoint that is there as long as HTTP is.
func (s *session) Live(ctx context.Context) error {
	return s.client.Get(ctx, "/healthz", nil)
}

// Ready asks whether the shards are. In a cluster it stays yes once it was.
func (s *session) Ready(ctx context.Context) error {
	return s.client.Get(ctx, "/readyz", nil)
}

type root struct {
	Title   string `json:"title"`
	Version string `json:"version"`
	Commit  string `json:"commit"`
}

// Identify asks for the version.
func (s *session) Identify(ctx context.Context) (backend.Server, error) {
	var root root
	if err := s.client.Get(ctx, "/", &root); err != nil {
		return backend.Server{}, classify(err)
	}
	if !strings.Contains(root.Title, "qdrant") {
		return backend.Server{}, fault.New(fault.Config, "the server is no Qdrant")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = parseVersion(root.Version)
	return backend.Server{Version: root.Version, Commit: root.Commit}, nil
}

// known gives the version, asking for it where nobody has yet.
func (s *session) known(ctx context.Context) (version, error) {
	s.mu.Lock()
	known := s.version
	s.mu.Unlock()
	if known != (version{}) {
		return known, nil
	}
	_, err := s.Identify(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version, err
}

// version is major and minor; a version that cannot be read counts as the newest.
type version struct{ major, minor int }

func parseVersion(text string) version {
	parts := strings.SplitN(text, ".", 3)
	major, err := strconv.Atoi(parts[0])
	if err != nil || len(parts) < 2 {
		return version{999, 0}
	}
	minor, err := strconv.Atoi(parts[1])
	if err != nil {
		return version{999, 0}
	}
	return version{major, minor}
}

// since tells whether the version is 1.minor or newer.
func (v version) since(minor int) bool {
	return v.major > 1 || v.major == 1 && v.minor >= minor
}

// ask gets what an envelope holds. One that holds nothing is no answer: the numbers in it would all be 0.
func ask[T any](ctx context.Context, s *session, path string) (*T, error) {
	var envelope struct {
		Result *T `json:"result"`
	}
	if err := s.client.Get(ctx, path, &envelope); err != nil {
		return nil, classify(err)
	}
	if envelope.Result == nil {
		return nil, fault.New(fault.Malformed, "the answer has no result")
	}
	return envelope.Result, nil
}

// post is ask for questions that need a body.
func post[T any](ctx context.Context, s *session, path string, body any) (*T, error) {
	var envelope struct {
		Result *T `json:"result"`
	}
	if err := s.client.Post(ctx, path, body, &envelope); err != nil {
		return nil, classify(err)
	}
	if envelope.Result == nil {
		return nil, fault.New(fault.Malformed, "the answer has no result")
	}
	return envelope.Result, nil
}

// classify tells apart what Qdrant answers with the same status. Before 1.9 a wrong key draws 403, and a full disk
// draws 500 before 1.19.
func classify(err error) error {
	words := rest.Words(err)
	switch code := rest.Status(err); {
	case code == http.StatusForbidden && strings.HasPrefix(words, "Invalid api-key"):
		return &fault.Error{Kind: fault.Auth, Op: "the API key is refused", Err: err}
	case code == http.StatusNotFound && strings.Contains(words, "Not found"):
		return &fault.Error{Kind: fault.Unsupported, Op: backend.ErrGone.Error(), Err: backend.ErrGone}
	case code == http.StatusInternalServerError && strings.Contains(words, "No space left"):
		return &fault.Error{Kind: fault.Busy, Op: "the server's disk is full", Err: err}
	}
	return err
}

// List names the collections.
func (s *session) List(ctx context.Context) ([]string, error) {
	list, err := ask[struct {
		Collections *[]struct {
			Name string `json:"name"`
		} `json:"collections"`
	}](ctx, s, "/collections")
	if err != nil {
		return nil, err
	}
	if list.Collections == nil {
		return nil, fault.New(fault.Malformed, "the answer lists no collections")
	}
	names := make([]string, 0, len(*list.Collections))
	for _, one := range *list.Collections {
		names = append(names, one.Name)
	}
	return names, nil
}

// Native reads the server's own metrics.
func (s *session) Native(ctx context.Context, read func(io.Reader) error) error {
	return classify(s.client.Text(ctx, s.native, read))
}

// cluster is the answer to /cluster.
type cluster struct {
	Status string `json:"status"`
	PeerID uint64 `json:"peer_id"`
	Peers  map[string]struct {
		URI string `json:"uri"`
	} `json:"peers"`
	Raft struct {
		Term    *float64 `json:"term"`
		Commit  *float64 `json:"commit"`
		Pending *float64 `json:"pending_operations"`
		Leader  *uint64  `json:"leader"`
		Role    *string  `json:"role"`
	} `json:"raft_info"`
	Consensus struct {
		Status     string `json:"consensus_thread_status"`
		LastUpdate string `json:"last_update"`
	} `json:"consensus_thread_status"`
	Failures map[string]struct {
		Count *float64 `json:"count"`
	} `json:"message_send_failures"`
}

// Cluster tells of the peers as this one sees them: up are those to which no message has failed since one got through.
func (s *session) Cluster(ctx context.Context) (*backend.Cluster, error) {
	told, err := ask[cluster](ctx, s, "/cluster")
	if err != nil {
		return nil, err
	}
	if told.Status != "enabled" && told.Status != "disabled" {
		return nil, fault.New(fault.Malformed, "the answer does not say whether there is a cluster")
	}
	s.mu.Lock()
	s.clustered = told.Status == "enabled"
	s.mu.Unlock()
	if told.Status == "disabled" {
		return &backend.Cluster{}, nil
	}
	hasLeader, working := told.Raft.Leader != nil, told.Consensus.Status == "working"
	c := &backend.Cluster{
		Enabled: true, Self: strconv.FormatUint(told.PeerID, 10), HasLeader: &hasLeader,
		Term: told.Raft.Term, Commit: told.Raft.Commit, Pending: told.Raft.Pending, Updated: unix(told.Consensus.LastUpdate),
	}
	if told.Consensus.Status != "" {
		c.Working = &working
	}
	if told.Raft.Role != nil {
		c.Role = strings.ToLower(*told.Raft.Role)
	}
	for _, id := range slices.Sorted(maps.Keys(told.Peers)) {
		peer := told.Peers[id]
		failure, failing := told.Failures[peer.URI]
		up := !failing
		c.Peers = append(c.Peers, backend.Peer{ID: id, Up: &up, Failures: cmp.Or(failure.Count, backend.Some(0))})
	}
	return c, nil
}

// escaped is the path of a collection.
func escaped(name string) string { return "/collections/" + rest.Escape(name) }

// id writes an ID as Qdrant wants it: numbers as such, all else is a UUID.
func id(text string) json.RawMessage {
	if _, err := strconv.ParseUint(text, 10, 64); err == nil {
		return json.RawMessage(text)
	}
	quoted, _ := json.Marshal(text) // a string can always be
	return quoted
}

var _ backend.Session = (*session)(nil)
