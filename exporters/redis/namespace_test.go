package main

import (
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// names are those of all families, in order.
func names(t *testing.T, word string) []string {
	t.Helper()
	all, err := catalogue(options{namespace: word, allConfig: true, unknownFields: true, sentinelPeers: true, clientPorts: true})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, c := range all {
		for _, f := range c.Families {
			list = append(list, f.Name)
		}
	}
	return list
}

// Every family has the namespace before its name and is the same otherwise; also one that begins like the usual one.
func TestNamespace(t *testing.T) {
	usual := names(t, "")
	for _, word := range []string{"cache", "redis", "redis_prod", "_9:x"} {
		for i, name := range names(t, word) {
			rest, ok := strings.CutPrefix(usual[i], "redis_")
			if !ok || name != word+"_"+rest {
				t.Errorf("%s: %s, in place of %s", word, name, usual[i])
			}
		}
	}
}

// Names that only the server knows have it too.
func TestNamespaceOfUnknownNames(t *testing.T) {
	list := collect.Catalogue{clusterInfo()}
	rename(list, "cache")
	out := metric.NewBatch(0)
	if err := list[0].Read(0, answerOf(t, bulk("cluster_size:3\r\ncluster_stats_messages_auth-req_sent:7\r\n")), out); err != nil {
		t.Fatal(err)
	}
	for _, f := range out.Families() {
		if name := f.GetName(); name != "cache_cluster_size" && name != "cache_cluster_stats_messages_auth_req_sent" {
			t.Error(name)
		}
	}
	if len(out.Families()) != 2 {
		t.Error(out.Families())
	}
}

func TestNamespaceRefused(t *testing.T) {
	for word, want := range map[string]string{
		"redis": "", "cache_1": "", "": "must be what", "9": "must be what", "my-redis": "must be what", "a b": "must be what",
		"redis*": "must be what", "rédis": "must be what", "go": "other metrics", "process": "other metrics", "service": "other metrics", "db": "other metrics",
	} {
		b := &backend{}
		a := kingpin.New("test", "").Terminate(nil)
		b.Flags(a)
		if _, err := a.Parse([]string{"--namespace=" + word}); err != nil {
			t.Fatal(err)
		}
		_, err := b.Namespace()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", word, err, want)
		}
	}
}
