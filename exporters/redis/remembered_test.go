package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// named are the collectors of keys and streams that a user names.
func named(t *testing.T) collect.Catalogue {
	t.Helper()
	k := keyChecks{values: true, consumers: true}
	for text, to := range map[string]*[]keyRef{"db0=a,db1=b,db0=c,db0=c,db2=d": &k.keys, "db0=a,db1=s,db0=r": &k.streams} {
		var err error
		if *to, err = parseKeys(text); err != nil {
			t.Fatal(err)
		}
	}
	return collect.Catalogue{checkKeys(k)[0], streams(k)[0]}
}

// talkOver holds the talks of collectors and gives their samples, and how many turn-arounds the longest took.
func talkOver(t *testing.T, conn collect.Conn, list collect.Catalogue) (all []string, turns int64) {
	t.Helper()
	for _, collector := range list {
		before, out := conn.Usage().TurnArounds, metric.NewBatch(0)
		if err := converse(t.Context(), conn, collector.Talk(conn.Identity()), out); err != nil {
			t.Fatalf("%s: %v", collector.Name, err)
		}
		for _, sample := range samples(out) {
			if !strings.Contains(sample, "_idle_seconds") { // which goes on by itself
				all = append(all, sample)
			}
		}
		turns = max(turns, conn.Usage().TurnArounds-before)
	}
	return all, turns
}

// What keys are and which groups streams have is remembered: so long as nothing becomes something else, one turn-around
// is enough. Whatever happens to them, what is shown is what an exporter shows that remembers nothing.
func TestWhatIsRememberedIsChecked(t *testing.T) {
	r := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis8})
	client, conn := r.Client(t).Conn(), connectTo(t, r.Addr())
	t.Cleanup(func() { _ = client.Close() })
	remembering := named(t)
	for _, step := range []struct {
		name     string
		commands string
		turns    int64 // of a scrape that remembers
	}{
		{"nothing is there", "", 1},
		{"a key of every kind", "RPUSH a x y; SELECT 1; SET b 12; SELECT 0; PFADD c x y z; SELECT 2; HSET d f v", 3},
		{"the same", "", 1},
		{"more of it", "RPUSH a z; SELECT 1; SET b text; SELECT 0; PFADD c q; SELECT 2; HSET d g v", 1},
		{"a list becomes a set", "DEL a; SADD a x", 2},
		{"a set becomes a text", "DEL a; SET a 1", 2},
		{"a HyperLogLog becomes a text", "SET c plain", 1},
		{"and the same", "", 1},
		{"a text becomes a HyperLogLog", "DEL c; PFADD c x y", 2},
		{"and stays one", "", 1},
		{"all is gone", "FLUSHALL", 1},
		{"a queue comes back", "SELECT 2; HSET d f v", 1},
		{"a stream without groups", "XADD a 1-1 f v", 2},
		{"a group", "XGROUP CREATE a g 0", 2},
		{"with a consumer", "XREADGROUP GROUP g anna STREAMS a >", 1},
		{"more groups and streams", "XGROUP CREATE a h 0; XGROUP CREATECONSUMER a h bert; SELECT 1; XADD s 1-1 f v; XGROUP CREATE s k $", 2},
		{"the same streams", "", 1},
		{"a group is gone", "XGROUP DESTROY a g", 1},
		{"and back", "XGROUP CREATE a g 0", 2},
		{"a stream is gone", "SELECT 1; DEL s", 1},
		{"a stream becomes a text", "SET a text", 2},
		{"and a text of the same kind", "SET a 5", 1},
	} {
		t.Run(step.name, func(t *testing.T) {
			for command := range strings.SplitSeq("SELECT 0; "+step.commands, ";") {
				var args []any
				for word := range strings.FieldsSeq(command) {
					args = append(args, word)
				}
				if len(args) == 0 {
					continue
				}
				if err := client.Do(t.Context(), args...).Err(); err != nil {
					t.Fatalf("%v: %v", args, err)
				}
			}
			want, _ := talkOver(t, conn, named(t))
			got, turns := talkOver(t, conn, remembering)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if len(got) < 4 || turns != step.turns {
				t.Errorf("%d samples in %d turn-arounds, want %d", len(got), turns, step.turns)
			}
		})
	}
}

// A key that becomes something else between two questions is left out, and shown by the next scrape.
func TestKeyChangesBetweenTwoQuestions(t *testing.T) {
	kinds, refused := []string{"list", "list", "set"}, ""
	s := newScripted(t, func(args []string) string {
		switch args[0] {
		case "TYPE":
			return fmt.Sprintf("+%s\r\n", kinds[0])
		case "LLEN":
			return cmp.Or(refused, ":3\r\n")
		case "SCARD":
			return ":4\r\n"
		case "MEMORY":
			return "$-1\r\n"
		}
		return ""
	})
	conn := connected(t, s.driver())
	list := collect.Catalogue{checkKeys(keyChecks{keys: []keyRef{{0, "k"}}})[0]}
	for i, want := range []string{"key_size{db0,k} 3", "", "key_size{db0,k} 4"} {
		if refused = ""; i == 1 {
			refused = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
		}
		got, _ := talkOver(t, conn, list)
		if strings.Join(got, "\n") != want {
			t.Errorf("time %d: %q, want %q", i, got, want)
		}
		kinds = kinds[1:]
	}
}
