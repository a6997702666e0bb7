// Package chroma asks Chroma over the second version of its interface, which servers have from 0.6 on.
package chroma

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/rest"
)

const api = "/api/v2"

// How many collections are listed at once, and how many pages of them are read.
const (
	listSize = 1000
	maxPages = 100
)

// session is one database of a Chroma.
type session struct {
	backend.Lacking
	client *rest.Client
	base   string // the path of the database

	mu    sync.Mutex
	known map[string]collection // by name, as they were listed or looked up last
}

// Open begins a session.
func Open(_ context.Context, to backend.Endpoint) (backend.Session, error) {
	header := http.Header{}
	if to.Key != "" {
		header.Set("X-Chroma-Token", to.Key)
	}
	base := api + "/tenants/" + rest.Escape(cmp.Or(to.Tenant, "default_tenant")) + "/databases/" + rest.Escape(cmp.Or(to.Database, "default_database"))
	return &session{client: rest.New(to, header), base: base, known: map[string]collection{}}, nil
}

// Detect tells whether the server is a Chroma, by its clock's odd name.
func Detect(ctx context.Context, client *rest.Client) bool {
	var told map[string]any
	err := client.Get(ctx, api+"/heartbeat", &told)
	_, beats := told["nanosecond heartbeat"]
	return err == nil && beats
}

// Close ends the connections.
func (s *session) Close() { s.client.Close() }

// Live asks for the time.
func (s *session) Live(ctx context.Context) error {
	return s.client.Get(ctx, api+"/heartbeat", nil)
}

// Ready asks whether the parts of the server are.
func (s *session) Ready(ctx context.Context) error {
	return s.client.Get(ctx, api+"/healthcheck", nil)
}

// Identify asks for the version, which for servers written in Rust is that of the interface, whatever they are.
func (s *session) Identify(ctx context.Context) (backend.Server, error) {
	var version string
	err := s.client.Get(ctx, api+"/version", &version)
	return backend.Server{Version: version}, err
}

// collection is one as it is listed.
type collection struct {
	ID        string         `json:"id"`
	Name      string         `json:"name"`
	Dimension *float64       `json:"dimension"` // null before the first vector
	Metadata  map[string]any `json:"metadata"`
	Config    struct {
		HNSW  *index `json:"hnsw"`
		SPANN *index `json:"spann"`
	} `json:"configuration_json"`
}

type index struct {
	Space        string   `json:"space"`
	EfConstruct  *float64 `json:"ef_construction"`
	EfSearch     *float64 `json:"ef_search"`
	MaxNeighbors *float64 `json:"max_neighbors"`
}

// List names the collections of the database.
func (s *session) List(ctx context.Context) ([]string, error) {
	known := map[string]collection{}
	var names []string
	for page := range maxPages {
		var some *[]collection
		if err := s.client.Get(ctx, fmt.Sprintf("%s/collections?limit=%d&offset=%d", s.base, listSize, page*listSize), &some); err != nil {
			return nil, classify(err)
		}
		if some == nil {
			return nil, fault.New(fault.Malformed, "the answer lists no collections")
		}
		for _, one := range *some {
			if one.ID == "" {
				return nil, fault.New(fault.Malformed, "a collection has no ID")
			}
			known[one.Name] = one
			names = append(names, one.Name)
		}
		if len(*some) < listSize {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.known = known
			return names, nil
		}
	}
	return nil, fault.New(fault.Limited, "the server lists collections without end")
}

// classify tells apart what Chroma answers with the same status.
func classify(err error) error {
	words := rest.Words(err)
	switch code := rest.Status(err); {
	case code == http.StatusNotFound && strings.Contains(words, "NotFoundError"):
		return &fault.Error{Kind: fault.Unsupported, Op: backend.ErrGone.Error(), Err: backend.ErrGone}
	case code == http.StatusConflict:
		return &fault.Error{Kind: fault.Config, Op: "creating", Err: backend.ErrExists}
	case code == http.StatusInternalServerError && (strings.Contains(words, "disk is full") || strings.Contains(words, "No space left")):
		return &fault.Error{Kind: fault.Busy, Op: "the server's disk is full", Err: err}
	}
	return err
}

// find gives a collection by name, looking it up where it is not known.
func (s *session) find(ctx context.Context, name string) (collection, error) {
	s.mu.Lock()
	found, known := s.known[name]
	s.mu.Unlock()
	if known {
		return found, nil
	}
	return s.lookUp(ctx, name)
}

func (s *session) lookUp(ctx context.Context, name string) (found collection, err error) {
	err = classify(s.client.Get(ctx, s.base+"/collections/"+rest.Escape(name), &found))
	if err == nil && found.ID == "" {
		err = fault.New(fault.Malformed, "the collection has no ID")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.known, name); err == nil {
		s.known[name] = found
	}
	return found, err
}

// Describe counts each collection; the rest was listed.
func (s *session) Describe(ctx context.Context, names []string) ([]backend.Collection, error) {
	all, gone := make([]backend.Collection, len(names)), make([]bool, len(names))
	err := s.client.Each(ctx, len(names), func(ctx context.Context, i int) error {
		all[i] = backend.Collection{Name: names[i]}
		of, err := s.find(ctx, names[i])
		if err == nil {
			of.describe(&all[i])
			err = s.count(ctx, of, &all[i].Objects)
		}
		if gone[i] = errors.Is(err, backend.ErrGone); gone[i] {
			return nil
		}
		if all[i].Err = err; err == nil {
			all[i].Exact, all[i].Status = true, backend.OK // that it can be counted is all that is told
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var present []backend.Collection
	for i, one := range all {
		if !gone[i] {
			present = append(present, one)
		}
	}
	return present, nil
}

func (s *session) count(ctx context.Context, of collection, into **float64) error {
	err := classify(s.client.Get(ctx, s.base+"/collections/"+rest.Escape(of.ID)+"/count", into))
	if err == nil && *into == nil {
		err = fault.New(fault.Malformed, "the answer has no count")
	}
	return err
}

var distances = map[string]backend.Distance{"cosine": backend.Cosine, "l2": backend.Euclidean, "ip": backend.Dot}

func (c collection) describe(to *backend.Collection) {
	kind, of := c.index()
	space := backend.Space{Dimensions: c.Dimension, Index: kind, Parameters: map[string]float64{}}
	if of != nil {
		space.Distance = distances[of.Space]
		if space.Distance == "" {
			space.Distance = backend.Distance(strings.ToLower(of.Space))
		}
		for name, value := range map[string]*float64{"ef_construct": of.EfConstruct, "ef_search": of.EfSearch, "m": of.MaxNeighbors} {
			if value != nil {
				space.Parameters[name] = *value
			}
		}
	}
	to.Spaces = []backend.Space{space}
}

func (c collection) index() (kind string, of *index) {
	switch {
	case c.Config.HNSW != nil:
		return "hnsw", c.Config.HNSW
	case c.Config.SPANN != nil:
		return "spann", c.Config.SPANN
	}
	return "", nil
}

var _ backend.Session = (*session)(nil)
