package chroma

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/rest"
)

// pageSize is how many vectors are taken at once.
const pageSize = 256

// owner is the key of a collection's metadata that holds the mark.
const owner = "owner"

// in gives the path of a collection's data and tells how it compares. A collection that was made anew under the same
// name has another ID; it is looked up again where the old one is not found.
func (s *session) in(ctx context.Context, place backend.Place, call func(path string, of collection) error) error {
	of, err := s.find(ctx, place.Collection)
	if err != nil {
		return err
	}
	err = classify(call(s.base+"/collections/"+rest.Escape(of.ID), of))
	if !errors.Is(err, backend.ErrGone) {
		return err
	}
	again, err := s.lookUp(ctx, place.Collection)
	if err != nil || again.ID == of.ID {
		return errors.Join(err, backend.ErrGone)
	}
	return classify(call(s.base+"/collections/"+rest.Escape(again.ID), again))
}

// Count counts.
func (s *session) Count(ctx context.Context, in backend.Place) (int64, error) {
	var count *float64
	err := s.in(ctx, in, func(_ string, of collection) error { return s.count(ctx, of, &count) })
	if err != nil {
		return 0, err
	}
	return int64(*count), nil
}

// rows is the answer to get.
type rows struct {
	IDs        []string    `json:"ids"`
	Embeddings [][]float32 `json:"embeddings"`
}

// get gives vectors in the order in which they are held.
func (s *session) get(ctx context.Context, in backend.Place, body map[string]any) ([]backend.Point, error) {
	body["include"] = []string{"embeddings"}
	var told rows
	err := s.in(ctx, in, func(path string, _ collection) error { return s.client.Post(ctx, path+"/get", body, &told) })
	if err != nil {
		return nil, err
	}
	if len(told.IDs) != len(told.Embeddings) {
		return nil, fault.New(fault.Malformed, "not every point has a vector")
	}
	points := make([]backend.Point, len(told.IDs))
	for i := range points {
		points[i] = backend.Point{ID: told.IDs[i], Vector: told.Embeddings[i]}
	}
	return points, nil
}

// Sample takes vectors from random places.
func (s *session) Sample(ctx context.Context, in backend.Place, n int) ([]backend.Point, error) {
	count, err := s.Count(ctx, in)
	if err != nil || count == 0 {
		return nil, err
	}
	var mu sync.Mutex
	var points []backend.Point
	seen := map[string]bool{}
	err = s.client.Each(ctx, n, func(ctx context.Context, _ int) error {
		found, err := s.get(ctx, in, map[string]any{"limit": 1, "offset": rand.Int64N(count)})
		mu.Lock()
		defer mu.Unlock()
		for _, one := range found {
			if !seen[one.ID] {
				seen[one.ID] = true
				points = append(points, one)
			}
		}
		return err
	})
	return points, err
}

// Scan goes through all vectors, no more of them than there are at the beginning and some.
func (s *session) Scan(ctx context.Context, in backend.Place, page func([]backend.Point) error) error {
	count, err := s.Count(ctx, in)
	if err != nil {
		return err
	}
	for from := int64(0); from <= 2*count; from += pageSize {
		found, err := s.get(ctx, in, map[string]any{"limit": pageSize, "offset": from})
		if err == nil {
			err = page(found)
		}
		if err != nil || len(found) < pageSize {
			return err
		}
	}
	return fault.New(fault.Malformed, "the pages do not end")
}

// Search asks with the collection's own settings.
func (s *session) Search(ctx context.Context, in backend.Place, vector []float32, k int) (backend.Found, error) {
	body := map[string]any{"query_embeddings": [][]float32{vector}, "n_results": k, "include": []string{"distances"}}
	var told struct {
		IDs       [][]string   `json:"ids"`
		Distances [][]*float64 `json:"distances"`
	}
	var squared, product bool
	err := s.in(ctx, in, func(path string, of collection) error {
		if _, by := of.index(); by != nil {
			squared, product = by.Space == "l2", by.Space == "ip"
		}
		return s.client.Post(ctx, path+"/query", body, &told)
	})
	if err != nil {
		return backend.Found{}, err
	}
	if len(told.IDs) != 1 || len(told.Distances) != 1 || len(told.IDs[0]) != len(told.Distances[0]) {
		return backend.Found{}, fault.New(fault.Malformed, "not every hit has a distance")
	}
	hits := make([]backend.Hit, 0, len(told.IDs[0]))
	for i, id := range told.IDs[0] {
		distance := told.Distances[0][i]
		if distance == nil {
			return backend.Found{}, fault.New(fault.Malformed, "a hit has no distance")
		}
		hit := backend.Hit{ID: id, Distance: *distance}
		switch {
		case squared:
			hit.Distance = math.Sqrt(max(0, *distance))
		case product: // which is told as 1 less the product
			hit.Distance = *distance - 1
		}
		hits = append(hits, hit)
	}
	return backend.Found{Hits: hits}, nil
}

// Create makes a collection whose metadata hold the mark.
func (s *session) Create(ctx context.Context, name, mark string, _ int) (backend.Place, error) {
	body := map[string]any{
		"name": name, "metadata": map[string]any{owner: mark},
		"configuration": map[string]any{"hnsw": map[string]any{"space": "cosine"}},
	}
	return backend.Place{Collection: name}, classify(s.client.Do(ctx, http.MethodPost, s.base+"/collections", body, nil))
}

// Marked compares the metadata.
func (s *session) Marked(ctx context.Context, name, mark string) (backend.Place, bool, error) {
	of, err := s.lookUp(ctx, name)
	return backend.Place{Collection: name}, err == nil && of.Metadata[owner] == mark, err
}

// Write stores vectors.
func (s *session) Write(ctx context.Context, in backend.Place, points []backend.Point) error {
	ids, vectors := make([]string, len(points)), make([][]float32, len(points))
	for i, p := range points {
		ids[i], vectors[i] = p.ID, p.Vector
	}
	return s.in(ctx, in, func(path string, _ collection) error {
		return s.client.Do(ctx, http.MethodPost, path+"/upsert", map[string]any{"ids": ids, "embeddings": vectors}, nil)
	})
}

// Read gets a vector.
func (s *session) Read(ctx context.Context, in backend.Place, id string) (backend.Point, error) {
	found, err := s.get(ctx, in, map[string]any{"ids": []string{id}})
	if err == nil && len(found) == 0 {
		err = &fault.Error{Kind: fault.Unsupported, Op: "reading", Err: backend.ErrGone}
	}
	if err != nil {
		return backend.Point{}, err
	}
	return found[0], nil
}

// Delete removes vectors.
func (s *session) Delete(ctx context.Context, in backend.Place, ids []string) error {
	return s.in(ctx, in, func(path string, _ collection) error {
		return s.client.Do(ctx, http.MethodPost, path+"/delete", map[string]any{"ids": ids}, nil)
	})
}

// Drop removes a collection.
func (s *session) Drop(ctx context.Context, name string) error {
	err := classify(s.client.Do(ctx, http.MethodDelete, s.base+"/collections/"+rest.Escape(name), nil, nil))
	if errors.Is(err, backend.ErrGone) {
		return nil
	}
	return err
}
