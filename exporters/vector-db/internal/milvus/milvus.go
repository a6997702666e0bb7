// Package milvus asks Milvus, from 2.4 on, over the second version of its REST interface.
package milvus

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/rest"
)

// managementPort is where Milvus tells of its health, and has its own metrics.
const managementPort = "9091"

// session is one database of a Milvus.
type session struct {
	backend.Lacking
	client   *rest.Client
	native   *url.URL
	health   *rest.Client // of the management port, without credentials
	database string

	mu     sync.Mutex
	places map[backend.Place]place
}

// Open begins a session. Milvus takes a token, or user and password in the place of one.
func Open(_ context.Context, to backend.Endpoint) (backend.Session, error) {
	header := http.Header{}
	if token := cmp.Or(to.Key, to.Bearer); token != "" {
		header.Set("Authorization", "Bearer "+token)
	} else if to.User != "" {
		header.Set("Authorization", "Bearer "+to.User+":"+to.Password)
	}
	native := to.Native
	if native == nil {
		native = &url.URL{Scheme: "http", Host: net.JoinHostPort(to.URL.Hostname(), managementPort), Path: "/metrics"}
	}
	management := backend.Endpoint{URL: &url.URL{Scheme: native.Scheme, Host: native.Host}, Dial: to.Dial, TLS: to.TLS}
	return &session{
		client: rest.New(to, header), native: native, health: rest.New(management, nil), database: to.Database,
		places: map[backend.Place]place{},
	}, nil
}

// Detect tells whether the server is a Milvus: it has an answer with a code to a list, or to a caller without a token.
func Detect(ctx context.Context, client *rest.Client) bool {
	var told struct {
		Code *int `json:"code"`
	}
	err := client.Post(ctx, "/v2/vectordb/collections/list", map[string]any{}, &told)
	if err != nil {
		return json.Unmarshal([]byte(rest.Words(err)), &told) == nil && told.Code != nil && *told.Code == needsToken
	}
	return told.Code != nil
}

// Close ends the connections.
func (s *session) Close() {
	s.client.Close()
	s.health.Close()
}

// Ready asks the management port whether all components are healthy. That port is often closed to others, in which case
// nothing is known.
func (s *session) Ready(ctx context.Context) error {
	err := s.health.Get(ctx, "/healthz", nil)
	switch {
	case err == nil:
		return nil
	case rest.Status(err) == http.StatusInternalServerError:
		return &fault.Error{Kind: fault.Busy, Op: "not all components are healthy", Err: err}
	}
	return fault.New(fault.Unsupported, "the management port does not tell")
}

// Identify tells that the server is a Milvus. Its version is not part of the interface.
func (s *session) Identify(ctx context.Context) (backend.Server, error) {
	_, err := s.List(ctx)
	return backend.Server{}, err
}

// Native reads the server's own metrics, which are of the management port and open to everybody.
func (s *session) Native(ctx context.Context, read func(io.Reader) error) error {
	return s.client.Text(ctx, s.native, read)
}

// needsToken is the code for a caller without one.
const needsToken = 1800

// kinds maps the codes of answers whose status says that all is well.
var kinds = map[int]fault.Kind{
	1: fault.Busy, 2: fault.Busy, 3: fault.Busy, 4: fault.Busy, 7: fault.Busy, 8: fault.Busy, 9: fault.Busy, 12: fault.Busy, 1807: fault.Busy, // not ready, or over a limit
	10: fault.Unsupported, 3000: fault.Unsupported,
	100: fault.Unsupported,                            // no such collection
	101: fault.Busy, 103: fault.Busy, 106: fault.Busy, // not loaded, or not wholly
	800:  fault.Config, // no such database
	1400: fault.Auth, needsToken: fault.Auth, 1401: fault.Denied,
	10001: fault.Busy, // it ran out of time itself
}

// call asks and gives what the answer holds.
func call[T any](ctx context.Context, s *session, path string, body map[string]any) (*T, error) {
	return exchange[T](ctx, s, s.client.Post, path, body)
}

// change is call for what changes something, and is not asked a second time by itself.
func change[T any](ctx context.Context, s *session, path string, body map[string]any) (*T, error) {
	send := func(ctx context.Context, path string, body, into any) error {
		return s.client.Do(ctx, http.MethodPost, path, body, into)
	}
	return exchange[T](ctx, s, send, path, body)
}

func exchange[T any](ctx context.Context, s *session, send func(ctx context.Context, path string, body, into any) error, path string, body map[string]any) (*T, error) {
	if s.database != "" {
		body["dbName"] = s.database
	}
	var told struct {
		Code    *int   `json:"code"`
		Message string `json:"message"`
		Data    *T     `json:"data"`
	}
	if err := send(ctx, "/v2/vectordb/"+path, body, &told); err != nil {
		return nil, err
	}
	switch {
	case told.Code == nil:
		return nil, fault.New(fault.Malformed, "the answer has no code")
	case *told.Code != 0 && *told.Code != http.StatusOK: // which the first versions of 2.4 say
		return nil, refused(*told.Code, told.Message)
	case told.Data == nil:
		return nil, fault.New(fault.Malformed, "the answer has no data")
	}
	return told.Data, nil
}

func refused(code int, message string) error {
	switch {
	case code == 100:
		return &fault.Error{Kind: fault.Unsupported, Op: backend.ErrGone.Error(), Err: backend.ErrGone}
	case strings.Contains(message, "PermissionDenied") || strings.Contains(message, "permission deny"):
		return fault.New(fault.Denied, "the role lacks a privilege")
	case strings.Contains(message, "duplicate collection"):
		return &fault.Error{Kind: fault.Config, Op: "creating", Err: backend.ErrExists}
	}
	return fault.New(cmp.Or(kinds[code], fault.Malformed), "the server refuses with code "+strconv.Itoa(code))
}

// List names the collections of the database.
func (s *session) List(ctx context.Context) ([]string, error) {
	names, err := call[[]string](ctx, s, "collections/list", map[string]any{})
	if err != nil {
		return nil, err
	}
	return *names, nil
}

// number is one that may come as a text.
type number float64

// UnmarshalJSON takes the quotes off.
func (n *number) UnmarshalJSON(text []byte) error {
	value, err := strconv.ParseFloat(string(bytes.Trim(text, `"`)), 64)
	*n = number(value)
	return err
}

func value(n *number) *float64 {
	if n == nil {
		return nil
	}
	return backend.Some(float64(*n))
}

// collection is the answer to describe.
type collection struct {
	Fields []field `json:"fields"`
	Load   string  `json:"load"`
	Shards *number `json:"shardsNum"`
	Index  []struct {
		Name   string `json:"indexName"`
		Field  string `json:"fieldName"`
		Metric string `json:"metricType"`
	} `json:"indexes"`
}

type field struct {
	Name    string `json:"name"`
	Type    string `json:"type"` // in old versions FloatVector(64)
	Primary bool   `json:"primaryKey"`
	Params  []struct {
		Key   string  `json:"key"`
		Value *number `json:"value"`
	} `json:"params"`
}

// dimensions are among the parameters, or in the name of the type.
func (f field) dimensions() *float64 {
	for _, p := range f.Params {
		if p.Key == "dim" {
			return value(p.Value)
		}
	}
	_, inside, found := strings.Cut(f.Type, "(")
	size, err := strconv.ParseFloat(strings.TrimSuffix(inside, ")"), 64)
	if !found || err != nil {
		return nil
	}
	return &size
}

// vector tells whether the field is one, and of what.
func (f field) vector() (datatype string, is bool) {
	kind, _, _ := strings.Cut(f.Type, "(")
	datatype, is = map[string]string{
		"FloatVector": "float32", "Float16Vector": "float16", "BFloat16Vector": "bfloat16", "BinaryVector": "binary", "SparseFloatVector": "sparse", "Int8Vector": "int8",
	}[kind]
	return datatype, is
}

// index is one of the answer to indexes/describe.
type index struct {
	Field   string  `json:"fieldName"`
	Type    string  `json:"indexType"`
	Metric  string  `json:"metricType"`
	Indexed *number `json:"indexedRows"`
	Pending *number `json:"pendingRows"`
	State   string  `json:"indexState"`
}

var distances = map[string]backend.Distance{"COSINE": backend.Cosine, "L2": backend.Euclidean, "IP": backend.Dot}

func distance(metric string) backend.Distance {
	return cmp.Or(distances[strings.ToUpper(metric)], backend.Distance(strings.ToLower(metric)))
}

// loads maps the states of loading.
var loads = map[string]backend.Status{
	"LoadStateLoaded": backend.OK, "LoadStateNotLoad": backend.NotLoaded, "LoadStateLoading": backend.Pending,
}

// learned is what is known of a collection.
type learned struct {
	of      *collection
	rows    *number
	indexes []index
	err     error
	gone    bool
}

func (l *learned) failed(err error) {
	l.gone = l.gone || errors.Is(err, backend.ErrGone)
	l.err = cmp.Or(l.err, err)
}

// Describe asks for the schema and the rows of each collection, then for its indexes.
func (s *session) Describe(ctx context.Context, names []string) ([]backend.Collection, error) {
	all := make([]learned, len(names))
	var mu sync.Mutex
	err := s.client.Each(ctx, 2*len(names), func(ctx context.Context, i int) error {
		body, to := map[string]any{"collectionName": names[i/2]}, &all[i/2]
		if i%2 == 0 {
			of, err := call[collection](ctx, s, "collections/describe", body)
			mu.Lock()
			defer mu.Unlock()
			to.of = of
			to.failed(err)
			return err
		}
		stats, err := call[struct {
			Rows *number `json:"rowCount"`
		}](ctx, s, "collections/get_stats", body)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			to.rows = stats.Rows
		}
		to.failed(err)
		return err
	})
	if err == nil {
		err = s.describeIndexes(ctx, names, all)
	}
	if err != nil {
		return nil, err
	}
	var described []backend.Collection
	for i := range all {
		if !all[i].gone {
			described = append(described, all[i].collection(names[i]))
		}
	}
	return described, nil
}

func (s *session) describeIndexes(ctx context.Context, names []string, all []learned) error {
	type one struct {
		to   int
		name string
	}
	var list []one
	for i := range all {
		if all[i].of != nil {
			for _, index := range all[i].of.Index {
				list = append(list, one{i, index.Name})
			}
		}
	}
	var mu sync.Mutex
	return s.client.Each(ctx, len(list), func(ctx context.Context, i int) error {
		to := &all[list[i].to]
		found, err := call[[]index](ctx, s, "indexes/describe", map[string]any{"collectionName": names[list[i].to], "indexName": list[i].name})
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			to.indexes = append(to.indexes, *found...)
		}
		to.failed(err)
		return err
	})
}

func (l *learned) collection(name string) backend.Collection {
	c := backend.Collection{Name: name, Err: l.err, Objects: value(l.rows)}
	if l.of == nil {
		return c
	}
	c.Shards = value(l.of.Shards)
	c.Status = cmp.Or(loads[l.of.Load], backend.Unknown)
	for _, f := range l.of.Fields {
		if datatype, is := f.vector(); is {
			c.Spaces = append(c.Spaces, l.space(f, datatype))
		}
	}
	slices.SortFunc(c.Spaces, func(x, y backend.Space) int { return strings.Compare(x.Vector, y.Vector) })
	for _, index := range l.indexes {
		c.Indexed = sum(c.Indexed, value(index.Indexed))
		c.Queue = sum(c.Queue, value(index.Pending))
		switch {
		case index.State == "Failed":
			c.Status = backend.Failed
		case c.Status == backend.OK && (index.State == "InProgress" || index.State == "Unissued"):
			c.Status = backend.Optimizing
		}
	}
	return c
}

func (l *learned) space(f field, datatype string) backend.Space {
	space := backend.Space{Vector: f.Name, Dimensions: f.dimensions(), Datatype: datatype}
	for _, index := range l.indexes {
		if index.Field == f.Name {
			space.Index, space.Distance, space.Quantized = strings.ToLower(index.Type), distance(index.Metric), quantized(index.Type)
		}
	}
	return space
}

// quantized tells by the name of an index how it makes vectors smaller; one that chooses by itself does not tell.
func quantized(index string) string {
	switch index {
	case "FLAT", "IVF_FLAT", "HNSW", "BIN_FLAT", "BIN_IVF_FLAT":
		return "none"
	}
	for _, kind := range []string{"SQ8", "RABITQ", "PRQ", "PQ", "SQ"} {
		if strings.Contains(index, kind) {
			return strings.ToLower(kind)
		}
	}
	return ""
}

func sum(a, b *float64) *float64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return backend.Some(*a + *b)
}

var _ backend.Session = (*session)(nil)
