package qdrant

import (
	"bytes"
	"cmp"
	"encoding/json"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
)

// point is one that is held, with its vectors by name.
type point struct {
	id      json.RawMessage
	vectors map[string][]float32
}

// ID is the text of an ID without quotes.
func idText(raw json.RawMessage) string { return string(bytes.Trim(raw, `"`)) }

func compareIDs(x, y point) int {
	a, errA := strconv.ParseUint(string(x.id), 10, 64)
	b, errB := strconv.ParseUint(string(y.id), 10, 64)
	switch {
	case errA == nil && errB == nil:
		return cmp.Compare(a, b)
	case errA == nil:
		return -1 // numbers before UUIDs
	case errB == nil:
		return 1
	}
	return bytes.Compare(x.id, y.id)
}

// Put stores a point of a collection's only vector, named or not.
func (s *Server) Put(name string, id uint64, vector []float32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[name]
	for of, config := range c.vectors {
		text := strconv.FormatUint(id, 10)
		c.points[text] = point{json.RawMessage(text), map[string][]float32{of: prepared(config, vector)}}
	}
}

// Points tells how many points a collection holds.
func (s *Server) Points(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.collections[name].points)
}

// prepared is a vector as it is stored: of length one where it is compared by cosine.
func prepared(config Vector, vector []float32) []float32 {
	if config.Distance != "Cosine" {
		return vector
	}
	var sum float64
	for _, x := range vector {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		return vector
	}
	scaled := make([]float32, len(vector))
	for i, x := range vector {
		scaled[i] = float32(float64(x) / math.Sqrt(sum))
	}
	return scaled
}

// read takes a vector as it was sent, alone or by name, and checks its size.
func (c *collection) read(raw json.RawMessage) (map[string][]float32, bool) {
	var one []float32
	var named map[string][]float32
	if json.Unmarshal(raw, &one) == nil {
		named = map[string][]float32{"": one}
	} else if json.Unmarshal(raw, &named) != nil {
		return nil, false
	}
	for name, vector := range named {
		config, known := c.vectors[name]
		if !known || len(vector) != config.Size {
			return nil, false
		}
		named[name] = prepared(config, vector)
	}
	return named, true
}

var badVector = refuse(http.StatusBadRequest, "Wrong input: Vector dimension error")

func (s *Server) upsert(c *collection, body json.RawMessage) reply {
	var asked struct {
		Points []struct {
			ID     json.RawMessage `json:"id"`
			Vector json.RawMessage `json:"vector"`
		} `json:"points"`
	}
	if json.Unmarshal(body, &asked) != nil {
		return refuse(http.StatusBadRequest, "Format error in JSON body")
	}
	if s.full {
		return s.noSpace()
	}
	for _, p := range asked.Points {
		vectors, fits := c.read(p.Vector)
		if !fits {
			return badVector
		}
		c.points[idText(p.ID)] = point{p.ID, vectors}
	}
	return ok(map[string]any{"operation_id": 1, "status": "completed"})
}

func (s *Server) remove(c *collection, body json.RawMessage) reply {
	var asked struct {
		Points []json.RawMessage `json:"points"`
	}
	if json.Unmarshal(body, &asked) != nil {
		return refuse(http.StatusBadRequest, "Format error in JSON body")
	}
	if s.full {
		return s.noSpace()
	}
	for _, id := range asked.Points {
		if _, there := c.points[idText(id)]; there {
			delete(c.points, idText(id))
			c.deleted++
		}
	}
	return ok(map[string]any{"operation_id": 2, "status": "completed"})
}

// shown is a point as it is sent.
func (p point) shown(with json.RawMessage) map[string]any {
	out := map[string]any{"id": p.id, "payload": nil}
	var all bool
	var names []string
	if json.Unmarshal(with, &all) != nil {
		all = json.Unmarshal(with, &names) == nil
	}
	if !all {
		return out
	}
	if vector, unnamed := p.vectors[""]; unnamed {
		out["vector"] = vector
		return out
	}
	some := map[string]any{}
	for name, vector := range p.vectors {
		if len(names) == 0 || slices.Contains(names, name) {
			some[name] = vector
		}
	}
	out["vector"] = some
	return out
}

func (c *collection) get(id string) reply {
	p, there := c.points[id]
	if !there {
		return refuse(http.StatusNotFound, "Not found: Point with id "+id+" does not exists!")
	}
	shown := p.shown(json.RawMessage("true"))
	shown["payload"] = map[string]any{}
	return ok(shown)
}

func (c *collection) sorted() []point {
	var all []point
	for _, p := range c.points {
		all = append(all, p)
	}
	slices.SortFunc(all, compareIDs)
	return all
}

func (c *collection) scroll(body json.RawMessage) reply {
	asked := struct {
		Limit      int             `json:"limit"`
		Offset     json.RawMessage `json:"offset"`
		WithVector json.RawMessage `json:"with_vector"`
	}{Limit: 10}
	if json.Unmarshal(body, &asked) != nil {
		return refuse(http.StatusBadRequest, "Format error in JSON body")
	}
	all := c.sorted()
	if len(asked.Offset) > 0 && string(asked.Offset) != "null" {
		all = slices.DeleteFunc(all, func(p point) bool { return compareIDs(p, point{id: asked.Offset}) < 0 })
	}
	var next any
	if len(all) > asked.Limit {
		next = all[asked.Limit].id
		all = all[:asked.Limit]
	}
	page := []any{}
	for _, p := range all {
		page = append(page, p.shown(asked.WithVector))
	}
	return ok(map[string]any{"points": page, "next_page_offset": next})
}

// hit is a point with its score.
type hit struct {
	point
	score float64
}

func (h hit) shown(with json.RawMessage) map[string]any {
	out := h.point.shown(with)
	out["version"], out["score"] = 1, h.score
	return out
}

type parameters struct {
	Exact bool `json:"exact"`
}

// nearest compares with every vector, but where an index is faked that overlooks some.
func (s *Server) nearest(c *collection, name string, vector []float32, k int, p parameters) []hit {
	config := c.vectors[name]
	vector = prepared(config, vector)
	var hits []hit
	for _, one := range c.sorted() {
		if of := one.vectors[name]; of != nil && (p.Exact || !s.overlooked(one)) {
			hits = append(hits, hit{one, score(config.Distance, vector, of)})
		}
	}
	slices.SortStableFunc(hits, func(x, y hit) int {
		if config.Distance == "Euclid" || config.Distance == "Manhattan" {
			return cmp.Compare(x.score, y.score)
		}
		return cmp.Compare(y.score, x.score)
	})
	return hits[:min(k, len(hits))]
}

// overlooked is the same for a point at each search.
func (s *Server) overlooked(p point) bool {
	sum := fnv.New32a()
	_, _ = sum.Write(p.id)
	return float64(sum.Sum32()%1000) < 1000*s.options.Loss
}

func score(distance string, x, y []float32) float64 {
	var sum float64
	for i := range x {
		a, b := float64(x[i]), float64(y[i])
		switch distance {
		case "Euclid":
			sum += (a - b) * (a - b)
		case "Manhattan":
			sum += math.Abs(a - b)
		default:
			sum += a * b
		}
	}
	if distance == "Euclid" {
		return math.Sqrt(sum)
	}
	return sum
}

func (s *Server) search(c *collection, body json.RawMessage) reply {
	var asked struct {
		Vector     json.RawMessage `json:"vector"`
		Limit      int             `json:"limit"`
		Params     parameters      `json:"params"`
		WithVector json.RawMessage `json:"with_vector"`
	}
	if json.Unmarshal(body, &asked) != nil {
		return refuse(http.StatusBadRequest, "Format error in JSON body")
	}
	var named struct {
		Name   string    `json:"name"`
		Vector []float32 `json:"vector"`
	}
	if json.Unmarshal(asked.Vector, &named.Vector) != nil && json.Unmarshal(asked.Vector, &named) != nil || len(named.Vector) != c.vectors[named.Name].Size {
		return badVector
	}
	return ok(shownHits(s.nearest(c, named.Name, named.Vector, asked.Limit, asked.Params), asked.WithVector))
}

func shownHits(hits []hit, with json.RawMessage) []any {
	list := []any{}
	for _, h := range hits {
		list = append(list, h.shown(with))
	}
	return list
}

func (s *Server) query(c *collection, body json.RawMessage) reply {
	var asked struct {
		Query      json.RawMessage `json:"query"`
		Using      string          `json:"using"`
		Limit      int             `json:"limit"`
		Params     parameters      `json:"params"`
		WithVector json.RawMessage `json:"with_vector"`
	}
	if json.Unmarshal(body, &asked) != nil {
		return refuse(http.StatusBadRequest, "Format error in JSON body")
	}
	var sample struct {
		Sample string `json:"sample"`
	}
	var vector []float32
	var found []any
	switch {
	case json.Unmarshal(asked.Query, &vector) == nil && len(vector) == c.vectors[asked.Using].Size:
		found = shownHits(s.nearest(c, asked.Using, vector, asked.Limit, asked.Params), asked.WithVector)
	case json.Unmarshal(asked.Query, &sample) == nil && sample.Sample == "random" && s.minor >= 11:
		all := c.sorted()
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var hits []hit
		for _, p := range all[:min(asked.Limit, len(all))] {
			hits = append(hits, hit{point: p})
		}
		found = shownHits(hits, asked.WithVector)
	default:
		return badVector
	}
	return ok(map[string]any{"points": found})
}
