// Package milvus is a FAKE of Milvus for tests, since no Milvus can be had on every machine that runs them. It answers
// as the handlers of the second version of its REST interface are written, in version 2.4 or 2.6, and searches by
// comparing with every vector. There is no published description of the answers that it could be checked against.
package milvus

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Options say which Milvus it is.
type Options struct {
	Old   bool   // the first versions of 2.4: success is code 200, and a field's type tells its dimensions
	Token string // wanted from everybody, "" for nobody
}

// Server is the fake of the interface for users. Management is that of the other port.
type Server struct {
	options Options

	mu          sync.Mutex
	collections map[string]*collection
	unhealthy   bool
	full        bool
}

// collection has one vector, and texts or numbers for keys.
type collection struct {
	vector, metric string
	dimensions     int
	text           bool
	load, index    string
	rows           map[string][]float32
}

// New returns a Milvus without collections.
func New(options Options) *Server {
	return &Server{options: options, collections: map[string]*collection{}}
}

// Add makes a collection with a vector, compared by COSINE, L2 or IP, and numbers for keys.
func (s *Server) Add(name, vector string, dimensions int, metric string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collections[name] = &collection{vector, metric, dimensions, false, "LoadStateLoaded", "Finished", map[string][]float32{}}
}

// Put stores an entity.
func (s *Server) Put(name string, key int, vector []float32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collections[name].rows[strconv.Itoa(key)] = vector
}

// Remove takes a collection away, as another client would.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.collections, name)
}

// SetState sets the state of loading, such as LoadStateNotLoad, and of the index, such as InProgress.
func (s *Server) SetState(name, load, index string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collections[name].load, s.collections[name].index = load, index
}

// Sicken lets the management port report that not all components are healthy, or no longer.
func (s *Server) Sicken(sick bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unhealthy = sick
}

// FillDisk lets every write fail for want of space, or no longer.
func (s *Server) FillDisk(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// Management answers what is asked of the management port.
func (s *Server) Management() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		switch {
		case r.URL.Path == "/metrics":
			_, _ = w.Write([]byte("# HELP milvus_rootcoord_collection_num number of collections\n# TYPE milvus_rootcoord_collection_num gauge\n" +
				"milvus_rootcoord_collection_num{db_name=\"default\"} " + strconv.Itoa(len(s.collections)) + "\n"))
		case r.URL.Path == "/healthz" && s.unhealthy:
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte("Not all components are healthy, 3/5"))
		case r.URL.Path == "/healthz":
			_, _ = w.Write([]byte("OK"))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
}

// asked is the body of every request.
type asked struct {
	Collection string            `json:"collectionName"`
	Index      string            `json:"indexName"`
	Filter     string            `json:"filter"`
	Limit      int               `json:"limit"`
	Offset     int               `json:"offset"`
	Fields     []string          `json:"outputFields"`
	Field      string            `json:"annsField"`
	Data       []json.RawMessage `json:"data"`
	Params     []struct {
		Field  string `json:"fieldName"`
		Metric string `json:"metricType"`
	} `json:"indexParams"`
	Schema struct {
		Fields []struct {
			Name   string            `json:"fieldName"`
			Type   string            `json:"dataType"`
			Params map[string]string `json:"elementTypeParams"`
		} `json:"fields"`
	} `json:"schema"`
}

type object = map[string]any

func (s *Server) ok(data any) object {
	if s.options.Old {
		return object{"code": 200, "data": data}
	}
	return object{"code": 0, "data": data, "message": ""}
}

func refuse(code int, message string) object { return object{"code": code, "message": message} }

// ServeHTTP answers what is asked of the interface. The status is that all is well whatever the code says, but for a
// caller that it does not know.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	path, found := strings.CutPrefix(r.URL.Path, "/v2/vectordb/")
	var answer object
	var body asked
	switch {
	case !found || r.Method != http.MethodPost:
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("404 page not found"))
		return
	case s.options.Token != "" && r.Header.Get("Authorization") != "Bearer "+s.options.Token:
		w.WriteHeader(http.StatusUnauthorized)
		answer = refuse(1800, "user hasn't authenticated")
	case json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<20)).Decode(&body) != nil:
		answer = refuse(1801, "can only accept json format request")
	default:
		answer = s.answer(path, body)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *Server) answer(path string, body asked) object {
	switch path {
	case "collections/list":
		return s.ok(append([]string{}, slices.Sorted(maps.Keys(s.collections))...))
	case "collections/has":
		return s.ok(object{"has": s.collections[body.Collection] != nil})
	case "collections/create":
		return s.create(body)
	case "collections/drop":
		delete(s.collections, body.Collection)
		return s.ok(object{})
	}
	c := s.collections[body.Collection]
	if c == nil {
		return refuse(100, "can't find collection[database=default][collection="+body.Collection+"]")
	}
	switch path {
	case "collections/describe":
		return s.ok(s.describe(body.Collection, c))
	case "collections/get_stats":
		return s.ok(object{"rowCount": len(c.rows)})
	case "indexes/describe":
		return s.ok([]object{{
			"indexName": body.Index, "fieldName": c.vector, "indexType": "HNSW", "metricType": c.metric, "failReason": "",
			"totalRows": len(c.rows), "indexedRows": len(c.rows), "pendingRows": 0, "indexState": c.index,
		}})
	case "entities/query":
		return s.query(c, body)
	case "entities/search":
		return s.search(c, body)
	case "entities/upsert":
		return s.upsert(c, body)
	case "entities/delete":
		for _, key := range keys(body.Filter) {
			delete(c.rows, key)
		}
		return s.ok(object{})
	}
	return refuse(1802, "missing required parameters")
}

func (s *Server) create(body asked) object {
	if s.collections[body.Collection] != nil {
		return s.ok(object{}) // of the same form; of another it would be refused
	}
	c := &collection{load: "LoadStateLoaded", index: "Finished", rows: map[string][]float32{}}
	for _, f := range body.Schema.Fields {
		if f.Type == "VarChar" {
			c.text = true
		}
		if f.Type == "FloatVector" {
			c.vector = f.Name
			c.dimensions, _ = strconv.Atoi(f.Params["dim"]) // 0 fits no vector
		}
	}
	if len(body.Params) == 1 && body.Params[0].Field == c.vector {
		c.metric = body.Params[0].Metric
	}
	s.collections[body.Collection] = c
	return s.ok(object{})
}

func (s *Server) describe(name string, c *collection) object {
	key, vector := object{"name": "id", "type": "Int64", "primaryKey": true, "autoId": false}, object{"name": c.vector, "type": "FloatVector", "primaryKey": false, "autoId": false}
	if c.text {
		key["type"] = "VarChar"
	}
	if s.options.Old {
		vector["type"] = "FloatVector(" + strconv.Itoa(c.dimensions) + ")"
	} else {
		vector["params"] = []object{{"key": "dim", "value": strconv.Itoa(c.dimensions)}}
	}
	return object{
		"collectionName": name, "description": "", "autoId": false, "fields": []object{key, vector}, "load": c.load, "shardsNum": 1,
		"indexes": []object{{"indexName": c.vector, "fieldName": c.vector, "metricType": c.metric}}, "enableDynamicField": true,
	}
}

var inList = regexp.MustCompile(`"([^"]*)"|(-?\d+)`)

// keys are those of a filter such as id in [1, 2].
func keys(filter string) []string {
	var all []string
	_, list, _ := strings.Cut(filter, "[")
	for _, match := range inList.FindAllStringSubmatch(list, -1) {
		all = append(all, cmp.Or(match[1], match[2]))
	}
	return all
}

func (c *collection) sorted() []string {
	all := slices.Collect(maps.Keys(c.rows))
	slices.SortFunc(all, func(x, y string) int {
		a, errA := strconv.Atoi(x)
		b, errB := strconv.Atoi(y)
		if errA == nil && errB == nil && !c.text {
			return cmp.Compare(a, b)
		}
		return cmp.Compare(x, y)
	})
	return all
}

func (s *Server) query(c *collection, body asked) object {
	if slices.Equal(body.Fields, []string{"count(*)"}) {
		return s.ok([]object{{"count(*)": len(c.rows)}})
	}
	all := c.sorted()
	if body.Filter != "" {
		wanted := keys(body.Filter)
		all = slices.DeleteFunc(all, func(key string) bool { return !slices.Contains(wanted, key) })
	}
	if body.Offset+body.Limit > 16384 {
		return refuse(1100, "(offset+limit) should be in range [1, 16384]")
	}
	all = all[min(body.Offset, len(all)):]
	rows := []object{}
	for _, key := range all[:min(body.Limit, len(all))] {
		rows = append(rows, object{"id": key, c.vector: c.rows[key]}) // numbers as texts, as long as nobody asks for others
	}
	return s.ok(rows)
}

func (s *Server) search(c *collection, body asked) object {
	var vector []float32
	switch {
	case c.load != "LoadStateLoaded":
		return refuse(101, "collection not loaded")
	case len(body.Data) != 1 || json.Unmarshal(body.Data[0], &vector) != nil || len(vector) != c.dimensions || body.Field != c.vector:
		return refuse(1100, "invalid parameter")
	}
	all := c.sorted()
	nearer := func(x, y string) int {
		return cmp.Compare(score(c.metric, c.rows[y], vector), score(c.metric, c.rows[x], vector))
	}
	if c.metric == "L2" {
		nearer = func(x, y string) int {
			return cmp.Compare(score(c.metric, c.rows[x], vector), score(c.metric, c.rows[y], vector))
		}
	}
	slices.SortStableFunc(all, nearer)
	rows := []object{}
	for _, key := range all[:min(body.Limit, len(all))] {
		rows = append(rows, object{"id": key, "distance": score(c.metric, c.rows[key], vector)})
	}
	return s.ok(rows)
}

func score(metric string, x, y []float32) float64 {
	var product, lengthX, lengthY, square float64
	for i := range x {
		a, b := float64(x[i]), float64(y[i])
		product, lengthX, lengthY, square = product+a*b, lengthX+a*a, lengthY+b*b, square+(a-b)*(a-b)
	}
	switch metric {
	case "L2":
		return square
	case "IP":
		return product
	}
	return product / math.Sqrt(lengthX*lengthY)
}

func (s *Server) upsert(c *collection, body asked) object {
	if s.full {
		return refuse(7, "disk limit exceeded")
	}
	ids := []string{}
	for _, raw := range body.Data {
		var one map[string]json.RawMessage
		var key string
		var vector []float32
		if json.Unmarshal(raw, &one) != nil || json.Unmarshal(one["id"], &key) != nil || json.Unmarshal(one[c.vector], &vector) != nil || len(vector) != c.dimensions {
			return refuse(1804, "fail to deal the insert data")
		}
		c.rows[key] = vector
		ids = append(ids, key)
	}
	return s.ok(object{"upsertCount": len(ids), "upsertIds": ids})
}
