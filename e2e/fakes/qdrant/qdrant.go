// Package qdrant is a FAKE of Qdrant for tests, since no Qdrant can be had on every machine that runs them. It answers
// in the shapes of the published descriptions of its interface (see testdata) as the versions from 1.7.4 to 1.19 do,
// and searches by comparing with every vector. What is not needed to watch a Qdrant is not there.
package qdrant

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say which Qdrant it is.
type Options struct {
	Version string  // "1.7.4" unless said otherwise
	Key     string  // wanted from everybody, "" for nobody
	ReadKey string  // good for reading alone
	Cluster bool    // of three nodes, of which this is one
	Loss    float64 // share of the points that an approximate search does not see, as a bad index would not
}

// Server is the fake. Its exported methods change what it holds while it runs.
type Server struct {
	options Options
	minor   int

	mu          sync.Mutex
	collections map[string]*collection
	full        bool
	down        map[string]bool // peers that cannot be reached
	requests    []Request
	started     time.Time
}

// Request is one that was answered, with its body, for tests to look at.
type Request struct {
	Method, Path string // the path as it was sent
	Header       http.Header
	Body         []byte
	Status       int
	Answer       []byte
	Operation    string // such as GET /collections/{collection_name}
}

// maxRequests bounds what is kept for tests to look at.
const maxRequests = 4096

// New returns a Qdrant without collections.
func New(options Options) *Server {
	if options.Version == "" {
		options.Version = "1.7.4"
	}
	parts := strings.Split(options.Version, ".")
	minor, err := strconv.Atoi(parts[1])
	if err != nil {
		panic("a version looks like 1.7.4")
	}
	return &Server{options: options, minor: minor, collections: map[string]*collection{}, down: map[string]bool{}, started: time.Now()}
}

// Requests gives what was answered so far, the last ones where there were many.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// SetKey makes another key the one that is wanted.
func (s *Server) SetKey(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Key = key
}

// reply is an answer before it is written.
type reply struct {
	status int
	text   string // plain text instead of JSON
	body   any
}

func ok(result any) reply { return reply{status: http.StatusOK, body: envelope(result)} }

func envelope(result any) map[string]any {
	return map[string]any{"result": result, "status": "ok", "time": 0.000021}
}

func refuse(status int, text string) reply {
	return reply{status: status, body: map[string]any{"status": map[string]any{"error": text}, "time": 0.000011}}
}

func missing(name string) reply {
	return refuse(http.StatusNotFound, "Not found: Collection `"+name+"` doesn't exist!")
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body json.RawMessage
	if r.Body != nil {
		_ = json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<20)).Decode(&body) // what is none is refused where it is read
	}
	path := r.URL.EscapedPath()
	s.mu.Lock()
	answer, operation := s.answer(r, path, body)
	content := []byte(answer.text)
	kind := "text/plain; charset=utf-8"
	if answer.body != nil {
		content, _ = json.Marshal(answer.body)
		kind = "application/json"
	}
	s.requests = append(s.requests, Request{r.Method, path, r.Header, body, answer.status, content, operation})
	if len(s.requests) > maxRequests {
		s.requests = slices.Delete(s.requests, 0, maxRequests/2)
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(answer.status)
	_, _ = w.Write(content)
}

// answer gives the answer and the operation in the words of the description.
func (s *Server) answer(r *http.Request, path string, body json.RawMessage) (reply, string) {
	operation := r.Method + " " + path
	switch path {
	case "/healthz", "/livez":
		return reply{status: http.StatusOK, text: "healthz check passed"}, operation
	case "/readyz":
		return reply{status: http.StatusOK, text: "all shards are ready"}, operation
	case "/":
		return s.root(), operation
	}
	if refused, denied := s.authorize(r); denied {
		return refused, operation
	}
	switch operation {
	case "GET /collections":
		return s.list(), operation
	case "GET /cluster":
		return s.cluster(), operation
	case "GET /telemetry":
		return s.telemetry(r.URL.Query().Get("details_level")), operation
	case "GET /metrics":
		return reply{status: http.StatusOK, text: s.metrics()}, operation
	}
	name, rest, found := strings.Cut(strings.TrimPrefix(path, "/collections/"), "/")
	name, err := url.PathUnescape(name)
	if !strings.HasPrefix(path, "/collections/") || err != nil {
		return reply{status: http.StatusNotFound}, operation
	}
	operation = r.Method + " /collections/{collection_name}"
	if found {
		operation += "/" + rest
	}
	if strings.HasPrefix(rest, "points/") && (r.Method == http.MethodGet) {
		operation = "GET /collections/{collection_name}/points/{id}"
	}
	return s.collection(operation, name, rest, body), operation
}

func (s *Server) root() reply {
	root := map[string]any{"title": "qdrant - vector search engine", "version": s.options.Version}
	if s.minor >= 8 {
		root["commit"] = "0123456789abcdef0123456789abcdef01234567"
	}
	return reply{status: http.StatusOK, body: root}
}

// authorize refuses in the way of the version.
func (s *Server) authorize(r *http.Request) (refused reply, denied bool) {
	if s.options.Key == "" {
		return reply{}, false
	}
	key := r.Header.Get("Api-Key")
	if key == "" {
		key = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	switch {
	case key == s.options.Key:
		return reply{}, false
	case key != "" && key == s.options.ReadKey:
		if reads(r) {
			return reply{}, false
		}
		if s.minor >= 9 {
			return refuse(http.StatusForbidden, "Forbidden: Write access is required"), true
		}
	}
	switch {
	case s.minor < 9:
		return reply{status: http.StatusForbidden, text: "Invalid api-key"}, true
	case key == "":
		return reply{status: http.StatusUnauthorized, text: "Must provide an API key or an Authorization bearer token"}, true
	}
	return reply{status: http.StatusUnauthorized, text: "Invalid API key or JWT"}, true
}

func reads(r *http.Request) bool {
	last := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	return r.Method == http.MethodGet || r.Method == http.MethodPost && slices.Contains([]string{"search", "query", "scroll", "count"}, last)
}

// The IDs of the nodes, too large for a number with a fraction to hold.
var peers = []uint64{8812345678901234567, 8812345678901234568, 8812345678901234569}

func (s *Server) cluster() reply {
	if !s.options.Cluster {
		return ok(map[string]any{"status": "disabled"})
	}
	all, failures := map[string]any{}, map[string]any{}
	for i, id := range peers {
		uri := "http://q" + strconv.Itoa(i) + ":6335/"
		all[strconv.FormatUint(id, 10)] = map[string]any{"uri": uri}
		if s.down[strconv.FormatUint(id, 10)] {
			failures[uri] = map[string]any{"count": 4, "latest_error": "connection refused"}
			if s.minor >= 8 {
				failures[uri].(map[string]any)["latest_error_timestamp"] = "2026-01-02T03:04:05.678Z"
			}
		}
	}
	return ok(map[string]any{
		"status": "enabled", "peer_id": peers[0], "peers": all,
		"raft_info":               map[string]any{"term": 3, "commit": 120, "pending_operations": 0, "leader": peers[1], "role": "Follower", "is_voter": true},
		"consensus_thread_status": map[string]any{"consensus_thread_status": "working", "last_update": "2026-01-02T03:04:05.678901234Z"},
		"message_send_failures":   failures,
	})
}

// metrics is the page of the version's own metrics, as far as its families differ.
func (s *Server) metrics() string {
	text := "# HELP app_info information about qdrant server\n# TYPE app_info counter\n" +
		"app_info{name=\"qdrant\",version=\"" + s.options.Version + "\"} 1\n" +
		"# HELP collections_total number of collections\n# TYPE collections_total gauge\ncollections_total " + strconv.Itoa(len(s.collections)) + "\n" +
		"# HELP rest_responses_total total number of responses\n# TYPE rest_responses_total counter\n" +
		"rest_responses_total{method=\"POST\",endpoint=\"/collections/{name}/points/search\",status=\"200\"} 7\n"
	if s.minor >= 8 {
		text += "# HELP rest_responses_duration_seconds response duration histogram\n# TYPE rest_responses_duration_seconds histogram\n"
		for i, le := range []string{"0.001", "0.005", "0.01", "0.02", "0.05", "0.1", "0.5", "1", "5", "10", "50", "+Inf"} {
			text += "rest_responses_duration_seconds_bucket{method=\"POST\",endpoint=\"/collections/{name}/points/search\",status=\"200\",le=\"" + le + "\"} " + strconv.Itoa(min(i, 7)) + "\n"
		}
		text += "rest_responses_duration_seconds_sum{method=\"POST\",endpoint=\"/collections/{name}/points/search\",status=\"200\"} 0.25\n" +
			"rest_responses_duration_seconds_count{method=\"POST\",endpoint=\"/collections/{name}/points/search\",status=\"200\"} 7\n"
	}
	return text
}
