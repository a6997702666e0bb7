package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/milvus"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/canary"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/recall"
)

func TestQualityErrors(t *testing.T) {
	for text, want := range map[string]string{
		"canary: {every: 1ms}": "every must be 1s or more",
		"canary: {frob: 1}":    `unknown key "frob"`,
		"recall: {}":           "collections must name at least one",
		"recall: {collections: [{name: a}], every: -1s}":      "every must be 1s or more",
		"recall: {collections: [{name: a}], max_time: 1h}":    "max_time at most",
		"recall: {collections: [{name: a}], k: 1000}":         "k must be 1 to 100",
		"recall: {collections: [{name: a}], queries: -1}":     "queries 1 to 1000",
		"recall: {collections: [{name: a}], max_vectors: -1}": "must be above 0",
	} {
		if _, err := load(t, written(t, "targets: [{url: 'http://h:1', "+text+"}]")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
	if _, err := load(t, written(t, "auth_modules: {m: {targets: ['*'], canary: {}}}")); err == nil {
		t.Error("servers of /probe can have a canary")
	}
}

// collectorsOf gives the names of a target's collectors.
func collectorsOf(setup *app.Setup) []string {
	var names []string
	for _, c := range setup.Targets[0].Collectors {
		names = append(names, c.Name)
	}
	return names
}

func TestQualityIsOffUnlessAskedFor(t *testing.T) {
	both := []string{"canary", "recall"}
	setup, err := load(t, "--vectordb.url=http://h:1")
	if err != nil || slices.ContainsFunc(collectorsOf(setup), func(name string) bool { return slices.Contains(both, name) }) {
		t.Errorf("%v, %v", collectorsOf(setup), err)
	}
	if probes := setup.Targets[0].Driver.Probes(); len(probes) != 2 {
		t.Errorf("%d steps of the health check", len(probes))
	}
	setup, err = load(t, "--vectordb.url=http://h:1", "--canary", "--recall.collections=a, b")
	if err != nil || !slices.Contains(collectorsOf(setup), "canary") || !slices.Contains(collectorsOf(setup), "recall") {
		t.Errorf("%v, %v", collectorsOf(setup), err)
	}
	t.Setenv("VECTORDB_USER", "reader")
	t.Setenv("VECTORDB_PASSWORD", "word")
	setup, err = load(t, "--vectordb.url=postgres://h:1/d")
	if err != nil {
		t.Fatal(err)
	}
	if to, err := setup.Targets[0].Driver.(*driver).endpoint(); err != nil || to.User != "reader" || to.Password != "word" {
		t.Errorf("%q, %v", to.User, err)
	}
}

// rounds is a worker that does nothing, or fails.
type rounds struct {
	done, failed atomic.Int32
	err          error
	sessions     map[backend.Session]bool
}

func (r *rounds) Round(ctx context.Context, s backend.Session) error {
	r.done.Add(1)
	r.sessions[s] = true
	if _, err := s.List(ctx); err != nil {
		return err
	}
	return r.err
}

func (r *rounds) Failed(error) { r.failed.Add(1) }

// Rounds go on at their pace on one session, on a new one after a failure, and end with their context.
func TestRegularly(t *testing.T) {
	server := serve(t, qdrant.New(qdrant.Options{Version: "1.7.4"}))
	for _, c := range []struct {
		name         string
		url          string
		err          error
		sessions     int
		done, failed int32
		every, lasts time.Duration
	}{
		{"good ones", server.URL, nil, 1, 3, 0, 50 * time.Millisecond, 125 * time.Millisecond},
		{"bad ones", server.URL, context.DeadlineExceeded, 3, 3, 0, 50 * time.Millisecond, 125 * time.Millisecond},
		{"no server", "http://127.0.0.1:1", nil, 0, 0, 3, 50 * time.Millisecond, 125 * time.Millisecond},
	} {
		setup, err := load(t, "--vectordb.url="+c.url)
		if err != nil {
			t.Fatal(err)
		}
		r := &rounds{err: c.err, sessions: map[backend.Session]bool{}}
		ctx, cancel := context.WithTimeout(t.Context(), c.lasts)
		setup.Targets[0].Driver.(*driver).regularly(ctx, c.every, canaryBytes, r)
		cancel()
		if r.done.Load() < c.done-1 || r.done.Load() > c.done || r.failed.Load() < c.failed-1 || r.failed.Load() > c.failed || len(r.sessions) < c.sessions-1 || len(r.sessions) > c.sessions {
			t.Errorf("%s: %d rounds, %d failed, %d sessions", c.name, r.done.Load(), r.failed.Load(), len(r.sessions))
		}
	}
}

// Canary and recall work through all of the driver with the kinds of server that only fakes of can be had.
func TestQualityOnFakes(t *testing.T) {
	for name, handler := range map[string]http.Handler{
		"Qdrant 1.7.4":  qdrant.New(qdrant.Options{Version: "1.7.4"}),
		"Qdrant 1.17.0": qdrant.New(qdrant.Options{Version: "1.17.0"}),
		"Milvus":        milvus.New(milvus.Options{}),
	} {
		t.Run(name, func(t *testing.T) {
			setup, err := load(t, "--vectordb.url="+serve(t, handler).URL)
			if err != nil {
				t.Fatal(err)
			}
			d := setup.Targets[0].Driver.(*driver)
			session, err := d.session(t.Context(), &collect.Meter{})
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			one := canary.New(canary.Collection)
			for range 2 {
				if err := one.Round(t.Context(), session); err != nil {
					t.Fatal(err)
				}
			}
			in, err := session.Create(t.Context(), "docs", "somebody_else", 8)
			if err == nil {
				err = session.Write(t.Context(), in, backendtest.Points(100, 8))
			}
			if err != nil {
				t.Fatal(err)
			}
			s := recall.Defaults()
			s.Places = []backend.Place{in}
			m := recall.New(s)
			if err := m.Round(t.Context(), session); err != nil {
				t.Fatal(err)
			}
			batch, page, text := metric.NewBatch(0), &metric.Page{}, &strings.Builder{}
			m.Publish(batch)
			one.Publish(batch)
			page.Add(batch)
			if err := page.Encode(text, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"vectordb_canary_success 1", `vectordb_search_recall_ratio{collection="docs",k="10",vector="` + in.Vector + `"} 1`} {
				if !strings.Contains(text.String(), "\n"+want+"\n") {
					t.Errorf("%s is not on the page:\n%s", want, text)
				}
			}
		})
	}
}
