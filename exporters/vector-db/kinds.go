package main

import (
	"context"
	"slices"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/chroma"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/milvus"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/pgvector"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/redissearch"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/rest"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/weaviate"
)

// kind is a kind of server: its name in configuration and metrics, the schemes of its URLs, and the package that asks it.
type kind struct {
	name    string
	schemes []string
	open    backend.Open
	detect  func(context.Context, *rest.Client) bool // nil where the scheme tells
}

// kinds lists what the exporter knows. A new kind of server is a package and a line here.
func kinds() []kind {
	web := []string{"http", "https"}
	return []kind{
		{"qdrant", web, qdrant.Open, qdrant.Detect},
		{"weaviate", web, weaviate.Open, weaviate.Detect},
		{"chroma", web, chroma.Open, chroma.Detect},
		{"milvus", web, milvus.Open, milvus.Detect},
		{"pgvector", []string{"postgres", "postgresql"}, pgvector.Open, nil},
		{"redis", []string{"redis", "rediss"}, redissearch.Open, nil},
	}
}

// findKind gives the kind of a name, or the only one that has the scheme. A nil one has to be found by asking.
func findKind(name, scheme string) (found *kind, known bool) {
	var fitting []kind
	for _, k := range kinds() {
		if (name == "" || name == k.name) && slices.Contains(k.schemes, scheme) {
			fitting = append(fitting, k)
		}
	}
	switch {
	case len(fitting) == 0:
		return nil, false
	case name == "" && fitting[0].detect != nil:
		return nil, true
	}
	return &fitting[0], true
}

// detect finds out what kind of server it is by asking all of the open endpoints at once. The key stays here: in what
// form it is to be sent, only the kind tells.
func detect(ctx context.Context, to backend.Endpoint) (*kind, error) {
	to.Key = ""
	client := rest.New(to, nil)
	defer client.Close()
	all := slices.DeleteFunc(kinds(), func(k kind) bool { return k.detect == nil })
	is := make([]bool, len(all))
	var asked sync.WaitGroup
	for i, k := range all {
		asked.Go(func() {
			_ = rest.Guarded(func() error { is[i] = k.detect(ctx, client); return nil }) // then it is not that kind
		})
	}
	asked.Wait()
	if at := slices.Index(is, true); at >= 0 {
		return &all[at], nil
	}
	if err := client.Get(ctx, "/", nil); err != nil && rest.Status(err) == 0 {
		return nil, err
	}
	return nil, fault.New(fault.Config, "the server does not show what kind it is: set the type")
}
