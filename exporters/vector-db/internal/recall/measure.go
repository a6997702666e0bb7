package recall

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// fewest are the queries without which nothing is said.
const fewest = 5

// Method is how the exact answers were learned.
type Method string

// The methods.
const (
	ByServer Method = "server" // it was told to compare with all
	ByScan   Method = "scan"   // all vectors were read and compared here
)

// Measurement is what one look at a place brought.
type Measurement struct {
	Recall, Lower, Upper float64  // the mean over the queries, and the ends of its interval
	Worst                float64  // of a single query
	SelfHit              *float64 // share of queries that found the vector itself; nil where it need not be the nearest
	Queries              int
	Vectors              int64 // that there were to be found
	Method               Method
	Exact, Search        time.Duration // mean, of one query; Exact is 0 where vectors were compared here

	vector string
}

// site is a place with what has to be known to measure there.
type site struct {
	backend.Place
	space   backend.Space
	rounded bool // the server compares rounded vectors
}

// measure does one measurement within its time.
func (m *Monitor) measure(parent context.Context, s backend.Session, place backend.Place) (*Measurement, error) {
	ctx, cancel := context.WithTimeout(parent, m.settings.MaxTime)
	defer cancel()
	measured, err := m.measureAt(ctx, s, place)
	if err != nil && ctx.Err() != nil && parent.Err() == nil {
		err = skip{OverBudget}
	}
	return measured, err
}

func (m *Monitor) measureAt(ctx context.Context, s backend.Session, place backend.Place) (*Measurement, error) {
	at, err := survey(ctx, s, place)
	if err != nil {
		return nil, err
	}
	count, err := s.Count(ctx, at.Place)
	switch {
	case err != nil:
		return nil, err
	case count <= int64(m.settings.K):
		return nil, skip{TooSmall}
	case count > m.settings.MaxVectors:
		return nil, skip{TooLarge}
	}
	points, err := s.Sample(ctx, at.Place, m.settings.Queries)
	if err != nil {
		return nil, err
	}
	if points = usable(points); len(points) < min(fewest, m.settings.Queries) {
		return nil, skip{TooSmall}
	}
	q := queries{settings: m.settings, session: s, site: at, count: count, points: points}
	if err := q.ask(ctx); err != nil {
		return nil, err
	}
	return q.conclude()
}

// survey finds out what is searched, and whether there is a sense in measuring it now.
func survey(ctx context.Context, s backend.Session, place backend.Place) (site, error) {
	described, err := s.Describe(ctx, []string{place.Collection})
	if err != nil {
		return site{}, err
	}
	if len(described) == 0 {
		return site{}, &fault.Error{Kind: fault.Config, Op: "measuring", Err: backend.ErrGone}
	}
	c := described[0]
	if c.Err != nil {
		return site{}, c.Err
	}
	at := slices.IndexFunc(c.Spaces, func(space backend.Space) bool { return space.Vector == place.Vector })
	if at < 0 && place.Vector == "" && len(c.Spaces) == 1 {
		at = 0
	}
	if at < 0 {
		return site{}, fault.New(fault.Config, "the collection has no such vector")
	}
	space := c.Spaces[at]
	switch {
	case slices.Contains([]backend.Status{backend.Optimizing, backend.Pending, backend.Failed, backend.NotLoaded}, c.Status):
		return site{}, skip{NotReady}
	case mostly(c.Indexed, c.Vectors, c.Objects):
		return site{}, skip{NotIndexed}
	}
	rounded := space.Quantized != "" && space.Quantized != "none"
	return site{backend.Place{Collection: place.Collection, Vector: space.Vector}, space, rounded}, nil
}

// mostly tells whether most vectors are known to be in no index.
func mostly(indexed, vectors, objects *float64) bool {
	if vectors == nil {
		vectors = objects
	}
	return indexed != nil && vectors != nil && *indexed < *vectors/2
}

// usable drops vectors that cannot be compared with: those of length 0, or of what is no number.
func usable(points []backend.Point) []backend.Point {
	return slices.DeleteFunc(points, func(p backend.Point) bool {
		var square float64
		for _, x := range p.Vector {
			square += float64(x) * float64(x)
		}
		return square == 0 || math.IsNaN(square) || math.IsInf(square, 0)
	})
}

// queries is one measurement under way.
type queries struct {
	settings Settings
	session  backend.Session
	site     site
	count    int64
	points   []backend.Point

	method        Method
	scores        []float64
	self          int
	scanned       int // searches that the server says it answered without its index
	exact, search time.Duration
}

// ask asks all queries. Exact and approximate searches for one vector follow each other, so that little is written
// between them.
func (q *queries) ask(ctx context.Context) error {
	begin := time.Now()
	truth, err := q.byServer(ctx, q.points[0])
	if fault.Of(err) == fault.Unsupported {
		return q.askAfterScan(ctx)
	}
	if err != nil {
		return err
	}
	q.method = ByServer
	if err := q.compare(ctx, q.points[0], truth); err != nil {
		return err
	}
	affordable := int((q.settings.MaxTime - time.Since(begin)) / max(time.Since(begin), time.Microsecond))
	if affordable+1 < min(fewest, len(q.points)) {
		return skip{OverBudget}
	}
	for _, p := range q.points[1:min(len(q.points), affordable+1)] {
		truth, err := q.byServer(ctx, p)
		if err == nil {
			err = q.compare(ctx, p, truth)
		}
		if err != nil && ctx.Err() != nil && len(q.scores) >= fewest {
			return nil // what has been asked is enough
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// byServer asks for one more than is wanted: the vector itself is among them.
func (q *queries) byServer(ctx context.Context, p backend.Point) ([]backend.Hit, error) {
	begin := time.Now()
	hits, err := q.session.Exact(ctx, q.site.Place, p.Vector, q.settings.K+1)
	q.exact += time.Since(begin)
	return hits, err
}

// compare searches for a vector and sets what is found against what there is.
func (q *queries) compare(ctx context.Context, p backend.Point, truth []backend.Hit) error {
	begin := time.Now()
	found, err := q.session.Search(ctx, q.site.Place, p.Vector, q.settings.K+1)
	if err != nil {
		return err
	}
	q.search += time.Since(begin)
	if found.By == "scan" {
		q.scanned++
	}
	if selfHit(p.ID, found.Hits) {
		q.self++
	}
	truth = without(p.ID, truth, q.settings.K)
	if got := score(truth, without(p.ID, found.Hits, q.settings.K), q.site.rounded); !math.IsNaN(got) {
		q.scores = append(q.scores, got)
	}
	return nil
}

// askAfterScan reads all vectors and compares them here.
func (q *queries) askAfterScan(ctx context.Context) error {
	q.method, q.exact = ByScan, 0
	distance, ok := distances[q.site.space.Distance]
	switch {
	case !ok:
		return skip{Incomparable}
	case q.count*int64(len(q.points[0].Vector))*4 > q.settings.MaxBytes:
		return skip{TooLarge}
	}
	all := make([]nearest, len(q.points))
	for i := range all {
		all[i].k = q.settings.K + 1
	}
	seen := int64(0)
	err := q.session.Scan(ctx, q.site.Place, func(page []backend.Point) error {
		if seen += int64(len(page)); seen > 2*q.count+int64(fewest) { // it grows faster than it is read
			return skip{TooLarge}
		}
		for _, p := range page {
			for i := range all {
				all[i].add(backend.Hit{ID: p.ID, Distance: distance(q.points[i].Vector, p.Vector)})
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	for i, p := range q.points {
		if err := q.compare(ctx, p, all[i].hits); err != nil {
			return err
		}
	}
	return nil
}

// conclude makes one statement of the scores.
func (q *queries) conclude() (*Measurement, error) {
	n := len(q.scores)
	switch {
	case n == 0:
		return nil, skip{TooSmall}
	case q.scanned > n/2:
		return nil, skip{NotIndexed}
	}
	var total float64
	for _, one := range q.scores {
		total += one
	}
	measured := &Measurement{
		Recall: total / float64(n), Worst: slices.Min(q.scores), Queries: n, Vectors: q.count, Method: q.method,
		Exact: q.exact / time.Duration(n), Search: q.search / time.Duration(n), vector: q.site.Vector,
	}
	measured.Lower, measured.Upper = interval(measured.Recall, n)
	if q.site.space.Distance != backend.Dot { // by which a longer vector is nearer than the same
		share := float64(q.self) / float64(n)
		measured.SelfHit = &share
	}
	return measured, nil
}

// lookForSelf searches for sampled vectors and gives the share of those that were found.
func (m *Monitor) lookForSelf(ctx context.Context, s backend.Session, place backend.Place) (*float64, error) {
	at, err := survey(ctx, s, place)
	if err != nil || at.space.Distance == backend.Dot {
		return nil, err
	}
	points, err := s.Sample(ctx, at.Place, m.settings.Queries)
	if points = usable(points); err != nil || len(points) == 0 {
		return nil, err
	}
	hits := 0.0
	for _, p := range points {
		found, err := s.Search(ctx, at.Place, p.Vector, m.settings.K)
		if err != nil {
			return nil, err
		}
		if selfHit(p.ID, found.Hits) {
			hits++
		}
	}
	return backend.Some(hits / float64(len(points))), nil
}
