package main

import (
	"slices"

	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

func gauge(name, help string, labels ...string) *metric.Family {
	return &metric.Family{Name: "vectordb_" + name, Help: help, Labels: labels}
}

// The families of the server as a whole.
var (
	live        = gauge("live", "Whether the server's process answers where it asks for no credentials (1) or not (0); absent where it has no such place.")
	ready       = gauge("ready", "Whether the server says that it can serve what it holds (1) or not (0); absent where it does not say. A Qdrant in a cluster goes on saying yes once it did.")
	authOK      = gauge("auth_ok", "Whether the server accepts our credentials (1) or refuses them (0); absent while it does not answer.")
	info        = gauge("info", "Kind and version of the server; the value is 1. Chroma's version is that of its interface.", "system", "version", "commit")
	started     = gauge("start_time_seconds", "When the server was started, in Unix time.")
	collections = gauge("collections", "Collections of the server, those included of which nothing else is told.")
	leftOut     = gauge("collections_left_out", "Collections of which nothing else is told, because of the filters or of the limit.")

	serverFamilies = []*metric.Family{live, ready, authOK, info, started, collections, leftOut}
)

// The families of the nodes.
var (
	clusterEnabled = gauge("cluster_enabled", "Whether the server is part of a cluster (1) or stands alone (0).")
	clusterPeers   = gauge("cluster_peers", "Nodes of the cluster, as the one that is asked knows them.")
	peerUp         = gauge("cluster_peer_up", "Whether the node that is asked reaches this one (1) or not (0).", "peer")
	peerInfo       = gauge("cluster_peer_info", "Version of a node; the value is 1.", "peer", "version")
	peerFailures   = gauge("cluster_peer_send_failures", "Messages to the node that failed since one got through.", "peer")
	clusterLeader  = gauge("cluster_has_leader", "Whether the node that is asked knows a leader (1) or not (0).")
	clusterRole    = gauge("cluster_role_info", "Identity and role of the node that is asked; the value is 1.", "peer", "role")
	clusterWorking = gauge("cluster_consensus_working", "Whether agreement among the nodes goes on (1) or has stopped (0).")
	clusterTerm    = gauge("cluster_term", "Term of the agreement; it rises with each election.")
	clusterCommit  = gauge("cluster_commit_index", "Last operation that the nodes agreed on.")
	clusterPending = gauge("cluster_pending_operations", "Operations that wait for agreement or for being applied.")
	clusterUpdated = gauge("cluster_consensus_last_update_timestamp_seconds", "When the agreement was last brought forward, in Unix time.")

	clusterFamilies = []*metric.Family{
		clusterEnabled, clusterPeers, peerUp, peerInfo, peerFailures, clusterLeader, clusterRole,
		clusterWorking, clusterTerm, clusterCommit, clusterPending, clusterUpdated,
	}
)

// The families of each collection that cost little.
var (
	collectionSuccess       = gauge("collection_success", "Whether all of the collection could be learned (1) or not (0).", "collection")
	collectionStatus        = gauge("collection_status", "State of the collection: 1 for the present one. ok; optimizing: works on it and serves; pending: has work that has not begun; degraded: serves in part, or reads only; error; not_loaded: cannot be searched; unknown: a word we do not know.", "collection", "status")
	collectionObjects       = gauge("collection_objects", "Objects (points, rows, entities) in the collection.", "collection")
	collectionExact         = gauge("collection_objects_exact", "Whether the objects were counted (1), or estimated by the server (0).", "collection")
	collectionVectors       = gauge("collection_vectors", "Vectors in the collection, of all names together, where the server counts them.", "collection")
	collectionIndexed       = gauge("collection_indexed_vectors", "Vectors that are in the index; small segments have none.", "collection")
	collectionDeleted       = gauge("collection_deleted_vectors", "Vectors that are deleted and still take place.", "collection")
	collectionQueue         = gauge("collection_index_queue", "Updates that wait for being indexed.", "collection")
	collectionSegments      = gauge("collection_segments", "Segments of the collection on the node that is asked.", "collection")
	collectionShards        = gauge("collection_shards", "Shards of the collection.", "collection")
	collectionFactor        = gauge("collection_replication_factor", "Copies of each shard that there should be.", "collection")
	collectionReplicas      = gauge("collection_replicas", "Copies of shards by state.", "collection", "state")
	collectionInactive      = gauge("collection_inactive_shards", "Shards without an active copy.", "collection")
	collectionTransfers     = gauge("collection_shard_transfers", "Transfers of shards that are under way.", "collection")
	collectionOptimizations = gauge("collection_optimizations_running", "Optimisations or compactions that are under way.", "collection")
	vectorDimensions        = gauge("vector_dimensions", "Dimensions of the vector.", "collection", "vector")
	vectorInfo              = gauge("vector_info", "How the vector is compared, indexed and kept; the value is 1.", "collection", "vector", "distance", "index", "quantization", "datatype")
	vectorParameter         = gauge("vector_index_parameter", "Setting of the vector's index, such as m or ef_construct.", "collection", "vector", "parameter")

	collectionFamilies = []*metric.Family{
		collectionSuccess, collectionStatus, collectionObjects, collectionExact, collectionVectors, collectionIndexed, collectionDeleted,
		collectionQueue, collectionSegments, collectionShards, collectionFactor, collectionReplicas, collectionInactive,
		collectionTransfers, collectionOptimizations, vectorDimensions, vectorInfo, vectorParameter,
	}
)

// The families of each collection that are dear to ask.
var (
	storageSuccess = gauge("collection_storage_success", "Whether all of the collection's storage could be learned (1) or not (0).", "collection")
	storageSize    = gauge("collection_size_bytes", "Size of parts of the collection: vectors, index, other (payloads, properties, rows).", "collection", "part")
	storageDisk    = gauge("collection_disk_bytes", "Space that the collection takes on disk.", "collection")
	storageMemory  = gauge("collection_memory_bytes", "Space that the collection takes in memory.", "collection")
	snapshots      = gauge("collection_snapshots", "Snapshots or backups of the collection.", "collection")
	snapshotBytes  = gauge("collection_snapshots_bytes", "Size of all snapshots of the collection.", "collection")
	lastSnapshot   = gauge("collection_last_snapshot_timestamp_seconds", "When the newest snapshot was made, in Unix time.", "collection")

	storageFamilies = []*metric.Family{
		storageSuccess, storageSize, storageDisk, storageMemory, snapshots, snapshotBytes, lastSnapshot, collectionVectors, collectionDeleted,
	}
)

// newRow makes a function that adds samples with the same first labels, and leaves out what was not told.
func newRow(out *metric.Batch, labels ...string) func(f *metric.Family, value *float64, more ...string) {
	return func(f *metric.Family, value *float64, more ...string) {
		if value != nil {
			out.Add(f, *value, slices.Concat(labels, more)...)
		}
	}
}

// truth is the value of what was told to be so or not.
func truth(told *bool) *float64 {
	if told == nil {
		return nil
	}
	value := metric.Truth(*told)
	return &value
}
