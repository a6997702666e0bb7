package weaviate

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// addObjects prefers the exact count. Without one the shards' counts have to do, of each shard the highest: the copies
// of one are not equally far.
func (w *wave) addObjects(c *backend.Collection, parts []shard) {
	if count, counted := w.counts[c.Name]; counted {
		c.Objects, c.Exact = &count, true
		return
	}
	highest := map[string]float64{}
	for _, part := range parts {
		if part.Objects == nil {
			return
		}
		highest[part.Name] = max(highest[part.Name], *part.Objects)
	}
	if len(parts) == 0 {
		return
	}
	sum := 0.0
	for _, objects := range highest {
		sum += objects
	}
	c.Objects = &sum
}

// addReplicas tells of the copies that there should be: those that no node lists are on a node that does not answer.
func addReplicas(c *backend.Collection, of class, listed, distinct int) {
	shards, factor := *of.Sharding.Actual, *of.Replication.Factor
	inactive := max(0, shards-float64(distinct))
	c.Shards, c.ShardsInactive = &shards, &inactive
	c.Replicas = map[backend.ReplicaState]float64{backend.Active: float64(listed), backend.Dead: max(0, shards*factor-float64(listed))}
	if inactive > 0 {
		c.Status = backend.Degraded
	}
}

// spaces describes the vectors. A class has one without a name, or some with.
func (of class) spaces() []backend.Space {
	if len(of.Named) == 0 {
		if of.Type == "" {
			return nil
		}
		return []backend.Space{of.space("")}
	}
	var all []backend.Space
	for _, name := range slices.Sorted(maps.Keys(of.Named)) {
		all = append(all, of.Named[name].space(name))
	}
	return all
}

var distances = map[string]backend.Distance{
	"cosine": backend.Cosine, "dot": backend.Dot, "l2-squared": backend.Euclidean, "manhattan": backend.Manhattan,
}

func (i index) space(name string) backend.Space {
	space := backend.Space{
		Vector: name, Index: strings.ToLower(i.Type), Distance: backend.Distance(strings.ToLower(i.Config.Distance)),
		Quantized: "none", Parameters: map[string]float64{},
	}
	if known, ok := distances[i.Config.Distance]; ok {
		space.Distance = known
	}
	for kind, q := range map[string]quantizer{"pq": i.Config.PQ, "bq": i.Config.BQ, "sq": i.Config.SQ, "rq": i.Config.RQ} {
		if q.Enabled {
			space.Quantized = kind
		}
	}
	for parameter, value := range map[string]*float64{
		"m": i.Config.MaxConnections, "ef_construct": i.Config.EfConstruction, "ef_search": i.Config.Ef, "flat_search_cutoff": i.Config.FlatCutoff,
	} {
		if value != nil {
			space.Parameters[parameter] = *value
		}
	}
	return space
}

// dimensions are those of a stored vector, looked up once: they do not change while the class is there.
type dimensions struct{ of float64 }

// addDimensions looks at one object of each class whose dimensions nobody has seen yet. That one cannot be looked at
// says nothing of the class.
func (s *session) addDimensions(ctx context.Context, all []backend.Collection) error {
	var unseen []string
	s.mu.Lock()
	for _, c := range all {
		if c.Objects != nil && *c.Objects > 0 && len(c.Spaces) > 0 {
			if _, seen := s.dimensions[backend.Place{Collection: c.Name, Vector: c.Spaces[0].Vector}]; !seen {
				unseen = append(unseen, c.Name)
			}
		}
	}
	s.mu.Unlock()
	err := s.client.Each(ctx, len(unseen), func(ctx context.Context, i int) error {
		objects, err := s.objects(ctx, unseen[i], "", 1)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, one := range objects {
			for name, vector := range one.all() {
				s.dimensions[backend.Place{Collection: unseen[i], Vector: name}] = dimensions{float64(len(vector))}
			}
		}
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range all {
		for j := range all[i].Spaces {
			space := &all[i].Spaces[j]
			if seen, ok := s.dimensions[backend.Place{Collection: all[i].Name, Vector: space.Vector}]; ok {
				space.Dimensions = backend.Some(seen.of)
			}
		}
	}
	return err
}
