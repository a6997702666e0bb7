package backend

// Server is what a server says of itself.
type Server struct {
	Version string // as it writes it: "1.7.4"; "" where it does not tell
	Commit  string
	Started *float64 // Unix seconds
}

// Status is how a collection is. The words are ours; a driver says beside its mapping which of the server's mean them.
type Status string

// The states. Unknown is a word of the server's that we do not know.
const (
	OK         Status = "ok"
	Optimizing Status = "optimizing" // works on it and serves meanwhile
	Pending    Status = "pending"    // has work to do that has not begun
	Degraded   Status = "degraded"   // serves in part, or reads only
	Failed     Status = "error"
	NotLoaded  Status = "not_loaded" // has to be loaded before it can be searched
	Unknown    Status = "unknown"
)

// Statuses lists the states, for metrics that show each with 0 or 1.
func Statuses() []Status {
	return []Status{OK, Optimizing, Pending, Degraded, Failed, NotLoaded, Unknown}
}

// Collection is what is cheap to ask. Counts are the server's estimates unless Exact says otherwise.
type Collection struct {
	Name string
	Err  error // why not all of it could be learned

	Status  Status // "" where there is no such thing
	Objects *float64
	Exact   bool // Objects was counted, not estimated
	Vectors *float64
	Indexed *float64 // vectors that are in the index
	Deleted *float64 // vectors that are still there but deleted
	Queue   *float64 // updates that wait to be indexed

	Segments          *float64
	Shards            *float64
	ReplicationFactor *float64
	Replicas          map[ReplicaState]float64 // nil where not told
	ShardsInactive    *float64                 // shards without an active replica
	Transfers         *float64                 // of shards, under way
	Optimizations     *float64                 // under way

	Spaces []Space
}

// Space is one named vector of a collection.
type Space struct {
	Vector     string // its name, "" for the only unnamed one
	Dimensions *float64
	Distance   Distance           // "" where not told
	Index      string             // in lower case, in the server's word: "hnsw", "flat", "ivfflat"
	Quantized  string             // the kind, such as "scalar", or "none"; "" where not told
	Datatype   string             // "float32"; "" where not told
	Parameters map[string]float64 // of the index: m, ef_construct, ef_search, lists, probes
}

// Distance is how vectors are compared.
type Distance string

// The distances that recall can compute by itself; others keep the server's word in lower case.
const (
	Cosine    Distance = "cosine"
	Euclidean Distance = "l2"
	Dot       Distance = "dot"
	Manhattan Distance = "l1"
)

// ReplicaState is how a copy of a shard is.
type ReplicaState string

// The states of replicas. OtherState is a word of the server's that we do not know.
const (
	Active       ReplicaState = "active"
	Dead         ReplicaState = "dead"
	Recovering   ReplicaState = "recovering" // is being copied or brought up to date
	Initializing ReplicaState = "initializing"
	Listening    ReplicaState = "listening" // takes writes and is not read
	OtherState   ReplicaState = "other"
)

// ReplicaStates lists the states.
func ReplicaStates() []ReplicaState {
	return []ReplicaState{Active, Dead, Recovering, Initializing, Listening, OtherState}
}

// Storage is what is dear to ask of a collection. Sizes are in bytes.
type Storage struct {
	Name string
	Err  error // why not all of it could be learned

	Disk, Memory            *float64
	VectorBytes, OtherBytes *float64 // of vectors; of payloads, properties, rows
	IndexBytes              *float64
	Vectors, Deleted        *float64 // as in Collection, where only this way tells
	Snapshots               *float64 // how many there are
	SnapshotBytes           *float64
	LastSnapshot            *float64 // Unix seconds
}

// Cluster is how the nodes stand to each other, as the node that we asked sees it.
type Cluster struct {
	Enabled   bool
	Self      string // the ID of the node
	Role      string // in lower case: leader, follower, candidate
	HasLeader *bool
	Working   *bool // agreement among the nodes goes on
	Term      *float64
	Commit    *float64
	Pending   *float64 // operations that wait for agreement
	Updated   *float64 // Unix seconds of the last agreement
	Peers     []Peer   // all nodes that there are, this one among them
}

// Peer is a node.
type Peer struct {
	ID       string
	Up       *bool
	Version  string
	Failures *float64 // messages to it that failed
}

// Some gives a value that was told.
func Some(value float64) *float64 { return &value }
