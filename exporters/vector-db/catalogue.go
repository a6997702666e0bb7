package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/rest"
)

// catalogue lists the collectors in reading order. What they publish is in schema.go.
func catalogue(native []string) collect.Catalogue {
	return collect.Catalogue{
		{
			Name: "server", Help: "Whether the server is alive, ready and lets us in, and what it is.",
			Families: serverFamilies, Ask: asking(askState), Read: readState,
		},
		{
			Name: "cluster", Help: "The nodes and how they agree.",
			Families: clusterFamilies, Ask: asking(askCluster), Read: readCluster,
		},
		{
			Name: "native", Help: "Families of the server's own metrics, those that are chosen, under their own names.",
			Families: nativeFamilies(native), Limit: maxNative, Ask: asking(askNative), Read: nativeReader(native),
		},
		{
			Name: "collections", Help: "State, size and configuration of each collection.", Class: collect.Dear,
			Families: collectionFamilies, Limit: 200_000, Run: runCollections,
		},
		{
			Name: "storage", Help: "What each collection takes in memory and on disk, what is deleted in it, and its snapshots.",
			Class: collect.Slow, Every: 5 * time.Minute, Families: storageFamilies, Limit: 100_000, Run: runStorage,
		},
	}
}

func asking(text string) func(collect.Identity) []collect.Question {
	return func(collect.Identity) []collect.Question { return []collect.Question{{Text: text}} }
}

// told is what a question brought.
func told[T any](from collect.Answer) T { return from.(answer).value.(T) }

// readState is told of every failure as well: what fails is what it shows.
func readState(_ int, from collect.Answer, out *metric.Batch) error {
	s := told[state](from)
	add := newRow(out)
	add(live, judged(s.live.err))
	add(ready, judged(s.ready.err))
	if refused(s.list.err) || s.list.err == nil {
		out.Add(authOK, metric.Truth(s.list.err == nil))
	}
	if s.identify.err == nil {
		server := s.identify.value.(backend.Server)
		out.Add(info, 1, s.system, server.Version, server.Commit)
		add(started, server.Started)
	}
	if s.list.err == nil {
		total := len(s.list.value.([]string))
		out.Add(collections, float64(total))
		out.Add(leftOut, float64(total-s.wanted))
	}
	return nil
}

// judged is the value of a question whose failure says no. A server that was not reached, or that has no such place,
// has not said anything.
func judged(err error) *float64 {
	switch kind := fault.Of(err); {
	case kind == fault.None:
		return backend.Some(1)
	case kind == fault.Unsupported, refused(err), rest.Status(err) == 0 && kind != fault.Busy:
		return nil
	}
	return backend.Some(0)
}

func readCluster(_ int, from collect.Answer, out *metric.Batch) error {
	c := told[*backend.Cluster](from)
	out.Add(clusterEnabled, metric.Truth(c.Enabled))
	if !c.Enabled {
		return nil
	}
	add := newRow(out)
	add(clusterLeader, truth(c.HasLeader))
	add(clusterWorking, truth(c.Working))
	add(clusterTerm, c.Term)
	add(clusterCommit, c.Commit)
	add(clusterPending, c.Pending)
	add(clusterUpdated, c.Updated)
	if c.Self != "" {
		out.Add(clusterRole, 1, c.Self, c.Role)
	}
	out.Add(clusterPeers, float64(len(c.Peers)))
	for _, peer := range c.Peers {
		add(peerUp, truth(peer.Up), peer.ID)
		add(peerFailures, peer.Failures, peer.ID)
		if peer.Version != "" {
			out.Add(peerInfo, 1, peer.ID, peer.Version)
		}
	}
	return nil
}

// runCollections is the second wave: what it asks for, the first has listed.
func runCollections(ctx context.Context, on collect.Conn, out *metric.Batch) error {
	c := on.(*conn)
	c.meter.begin()
	names, err := c.wanted(ctx)
	if err != nil {
		return err
	}
	described, err := c.session.Describe(ctx, names)
	if err != nil {
		return err
	}
	for i := range described {
		addCollection(out, &described[i])
	}
	return nil
}

func addCollection(out *metric.Batch, c *backend.Collection) {
	add := newRow(out, c.Name)
	out.Add(collectionSuccess, metric.Truth(c.Err == nil), c.Name)
	if c.Status != "" {
		for _, status := range backend.Statuses() {
			out.Add(collectionStatus, metric.Truth(status == c.Status), c.Name, string(status))
		}
	}
	if add(collectionObjects, c.Objects); c.Objects != nil {
		out.Add(collectionExact, metric.Truth(c.Exact), c.Name)
	}
	add(collectionVectors, c.Vectors)
	add(collectionIndexed, c.Indexed)
	add(collectionDeleted, c.Deleted)
	add(collectionQueue, c.Queue)
	add(collectionSegments, c.Segments)
	add(collectionShards, c.Shards)
	add(collectionFactor, c.ReplicationFactor)
	if c.Replicas != nil {
		for _, state := range backend.ReplicaStates() {
			out.Add(collectionReplicas, c.Replicas[state], c.Name, string(state))
		}
	}
	add(collectionInactive, c.ShardsInactive)
	add(collectionTransfers, c.Transfers)
	add(collectionOptimizations, c.Optimizations)
	for _, space := range c.Spaces {
		add(vectorDimensions, space.Dimensions, space.Vector)
		out.Add(vectorInfo, 1, c.Name, space.Vector, string(space.Distance), space.Index, space.Quantized, space.Datatype)
		for _, name := range slices.Sorted(maps.Keys(space.Parameters)) {
			out.Add(vectorParameter, space.Parameters[name], c.Name, space.Vector, name)
		}
	}
}

func runStorage(ctx context.Context, on collect.Conn, out *metric.Batch) error {
	c := on.(*conn)
	c.meter.begin()
	names, err := c.wanted(ctx)
	if err != nil {
		return err
	}
	stored, err := c.session.Storage(ctx, names)
	if err != nil {
		return err
	}
	for _, s := range stored {
		add := newRow(out, s.Name)
		out.Add(storageSuccess, metric.Truth(s.Err == nil), s.Name)
		add(storageSize, s.VectorBytes, "vectors")
		add(storageSize, s.IndexBytes, "index")
		add(storageSize, s.OtherBytes, "other")
		add(storageDisk, s.Disk)
		add(storageMemory, s.Memory)
		add(snapshots, s.Snapshots)
		add(snapshotBytes, s.SnapshotBytes)
		add(lastSnapshot, s.LastSnapshot)
		add(collectionVectors, s.Vectors)
		add(collectionDeleted, s.Deleted)
	}
	return nil
}
