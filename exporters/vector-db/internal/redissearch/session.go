// Package redissearch asks Redis and what has come of it for vectors: for the vector sets that are part of Redis 8
// (https://redis.io/docs/latest/develop/data-types/vector-sets/), each of which is a collection, and for the indexes of the query
// engine (FT.*), which Redis and Valkey have as a module, where it is loaded.
package redissearch

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/pool"
)

const (
	connections   = 2           // at once: a scrape does not wait for the canary
	scanAtOnce    = "10000"     // keys, which take the server a few milliseconds
	fewKeys       = 10_000      // keys of a database that is looked through for vector sets at each scrape
	maxKeys       = 1_000_000   // of one that is looked through at all
	setsLast      = time.Minute // how long what was found among many keys is good
	helloPatience = 10 * time.Second
)

type session struct {
	backend.Lacking

	to    backend.Endpoint
	tls   *tls.Config
	lines *pool.Pool[*line]

	mu      sync.Mutex
	sets    []string // vector sets, as found last
	setsAt  time.Time
	indexes map[string]bool // what FT._LIST named last
}

// Open prepares a session of redis://host:port/number, or rediss:// with TLS. The password is that of the user, or the
// key that of the user default.
func Open(_ context.Context, to backend.Endpoint) (backend.Session, error) {
	s := &session{to: to}
	if to.URL.Scheme == "rediss" {
		s.tls = to.TLS.Clone()
		if s.tls == nil {
			s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if s.tls.ServerName == "" {
			s.tls.ServerName = to.URL.Hostname()
		}
	}
	if number := strings.Trim(to.URL.Path, "/"); number != "" {
		if _, err := strconv.ParseUint(number, 10, 31); err != nil {
			return nil, fault.New(fault.Config, "the path of the URL is the number of a database")
		}
	}
	s.lines = pool.New(connections, s.connect)
	return s, nil
}

// Close ends the connections.
func (s *session) Close() { s.lines.Close() }

func (s *session) connect(ctx context.Context) (*line, error) {
	ctx, cancel := context.WithTimeout(ctx, helloPatience)
	defer cancel()
	port := s.to.URL.Port()
	if port == "" {
		port = "6379"
	}
	conn, err := s.to.Dial(ctx, "tcp", net.JoinHostPort(s.to.URL.Hostname(), port))
	if err != nil {
		return nil, fault.Wrap(classify(err), "connecting", err)
	}
	if s.tls != nil {
		encrypted := tls.Client(conn, s.tls)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fault.Wrap(fault.Auth, "TLS", err)
		}
		conn = encrypted
	}
	l := newLine(conn)
	if err := l.hello(ctx, s.to); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// hello logs in and chooses the database.
func (l *line) hello(ctx context.Context, to backend.Endpoint) error {
	var commands []command
	switch {
	case to.User != "":
		commands = append(commands, command{"AUTH", to.User, to.Password})
	case to.Key != "":
		commands = append(commands, command{"AUTH", to.Key})
	}
	if number := strings.Trim(to.URL.Path, "/"); number != "" {
		commands = append(commands, command{"SELECT", number})
	}
	if len(commands) == 0 {
		return nil
	}
	replies, err := l.ask(ctx, commands...)
	if err != nil {
		return err
	}
	return firstRefusal(replies)
}

func firstRefusal(replies []any) error {
	for _, reply := range replies {
		if refused, ok := reply.(refusal); ok {
			return fault.Wrap(classify(refused), "asking", refused)
		}
	}
	return nil
}

// ask sends all commands at once; refusals are among the replies.
func (s *session) ask(ctx context.Context, commands ...command) (replies []any, err error) {
	if len(commands) == 0 {
		return nil, nil
	}
	err = s.lines.Use(ctx, func(l *line) error {
		replies, err = l.ask(ctx, commands...)
		return err
	})
	return replies, err
}

// all does the same where each of the commands must be taken.
func (s *session) all(ctx context.Context, commands ...command) ([]any, error) {
	replies, err := s.ask(ctx, commands...)
	if err == nil {
		err = firstRefusal(replies)
	}
	return replies, err
}

// Ready asks for a sign of life: a server that loads its data refuses.
func (s *session) Ready(ctx context.Context) error {
	_, err := s.all(ctx, command{"PING"})
	return err
}

// Identify reads what the server says of itself; an account may not be allowed to ask.
func (s *session) Identify(ctx context.Context) (backend.Server, error) {
	replies, err := s.all(ctx, command{"INFO", "server"})
	if err != nil {
		return backend.Server{}, err
	}
	info := fields(replies[0])
	server := backend.Server{Version: info["redis_version"]}
	if version, ok := info["valkey_version"]; ok { // redis_version is then that of a Redis with the same commands
		server.Version = version
	}
	now, err := strconv.ParseFloat(info["server_time_usec"], 64)
	up, problem := strconv.ParseFloat(info["uptime_in_seconds"], 64)
	if err == nil && problem == nil {
		server.Started = backend.Some(float64(int64(now/1e6 - up)))
	}
	return server, nil
}

// fields reads lines of name:value.
func fields(reply any) map[string]string {
	text, _ := reply.(string)
	all := map[string]string{}
	for row := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(row, "\r\n"), ":"); ok {
			all[name] = value
		}
	}
	return all
}

// Cluster tells the server's role where it has replicas, is one, or is part of a cluster.
func (s *session) Cluster(ctx context.Context) (*backend.Cluster, error) {
	replies, err := s.all(ctx, command{"INFO", "replication"}, command{"INFO", "cluster"})
	if err != nil {
		return nil, err
	}
	info, cluster := fields(replies[0]), fields(replies[1])
	told := &backend.Cluster{Enabled: cluster["cluster_enabled"] == "1" || info["role"] == "slave" || info["connected_slaves"] != "0"}
	told.Role = map[string]string{"master": "leader", "slave": "follower"}[info["role"]]
	return told, nil
}

// List names the indexes of the query engine, then the vector sets. In a database of more than a million keys vector
// sets are not looked for where there are indexes, as that would cost too much.
func (s *session) List(ctx context.Context) ([]string, error) {
	replies, err := s.ask(ctx, command{"FT._LIST"}, command{"COMMAND", "INFO", "VSIM"}, command{"DBSIZE"})
	if err != nil {
		return nil, err
	}
	indexes, err := listed(replies[0])
	engine := err == nil
	if err != nil && fault.Of(err) != fault.Unsupported {
		return nil, err
	}
	described, isList := replies[1].([]any)
	knowsSets := isList && len(described) == 1 && described[0] != nil
	size, isNumber := replies[2].(int64)
	switch {
	case !engine && isList && !knowsSets:
		return nil, fault.New(fault.Config, "the server has neither vector sets nor a query engine")
	case !engine && size > maxKeys:
		return nil, fault.New(fault.Limited, "there are too many keys to look for vector sets among them")
	case isNumber && size > maxKeys, isList && !knowsSets:
		s.note(indexes, nil)
		return indexes, nil
	}
	sets, err := s.vectorSets(ctx, size <= fewKeys)
	if err != nil {
		return nil, err
	}
	s.note(indexes, sets)
	sets = slices.DeleteFunc(slices.Clone(sets), func(name string) bool { return slices.Contains(indexes, name) })
	return append(indexes, sets...), nil
}

// listed reads a list of names.
func listed(reply any) ([]string, error) {
	if err := firstRefusal([]any{reply}); err != nil {
		return nil, err
	}
	list, ok := reply.([]any)
	if !ok {
		return nil, errMalformed
	}
	var names []string
	for _, element := range list {
		name, ok := element.(string)
		if !ok {
			return nil, errMalformed
		}
		names = append(names, name)
	}
	return names, nil
}

// note keeps what was found.
func (s *session) note(indexes, sets []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexes = map[string]bool{}
	for _, name := range indexes {
		s.indexes[name] = true
	}
	if sets != nil && time.Since(s.setsAt) >= setsLast {
		s.sets, s.setsAt = sets, time.Now()
	}
}

// isIndex tells indexes from vector sets, which may have the same names.
func (s *session) isIndex(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.indexes[name]
}

// vectorSets goes through all keys; where there are many, once a minute.
func (s *session) vectorSets(ctx context.Context, few bool) ([]string, error) {
	s.mu.Lock()
	known, at := s.sets, s.setsAt
	s.mu.Unlock()
	if !few && time.Since(at) < setsLast {
		return known, nil
	}
	seen := map[string]bool{}
	cursor := "0"
	for rounds := 0; rounds == 0 || cursor != "0"; rounds++ {
		if rounds > maxKeys/1000 {
			return nil, fault.New(fault.Limited, "the keys do not end")
		}
		replies, err := s.all(ctx, command{"SCAN", cursor, "COUNT", scanAtOnce, "TYPE", "vectorset"})
		if err != nil {
			return nil, err
		}
		pair, ok := replies[0].([]any)
		if !ok || len(pair) != 2 {
			return nil, errMalformed
		}
		if cursor, ok = pair[0].(string); !ok {
			return nil, errMalformed
		}
		names, err := listed(pair[1])
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			seen[name] = true // the same may come again
		}
	}
	sets := make([]string, 0, len(seen))
	for name := range seen {
		sets = append(sets, name)
	}
	slices.Sort(sets)
	return sets, nil
}
