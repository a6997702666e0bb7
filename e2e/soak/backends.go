package soak

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

const soakQueries = `
tables:
  - name: soak
    help: A number that is raised.
    query: SELECT n AS value, (SELECT count(*) FROM soak_rows) AS rows FROM soak
    columns: [{value: value, help: A number that is raised.}, {value: rows, help: Rows that there are.}]
  - name: soak_kinds
    help: Rows by kind.
    query: SELECT kind, count(*) AS rows FROM soak_rows GROUP BY kind
    columns: [{label: kind}, {value: rows, help: Rows of the kind.}]
`

// startPostgres starts a PostgreSQL with a table of one number that is raised, and one of rows of three kinds.
func startPostgres(ctx context.Context, dir string) (*subject, error) {
	password := rand.Text()
	db, err := servers.StartPostgres(ctx, servers.PostgresOptions{Initial: []string{
		"CREATE ROLE monitor LOGIN PASSWORD '" + password + "'; GRANT pg_monitor TO monitor; CREATE EXTENSION pg_stat_statements",
		"CREATE TABLE soak (n bigint); INSERT INTO soak VALUES (1000); GRANT SELECT ON soak TO monitor",
		"CREATE TABLE soak_rows AS SELECT CASE WHEN n <= 100 THEN 'a' WHEN n <= 333 THEN 'b' ELSE 'c' END AS kind FROM generate_series(1, 1234) n",
		"GRANT SELECT ON soak_rows TO monitor",
	}})
	if err != nil {
		return nil, err
	}
	s := &subject{name: "postgres", prefix: "pg", secrets: []string{password, db.Password()}}
	m := machineOf(db)
	m.pause, m.resume = db.Pause, db.Resume
	m.kill = func() error { return end(db, syscall.SIGQUIT) } // SIGKILL would leave its children behind
	l, err := s.addLine("postgres", db.Addr(), m)
	if err != nil {
		return s, err
	}
	l.truths = []*truth{
		newTruth("soak_value", 1000), newTruth("soak_rows", 1234),
		newTruth(`soak_kinds_rows{kind="a"}`, 100), newTruth(`soak_kinds_rows{kind="b"}`, 233), newTruth(`soak_kinds_rows{kind="c"}`, 901),
	}
	l.raise = func(ctx context.Context, value float64) error {
		return db.Exec(ctx, "postgres", fmt.Sprintf("SET statement_timeout = '2s'; UPDATE soak SET n = greatest(n, %.0f)", value))
	}
	queries, err := secretFile(dir, "soak-queries.yml", soakQueries)
	if err != nil {
		return s, err
	}
	passwordFile, err := secretFile(dir, "postgres-password", password)
	s.args = []string{"--queries.file=" + queries}
	s.env = []string{"DATA_SOURCE_URI=" + l.proxy.Addr() + "/postgres?sslmode=disable", "DATA_SOURCE_USER=monitor", "DATA_SOURCE_PASS_FILE=" + passwordFile}
	return s, err
}

// raiseKey keeps the higher of two numbers: an order that a frozen server carries out late does no harm.
const raiseKey = `local n = math.max(tonumber(redis.call('GET', KEYS[1])), tonumber(ARGV[1])) return redis.call('SET', KEYS[1], string.format('%d', n))`

// startRedis starts a Redis that forgets nothing, with keys whose sizes and values are known.
func startRedis(ctx context.Context, dir string) (*subject, error) {
	password := rand.Text()
	initial := [][]any{{"SET", "counter", 1000}, {"SET", "text", "a word"}}
	for n := range 37 {
		initial = append(initial, []any{"RPUSH", "list", n}, []any{"XADD", "stream", "*", "n", n})
	}
	server, err := servers.StartRedis(ctx, servers.RedisOptions{
		Kind: servers.Redis8, Password: password, Config: []string{"appendonly yes", "appendfsync always"}, Initial: initial,
	})
	if err != nil {
		return nil, err
	}
	s := &subject{name: "redis", prefix: "redis", secrets: []string{password}}
	l, err := s.addLine("redis", server.Addr(), machineOf(server))
	if err != nil {
		return s, err
	}
	l.truths = []*truth{
		newTruth(`redis_key_value{db="db0",key="counter"}`, 1000), newTruth(`redis_key_size{db="db0",key="list"}`, 37),
		newTruth(`redis_key_size{db="db0",key="text"}`, 6), newTruth(`redis_stream_length{db="db0",stream="stream"}`, 37),
		newTruth(`redis_db_keys{db="db0"}`, 4),
	}
	l.raise = func(ctx context.Context, value float64) error {
		_, err := server.Do(ctx, "EVAL", raiseKey, 1, "counter", fmt.Sprintf("%.0f", value))
		return err
	}
	passwords, err := secretFile(dir, "redis-password", fmt.Sprintf(`{"redis://%s": %q}`, l.proxy.Addr(), password))
	s.args = []string{"--check-single-keys=counter,list,text", "--check-single-streams=stream"}
	s.env = []string{"REDIS_ADDR=redis://" + l.proxy.Addr(), "REDIS_PASSWORD_FILE=" + passwords}
	return s, err
}

// startVectorDB starts a Chroma and a fake Qdrant, each with a collection whose size is known.
func startVectorDB(ctx context.Context, dir string) (*subject, error) {
	s := &subject{name: "vector-db", prefix: "vectordb", secrets: []string{rand.Text()}}
	server, err := servers.StartChroma(ctx)
	if err != nil {
		return nil, err
	}
	chroma, err := s.addLine("chroma", server.Addr(), machineOf(server))
	if err != nil {
		return s, err
	}
	if err := fillChroma(ctx, server.URL(), chroma); err != nil {
		return s, err
	}
	web := httptest.NewServer(qdrant.New(qdrant.Options{Version: "1.9.0", Key: s.secrets[0]}))
	fake, err := s.addLine("fake-qdrant", web.Listener.Addr().String(), machine{close: func() error { web.Close(); return nil }})
	if err != nil {
		return s, err
	}
	if err := fillQdrant(ctx, web.URL, s.secrets[0], fake); err != nil {
		return s, err
	}
	for _, l := range s.lines {
		l.target = l.proxy.Addr()
		series := fmt.Sprintf("vectordb_collection_objects{collection=%q,target=%q}", "soak", l.target)
		l.truths = []*truth{newTruth(series, 1), newTruth("vectordb_collections"+l.braces(), 1)}
	}
	config, err := secretFile(dir, "soak-vectordb.yml", fmt.Sprintf(`
targets:
- {url: "http://%s", type: chroma}
- {url: "http://%s", type: qdrant, api_key: %q, canary: {every: 5s, collection: soak_canary}}
`, chroma.target, fake.target, s.secrets[0]))
	fake.truths[1] = newTruth("vectordb_cluster_enabled"+fake.braces(), 0) // the canary makes a collection of its own
	s.args = []string{"--config.file=" + config}
	return s, err
}

func fillChroma(ctx context.Context, url string, l *line) error {
	collections := url + "/api/v2/tenants/default_tenant/databases/default_database/collections"
	var made struct{ ID string }
	if err := call(ctx, http.MethodPost, collections, "", map[string]any{"name": "soak"}, &made); err != nil {
		return err
	}
	l.raise = func(ctx context.Context, value float64) error {
		n := strconv.Itoa(int(value))
		return call(ctx, http.MethodPost, collections+"/"+made.ID+"/add", "", map[string]any{"ids": []string{n}, "embeddings": [][]float64{{value, 1}}}, nil)
	}
	return l.raise(ctx, 1)
}

func fillQdrant(ctx context.Context, url, key string, l *line) error {
	collection := url + "/collections/soak"
	if err := call(ctx, http.MethodPut, collection, key, map[string]any{"vectors": map[string]any{"size": 2, "distance": "Cosine"}}, nil); err != nil {
		return err
	}
	l.raise = func(ctx context.Context, value float64) error {
		points := []map[string]any{{"id": int(value), "vector": []float64{value, 1}}}
		return call(ctx, http.MethodPut, collection+"/points?wait=true", key, map[string]any{"points": points}, nil)
	}
	return l.raise(ctx, 1)
}

// call asks a server by JSON.
func call(ctx context.Context, method, url, key string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Api-Key", key)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, answer.Status, said)
	}
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(said, into)
}

// startSMTP starts a Mailpit, which keeps its mail, and has round trips made through it.
func startSMTP(ctx context.Context, dir string) (*subject, error) {
	server, err := servers.StartMailpit(ctx)
	if err != nil {
		return nil, err
	}
	s := &subject{name: "smtp", prefix: "smtp", secrets: []string{rand.Text()}}
	l, err := s.addLine("mailpit", server.SMTPAddr(), machineOf(server))
	if err != nil {
		return s, err
	}
	l.truths = []*truth{
		newTruth(`smtp_probe_reply_code{phase="banner"}`, 220), newTruth(`smtp_probe_reply_code{phase="ehlo"}`, 250),
		newTruth("smtp_delivery_lost_total", 0), newTruth("smtp_delivery_duplicates_total", 0),
	}
	config, err := secretFile(dir, "soak-smtp.yml", strings.NewReplacer("LINE", l.proxy.Addr(), "SECRET", s.secrets[0], "URL", server.URL()).Replace(`
targets:
- target: "LINE"
  module: smtp
  round_trip: {from: probe@soak.test, bounces: bounces@soak.test, to: inbox@soak.test, every: 2s, lost_after: 2m, secret: SECRET, mailbox: {mailpit: {url: "URL"}}}
`))
	s.args = []string{"--config.file=" + config}
	return s, err
}
