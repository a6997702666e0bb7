package servers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// NewReplica starts a replica of the server for a test, waits until it is in step, and closes it at the test's end.
func (r *Redis) NewReplica(tb testing.TB, config ...string) *Redis {
	tb.Helper()
	replica, err := r.Replica(tb.Context(), config...)
	if err != nil {
		tb.Fatal(err)
	}
	replica.closeAfter(tb)
	return replica
}

// Replica starts a replica of the server and waits until it is in step. The caller closes it.
func (r *Redis) Replica(ctx context.Context, config ...string) (*Redis, error) {
	replica, err := StartRedis(ctx, RedisOptions{
		Kind: r.kind, Password: r.password, TLS: r.caFile != "", certificates: certificate(r.dir, ""),
		Config: append([]string{fmt.Sprint("replicaof 127.0.0.1 ", r.port)}, config...),
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(replica.WaitInfo(ctx, "master_link_status:up"), r.WaitInfo(ctx, "rdb_bgsave_in_progress:0")); err != nil {
		return nil, errors.Join(err, replica.Close())
	}
	return replica, nil
}

// WaitInfo waits until the server's INFO has a line.
func (r *Redis) WaitInfo(ctx context.Context, line string) error {
	return r.wait(ctx, line, "INFO")
}

// WaitCluster waits until what a node says of its cluster has a line.
func (r *Redis) WaitCluster(ctx context.Context, line string) error {
	return r.wait(ctx, line, "CLUSTER", "INFO")
}

// wait asks again and again until the answer has a line.
func (r *Redis) wait(ctx context.Context, line string, command ...any) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	var last error
	err := r.process.until(ctx, func() bool {
		var answer string
		answer, last = r.Text(ctx, command...)
		return strings.Contains("\n"+answer, "\n"+line+"\r\n")
	})
	if err != nil {
		return fmt.Errorf("%s does not come to say %s: %w", r.kind, line, errors.Join(err, last))
	}
	return nil
}

// RedisCluster is a cluster of masters and, perhaps, a replica of each.
type RedisCluster struct {
	Masters  []*Redis // each has an equal part of the slots, in this order
	Replicas []*Redis // the first is that of the first master, and so on
}

// slots is how many there are in every cluster.
const slots = 16384

// NewRedisCluster starts a cluster for a test and closes it at the test's end.
func NewRedisCluster(tb testing.TB, kind string, masters, replicas int, config ...string) *RedisCluster {
	tb.Helper()
	c, err := StartRedisCluster(tb.Context(), kind, masters, replicas, config...)
	if err != nil {
		tb.Fatal(err)
	}
	for _, node := range c.Nodes() {
		node.closeAfter(tb)
	}
	return c
}

// StartRedisCluster starts a cluster and waits until all its nodes find it well. The caller closes it.
func StartRedisCluster(ctx context.Context, kind string, masters, replicas int, config ...string) (*RedisCluster, error) {
	c := &RedisCluster{}
	for i := range masters + replicas {
		bus, err := FreePort()
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		node, err := StartRedis(ctx, RedisOptions{Kind: kind, Config: append([]string{
			"cluster-enabled yes", fmt.Sprint("cluster-port ", bus), "cluster-node-timeout 2000", "repl-diskless-load disabled",
		}, config...)})
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		if i < masters {
			c.Masters = append(c.Masters, node)
		} else {
			c.Replicas = append(c.Replicas, node)
		}
		node.bus = bus
		if err := c.introduce(ctx, node, i+1); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if err := c.form(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// introduce gives a node an epoch of its own, so that none has to be made up for it later, and the first node to know.
func (c *RedisCluster) introduce(ctx context.Context, node *Redis, epoch int) error {
	if _, err := node.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", epoch); err != nil {
		return err
	}
	first := c.Masters[0]
	if node == first {
		return nil
	}
	_, err := node.Do(ctx, "CLUSTER", "MEET", first.Host(), first.port, first.bus)
	return err
}

// form gives the masters their slots and the replicas their masters.
func (c *RedisCluster) form(ctx context.Context) error {
	for i, node := range c.Masters {
		first, last := slots*i/len(c.Masters), slots*(i+1)/len(c.Masters)-1
		if _, err := node.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", first, last); err != nil {
			return err
		}
	}
	if err := c.Agree(ctx); err != nil {
		return err
	}
	for i, node := range c.Replicas {
		id, err := c.Masters[i%len(c.Masters)].Text(ctx, "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		if _, err := node.Do(ctx, "CLUSTER", "REPLICATE", id); err != nil {
			return err
		}
		if err := node.WaitInfo(ctx, "master_link_status:up"); err != nil {
			return err
		}
	}
	return nil
}

// Agree waits until every node knows all others and finds all slots served.
func (c *RedisCluster) Agree(ctx context.Context) error {
	for _, node := range c.Nodes() {
		for _, line := range []string{"cluster_state:ok", fmt.Sprint("cluster_known_nodes:", len(c.Nodes())), fmt.Sprint("cluster_size:", len(c.Masters))} {
			if err := node.WaitCluster(ctx, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// Nodes returns the masters and then the replicas.
func (c *RedisCluster) Nodes() []*Redis {
	return append(append([]*Redis{}, c.Masters...), c.Replicas...)
}

// Close stops all nodes and removes all they have left.
func (c *RedisCluster) Close() error {
	var err error
	for _, node := range c.Nodes() {
		err = errors.Join(err, node.Close())
	}
	return err
}

// NewSentinel starts a sentinel for a test and closes it at the test's end. It watches a master under a name, with a
// quorum, and finds the others that do; it takes a master that is silent for half a second to be down.
func NewSentinel(tb testing.TB, name string, master *Redis, quorum int, config ...string) *Redis {
	tb.Helper()
	s, err := StartSentinel(tb.Context(), name, master, quorum, config...)
	if err != nil {
		tb.Fatal(err)
	}
	s.closeAfter(tb)
	return s
}

// StartSentinel is NewSentinel for programs. The caller closes it.
func StartSentinel(ctx context.Context, name string, master *Redis, quorum int, config ...string) (*Redis, error) {
	s, err := newRedis(RedisOptions{Kind: master.kind})
	if err != nil {
		return nil, err
	}
	s.args = []string{"--sentinel"}
	lines := []string{
		"bind 127.0.0.1", fmt.Sprint("port ", s.port), "dir " + s.dir,
		fmt.Sprintf("sentinel monitor %s %s %d %d", name, master.Host(), master.port, quorum),
		fmt.Sprintf("sentinel down-after-milliseconds %s 500", name),
		fmt.Sprintf("sentinel failover-timeout %s 2000", name),
	}
	if master.password != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %q", name, master.password))
	}
	if err := s.configure(append(lines, config...)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// WaitSentinel waits until what the sentinel says of a master has a value under a name, as in num-slaves, 1.
func (r *Redis) WaitSentinel(ctx context.Context, master, field, value string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	var last any
	err := r.process.until(ctx, func() bool {
		answer, _ := r.Do(ctx, "SENTINEL", "MASTER", master)
		last = answer
		pairs, _ := answer.([]any)
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == field {
				return pairs[i+1] == value
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("the sentinel does not come to say %s %s: %w; it says %v", field, value, err, last)
	}
	return nil
}
