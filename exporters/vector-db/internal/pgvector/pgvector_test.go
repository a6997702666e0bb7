package pgvector

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/e2e/proxy"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
)

// open begins a session of a server as its superuser.
func open(t *testing.T, p *servers.Postgres, address, database string) backend.Session {
	t.Helper()
	s, err := Open(t.Context(), endpoint(p, address, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func endpoint(p *servers.Postgres, address, database string) backend.Endpoint {
	return backend.Endpoint{
		URL:  &url.URL{Scheme: "postgres", Host: address, Path: "/" + database, RawQuery: "sslmode=disable"},
		User: "postgres", Password: p.Password(), Dial: backendtest.Dial,
	}
}

func TestPgvector(t *testing.T) {
	p := servers.NewPgvector(t, servers.PostgresOptions{})
	s := open(t, p, p.Addr(), "postgres")
	t.Run("keeps the promises of a session", func(t *testing.T) { backendtest.Check(t, s) })
	t.Run("tells of tables", func(t *testing.T) { testDescribe(t, p, s) })
	t.Run("tells by the plan what searched", func(t *testing.T) { testPlan(t, p, s) })
	t.Run("samples large and odd tables", func(t *testing.T) { testSample(t, p, s) })
	t.Run("says what is wrong", func(t *testing.T) { testFaults(t, p) })
	t.Run("works behind a pooler", func(t *testing.T) {
		pooler := servers.NewPgBouncer(t, p, map[string]string{"pool_mode": "transaction"})
		backendtest.Check(t, open(t, p, pooler.Addr(), "postgres"))
	})
	t.Run("bears what is garbled", func(t *testing.T) { testGarbled(t, p) })
	t.Run("begins again after a cut and a stall", func(t *testing.T) { testCut(t, p) })
}

func exec(t *testing.T, p *servers.Postgres, statements ...string) {
	t.Helper()
	if err := p.Exec(t.Context(), "postgres", statements...); err != nil {
		t.Fatal(err)
	}
}

// rows gives that many of an ID and a random vector.
func rows(n int) string {
	return fmt.Sprintf(`SELECT i, (SELECT array_agg(random()) FROM generate_series(1, 8) WHERE i > 0)::real[]::vector FROM generate_series(1, %d) i`, n)
}

func want(t *testing.T, what string, got *float64, want float64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s: absent, want %v", what, want)
	} else if math.Abs(*got-want) > 1e-3 { // shares of rows are told as float4
		t.Errorf("%s: %v, want %v", what, *got, want)
	}
}

func testDescribe(t *testing.T, p *servers.Postgres, s backend.Session) {
	exec(t, p, `CREATE SCHEMA "a b"`,
		`CREATE TABLE "a b"."it's" (id bigint PRIMARY KEY, v vector(8), h halfvec(8) NOT NULL, s sparsevec(8), free vector)`,
		`INSERT INTO "a b"."it's" SELECT i, CASE WHEN i % 4 > 0 THEN v END, v::halfvec, v::sparsevec, v FROM (`+rows(400)+`) x(i, v)`,
		`CREATE INDEX ON "a b"."it's" USING hnsw (v vector_l2_ops) WITH (m = 12, ef_construction = 40)`,
		`CREATE INDEX ON "a b"."it's" USING ivfflat (h halfvec_ip_ops) WITH (lists = 5)`,
		`CREATE INDEX ON "a b"."it's" USING hnsw ((free::halfvec(8)) halfvec_cosine_ops)`,
		`ANALYZE "a b"."it's"`,
		`CREATE TABLE parted (id int, v vector(3)) PARTITION BY RANGE (id)`,
		`CREATE TABLE part1 PARTITION OF parted FOR VALUES FROM (0) TO (10)`,
		`CREATE TABLE part2 PARTITION OF parted FOR VALUES FROM (10) TO (20)`,
		`INSERT INTO parted VALUES (1, '[1,2,3]'), (11, '[1,2,3]')`,
		`CREATE TABLE other (id int)`)
	names, err := s.List(t.Context())
	if err != nil || len(names) != 2 {
		t.Fatalf("%q, %v", names, err)
	}
	all, err := s.Describe(t.Context(), names)
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	byName := map[string]backend.Collection{}
	for _, c := range all {
		byName[c.Name] = c
	}
	c := byName[`"a b"."it's"`]
	want(t, "objects", c.Objects, 400)
	want(t, "vectors", c.Vectors, 300+400+400+400)
	want(t, "indexed vectors", c.Indexed, 300+400+0+400)
	if c.Status != backend.OK || c.Exact || c.Shards != nil {
		t.Errorf("%+v", c)
	}
	spaces := map[string]backend.Space{}
	for _, space := range c.Spaces {
		spaces[space.Vector] = space
	}
	if v := spaces["v"]; v.Distance != backend.Euclidean || v.Index != "hnsw" || v.Quantized != "none" || v.Datatype != "float32" ||
		v.Parameters["m"] != 12 || v.Parameters["ef_construct"] != 40 || v.Parameters["ef_search"] != 40 {
		t.Errorf("v: %+v", v)
	}
	if h := spaces["h"]; h.Distance != backend.Dot || h.Index != "ivfflat" || h.Datatype != "float16" || h.Parameters["lists"] != 5 || h.Parameters["probes"] != 1 {
		t.Errorf("h: %+v", h)
	}
	if none := spaces["s"]; none.Index != "none" || none.Distance != "" {
		t.Errorf("s: %+v", none)
	}
	if free := spaces["free"]; free.Quantized != "halfvec" || free.Distance != backend.Cosine || free.Dimensions != nil {
		t.Errorf("free: %+v", free)
	}
	parted := byName["public.parted"]
	want(t, "shards", parted.Shards, 2)
	if parted.Objects != nil {
		t.Errorf("objects that nobody estimated: %v", *parted.Objects)
	}
	stored, err := s.Storage(t.Context(), names)
	if err != nil || len(stored) != 2 || *stored[0].Disk <= 0 {
		t.Errorf("%+v, %v", stored, err)
	}
}

func testPlan(t *testing.T, p *servers.Postgres, s backend.Session) {
	exec(t, p, `CREATE TABLE planned (v vector(8))`, // without a key
		`INSERT INTO planned SELECT v FROM (`+rows(2000)+`) x(i, v)`)
	in := backend.Place{Collection: "public.planned"}
	query := []float32{0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5}
	if _, err := s.Search(t.Context(), in, query, 10); fault.Of(err) != fault.Unsupported {
		t.Errorf("without an index: %v", err)
	}
	exec(t, p, `CREATE INDEX planned_index ON planned USING hnsw (v vector_l2_ops)`, `ANALYZE planned`)
	again := open(t, p, p.Addr(), "postgres") // which knows nothing of the table from before
	found, err := again.Search(t.Context(), in, query, 10)
	if err != nil || found.By != "index" || len(found.Hits) != 10 {
		t.Errorf("by the index: %+v, %v", found, err)
	}
	exact, err := again.Exact(t.Context(), in, query, 60)
	if err != nil || len(exact) != 60 {
		t.Errorf("exactly: %d, %v", len(exact), err)
	}
	found, err = again.Search(t.Context(), in, query, 60) // more than hnsw.ef_search finds
	if err != nil || len(found.Hits) >= 60 {
		t.Errorf("the index gives %d, %v", len(found.Hits), err)
	}
	exec(t, p, `UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'planned_index'::regclass`)
	all, err := again.Describe(t.Context(), []string{in.Collection})
	if err != nil || len(all) != 1 || all[0].Status != backend.Degraded || *all[0].Indexed != 0 {
		t.Errorf("with an index that is not valid: %+v, %v", all, err)
	}
	exec(t, p, `DROP TABLE planned`)
	if _, err := again.Search(t.Context(), in, query, 10); !errors.Is(err, backend.ErrGone) {
		t.Errorf("after the table: %v", err)
	}
}

func testSample(t *testing.T, p *servers.Postgres, s backend.Session) {
	exec(t, p, `CREATE TABLE large (id int PRIMARY KEY, v vector(8), filler char(900) NOT NULL DEFAULT '') WITH (autovacuum_enabled = off)`,
		`INSERT INTO large SELECT i, v FROM (`+rows(12000)+`) x(i, v)`, `ANALYZE large`)
	points, err := s.Sample(t.Context(), backend.Place{Collection: "public.large", Vector: "v"}, 100)
	if err != nil || len(points) < 90 {
		t.Fatalf("of a large table: %d, %v", len(points), err)
	}
	late := 0
	for _, point := range points {
		if len(point.ID) == 5 { // 10000 and above: a sixth
			late++
		}
	}
	if late < 4 || late > 35 {
		t.Errorf("%d of %d are of the last sixth", late, len(points))
	}
	if points, err = s.Sample(t.Context(), backend.Place{Collection: "public.parted", Vector: "v"}, 5); err != nil || len(points) != 2 {
		t.Errorf("of a partitioned table: %v, %v", points, err)
	}
	_, err = s.Sample(t.Context(), backend.Place{Collection: `"a b"."it's"`}, 5)
	if fault.Of(err) != fault.Config {
		t.Errorf("which column? %v", err)
	}
	sparse, err := s.Sample(t.Context(), backend.Place{Collection: `"a b"."it's"`, Vector: "s"}, 5)
	if err != nil || len(sparse) != 5 || len(sparse[0].Vector) != 8 {
		t.Errorf("of sparse vectors: %v, %v", sparse, err)
	}
}

func testFaults(t *testing.T, p *servers.Postgres) {
	exec(t, p, `CREATE DATABASE plain`, `CREATE ROLE guest LOGIN PASSWORD 'guest'`, `CREATE TABLE secret (id int PRIMARY KEY, v vector(3))`,
		`INSERT INTO secret VALUES (1, '[1,2,3]')`, `CREATE INDEX ON secret USING hnsw (v vector_l2_ops)`)
	if _, err := open(t, p, p.Addr(), "plain").List(t.Context()); fault.Of(err) != fault.Config || !errors.Is(err, errNoExtension) {
		t.Errorf("without the extension: %v", err)
	}
	if _, err := open(t, p, p.Addr(), "absent").List(t.Context()); fault.Of(err) != fault.Config {
		t.Errorf("without the database: %v", err)
	}
	if _, err := open(t, p, "127.0.0.1:1", "postgres").List(t.Context()); fault.Of(err) != fault.Unreachable {
		t.Errorf("without the server: %v", err)
	}
	to := endpoint(p, p.Addr(), "postgres")
	to.User, to.Password = "guest", "guest"
	guest, err := Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	_, err = guest.Search(t.Context(), backend.Place{Collection: "public.secret"}, []float32{1, 2, 3}, 1)
	if fault.Of(err) != fault.Denied || strings.Contains(err.Error(), "secret") {
		t.Errorf("what is not ours: %v", err)
	}
	if _, err = guest.Create(t.Context(), "mine", "mark", 3); fault.Of(err) != fault.Denied {
		t.Errorf("a table that we may not make: %v", err)
	}
	to.Password = "wrong"
	refused, err := Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	if _, err = refused.List(t.Context()); fault.Of(err) != fault.Auth {
		t.Errorf("with a wrong password: %v", err)
	}
	to.URL.RawQuery = "sslmode=prefer"
	if _, err = Open(t.Context(), to); fault.Of(err) != fault.Config {
		t.Errorf("TLS by chance: %v", err)
	}
	to.URL.RawQuery = "sslmode=disable&password=x"
	if _, err = Open(t.Context(), to); fault.Of(err) != fault.Config {
		t.Errorf("a password in the URL: %v", err)
	}
	to.URL.RawQuery = ""
	encrypted, err := Open(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer encrypted.Close()
	if _, err = encrypted.List(t.Context()); fault.Of(err) != fault.Config {
		t.Errorf("a server without TLS: %v", err)
	}
}

// Wherever an answer is garbled: the question fails, or what comes of it is complete. Nothing panics.
func testGarbled(t *testing.T, p *servers.Postgres) {
	exec(t, p, `CREATE TABLE garbled (id int PRIMARY KEY, v vector(8) NOT NULL)`, `INSERT INTO garbled `+rows(20), `ANALYZE garbled`)
	in := backend.Place{Collection: "public.garbled", Vector: "v"}
	between := proxy.New(t, p.Addr())
	failed := 0
	for at := range int64(40) {
		s := open(t, p, between.Addr(), "postgres")
		if _, err := s.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		between.Garble(at * 33)
		_, err := s.Describe(ctx, []string{in.Collection})
		if err != nil {
			failed++
		}
		between.Garble(at * 9)
		_ = s.Scan(ctx, in, func([]backend.Point) error { return nil })
		between.Resume()
		cancel()
		s.Close()
	}
	if failed == 0 {
		t.Error("nothing was garbled")
	}
}

func testCut(t *testing.T, p *servers.Postgres) {
	between := proxy.New(t, p.Addr())
	s := open(t, p, between.Addr(), "postgres")
	for range 2 {
		if _, err := s.List(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if stats := between.Stats(); stats.Conns != 1 {
		t.Errorf("%d connections for two questions", stats.Conns)
	}
	between.Cut()
	if _, err := s.List(t.Context()); fault.Of(err) != fault.Unreachable {
		t.Errorf("on a cut line: %v", err)
	}
	if _, err := s.List(t.Context()); err != nil {
		t.Errorf("after a cut: %v", err)
	}
	between.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.List(ctx); fault.Of(err) != fault.Timeout {
		t.Errorf("on a stalled line: %v", err)
	}
	between.Resume()
	if _, err := s.List(t.Context()); err != nil {
		t.Errorf("after a stall: %v", err)
	}
}
