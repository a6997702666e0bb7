package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/canary"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/recall"
)

// quality is what is done beside the scrapes of a target: nothing, unless it is asked for.
type quality struct {
	Canary *canarySettings `yaml:"canary" help:"Lets the exporter write, read, find and delete a vector of its own; off without it."`
	Recall *recallSettings `yaml:"recall" help:"Lets the exporter measure how many of the nearest vectors searches find; off without it."`
}

type canarySettings struct {
	Every      time.Duration `yaml:"every" help:"How often."`
	Collection string        `yaml:"collection" help:"Collection of its own, which it makes."`
}

type recallSettings struct {
	Collections []place       `yaml:"collections" help:"What is measured."`
	Every       time.Duration `yaml:"every" help:"How often."`
	K           int           `yaml:"k" help:"How many of the nearest vectors are compared."`
	Queries     int           `yaml:"queries" help:"How many stored vectors are searched for."`
	MaxVectors  int64         `yaml:"max_vectors" help:"Most vectors of a collection that is measured."`
	MaxBytes    int64         `yaml:"max_bytes" help:"Most bytes of vectors that the exporter reads to compare them itself."`
	MaxTime     time.Duration `yaml:"max_time" help:"Longest time that one measurement may take."`
}

// place is a collection, and one of its vectors where it has several.
type place struct {
	Name   string `yaml:"name" help:"Name of the collection."`
	Vector string `yaml:"vector" help:"Which of its vectors, where it has several."`
}

// Bounds on what may be asked for.
const (
	soonest      = time.Second
	mostQueries  = 1000
	mostK        = 100
	roundPause   = 5 * time.Second // before a session that failed is opened again, at least
	workLimit    = 2 * time.Minute // of one round, recall's own limits aside
	canaryBytes  = 16 << 20        // that a server may send in a round
	textPerBytes = 8               // of JSON or SQL for 4 bytes of a vector, and more
)

// settings completes what was configured, and checks it.
func (c canarySettings) settings() (canarySettings, error) {
	c.Every, c.Collection = cmp.Or(c.Every, canary.Every), cmp.Or(c.Collection, canary.Collection)
	if c.Every < soonest {
		return c, fmt.Errorf("canary: every must be %s or more", soonest)
	}
	return c, nil
}

func (r recallSettings) settings() (recall.Settings, error) {
	s := recall.Defaults()
	for _, p := range r.Collections {
		s.Places = append(s.Places, backend.Place{Collection: p.Name, Vector: p.Vector})
	}
	s.Every, s.MaxTime = cmp.Or(r.Every, s.Every), cmp.Or(r.MaxTime, s.MaxTime)
	s.K, s.Queries = cmp.Or(r.K, s.K), cmp.Or(r.Queries, s.Queries)
	s.MaxVectors, s.MaxBytes = cmp.Or(r.MaxVectors, s.MaxVectors), cmp.Or(r.MaxBytes, s.MaxBytes)
	switch {
	case len(s.Places) == 0:
		return s, errors.New("recall: collections must name at least one")
	case s.Every < soonest || s.MaxTime < 0 || s.MaxTime > workLimit:
		return s, fmt.Errorf("recall: every must be %s or more, and max_time at most %s", soonest, workLimit)
	case s.K < 1 || s.K > mostK || s.Queries < 1 || s.Queries > mostQueries:
		return s, fmt.Errorf("recall: k must be 1 to %d, and queries 1 to %d", mostK, mostQueries)
	case s.MaxVectors < 1 || s.MaxBytes < 1:
		return s, errors.New("recall: max_vectors and max_bytes must be above 0")
	}
	return s, nil
}

// everyQuality has all of it, for the list of collectors.
func everyQuality() quality {
	return quality{Canary: &canarySettings{}, Recall: &recallSettings{Collections: []place{{}}}}
}

// key tells one from another.
func (q quality) key() string {
	text, err := yaml.Marshal(q)
	return fmt.Sprint(string(text), err)
}

// collectors gives those that tell of the work, which they do with sessions of the driver's.
func (q quality) collectors(d *driver) (collect.Catalogue, error) {
	var all collect.Catalogue
	if q.Canary != nil {
		s, err := q.Canary.settings()
		if err != nil {
			return nil, err
		}
		d.canary = canary.New(s.Collection)
		all = append(all, canaryCollector(d, s.Every))
	}
	if q.Recall != nil {
		s, err := q.Recall.settings()
		if err != nil {
			return nil, err
		}
		all = append(all, recallCollector(d, recall.New(s), s))
	}
	return all, nil
}

// canaryCollector tells how the driver's canary fares.
func canaryCollector(d *driver, every time.Duration) *collect.Collector {
	return &collect.Collector{
		Name: "canary", Help: "Whether a vector of our own can be written, read, found and deleted, and how fast. It writes: only where a target's canary is configured.",
		Families: canary.Families(),
		Run: func(_ context.Context, _ collect.Conn, out *metric.Batch) error {
			d.canary.Publish(out)
			return nil
		},
		Background: func(ctx context.Context) { d.regularly(ctx, every, canaryBytes, d.canary) },
	}
}

// recallCollector tells what a monitor has measured.
func recallCollector(d *driver, m *recall.Monitor, s recall.Settings) *collect.Collector {
	return &collect.Collector{
		Name: "recall", Help: "How many of the nearest vectors approximate searches find. It reads many vectors: only where a target's recall is configured.",
		Families: recall.Families(),
		Run: func(_ context.Context, _ collect.Conn, out *metric.Batch) error {
			m.Publish(out)
			return nil
		},
		Background: func(ctx context.Context) {
			d.regularly(ctx, s.Interval(), canaryBytes+textPerBytes*s.MaxBytes, m)
		},
	}
}

// worker does rounds of work on a session. A round that fails ends the session; a session that cannot be opened is the
// worker's failure.
type worker interface {
	Round(ctx context.Context, session backend.Session) error
	Failed(err error)
}

// regularly has a worker do its rounds until the context ends. In each the server may send so many bytes.
func (d *driver) regularly(ctx context.Context, every time.Duration, bytes int64, w worker) {
	meter := &collect.Meter{}
	var session backend.Session
	for ctx.Err() == nil {
		begin := time.Now()
		meter.Allow(bytes)
		session = d.round(ctx, session, meter, w)
		pause(ctx, max(every-time.Since(begin), min(every, roundPause)))
	}
	if session != nil {
		session.Close()
	}
}

// round does one round and gives the session for the next, nil where one has to be opened.
func (d *driver) round(ctx context.Context, session backend.Session, meter *collect.Meter, w worker) backend.Session {
	ctx, cancel := context.WithTimeout(ctx, workLimit)
	defer cancel()
	if session == nil {
		var err error
		if session, err = d.session(ctx, meter); err != nil {
			w.Failed(err)
			return nil
		}
	}
	if err := w.Round(ctx, session); err != nil {
		session.Close()
		return nil
	}
	return session
}

// session opens one for work beside the scrapes, with the secrets that hold now.
func (d *driver) session(ctx context.Context, meter *collect.Meter) (backend.Session, error) {
	to, err := d.endpoint()
	if err != nil {
		return nil, fault.Wrap(fault.Config, "settings", err)
	}
	dialer := net.Dialer{Control: d.guard}
	to.Patience = workLimit
	to.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return meter.Wrap(conn), nil
	}
	kind := d.kind
	if kind == nil {
		if kind, err = detect(ctx, to); err != nil {
			return nil, err
		}
	}
	return kind.open(ctx, to)
}

func pause(ctx context.Context, long time.Duration) {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
