package qdrant

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// collection is the answer to /collections/{name}.
type collection struct {
	Status          string          `json:"status"`
	OptimizerStatus json.RawMessage `json:"optimizer_status"`
	Vectors         *float64        `json:"vectors_count"` // until 1.14
	Indexed         *float64        `json:"indexed_vectors_count"`
	Points          *float64        `json:"points_count"`
	Segments        *float64        `json:"segments_count"`
	UpdateQueue     *struct {
		Length *float64 `json:"length"`
	} `json:"update_queue"` // from 1.17
	Config struct {
		Params struct {
			Vectors           json.RawMessage            `json:"vectors"`
			Sparse            map[string]json.RawMessage `json:"sparse_vectors"`
			Shards            *float64                   `json:"shard_number"`
			ReplicationFactor *float64                   `json:"replication_factor"`
		} `json:"params"`
		HNSW         hnsw                       `json:"hnsw_config"`
		Quantization map[string]json.RawMessage `json:"quantization_config"`
	} `json:"config"`
}

type hnsw struct {
	M                 *float64 `json:"m"`
	EfConstruct       *float64 `json:"ef_construct"`
	FullScanThreshold *float64 `json:"full_scan_threshold"`
}

// vector is the configuration of one vector.
type vector struct {
	Size         *float64                   `json:"size"`
	Distance     string                     `json:"distance"`
	Datatype     string                     `json:"datatype"`
	HNSW         *hnsw                      `json:"hnsw_config"`
	Quantization map[string]json.RawMessage `json:"quantization_config"`
}

// statuses maps Qdrant's colours. Yellow is also shown while a snapshot is made.
var statuses = map[string]backend.Status{
	"green":  backend.OK,
	"yellow": backend.Optimizing,
	"grey":   backend.Pending, // optimisers wait for the first update after a restart
	"red":    backend.Failed,
}

var distances = map[string]backend.Distance{
	"Cosine": backend.Cosine, "Euclid": backend.Euclidean, "Dot": backend.Dot, "Manhattan": backend.Manhattan,
}

// Describe asks for each collection by itself and, in a cluster, for its shards, all in one wave. How the replicas are
// is known also where a collection cannot be described because a shard does not answer, which is when it is wanted most.
func (s *session) Describe(ctx context.Context, names []string) ([]backend.Collection, error) {
	s.mu.Lock()
	clustered := s.clustered
	s.mu.Unlock()
	questions := len(names)
	if clustered {
		questions *= 2
	}
	infos, told := make([]*collection, len(names)), make([]*shards, len(names))
	failures := make([]error, 2*len(names))
	err := s.client.Each(ctx, questions, func(ctx context.Context, i int) (err error) {
		if i < len(names) {
			infos[i], err = ask[collection](ctx, s, escaped(names[i]))
		} else {
			told[i-len(names)], err = ask[shards](ctx, s, escaped(names[i-len(names)])+"/cluster")
		}
		failures[i] = err
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []backend.Collection
	for i, name := range names {
		if errors.Is(failures[i], backend.ErrGone) {
			continue
		}
		one := backend.Collection{Name: name, Err: cmp.Or(failures[i], failures[len(names)+i])}
		infos[i].describe(&one)
		told[i].describe(&one)
		all = append(all, one)
	}
	return all, nil
}

func present[T any](all []T, gone []bool) []T {
	var left []T
	for i, one := range all {
		if !gone[i] {
			left = append(left, one)
		}
	}
	return left
}

func (c *collection) describe(to *backend.Collection) {
	if c == nil {
		return
	}
	to.Status = statuses[c.Status]
	if to.Status == "" {
		to.Status = backend.Unknown
	}
	to.Objects, to.Vectors, to.Indexed, to.Segments = c.Points, c.Vectors, c.Indexed, c.Segments
	if c.UpdateQueue != nil {
		to.Queue = c.UpdateQueue.Length
	}
	to.Shards, to.ReplicationFactor = c.Config.Params.Shards, c.Config.Params.ReplicationFactor
	vectors := c.vectors()
	for _, name := range slices.Sorted(maps.Keys(vectors)) {
		to.Spaces = append(to.Spaces, c.space(name, vectors[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Config.Params.Sparse)) {
		to.Spaces = append(to.Spaces, backend.Space{Vector: name, Distance: backend.Dot, Index: "sparse"})
	}
}

// vectors gives the configurations by name: there is either one without a name, or as many as there are names.
func (c *collection) vectors() map[string]vector {
	var one vector
	if json.Unmarshal(c.Config.Params.Vectors, &one) == nil && one.Size != nil {
		return map[string]vector{"": one}
	}
	var named map[string]vector
	if json.Unmarshal(c.Config.Params.Vectors, &named) != nil {
		return nil
	}
	return named
}

func (c *collection) space(name string, v vector) backend.Space {
	space := backend.Space{
		Vector: name, Dimensions: v.Size, Distance: distance(v.Distance), Index: "hnsw",
		Quantized: "none", Datatype: strings.ToLower(v.Datatype), Parameters: map[string]float64{},
	}
	if space.Datatype == "" {
		space.Datatype = "float32"
	}
	for _, config := range []map[string]json.RawMessage{c.Config.Quantization, v.Quantization} { // the vector's own counts
		for kind := range config {
			space.Quantized = kind
		}
	}
	c.Config.HNSW.addTo(space.Parameters)
	if v.HNSW != nil {
		v.HNSW.addTo(space.Parameters)
	}
	return space
}

func (h *hnsw) addTo(parameters map[string]float64) {
	for name, value := range map[string]*float64{"m": h.M, "ef_construct": h.EfConstruct, "full_scan_threshold_kilobytes": h.FullScanThreshold} {
		if value != nil {
			parameters[name] = *value
		}
	}
}

func distance(word string) backend.Distance {
	if known, ok := distances[word]; ok {
		return known
	}
	return backend.Distance(strings.ToLower(word))
}

// shards is the answer to /collections/{name}/cluster.
type shards struct {
	Local     []shard           `json:"local_shards"`
	Remote    []shard           `json:"remote_shards"`
	Transfers []json.RawMessage `json:"shard_transfers"`
}

type shard struct {
	ID    uint64 `json:"shard_id"`
	State string `json:"state"`
}

// replicaStates maps the states of all versions to 1.19.
var replicaStates = map[string]backend.ReplicaState{
	"Active": backend.Active, "ActiveRead": backend.Active, "Dead": backend.Dead, "Initializing": backend.Initializing, "Listener": backend.Listening,
	"Partial": backend.Recovering, "PartialSnapshot": backend.Recovering, "Recovery": backend.Recovering, "ManualRecovery": backend.Recovering,
	"Resharding": backend.Recovering, "ReshardingScaleDown": backend.Recovering,
}

// describe adds how the replicas are.
func (told *shards) describe(to *backend.Collection) {
	if told == nil {
		return
	}
	to.Replicas, to.Transfers = map[backend.ReplicaState]float64{}, backend.Some(float64(len(told.Transfers)))
	active := map[uint64]bool{}
	for _, one := range append(told.Local, told.Remote...) {
		state, known := replicaStates[one.State]
		if !known {
			state = backend.OtherState
		}
		to.Replicas[state]++
		active[one.ID] = active[one.ID] || state == backend.Active
	}
	inactive := 0.0
	for _, ok := range active {
		if !ok {
			inactive++
		}
	}
	to.ShardsInactive = &inactive
}

// unix reads a time as Qdrant writes it, with a zone or without.
func unix(text string) *float64 {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if at, err := time.Parse(layout, text); err == nil {
			return backend.Some(float64(at.UnixNano()) / 1e9)
		}
	}
	return nil
}

// telemetry is what we read of /telemetry at the level that shows segments.
type telemetry struct {
	Collections struct {
		Collections []struct {
			ID     string `json:"id"`
			Shards []struct {
				Local *localShard `json:"local"`
			} `json:"shards"`
		} `json:"collections"`
	} `json:"collections"`
}

type localShard struct {
	VectorBytes  *float64 `json:"vectors_size_bytes"`  // from 1.14
	PayloadBytes *float64 `json:"payloads_size_bytes"` // from 1.14
	Segments     []struct {
		Info struct {
			Deleted      *float64 `json:"num_deleted_vectors"`
			VectorBytes  *float64 `json:"vectors_size_bytes"`  // from 1.12
			PayloadBytes *float64 `json:"payloads_size_bytes"` // from 1.12
		} `json:"info"`
	} `json:"segments"`
	ByName map[string]float64 `json:"num_vectors_by_name"` // from 1.16
}

// Storage asks for the telemetry, in which sizes and deletions of this node's shards are, and for the snapshots. The
// bytes in memory and on disk that segments tell are never filled in by any version, and not read.
func (s *session) Storage(ctx context.Context, names []string) ([]backend.Storage, error) {
	version, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	level := "4"
	if !version.since(12) {
		level = "2"
	}
	told, err := ask[telemetry](ctx, s, "/telemetry?details_level="+level)
	if err != nil {
		return nil, err
	}
	all, gone := make([]backend.Storage, len(names)), make([]bool, len(names))
	index := make(map[string]int, len(names))
	for i, name := range names {
		all[i].Name, index[name] = name, i
	}
	for _, one := range told.Collections.Collections {
		if i, wanted := index[one.ID]; wanted {
			for _, shard := range one.Shards {
				shard.Local.addTo(&all[i])
			}
		}
	}
	var mu sync.Mutex
	err = s.client.Each(ctx, len(names), func(ctx context.Context, i int) error {
		found, err := ask[[]snapshot](ctx, s, escaped(names[i])+"/snapshots")
		if err == nil {
			sumSnapshots(*found, &all[i])
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if gone[i] = errors.Is(err, backend.ErrGone); !gone[i] {
			all[i].Err = err
		}
		return err
	})
	return present(all, gone), err
}

func (l *localShard) addTo(to *backend.Storage) {
	if l == nil {
		return
	}
	vectors, payloads := l.VectorBytes, l.PayloadBytes
	for _, segment := range l.Segments {
		add(&to.Deleted, segment.Info.Deleted)
		if l.VectorBytes == nil {
			add(&vectors, segment.Info.VectorBytes)
			add(&payloads, segment.Info.PayloadBytes)
		}
	}
	add(&to.VectorBytes, vectors)
	add(&to.OtherBytes, payloads)
	for _, count := range l.ByName {
		add(&to.Vectors, &count)
	}
}

// add sums what was told, into a number of its own.
func add(sum **float64, more *float64) {
	switch {
	case more == nil:
	case *sum == nil:
		*sum = backend.Some(*more)
	default:
		*sum = backend.Some(**sum + *more)
	}
}

type snapshot struct {
	Created string   `json:"creation_time"`
	Size    *float64 `json:"size"`
}

func sumSnapshots(found []snapshot, to *backend.Storage) {
	to.Snapshots = backend.Some(float64(len(found)))
	for _, one := range found {
		add(&to.SnapshotBytes, one.Size)
		if at := unix(one.Created); at != nil && (to.LastSnapshot == nil || *at > *to.LastSnapshot) {
			to.LastSnapshot = at
		}
	}
}
