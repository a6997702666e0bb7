package weaviate

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// class is a collection as the schema has it.
type class struct {
	Name        string           `json:"class"`
	Description string           `json:"description"`
	index                        // of the vector without a name
	Named       map[string]index `json:"vectorConfig"`
	Tenants     struct {
		Enabled bool `json:"enabled"`
	} `json:"multiTenancyConfig"`
	Replication struct {
		Factor *float64 `json:"factor"`
	} `json:"replicationConfig"`
	Sharding struct {
		Actual *float64 `json:"actualCount"`
	} `json:"shardingConfig"`
}

type index struct {
	Type   string `json:"vectorIndexType"`
	Config struct {
		Distance       string    `json:"distance"`
		Ef             *float64  `json:"ef"` // -1 where it is chosen for each search
		EfConstruction *float64  `json:"efConstruction"`
		MaxConnections *float64  `json:"maxConnections"`
		FlatCutoff     *float64  `json:"flatSearchCutoff"`
		PQ             quantizer `json:"pq"`
		BQ             quantizer `json:"bq"`
		SQ             quantizer `json:"sq"`
		RQ             quantizer `json:"rq"`
	} `json:"vectorIndexConfig"`
}

type quantizer struct {
	Enabled bool `json:"enabled"`
}

// className is what may go into the text of a query.
var className = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// List reads the schema, in which the collections are.
func (s *session) List(ctx context.Context) ([]string, error) {
	var told struct {
		Classes *[]class `json:"classes"`
	}
	if err := s.client.Get(ctx, "/v1/schema", &told); err != nil {
		return nil, err
	}
	if told.Classes == nil {
		return nil, fault.New(fault.Malformed, "the answer has no classes")
	}
	classes, names := make(map[string]class, len(*told.Classes)), make([]string, 0, len(*told.Classes))
	for _, one := range *told.Classes {
		if !className.MatchString(one.Name) {
			return nil, fault.New(fault.Malformed, "the name of a class is none")
		}
		classes[one.Name] = one
		names = append(names, one.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.classes = classes
	return names, nil
}

// shard is a copy of a part of a class, on the node in whose list it is.
type shard struct {
	Name    string   `json:"name"`
	Class   string   `json:"class"`
	Objects *float64 `json:"objectCount"` // of what is on disk: it lags by up to a minute
	Status  string   `json:"vectorIndexingStatus"`
	Queue   *float64 `json:"vectorQueueLength"`
	Loaded  *bool    `json:"loaded"`
}

// status is what a shard says and what that means.
type status struct {
	word string
	is   backend.Status
}

// statuses lists them, the worst last. One that is loaded at its first use is no trouble before; older versions say
// nothing.
var statuses = []status{
	{"READY", backend.OK}, {"LAZY_LOADING", backend.Pending}, {"INDEXING", backend.Optimizing}, {"LOADING", backend.NotLoaded}, {"READONLY", backend.Degraded}, {"", ""},
}

// rank tells how bad a word is. One that nobody knows is worse than all others, as it hides them.
func rank(word string) int {
	at := slices.IndexFunc(statuses, func(s status) bool { return s.word == word })
	if at < 0 {
		return len(statuses)
	}
	return at
}

// Describe needs three questions for all classes, and some more where a class's objects have to be counted or looked at.
func (s *session) Describe(ctx context.Context, names []string) ([]backend.Collection, error) {
	s.mu.Lock()
	classes := s.classes
	s.mu.Unlock()
	if classes == nil {
		if _, err := s.List(ctx); err != nil {
			return nil, err
		}
		s.mu.Lock()
		classes = s.classes
		s.mu.Unlock()
	}
	w := &wave{session: s, classes: classes, names: names, shards: map[string][]shard{}, counts: map[string]float64{}}
	if err := w.ask(ctx); err != nil {
		return nil, err
	}
	if err := w.forget(ctx); err != nil {
		return nil, err
	}
	all := make([]backend.Collection, 0, len(names))
	for _, name := range names {
		if known, there := classes[name]; there && !w.gone[name] {
			all = append(all, w.collection(known))
		}
	}
	return all, s.addDimensions(ctx, all)
}

// forget finds those of the classes without a shard that are gone since they were listed.
func (w *wave) forget(ctx context.Context) error {
	var empty []string
	for _, name := range w.names {
		if _, there := w.classes[name]; there && len(w.shards[name]) == 0 {
			empty = append(empty, name)
		}
	}
	gone := make([]bool, len(empty))
	err := w.session.client.Each(ctx, len(empty), func(ctx context.Context, i int) error {
		_, err := w.session.class(ctx, empty[i])
		gone[i] = errors.Is(err, backend.ErrGone)
		return err
	})
	w.gone = map[string]bool{}
	for i, name := range empty {
		w.gone[name] = gone[i]
	}
	return err
}

// perQuery is how many classes are counted in one query.
const perQuery = 50

// wave is what one Describe has learned.
type wave struct {
	session *session
	classes map[string]class
	names   []string
	shards  map[string][]shard // by class
	counts  map[string]float64 // of those classes that could be counted
	gone    map[string]bool    // since they were listed
}

// ask asks for the shards of all nodes, and for exact counts of the classes that have no tenants.
func (w *wave) ask(ctx context.Context) error {
	countable := slices.DeleteFunc(slices.Clone(w.names), func(name string) bool { return w.classes[name].Tenants.Enabled || w.classes[name].Name == "" })
	chunks := slices.Collect(slices.Chunk(countable, perQuery))
	counts := make([]map[string]float64, len(chunks))
	var all []node
	var failed error
	err := w.session.client.Each(ctx, 1+len(chunks), func(ctx context.Context, i int) (err error) {
		if i == 0 {
			all, failed = w.session.nodes(ctx, "verbose")
			return failed
		}
		counts[i-1], err = w.session.count(ctx, chunks[i-1])
		return err
	})
	if err == nil {
		err = failed
	}
	for _, some := range counts {
		maps.Copy(w.counts, some)
	}
	for _, one := range all {
		for _, part := range one.Shards {
			w.shards[part.Class] = append(w.shards[part.Class], part)
		}
	}
	return err
}

// count counts the objects of classes. What cannot be counted is not in the answer.
func (s *session) count(ctx context.Context, classes []string) (map[string]float64, error) {
	var query strings.Builder
	for _, name := range classes {
		query.WriteString(name + "{meta{count}}")
	}
	var told struct {
		Data struct {
			Aggregate map[string][]struct {
				Meta struct {
					Count *float64 `json:"count"`
				} `json:"meta"`
			} `json:"Aggregate"`
		} `json:"data"`
	}
	err := s.client.Post(ctx, "/v1/graphql", map[string]string{"query": "{Aggregate{" + query.String() + "}}"}, &told)
	counts := map[string]float64{}
	for name, rows := range told.Data.Aggregate {
		if len(rows) == 1 && rows[0].Meta.Count != nil {
			counts[name] = *rows[0].Meta.Count
		}
	}
	return counts, err
}

func (w *wave) collection(of class) backend.Collection {
	c := backend.Collection{Name: of.Name, ReplicationFactor: of.Replication.Factor}
	parts := w.shards[of.Name]
	w.addObjects(&c, parts)
	distinct, worst, queue := map[string]bool{}, -1, 0.0
	for _, part := range parts {
		distinct[part.Name] = true
		if part.Queue != nil {
			queue += *part.Queue
			c.Queue = &queue
		}
		worst = max(worst, rank(part.Status))
	}
	switch {
	case worst == len(statuses):
		c.Status = backend.Unknown
	case worst >= 0:
		c.Status = statuses[worst].is
	}
	if c.Shards = backend.Some(float64(len(distinct))); !of.Tenants.Enabled && of.Sharding.Actual != nil && of.Replication.Factor != nil {
		addReplicas(&c, of, len(parts), len(distinct))
	}
	c.Spaces = of.spaces()
	return c
}
