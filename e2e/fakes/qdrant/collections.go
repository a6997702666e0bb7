package qdrant

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Vector is the configuration of one vector of a collection.
type Vector struct {
	Size     int    `json:"size"`
	Distance string `json:"distance"` // Cosine, Euclid, Dot, Manhattan
}

// Replica is a copy of a shard, on this node or another.
type Replica struct {
	Shard uint64
	Peer  int // 0 for this node
	State string
}

// Snapshot is one of a collection.
type Snapshot struct {
	Name    string
	Created time.Time
	Size    int64
}

// collection is what is held of one.
type collection struct {
	vectors      map[string]Vector
	points       map[string]point // by the text of the ID
	status       string
	replicas     []Replica
	snapshots    []Snapshot
	quantization map[string]any
	unreachable  bool // a shard on another node does not answer
	deleted      int
}

// segments is how many a collection has: as on a server of 8 processors, so that what is told of them is as long as there.
const segments = 8

func newCollection(vectors map[string]Vector) *collection {
	return &collection{vectors: vectors, points: map[string]point{}, status: "green", replicas: []Replica{{State: "Active"}}}
}

// Add makes a collection. The name "" stands for the one vector that has no name.
func (s *Server) Add(name string, vectors map[string]Vector) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collections[name] = newCollection(vectors)
}

// Remove takes a collection away, as another client would.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.collections, name)
}

// Names gives the collections.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.collections))
}

// Change lets a test change what is held of a collection.
func (s *Server) Change(name string, c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.collections[name]
	if c.Status != "" {
		held.status = c.Status
	}
	if c.Replicas != nil {
		held.replicas = c.Replicas
	}
	if c.Snapshots != nil {
		held.snapshots = c.Snapshots
	}
	if c.Quantization != "" {
		held.quantization = map[string]any{c.Quantization: map[string]any{"type": "int8"}}
	}
	held.unreachable = c.Unreachable
}

// Change says what becomes of a collection; what is empty stays.
type Change struct {
	Status       string
	Replicas     []Replica
	Snapshots    []Snapshot
	Quantization string
	Unreachable  bool // a shard on another node does not answer
}

// FillDisk lets every write fail for want of space, or no longer.
func (s *Server) FillDisk(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// Lose makes another node of the cluster (1 or 2) unreachable.
func (s *Server) Lose(peer int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down[strconv.FormatUint(peers[peer], 10)] = true
}

func (s *Server) list() reply {
	names := []map[string]any{}
	for name := range s.collections {
		names = append(names, map[string]any{"name": name})
	}
	return ok(map[string]any{"collections": names})
}

// collection answers what is asked of one collection.
func (s *Server) collection(operation, name, rest string, body json.RawMessage) reply {
	const base = " /collections/{collection_name}"
	c := s.collections[name]
	if operation == http.MethodPut+base {
		return s.create(name, body)
	}
	if c == nil {
		if operation == http.MethodDelete+base {
			return ok(false)
		}
		return missing(name)
	}
	switch operation {
	case http.MethodGet + base:
		return s.describe(c)
	case http.MethodDelete + base:
		delete(s.collections, name)
		return ok(true)
	case http.MethodGet + base + "/cluster":
		return describeShards(c)
	case http.MethodGet + base + "/snapshots":
		return describeSnapshots(c)
	case http.MethodPut + base + "/points":
		return s.upsert(c, body)
	case http.MethodPost + base + "/points/delete":
		return s.remove(c, body)
	case http.MethodGet + base + "/points/{id}":
		return c.get(strings.TrimPrefix(rest, "points/"))
	case http.MethodPost + base + "/points/scroll":
		return c.scroll(body)
	case http.MethodPost + base + "/points/count":
		return ok(map[string]any{"count": len(c.points)})
	case http.MethodPost + base + "/points/search":
		return s.search(c, body)
	case http.MethodPost + base + "/points/query":
		if s.minor >= 10 {
			return s.query(c, body)
		}
	}
	return reply{status: http.StatusNotFound}
}

func (s *Server) create(name string, body json.RawMessage) reply {
	if s.collections[name] != nil {
		if s.minor >= 8 {
			return refuse(http.StatusConflict, "Wrong input: Collection `"+name+"` already exists!")
		}
		return refuse(http.StatusBadRequest, "Wrong input: Collection `"+name+"` already exists!")
	}
	var asked struct {
		Vectors json.RawMessage `json:"vectors"`
	}
	var one Vector
	var named map[string]Vector
	if json.Unmarshal(body, &asked) != nil {
		return refuse(http.StatusBadRequest, "Format error in JSON body")
	}
	if json.Unmarshal(asked.Vectors, &one) == nil && one.Size > 0 {
		named = map[string]Vector{"": one}
	} else if json.Unmarshal(asked.Vectors, &named) != nil {
		return refuse(http.StatusBadRequest, "Format error in JSON body")
	}
	if s.full {
		return s.noSpace()
	}
	s.collections[name] = newCollection(named)
	return ok(true)
}

func (s *Server) noSpace() reply {
	if s.minor >= 19 {
		return refuse(http.StatusInsufficientStorage, "Insufficient storage: not enough disk space")
	}
	return refuse(http.StatusInternalServerError, "Service internal error: No space left on device: WAL buffer size exceeds available disk space")
}

func (s *Server) describe(c *collection) reply {
	if c.unreachable {
		return refuse(http.StatusInternalServerError, "Service internal error: 1 of 1 read operations failed: Service internal error: transport error")
	}
	status := c.status
	if status == "grey" && s.minor < 9 {
		status = "yellow"
	}
	info := map[string]any{
		"status": status, "optimizer_status": "ok", "indexed_vectors_count": len(c.points) * len(c.vectors), "points_count": len(c.points),
		"segments_count": segments, "payload_schema": map[string]any{}, "config": s.config(c),
	}
	if status == "red" {
		info["optimizer_status"] = map[string]any{"error": "Service internal error: task 12 panicked"}
	}
	if s.minor < 15 {
		info["vectors_count"] = len(c.points) * len(c.vectors)
	}
	if s.minor >= 16 {
		info["warnings"] = []any{}
	}
	if s.minor >= 17 {
		info["update_queue"] = map[string]any{"length": 5}
	}
	return ok(info)
}

func (s *Server) config(c *collection) map[string]any {
	shards := map[uint64]bool{}
	for _, replica := range c.replicas {
		shards[replica.Shard] = true
	}
	params := map[string]any{
		"vectors": describeVectors(c.vectors), "shard_number": len(shards), "replication_factor": max(1, len(c.replicas)/max(1, len(shards))),
		"write_consistency_factor": 1, "on_disk_payload": true,
	}
	config := map[string]any{
		"params":      params,
		"hnsw_config": map[string]any{"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": false},
		"optimizer_config": map[string]any{
			"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0, "max_segment_size": nil, "memmap_threshold": nil,
			"indexing_threshold": 20000, "flush_interval_sec": 5, "max_optimization_threads": 1,
		},
		"wal_config": map[string]any{"wal_capacity_mb": 32, "wal_segments_ahead": 0}, "quantization_config": nil,
	}
	if c.quantization != nil {
		config["quantization_config"] = c.quantization
	}
	return config
}

func describeVectors(vectors map[string]Vector) any {
	if one, unnamed := vectors[""]; unnamed {
		return one
	}
	return vectors
}

func describeShards(c *collection) reply {
	local, remote := []any{}, []any{}
	shards := map[uint64]bool{}
	for _, replica := range c.replicas {
		shards[replica.Shard] = true
		if replica.Peer == 0 {
			local = append(local, map[string]any{"shard_id": replica.Shard, "points_count": len(c.points), "state": replica.State})
		} else {
			remote = append(remote, map[string]any{"shard_id": replica.Shard, "peer_id": peers[replica.Peer], "state": replica.State})
		}
	}
	return ok(map[string]any{"peer_id": peers[0], "shard_count": len(shards), "local_shards": local, "remote_shards": remote, "shard_transfers": []any{}})
}

func describeSnapshots(c *collection) reply {
	list := []any{}
	for _, one := range c.snapshots {
		list = append(list, map[string]any{"name": one.Name, "creation_time": one.Created.UTC().Format("2006-01-02T15:04:05"), "size": one.Size})
	}
	return ok(list)
}

// telemetry tells of segments where it is asked for enough.
func (s *Server) telemetry(level string) reply {
	detail, _ := strconv.Atoi(level) // none is 0
	told := map[string]any{"number_of_collections": len(s.collections)}
	enough := 2
	if s.minor >= 12 {
		enough = 4
	}
	if detail >= enough {
		list := []any{}
		for _, name := range slices.Sorted(maps.Keys(s.collections)) {
			list = append(list, s.telemetryOf(name, s.collections[name]))
		}
		told["collections"] = list
	}
	return ok(map[string]any{
		"id": "5b1b5c9e-6f0a-4f0e-9d6f-0d8f0a5b7c11", "collections": told,
		"app":      map[string]any{"name": "qdrant", "version": s.options.Version, "startup": s.started.UTC().Format(time.RFC3339Nano)},
		"cluster":  map[string]any{"enabled": s.options.Cluster},
		"requests": map[string]any{"rest": map[string]any{"responses": map[string]any{}}, "grpc": map[string]any{"responses": map[string]any{}}},
	})
}

func (s *Server) telemetryOf(name string, c *collection) map[string]any {
	var list []any
	for i := range segments {
		held := c
		if i > 0 { // all is in the first one
			held = &collection{vectors: c.vectors}
		}
		list = append(list, s.segment(held))
	}
	local := map[string]any{
		"variant_name": "local shard", "optimizations": map[string]any{"status": "ok", "optimizations": map[string]any{"count": 0}, "log": []any{}},
		"segments": list,
	}
	if s.minor >= 14 {
		local["vectors_size_bytes"], local["payloads_size_bytes"] = c.bytes(), 100*len(c.points)
	}
	if s.minor >= 16 {
		byName := map[string]any{}
		for vector := range c.vectors {
			byName[vector] = len(c.points)
		}
		local["num_vectors_by_name"] = byName
	}
	return map[string]any{
		"id": name, "init_time_ms": 2, "config": s.config(c), "transfers": []any{}, "resharding": []any{},
		"shards": []any{map[string]any{"id": 0, "local": local, "remote": []any{}, "replicate_states": map[string]any{strconv.FormatUint(peers[0], 10): "Active"}}},
	}
}

// segment tells of one with its vectors and how often each of their indexes was searched in which way.
func (s *Server) segment(c *collection) map[string]any {
	configs, sizes, searches := map[string]any{}, map[string]any{}, []any{}
	for name, v := range c.vectors {
		configs[name] = map[string]any{
			"size": v.Size, "distance": v.Distance, "storage_type": "Memory", "index": map[string]any{"type": "plain", "options": map[string]any{}}, "quantization_config": nil,
		}
		sizes[name] = map[string]any{"num_vectors": len(c.points), "num_indexed_vectors": len(c.points), "num_deleted_vectors": c.deleted}
		search := map[string]any{"index_name": name}
		for _, way := range []string{
			"unfiltered_plain", "unfiltered_hnsw", "unfiltered_sparse", "unfiltered_exact", "filtered_plain", "filtered_small_cardinality",
			"filtered_large_cardinality", "filtered_exact", "filtered_sparse",
		} {
			search[way] = map[string]any{"count": 0}
		}
		searches = append(searches, search)
	}
	info := map[string]any{
		"segment_type": "indexed", "num_vectors": len(c.points) * len(c.vectors), "num_points": len(c.points), "num_indexed_vectors": len(c.points),
		"num_deleted_vectors": c.deleted, "ram_usage_bytes": 0, "disk_usage_bytes": 0, "is_appendable": true, "index_schema": map[string]any{}, "vector_data": sizes,
	}
	if s.minor >= 12 {
		info["vectors_size_bytes"], info["payloads_size_bytes"] = c.bytes(), 100*len(c.points)
	}
	return map[string]any{
		"info": info, "config": map[string]any{"vector_data": configs, "payload_storage_type": map[string]any{"type": "on_disk"}},
		"vector_index_searches": searches, "payload_field_indices": []any{},
	}
}

// bytes is what the vectors take.
func (c *collection) bytes() int {
	bytes := 0
	for _, v := range c.vectors {
		bytes += 4 * v.Size * len(c.points)
	}
	return bytes
}
