package redissearch

import (
	"bufio"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// fakeServer sends all that it ever says once it is spoken to.
func fakeServer(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				words := bufio.NewReader(conn)
				if _, err := words.ReadByte(); err != nil {
					return
				}
				_, _ = conn.Write([]byte(answer))
				_, _ = words.Discard(1 << 20) // until the client leaves
			}()
		}
	}()
	return listener.Addr().String()
}

func TestHostileReplies(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		want         fault.Kind
	}{
		{"a list without end", "*2000000000\r\n", fault.Limited},
		{"a text without end", "$2000000000\r\n", fault.Limited},
		{"a length beyond numbers", "$99999999999999999999\r\n", fault.Malformed},
		{"a negative length", "*-2\r\n", fault.Malformed},
		{"lists in lists", strings.Repeat("*1\r\n", 10_000), fault.Limited},
		{"a list that does not come", "*900000\r\n*900000\r\n", fault.Timeout},
		{"a line without end", strings.Repeat("x", 1<<20), fault.Limited},
		{"another protocol", "HTTP/1.1 400 Bad Request\r\n\r\n", fault.Malformed},
		{"a text that is longer than announced", "$2\r\nabcd\r\n", fault.Malformed},
		{"an end", "$10\r\nabc", fault.Timeout},
		{"silence", "", fault.Timeout},
		{"a refusal", "-NOAUTH Authentication required.\r\n+OK\r\n:1\r\n", fault.Auth},
		{"a refusal of another kind", "-secret words\r\n+OK\r\n:1\r\n", fault.Internal},
		{"loading", "-LOADING Redis is loading the dataset in memory\r\n*0\r\n:1\r\n", fault.Busy},
		{"not a list", ":1\r\n*0\r\n:1\r\n", fault.Malformed},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := open(t, fakeServer(t, c.answer), "").List(ctx)
		cancel()
		if fault.Of(err) != c.want || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v (%s), want %s", c.name, err, fault.Of(err), c.want)
		}
	}
}

// reply writes what a server of the protocol sends for a value.
func reply(value any) string {
	var out strings.Builder
	l := &line{out: bufio.NewWriter(&out)}
	var write func(any)
	write = func(value any) {
		switch value := value.(type) {
		case string:
			l.put('$', len(value))
			_, _ = l.out.WriteString(value + "\r\n")
		case int:
			l.put(':', value)
		case []any:
			l.put('*', len(value))
			for _, element := range value {
				write(element)
			}
		}
	}
	write(value)
	_ = l.out.Flush()
	return out.String()
}

// The answers of the query engines are as their documentation shows them: none of them can be had here.
func TestIndexesOfAFakeEngine(t *testing.T) {
	list := reply([]any{"docs"}) + reply([]any{[]any{}}) + reply(2_000_000)
	redis := reply([]any{
		"index_name", "docs", "num_docs", "1000", "indexing", "1", "vector_index_sz_mb", "1.5", "records_per_doc_avg", "-nan",
		"attributes", []any{
			[]any{"identifier", "title", "attribute", "title", "type", "TEXT", "WEIGHT", "1"},
			[]any{"identifier", "v", "attribute", "v", "type", "VECTOR", "algorithm", "HNSW", "data_type", "FLOAT32", "dim", 384, "distance_metric", "COSINE", "M", 16, "ef_construction", 200},
		},
	})
	valkey := reply([]any{
		"index_name", "docs", "num_docs", "1000", "backfill_in_progress", "0",
		"attributes", []any{
			[]any{"identifier", "v", "attribute", "v", "type", "VECTOR", "index", []any{
				"capacity", 10240, "dimensions", 384, "distance_metric", "COSINE", "size", "1000", "data_type", "FLOAT32",
				"algorithm", []any{"name", "HNSW", "m", 16, "ef_construction", 200, "ef_runtime", 10},
			}},
		},
	})
	for name, info := range map[string]string{"redis": redis, "valkey": valkey} {
		s := open(t, fakeServer(t, list+info+info), "").(*session)
		names, err := s.List(t.Context())
		if err != nil || len(names) != 1 {
			t.Fatalf("%s: %q, %v", name, names, err)
		}
		all, err := s.Describe(t.Context(), names)
		if err != nil || len(all) != 1 || all[0].Err != nil || *all[0].Objects != 1000 || all[0].Vectors != nil || len(all[0].Spaces) != 1 {
			t.Fatalf("%s: %+v, %v", name, all, err)
		}
		space := all[0].Spaces[0]
		if space.Vector != "v" || *space.Dimensions != 384 || space.Distance != "cosine" || space.Index != "hnsw" || space.Datatype != "float32" ||
			space.Parameters["m"] != 16 || space.Parameters["ef_construct"] != 200 {
			t.Errorf("%s: %+v", name, space)
		}
		stored, err := s.Storage(t.Context(), names)
		if err != nil || len(stored) != 1 || (stored[0].IndexBytes == nil) != (name == "valkey") {
			t.Errorf("%s: %+v, %v", name, stored, err)
		}
	}
	for _, words := range []string{"-Unknown index name", "-docs: no such index", "-Index with name 'docs' not found"} {
		s := open(t, fakeServer(t, list+words+"\r\n"), "")
		names, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if all, err := s.Describe(t.Context(), names); err != nil || len(all) != 0 {
			t.Errorf("%q: %+v, %v", words, all, err)
		}
	}
}
