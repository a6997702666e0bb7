package weaviate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/rest"
)

// pageSize is how many objects are taken at once.
const pageSize = 256

// object is one as the server writes it, with a vector without a name, or with named ones.
type object struct {
	ID     string               `json:"id"`
	Vector []float32            `json:"vector"`
	Named  map[string][]float32 `json:"vectors"`
}

func (o object) all() map[string][]float32 {
	vectors := map[string][]float32{}
	if len(o.Vector) > 0 {
		vectors[""] = o.Vector
	}
	for name, vector := range o.Named {
		vectors[name] = vector
	}
	return vectors
}

// objects gives a page of objects in the order of their IDs, beginning after one.
func (s *session) objects(ctx context.Context, class, after string, limit int) ([]object, error) {
	var told struct {
		Objects []object `json:"objects"`
	}
	path := fmt.Sprintf("/v1/objects?class=%s&include=vector&limit=%d&after=%s", rest.Escape(class), limit, rest.Escape(after))
	err := s.client.Get(ctx, path, &told)
	return told.Objects, classify(err)
}

// classify tells apart what Weaviate answers with the same status. What is not there draws a 404 without a word; an
// unknown path draws one that speaks of the path.
func classify(err error) error {
	words := rest.Words(err)
	switch code := rest.Status(err); {
	case code == http.StatusNotFound && !strings.Contains(words, "path "):
		return &fault.Error{Kind: fault.Unsupported, Op: backend.ErrGone.Error(), Err: backend.ErrGone}
	case code == http.StatusUnprocessableEntity && strings.Contains(words, "already exists"):
		return &fault.Error{Kind: fault.Config, Op: "creating", Err: backend.ErrExists}
	case code >= http.StatusUnprocessableEntity && strings.Contains(words, "read-only"): // which a full disk makes it
		return &fault.Error{Kind: fault.Busy, Op: "the server takes no writes", Err: err}
	}
	return err
}

// in gives the object's vector at a place.
func (o object) in(place backend.Place) (backend.Point, bool) {
	vector := o.all()[place.Vector]
	return backend.Point{ID: o.ID, Vector: vector}, len(vector) > 0
}

// Count counts.
func (s *session) Count(ctx context.Context, in backend.Place) (int64, error) {
	if !className.MatchString(in.Collection) {
		return 0, fault.New(fault.Config, "the name of the class is none")
	}
	counts, err := s.count(ctx, []string{in.Collection})
	count, counted := counts[in.Collection]
	if counted {
		return int64(count), nil
	}
	if _, gone := s.class(ctx, in.Collection); gone != nil { // which the answer does not tell from a mistake in the query
		return 0, gone
	}
	return 0, cmp.Or(err, fault.New(fault.Unsupported, "the class cannot be counted"))
}

// sampledPages bounds what is read to sample objects whose IDs are not random.
const sampledPages = 20

// Sample takes the objects that follow random IDs, which most IDs are themselves. Where they are not (counted up, or of
// the time when they were made) that finds few, and objects are chosen among the first ones.
func (s *session) Sample(ctx context.Context, in backend.Place, n int) ([]backend.Point, error) {
	var mu sync.Mutex
	var points []backend.Point
	seen := map[string]bool{}
	err := s.client.Each(ctx, n, func(ctx context.Context, _ int) error {
		found, err := s.objects(ctx, in.Collection, randomUUID(), 1)
		mu.Lock()
		defer mu.Unlock()
		for _, one := range found {
			if point, ok := one.in(in); ok && !seen[point.ID] {
				seen[point.ID] = true
				points = append(points, point)
			}
		}
		return err
	})
	if err != nil || len(points) > n/2 {
		return points, err
	}
	return s.sampleFirst(ctx, in, n)
}

// sampleFirst chooses among the first objects, each with the same chance.
func (s *session) sampleFirst(ctx context.Context, in backend.Place, n int) ([]backend.Point, error) {
	var points []backend.Point
	enough := errors.New("enough")
	pages, seen := 0, 0
	err := s.Scan(ctx, in, func(page []backend.Point) error {
		for _, point := range page {
			if seen++; len(points) < n {
				points = append(points, point)
			} else if at := rand.IntN(seen); at < n {
				points[at] = point
			}
		}
		if pages++; pages == sampledPages {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return points, err
}

func randomUUID() string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", rand.Uint32(), rand.Uint32N(1<<16), rand.Uint32N(1<<12), rand.Uint32N(1<<12), rand.Uint64N(1<<48))
}

// Scan goes through all objects.
func (s *session) Scan(ctx context.Context, in backend.Place, page func([]backend.Point) error) error {
	after := ""
	for {
		found, err := s.objects(ctx, in.Collection, after, pageSize)
		if err != nil {
			return err
		}
		var points []backend.Point
		for _, one := range found {
			if point, ok := one.in(in); ok {
				points = append(points, point)
			}
		}
		if err := page(points); err != nil || len(found) < pageSize {
			return err
		}
		if last := found[len(found)-1].ID; last > after {
			after = last
		} else {
			return fault.New(fault.Malformed, "the pages do not end")
		}
	}
}

// Search asks with the class's own settings.
func (s *session) Search(ctx context.Context, in backend.Place, vector []float32, k int) (backend.Found, error) {
	metric, err := s.distance(ctx, in)
	if err != nil {
		return backend.Found{}, err
	}
	numbers, err := json.Marshal(vector)
	if err != nil {
		return backend.Found{}, fault.Wrap(fault.Internal, "asking", err)
	}
	target := ""
	if in.Vector != "" {
		target = `,targetVectors:["` + in.Vector + `"]`
	}
	query := fmt.Sprintf("{Get{%s(limit:%d,nearVector:{vector:%s%s}){_additional{id distance}}}}", in.Collection, k, numbers, target)
	var told struct {
		Data struct {
			Get map[string][]struct {
				Additional struct {
					ID       string   `json:"id"`
					Distance *float64 `json:"distance"`
				} `json:"_additional"`
			} `json:"Get"`
		} `json:"data"`
		Errors []json.RawMessage `json:"errors"`
	}
	if err := s.client.Post(ctx, "/v1/graphql", map[string]string{"query": query}, &told); err != nil {
		return backend.Found{}, err
	}
	found, there := told.Data.Get[in.Collection]
	if len(told.Errors) > 0 || !there {
		return backend.Found{}, fault.New(fault.Malformed, "the search failed")
	}
	hits := make([]backend.Hit, 0, len(found))
	for _, one := range found {
		if one.Additional.Distance == nil {
			return backend.Found{}, fault.New(fault.Malformed, "a hit has no distance")
		}
		hit := backend.Hit{ID: one.Additional.ID, Distance: *one.Additional.Distance}
		if metric == "l2-squared" {
			hit.Distance = math.Sqrt(max(0, hit.Distance))
		}
		hits = append(hits, hit)
	}
	return backend.Found{Hits: hits}, nil
}

// distance tells how a place compares. Names that are to go into a query are seen to be names.
func (s *session) distance(ctx context.Context, in backend.Place) (string, error) {
	s.mu.Lock()
	known, there := s.classes[in.Collection]
	s.mu.Unlock()
	if !there {
		of, err := s.class(ctx, in.Collection)
		if err != nil {
			return "", err
		}
		known = of
	}
	if in.Vector == "" {
		return known.Config.Distance, nil
	}
	named, there := known.Named[in.Vector]
	if !there || !className.MatchString(in.Vector) {
		return "", fault.New(fault.Config, "the class has no such vector")
	}
	return named.Config.Distance, nil
}

// class reads one class's schema.
func (s *session) class(ctx context.Context, name string) (class, error) {
	if !className.MatchString(name) {
		return class{}, fault.New(fault.Config, "the name of the class is none")
	}
	var told class
	err := classify(s.client.Get(ctx, "/v1/schema/"+name, &told))
	if err == nil && told.Name == "" {
		err = fault.New(fault.Malformed, "the class has no name")
	}
	return told, err
}

// capitalized is how Weaviate writes the name of a class.
func capitalized(name string) string {
	return strings.ToUpper(name[:min(1, len(name))]) + name[min(1, len(name)):]
}

// Create makes a class whose description is the mark.
func (s *session) Create(ctx context.Context, name, mark string, _ int) (backend.Place, error) {
	place := backend.Place{Collection: capitalized(name)}
	if !className.MatchString(place.Collection) {
		return place, fault.New(fault.Config, "the name is none that a class can have")
	}
	body := map[string]any{
		"class": place.Collection, "description": mark, "vectorizer": "none", "vectorIndexType": "hnsw",
		"vectorIndexConfig": map[string]any{"distance": "cosine"},
	}
	return place, classify(s.client.Do(ctx, http.MethodPost, "/v1/schema", body, nil))
}

// Marked compares the description.
func (s *session) Marked(ctx context.Context, name, mark string) (backend.Place, bool, error) {
	of, err := s.class(ctx, capitalized(name))
	return backend.Place{Collection: capitalized(name)}, err == nil && of.Description == mark, err
}

// Write stores objects. Each has an outcome of its own behind a status that says that all is well.
func (s *session) Write(ctx context.Context, in backend.Place, points []backend.Point) error {
	objects := make([]map[string]any, 0, len(points))
	for _, p := range points {
		one := map[string]any{"class": in.Collection, "id": p.ID}
		if in.Vector == "" {
			one["vector"] = p.Vector
		} else {
			one["vectors"] = map[string]any{in.Vector: p.Vector}
		}
		objects = append(objects, one)
	}
	var told []struct {
		Result struct {
			Errors json.RawMessage `json:"errors"`
		} `json:"result"`
	}
	if err := s.client.Do(ctx, http.MethodPost, "/v1/batch/objects", map[string]any{"objects": objects}, &told); err != nil {
		return classify(err)
	}
	if len(told) != len(points) {
		return fault.New(fault.Malformed, "not every object has an outcome")
	}
	for _, one := range told {
		switch failed := string(one.Result.Errors); {
		case strings.Contains(failed, "read-only"):
			return fault.New(fault.Busy, "the server takes no writes")
		case failed != "" && failed != "null":
			return fault.New(fault.Malformed, "the server did not take an object")
		}
	}
	return nil
}

func objectPath(in backend.Place, id string) string {
	return "/v1/objects/" + rest.Escape(in.Collection) + "/" + rest.Escape(id)
}

// Read gets an object.
func (s *session) Read(ctx context.Context, in backend.Place, id string) (backend.Point, error) {
	var told object
	if err := s.client.Get(ctx, objectPath(in, id)+"?include=vector", &told); err != nil {
		return backend.Point{}, classify(err)
	}
	point, ok := told.in(in)
	if !ok {
		return point, fault.New(fault.Malformed, "the object has no vector")
	}
	return point, nil
}

// Delete removes objects one by one.
func (s *session) Delete(ctx context.Context, in backend.Place, ids []string) error {
	failures := make([]error, len(ids))
	err := s.client.Each(ctx, len(ids), func(ctx context.Context, i int) error {
		failures[i] = classify(s.client.Do(ctx, http.MethodDelete, objectPath(in, ids[i]), nil, nil))
		if errors.Is(failures[i], backend.ErrGone) {
			failures[i] = nil
		}
		return failures[i]
	})
	return errors.Join(append(failures, err)...)
}

// Drop removes a class.
func (s *session) Drop(ctx context.Context, name string) error {
	err := classify(s.client.Do(ctx, http.MethodDelete, "/v1/schema/"+rest.Escape(capitalized(name)), nil, nil))
	if errors.Is(err, backend.ErrGone) {
		return nil
	}
	return err
}
