package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// pair is a server and its replica.
type pair struct{ primary, replica *servers.Redis }

func (p pair) close() error { return errors.Join(p.replica.Close(), p.primary.Close()) }

// used are commands that were used, so that the server tells of them, besides those of the exporters.
var used = [][]any{
	{"DEBUG", "POPULATE", "100000", "key", "16"},
	{"SELECT", "0"}, {"SET", "text", "x"}, {"GET", "text"}, {"APPEND", "text", "y"}, {"STRLEN", "text"}, {"GETRANGE", "text", "0", "1"},
	{"INCR", "number"}, {"DECR", "number"}, {"EXPIRE", "number", "86400"}, {"TTL", "number"}, {"EXISTS", "text"}, {"TYPE", "text"},
	{"HSET", "hash", "a", "1"}, {"HGET", "hash", "a"}, {"HGETALL", "hash"}, {"HLEN", "hash"}, {"RPUSH", "list", "a", "b"}, {"LPUSH", "list", "c"},
	{"LRANGE", "list", "0", "-1"}, {"LLEN", "list"}, {"SADD", "set", "a", "b"}, {"SMEMBERS", "set"}, {"SCARD", "set"}, {"ZADD", "zset", "1", "a"},
	{"ZRANGE", "zset", "0", "-1"}, {"ZCARD", "zset"}, {"PFADD", "logs", "a"}, {"PFCOUNT", "logs"}, {"XADD", "stream", "*", "a", "1"}, {"XLEN", "stream"},
	{"XGROUP", "CREATE", "stream", "readers", "0"}, {"XREADGROUP", "GROUP", "readers", "anna", "COUNT", "1", "STREAMS", "stream", ">"},
	{"XADD", "second", "*", "a", "1"}, {"XGROUP", "CREATE", "second", "readers", "0"}, {"XGROUP", "CREATE", "second", "writers", "0"},
	{"XADD", "third", "*", "a", "1"}, {"XGROUP", "CREATE", "third", "readers", "0"}, {"XGROUP", "CREATE", "third", "writers", "0"},
	{"EVAL", "return 1", "0"}, {"PUBLISH", "news", "x"}, {"SETEX", "mortal", "86400", "x"}, {"MSET", "a", "1", "b", "2"}, {"MGET", "a", "b"},
	{"SCAN", "0"}, {"RANDOMKEY"}, {"DBSIZE"}, {"OBJECT", "ENCODING", "text"}, {"MEMORY", "USAGE", "text"},
}

func startServer(ctx context.Context) (pair, error) {
	primary, err := servers.StartRedis(ctx, servers.RedisOptions{
		Config: []string{"latency-monitor-threshold 100", "hz 1", "dynamic-hz no"}, Initial: used,
	})
	if err != nil {
		return pair{}, err
	}
	replica, err := primary.Replica(ctx)
	if err != nil {
		return pair{}, errors.Join(err, primary.Close())
	}
	return pair{primary, replica}, nil
}

// choice is what is switched on in an exporter.
type choice struct {
	name         string
	args         []string
	peerNearOnly bool // the peer takes too long from afar
}

func cases() []choice {
	withoutKeys := []string{
		"--export-client-list", "--export-client-port", "--include-config-metrics", "--include-modules-metrics",
		"--include-system-metrics", "--include-rdb-file-size-metric", "--ping-on-connect",
	}
	var keys []string
	for i := range 1000 {
		keys = append(keys, fmt.Sprintf("db0=key:%d", i))
	}
	return []choice{
		{name: "default"},
		{name: "all but keys", args: withoutKeys},
		{name: "all but scans", args: append([]string{
			"--check-single-keys=db0=text,db0=hash", "--check-single-streams=db0=stream,db0=second,db0=third",
		}, withoutKeys...)},
		{name: "1,000 keys", args: []string{"--check-single-keys=" + strings.Join(keys, ",")}},
		{name: "100,000 keys scanned", args: []string{"--count-keys=db0=key:*"}, peerNearOnly: true},
	}
}
