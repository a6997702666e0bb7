// Package backend is what the exporter asks of every vector database, in words that are nobody's own.
//
// A package beside this one for each kind of server implements Session and maps the server's words to these. What a
// server does not tell is absent: nil or "", never 0. Errors carry a fault.Kind, given where they leave the wire.
package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Endpoint is where a server is and how to speak with it. Credentials are of this endpoint alone.
type Endpoint struct {
	URL      *url.URL // without credentials; its path goes before all paths, for servers behind a proxy
	User     string   // with Password, for basic authentication, and for those that know accounts
	Password string
	Key      string // an API key or token, sent in the way of the kind of server
	Bearer   string // a token for Authorization: Bearer, also where the server knows no keys but a proxy does
	Header   map[string]string
	TLS      *tls.Config // nil: the system's authorities
	Tenant   string      // Chroma
	Database string      // Chroma, Milvus; for PostgreSQL the path of the URL counts
	Native   *url.URL    // of the server's own metrics; nil for the kind's usual place

	// Patience is how long one question among many may take: one that stalls is not to cost the others.
	Patience time.Duration

	// Connections is how many there are at most; 0 for the usual number. Where there are thousands of servers, few are kept.
	Connections int

	// Dial opens every connection, counts and limits what passes over it, and refuses addresses that are not allowed.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Open begins a session. It need not speak with the server.
type Open func(ctx context.Context, to Endpoint) (Session, error)

// Session is a server as a target's kept connections see it. Its methods may be called at the same time from several
// goroutines, and end when their context does. One that the kind of server lacks fails with fault.Unsupported, for
// which Lacking can be embedded.
type Session interface {
	// Live asks whether the process answers, where it says so without credentials.
	Live(ctx context.Context) error
	// Ready asks whether the server can serve what it holds. One that says no fails with fault.Busy.
	Ready(ctx context.Context) error
	// Identify asks what the server is.
	Identify(ctx context.Context) (Server, error)
	// List names all collections, in no order. It is the authenticated read by which a server is judged to be up.
	List(ctx context.Context) ([]string, error)
	// Cluster tells how the nodes stand to each other.
	Cluster(ctx context.Context) (*Cluster, error)
	// Describe tells of collections what is cheap to ask. One that is gone by now is left out; one that cannot be
	// described has Err set, beside what could be learned of it. The order is free.
	Describe(ctx context.Context, names []string) ([]Collection, error)
	// Storage tells of collections what is dear to ask, with the rules of Describe.
	Storage(ctx context.Context, names []string) ([]Storage, error)
	// Native hands the server's own metrics, in the text format, to read.
	Native(ctx context.Context, read func(io.Reader) error) error

	Searcher
	Keeper

	// Close ends the connections without waiting for the server.
	Close()
}

// Place is where vectors are: a collection, and the name of the vector in it, "" for the only unnamed one.
type Place struct{ Collection, Vector string }

// Point is a stored vector. The form of an ID is the server's, except that those a caller makes up are UUIDs in
// lower case with hyphens, which every kind of server has to take.
type Point struct {
	ID     string
	Vector []float32
}

// Hit is a point that a search found, and how far it is from the vector that was asked for: 1 - cosine for Cosine,
// the plain (not squared) distance for Euclidean and Manhattan, the negative product for Dot. Smaller is nearer.
type Hit struct {
	ID       string
	Distance float64
}

// Found is the answer of an approximate search, nearest first. By tells how the server says it searched.
type Found struct {
	Hits []Hit
	By   string // "index", "scan", or "" where it does not say
}

// Searcher is what recall needs. All of it only reads.
type Searcher interface {
	// Count gives the exact number of points.
	Count(ctx context.Context, in Place) (int64, error)
	// Sample gives up to n stored vectors, as much at random as the server allows.
	Sample(ctx context.Context, in Place, n int) ([]Point, error)
	// Search asks as users do, with the collection's own settings.
	Search(ctx context.Context, in Place, vector []float32, k int) (Found, error)
	// Exact asks the server to compare with every vector; fault.Unsupported where it cannot be told to.
	Exact(ctx context.Context, in Place, vector []float32, k int) ([]Hit, error)
	// Scan hands out all points, page by page, until there are no more or an error of page, which it returns.
	Scan(ctx context.Context, in Place, page func([]Point) error) error
}

// Keeper is what the canary needs: a collection of its own. Its mark is set in the same request that creates it, so
// that there is no moment at which ours could be mistaken for somebody else's, or the other way round.
type Keeper interface {
	// Create makes a collection of vectors compared by cosine, that carries the mark: a word of lower case letters and
	// underscores, at most 40 bytes. It fails with ErrExists where there is one of that name.
	Create(ctx context.Context, name, mark string, dimensions int) (Place, error)
	// Marked tells whether a collection carries the mark. It fails with ErrGone where there is none of that name.
	Marked(ctx context.Context, name, mark string) (in Place, own bool, err error)
	// Write stores points and returns when the server has them for good.
	Write(ctx context.Context, in Place, points []Point) error
	// Read gives a point by its ID, with ErrGone where there is none.
	Read(ctx context.Context, in Place, id string) (Point, error)
	// Delete removes points by their IDs; those that are not there are no error.
	Delete(ctx context.Context, in Place, ids []string) error
	// Drop removes a collection; one that is not there is no error.
	Drop(ctx context.Context, name string) error
}

// Both come wrapped in a fault.Error that gives their kind.
var (
	ErrGone   = errors.New("there is no such collection or point")
	ErrExists = errors.New("there is a collection of that name")
)

// Lacking is embedded by sessions to say of what they do not implement that the kind of server lacks it.
type Lacking struct{}

func lacking() error { return fault.New(fault.Unsupported, "this kind of server has no such thing") }

// Live says that the kind of server has no such thing, as all methods here do.
func (Lacking) Live(context.Context) error { return lacking() }

// Ready is lacking.
func (Lacking) Ready(context.Context) error { return lacking() }

// Cluster is lacking.
func (Lacking) Cluster(context.Context) (*Cluster, error) { return nil, lacking() }

// Storage is lacking.
func (Lacking) Storage(context.Context, []string) ([]Storage, error) { return nil, lacking() }

// Native is lacking.
func (Lacking) Native(context.Context, func(io.Reader) error) error { return lacking() }

// Exact is lacking.
func (Lacking) Exact(context.Context, Place, []float32, int) ([]Hit, error) { return nil, lacking() }
