package qdrant

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/rest"
)

// pageSize is how many points are taken at once.
const pageSize = 256

// Count counts the points.
func (s *session) Count(ctx context.Context, in backend.Place) (int64, error) {
	told, err := post[struct {
		Count *int64 `json:"count"`
	}](ctx, s, escaped(in.Collection)+"/points/count", map[string]any{"exact": true})
	if err == nil && told.Count == nil {
		err = fault.New(fault.Malformed, "the answer has no count")
	}
	if err != nil {
		return 0, err
	}
	return *told.Count, nil
}

// point is a point as the server writes it. Its vector is an array, or an object of arrays by name.
type point struct {
	ID     json.RawMessage `json:"id"`
	Vector json.RawMessage `json:"vector"`
	Score  *float64        `json:"score"`
}

func (p point) id() string {
	var text string
	if json.Unmarshal(p.ID, &text) == nil {
		return text
	}
	return string(p.ID)
}

// in gives the point with one of its vectors; ok is false where it has no such vector, or none of numbers alone.
func (p point) in(place backend.Place) (found backend.Point, ok bool) {
	raw := p.Vector
	if place.Vector != "" {
		var named map[string]json.RawMessage
		if json.Unmarshal(p.Vector, &named) != nil {
			return found, false
		}
		raw = named[place.Vector]
	}
	found.ID = p.id()
	return found, json.Unmarshal(raw, &found.Vector) == nil && len(found.Vector) > 0
}

// withVector says which vectors an answer shall hold.
func withVector(in backend.Place) any {
	if in.Vector == "" {
		return true
	}
	return []string{in.Vector}
}

// scroll gives a page of points in the order of IDs, and where the next begins.
func (s *session) scroll(ctx context.Context, in backend.Place, from json.RawMessage, limit int) ([]backend.Point, json.RawMessage, error) {
	body := map[string]any{"limit": limit, "with_vector": withVector(in), "with_payload": false}
	if from != nil {
		body["offset"] = from
	}
	told, err := post[struct {
		Points []point         `json:"points"`
		Next   json.RawMessage `json:"next_page_offset"`
	}](ctx, s, escaped(in.Collection)+"/points/scroll", body)
	if err != nil {
		return nil, nil, err
	}
	if string(told.Next) == "null" {
		told.Next = nil
	}
	return places(told.Points, in), told.Next, nil
}

func places(told []point, in backend.Place) []backend.Point {
	var points []backend.Point
	for _, one := range told {
		if found, ok := one.in(in); ok {
			points = append(points, found)
		}
	}
	return points
}

// Scan goes through all points.
func (s *session) Scan(ctx context.Context, in backend.Place, page func([]backend.Point) error) error {
	var from json.RawMessage
	for {
		points, next, err := s.scroll(ctx, in, from, pageSize)
		if err == nil {
			err = page(points)
		}
		if err != nil || next == nil {
			return err
		}
		if string(next) == string(from) {
			return fault.New(fault.Malformed, "the pages do not end")
		}
		from = next
	}
}

// Sample lets the server choose, where it can. Before 1.12 points are looked up from places that we choose: at random
// among UUIDs, and among numbers in the range that holds as many as there are points, which is right where they were
// given one after another.
func (s *session) Sample(ctx context.Context, in backend.Place, n int) ([]backend.Point, error) {
	version, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	if version.since(12) {
		body := map[string]any{"query": map[string]any{"sample": "random"}, "limit": n, "with_vector": withVector(in), "with_payload": false}
		told, err := post[struct {
			Points []point `json:"points"`
		}](ctx, s, escaped(in.Collection)+"/points/query", body)
		if err != nil {
			return nil, err
		}
		return places(told.Points, in), nil
	}
	first, _, err := s.scroll(ctx, in, nil, 1)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	count, err := s.Count(ctx, in)
	if err != nil {
		return nil, err
	}
	return s.lookUp(ctx, in, n, func() json.RawMessage {
		lowest, err := strconv.ParseUint(first[0].ID, 10, 64)
		if err != nil {
			return id(randomUUID())
		}
		return id(strconv.FormatUint(lowest+rand.Uint64N(uint64(max(count, 1))), 10))
	})
}

// lookUp takes the points that come first after n places, each once.
func (s *session) lookUp(ctx context.Context, in backend.Place, n int, from func() json.RawMessage) ([]backend.Point, error) {
	var mu sync.Mutex
	seen := map[string]bool{}
	var points []backend.Point
	err := s.client.Each(ctx, n, func(ctx context.Context, _ int) error {
		found, _, err := s.scroll(ctx, in, from(), 1)
		mu.Lock()
		defer mu.Unlock()
		if len(found) > 0 && !seen[found[0].ID] {
			seen[found[0].ID] = true
			points = append(points, found[0])
		}
		return err
	})
	return points, err
}

func randomUUID() string {
	hex := strconv.FormatUint(rand.Uint64()|1<<63, 16) + strconv.FormatUint(rand.Uint64()|1<<63, 16)
	return strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-")
}

// Search asks with the collection's own settings.
func (s *session) Search(ctx context.Context, in backend.Place, vector []float32, k int) (backend.Found, error) {
	hits, err := s.search(ctx, in, vector, k, map[string]any{})
	return backend.Found{Hits: hits}, err
}

// Exact has the server compare with every vector as it was stored, whatever quantisation there is.
func (s *session) Exact(ctx context.Context, in backend.Place, vector []float32, k int) ([]backend.Hit, error) {
	return s.search(ctx, in, vector, k, map[string]any{"exact": true})
}

func (s *session) search(ctx context.Context, in backend.Place, vector []float32, k int, parameters map[string]any) ([]backend.Hit, error) {
	version, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	word, err := s.distance(ctx, in)
	if err != nil {
		return nil, err
	}
	var points []point
	body := map[string]any{"limit": k, "params": parameters, "with_payload": false}
	if version.since(10) {
		body["query"] = vector
		if in.Vector != "" {
			body["using"] = in.Vector
		}
		var told *struct {
			Points []point `json:"points"`
		}
		if told, err = post[struct {
			Points []point `json:"points"`
		}](ctx, s, escaped(in.Collection)+"/points/query", body); err == nil {
			points = told.Points
		}
	} else {
		body["vector"] = any(vector)
		if in.Vector != "" {
			body["vector"] = map[string]any{"name": in.Vector, "vector": vector}
		}
		var told *[]point
		if told, err = post[[]point](ctx, s, escaped(in.Collection)+"/points/search", body); err == nil {
			points = *told
		}
	}
	if err != nil {
		return nil, err
	}
	return hits(points, word)
}

// hits makes distances of scores.
func hits(points []point, word string) ([]backend.Hit, error) {
	all := make([]backend.Hit, 0, len(points))
	for _, p := range points {
		if p.Score == nil {
			return nil, fault.New(fault.Malformed, "a hit has no score")
		}
		hit := backend.Hit{ID: p.id(), Distance: *p.Score}
		switch word {
		case "Cosine":
			hit.Distance = 1 - *p.Score
		case "Dot":
			hit.Distance = -*p.Score
		}
		all = append(all, hit)
	}
	return all, nil
}

// distance tells how a place compares, which does not change while it is there.
func (s *session) distance(ctx context.Context, in backend.Place) (string, error) {
	s.mu.Lock()
	word := s.distances[in]
	s.mu.Unlock()
	if word != "" {
		return word, nil
	}
	info, err := ask[collection](ctx, s, escaped(in.Collection))
	if err != nil {
		return "", err
	}
	v, ok := info.vectors()[in.Vector]
	if !ok || v.Distance == "" {
		return "", fault.New(fault.Config, "the collection has no such vector")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.distances[in] = v.Distance
	return v.Distance, nil
}

// Create makes a collection of one named vector. The name is the mark: it is there from the first moment on, in every
// version.
func (s *session) Create(ctx context.Context, name, mark string, dimensions int) (backend.Place, error) {
	body := map[string]any{
		"vectors":         map[string]any{mark: map[string]any{"size": dimensions, "distance": "Cosine"}},
		"on_disk_payload": true, "shard_number": 1, "replication_factor": 1,
	}
	err := classify(s.client.Do(ctx, http.MethodPut, escaped(name), body, nil))
	if code := rest.Status(err); code == http.StatusConflict || code == http.StatusBadRequest && strings.Contains(rest.Words(err), "already exists") {
		err = &fault.Error{Kind: fault.Config, Op: "creating", Err: backend.ErrExists}
	}
	return backend.Place{Collection: name, Vector: mark}, err
}

// Marked looks for a vector of that name.
func (s *session) Marked(ctx context.Context, name, mark string) (backend.Place, bool, error) {
	info, err := ask[collection](ctx, s, escaped(name))
	if err != nil {
		return backend.Place{}, false, err
	}
	_, own := info.vectors()[mark]
	return backend.Place{Collection: name, Vector: mark}, own, nil
}

// Write waits until the points are searchable on this node.
func (s *session) Write(ctx context.Context, in backend.Place, points []backend.Point) error {
	list := make([]map[string]any, 0, len(points))
	for _, p := range points {
		var vector any = p.Vector
		if in.Vector != "" {
			vector = map[string]any{in.Vector: p.Vector}
		}
		list = append(list, map[string]any{"id": id(p.ID), "vector": vector})
	}
	return s.change(ctx, http.MethodPut, escaped(in.Collection)+"/points?wait=true", map[string]any{"points": list})
}

// Delete waits until the points are gone.
func (s *session) Delete(ctx context.Context, in backend.Place, ids []string) error {
	list := make([]json.RawMessage, 0, len(ids))
	for _, one := range ids {
		list = append(list, id(one))
	}
	return s.change(ctx, http.MethodPost, escaped(in.Collection)+"/points/delete?wait=true", map[string]any{"points": list})
}

// change sends an update and sees that it was carried out, not only taken note of.
func (s *session) change(ctx context.Context, method, path string, body any) error {
	var envelope struct {
		Result struct {
			Status string `json:"status"`
		} `json:"result"`
	}
	if err := s.client.Do(ctx, method, path, body, &envelope); err != nil {
		return classify(err)
	}
	if envelope.Result.Status != "completed" {
		return fault.New(fault.Timeout, "the update was taken note of and not carried out yet")
	}
	return nil
}

// Read gets a point.
func (s *session) Read(ctx context.Context, in backend.Place, id string) (backend.Point, error) {
	told, err := ask[point](ctx, s, escaped(in.Collection)+"/points/"+rest.Escape(id))
	if err != nil {
		return backend.Point{}, err
	}
	found, ok := told.in(in)
	if !ok {
		return backend.Point{}, fault.New(fault.Malformed, "the point has no vector")
	}
	return found, nil
}

// Drop removes a collection.
func (s *session) Drop(ctx context.Context, name string) error {
	err := classify(s.client.Do(ctx, http.MethodDelete, escaped(name), nil, nil))
	if errors.Is(err, backend.ErrGone) {
		return nil
	}
	return err
}
