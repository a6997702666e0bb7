package milvus

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// Limits of Milvus: a page of a query ends before the row of this number.
const (
	maxWindow = 16384
	pageSize  = 256
)

// place is what questions for points need to know of a collection. It does not change while the collection is there.
type place struct {
	key    string // the name of the primary key
	text   bool   // it is a text
	metric string // of the index on the vector
}

// at looks a place up.
func (s *session) at(ctx context.Context, in backend.Place) (place, error) {
	s.mu.Lock()
	found, known := s.places[in]
	s.mu.Unlock()
	if known {
		return found, nil
	}
	of, err := call[collection](ctx, s, "collections/describe", map[string]any{"collectionName": in.Collection})
	if err != nil {
		return place{}, err
	}
	fits := false
	for _, f := range of.Fields {
		_, is := f.vector()
		fits = fits || is && f.Name == in.Vector
		if f.Primary {
			found.key, found.text = f.Name, strings.HasPrefix(f.Type, "VarChar")
		}
	}
	for _, index := range of.Index {
		if index.Field == in.Vector {
			found.metric = index.Metric
		}
	}
	if !fits || found.key == "" {
		return place{}, fault.New(fault.Config, "the collection has no such vector")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places[in] = found
	return found, nil
}

// row is an entity as it is written: every field is of the collection.
type row map[string]json.RawMessage

// id is the key, which a search gives under a name of its own. Numbers come as texts, so that none is rounded.
func (r row) id(key string) string {
	raw, there := r[key]
	if !there {
		raw = r["id"]
	}
	return string(bytes.Trim(raw, `"`))
}

// query gives entities with the vector.
func (s *session) query(ctx context.Context, in backend.Place, of place, more map[string]any) ([]backend.Point, error) {
	body := map[string]any{"collectionName": in.Collection, "outputFields": []string{of.key, in.Vector}, "consistencyLevel": "Strong", "filter": ""}
	for name, value := range more {
		body[name] = value
	}
	rows, err := call[[]row](ctx, s, "entities/query", body)
	if err != nil {
		return nil, err
	}
	points := make([]backend.Point, 0, len(*rows))
	for _, one := range *rows {
		point := backend.Point{ID: one.id(of.key)}
		if json.Unmarshal(one[in.Vector], &point.Vector) != nil {
			return nil, fault.New(fault.Unsupported, "the vector is none of numbers")
		}
		points = append(points, point)
	}
	return points, nil
}

// Count counts. It sees what was written before.
func (s *session) Count(ctx context.Context, in backend.Place) (int64, error) {
	body := map[string]any{"collectionName": in.Collection, "filter": "", "outputFields": []string{"count(*)"}, "consistencyLevel": "Strong"}
	rows, err := call[[]struct {
		Count *number `json:"count(*)"`
	}](ctx, s, "entities/query", body)
	if err != nil {
		return 0, err
	}
	if len(*rows) != 1 || (*rows)[0].Count == nil {
		return 0, fault.New(fault.Malformed, "the answer has no count")
	}
	return int64(*(*rows)[0].Count), nil
}

// Sample takes entities from random places among the first that a query can reach, which are all of a small collection
// and the lowest keys of a large one.
func (s *session) Sample(ctx context.Context, in backend.Place, n int) ([]backend.Point, error) {
	of, err := s.at(ctx, in)
	if err != nil {
		return nil, err
	}
	count, err := s.Count(ctx, in)
	if err != nil || count == 0 {
		return nil, err
	}
	var mu sync.Mutex
	var points []backend.Point
	seen := map[string]bool{}
	err = s.client.Each(ctx, n, func(ctx context.Context, _ int) error {
		found, err := s.query(ctx, in, of, map[string]any{"limit": 1, "offset": rand.Int64N(min(count, maxWindow-1))})
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

// Scan goes through the entities of collections that a query can reach the end of.
func (s *session) Scan(ctx context.Context, in backend.Place, page func([]backend.Point) error) error {
	of, err := s.at(ctx, in)
	if err != nil {
		return err
	}
	for from := 0; from+pageSize <= maxWindow; from += pageSize {
		found, err := s.query(ctx, in, of, map[string]any{"limit": pageSize, "offset": from})
		if err == nil {
			err = page(found)
		}
		if err != nil || len(found) < pageSize {
			return err
		}
	}
	return fault.New(fault.Limited, "the collection has more entities than can be gone through")
}

// Search asks with the index's own settings.
func (s *session) Search(ctx context.Context, in backend.Place, vector []float32, k int) (backend.Found, error) {
	of, err := s.at(ctx, in)
	if err != nil {
		return backend.Found{}, err
	}
	body := map[string]any{"collectionName": in.Collection, "data": [][]float32{vector}, "annsField": in.Vector, "limit": k, "outputFields": []string{of.key}}
	rows, err := call[[]row](ctx, s, "entities/search", body)
	if err != nil {
		return backend.Found{}, err
	}
	var hits []backend.Hit
	for _, one := range *rows {
		hit := backend.Hit{ID: one.id(of.key)}
		if hit.Distance, err = strconv.ParseFloat(string(one["distance"]), 64); err != nil {
			return backend.Found{}, fault.New(fault.Malformed, "a hit has no distance")
		}
		switch strings.ToUpper(of.metric) {
		case "COSINE":
			hit.Distance = 1 - hit.Distance
		case "IP":
			hit.Distance = -hit.Distance
		case "L2": // of which the root is not drawn
			hit.Distance = math.Sqrt(max(0, hit.Distance))
		}
		hits = append(hits, hit)
	}
	return backend.Found{Hits: hits}, nil
}

// Create makes a collection whose vector has the mark for its name, indexes and loads it. Milvus says nothing of one
// that is there already in the same form, so it is looked for before.
func (s *session) Create(ctx context.Context, name, mark string, dimensions int) (backend.Place, error) {
	in := backend.Place{Collection: name, Vector: mark}
	there, err := call[struct {
		Has bool `json:"has"`
	}](ctx, s, "collections/has", map[string]any{"collectionName": name})
	if err != nil {
		return in, err
	}
	if there.Has {
		return in, &fault.Error{Kind: fault.Config, Op: "creating", Err: backend.ErrExists}
	}
	_, err = change[struct{}](ctx, s, "collections/create", map[string]any{
		"collectionName": name,
		"schema": map[string]any{"autoId": false, "enableDynamicField": false, "fields": []any{
			map[string]any{"fieldName": "id", "dataType": "VarChar", "isPrimary": true, "elementTypeParams": map[string]any{"max_length": "64"}},
			map[string]any{"fieldName": mark, "dataType": "FloatVector", "elementTypeParams": map[string]any{"dim": strconv.Itoa(dimensions)}},
		}},
		"indexParams": []any{map[string]any{"fieldName": mark, "indexName": mark, "metricType": "COSINE", "params": map[string]any{"index_type": "AUTOINDEX"}}},
	})
	return in, err
}

// Marked looks for a vector of that name.
func (s *session) Marked(ctx context.Context, name, mark string) (backend.Place, bool, error) {
	in := backend.Place{Collection: name, Vector: mark}
	of, err := call[collection](ctx, s, "collections/describe", map[string]any{"collectionName": name})
	if err != nil {
		return in, false, err
	}
	for _, f := range of.Fields {
		if _, is := f.vector(); is && f.Name == mark {
			return in, true, nil
		}
	}
	return in, false, nil
}

// Write stores entities.
func (s *session) Write(ctx context.Context, in backend.Place, points []backend.Point) error {
	of, err := s.at(ctx, in)
	if err != nil {
		return err
	}
	rows := make([]map[string]any, 0, len(points))
	for _, p := range points {
		rows = append(rows, map[string]any{of.key: p.ID, in.Vector: p.Vector})
	}
	told, err := change[struct {
		Count *number `json:"upsertCount"`
	}](ctx, s, "entities/upsert", map[string]any{"collectionName": in.Collection, "data": rows})
	if err == nil && (told.Count == nil || int(*told.Count) != len(points)) {
		err = fault.New(fault.Malformed, "the server did not take every entity")
	}
	return err
}

// among is a filter for keys.
func (of place) among(ids ...string) string {
	list := make([]string, 0, len(ids))
	for _, id := range ids {
		if of.text {
			quoted, _ := json.Marshal(id) // a string can always be
			id = string(quoted)
		} else if _, err := strconv.ParseInt(id, 10, 64); err != nil {
			continue // which no key of this collection is
		}
		list = append(list, id)
	}
	return of.key + " in [" + strings.Join(list, ", ") + "]"
}

// Read gets an entity.
func (s *session) Read(ctx context.Context, in backend.Place, id string) (backend.Point, error) {
	of, err := s.at(ctx, in)
	if err != nil {
		return backend.Point{}, err
	}
	found, err := s.query(ctx, in, of, map[string]any{"filter": of.among(id), "limit": 1})
	if err == nil && len(found) == 0 {
		err = &fault.Error{Kind: fault.Unsupported, Op: "reading", Err: backend.ErrGone}
	}
	if err != nil {
		return backend.Point{}, err
	}
	return found[0], nil
}

// Delete removes entities.
func (s *session) Delete(ctx context.Context, in backend.Place, ids []string) error {
	of, err := s.at(ctx, in)
	if err == nil {
		_, err = change[struct{}](ctx, s, "entities/delete", map[string]any{"collectionName": in.Collection, "filter": of.among(ids...)})
	}
	return err
}

// Drop removes a collection.
func (s *session) Drop(ctx context.Context, name string) error {
	_, err := change[struct{}](ctx, s, "collections/drop", map[string]any{"collectionName": name})
	return err
}
