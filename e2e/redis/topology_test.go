package redis

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

var role = regexp.MustCompile(`(?m)^redis_instance_info\{.*role="([a-z]+)"`)

// wantRole wants the server to be seen in a role.
func (e *exporter) wantRole(want string) {
	e.T.Helper()
	harness.Eventually(e.T, 20*time.Second, "the server is seen as a "+want, func() error {
		harness.Freshen()
		p := e.Scrape("5")
		if found := role.FindStringSubmatch(p.Body); found == nil || found[1] != want || len(p.Failing("redis")) > 0 {
			return fmt.Errorf("role %q, failing %v", found, p.Failing("redis"))
		}
		return nil
	})
}

// When sentinels make a replica the master, the old master is down, the new one is seen as such, and what the sentinels
// say follows; the old one comes back as a replica.
func TestFailover(t *testing.T) {
	t.Parallel()
	master := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis8})
	replica := master.NewReplica(t)
	watcher := servers.NewSentinel(t, "main", master, 1)
	if err := watcher.WaitSentinel(t.Context(), "main", "num-slaves", "1"); err != nil {
		t.Fatal(err)
	}
	ofMaster, ofReplica, ofSentinel := at(t, master.Addr()), at(t, replica.Addr()), at(t, watcher.Addr())
	ofMaster.wantRole("master")
	ofReplica.wantRole("slave")
	ofSentinel.wantGood()
	ofSentinel.Scrape("5").Want(t, fmt.Sprintf(`redis_sentinel_master_status{master_address="%s",master_name="main",master_status="ok"}`, master.Addr()), 1)
	master.Kill()
	ofMaster.wantDown("unreachable")
	ofReplica.wantRole("master")
	harness.Eventually(t, 20*time.Second, "the sentinel's page names the new master", func() error {
		harness.Freshen()
		p := ofSentinel.Scrape("5")
		if v, _ := p.Value(fmt.Sprintf(`redis_sentinel_master_status{master_address="%s",master_name="main",master_status="ok"}`, replica.Addr())); v != 1 {
			return fmt.Errorf("%v", regexp.MustCompile(`(?m)^redis_sentinel_master_status.*$`).FindAllString(p.Body, -1))
		}
		return nil
	})
	if err := master.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ofMaster.wantRole("slave")
	ofReplica.wantGood()
	ofSentinel.wantGood()
}

// While slots move from one node to another, every node's page is good, checked keys that have left are no failure, and
// afterwards they are those of the new node.
func TestResharding(t *testing.T) {
	t.Parallel()
	c := servers.NewRedisCluster(t, servers.Redis7, 3, 0)
	from, to := c.Masters[2], c.Masters[0]
	const slot, tag = 12182, "{foo}" // foo is in this slot
	for i := range 20 {
		run(t, from, []any{"SET", fmt.Sprint(tag, i), "x"})
	}
	e := at(t, from.Addr(), "--is-cluster", "--check-single-keys=db0="+tag+"1,db0="+tag+"19")
	other := at(t, to.Addr())
	size := fmt.Sprintf(`redis_key_size{db="db0",key="%s19"}`, tag)
	wantKey(t, e, size, 1)
	id := map[*servers.Redis]string{}
	for _, node := range c.Masters {
		var err error
		if id[node], err = node.Text(t.Context(), "CLUSTER", "MYID"); err != nil {
			t.Fatal(err)
		}
	}
	run(t, to, []any{"CLUSTER", "SETSLOT", slot, "IMPORTING", id[from]})
	run(t, from, []any{"CLUSTER", "SETSLOT", slot, "MIGRATING", id[to]})
	for i := range 20 {
		if i == 10 { // half of them have left
			wantKey(t, e, size, 1)
			e.wantGood()
			other.wantGood()
		}
		run(t, from, []any{"MIGRATE", to.Host(), to.Port(), fmt.Sprint(tag, i), 0, 5000})
	}
	for _, node := range []*servers.Redis{to, from, c.Masters[1]} {
		run(t, node, []any{"CLUSTER", "SETSLOT", slot, "NODE", id[to]})
	}
	if err := c.Agree(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKey(t, e, size, 1)
	e.wantGood()
	other.wantGood()
	other.Scrape("5").Want(t, `redis_db_keys{db="db0"}`, 20)
}

// Patterns of keys are looked for on all primaries of a cluster that is followed, from whichever node is asked.
func TestPatternsOfACluster(t *testing.T) {
	t.Parallel()
	c := servers.NewRedisCluster(t, servers.Redis7, 3, 1)
	const keys = 300
	for i := range keys {
		var err error
		for _, node := range c.Masters { // of which one has the key's slot
			if _, err = node.Do(t.Context(), "SET", fmt.Sprint("many:", i), "x"); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--count-keys=db0=many:*,db0=none:*", "--check-keys=db0=many:1?", "--check-key-groups=^(many)", "--check-keys-batch-size=50"}
	for _, node := range []*servers.Redis{c.Masters[0], c.Masters[2]} {
		e := at(t, node.Addr(), append(args, "--is-cluster")...)
		wantKey(t, e, `redis_keys_count{db="db0",key="many:*"}`, keys)
		wantKey(t, e, `redis_key_group_count{db="db0",key_group="many"}`, keys)
		p := e.Scrape("10")
		p.Want(t, `redis_keys_count{db="db0",key="none:*"}`, 0)
		for i := range 10 {
			p.Want(t, fmt.Sprintf(`redis_key_size{db="db0",key="many:1%d"}`, i), 1)
		}
		e.wantGood()
	}
	alone := at(t, c.Masters[0].Addr(), args...)
	size, err := c.Masters[0].Do(t.Context(), "DBSIZE")
	own, ok := size.(int64)
	if err != nil || !ok || own == 0 || own == keys {
		t.Fatalf("one node has %v of %d keys, %v", size, keys, err)
	}
	wantKey(t, alone, `redis_keys_count{db="db0",key="many:*"}`, float64(own))
}

// wantKey wants a key to be shown, in the end.
func wantKey(t *testing.T, e *exporter, series string, want float64) {
	t.Helper()
	harness.Eventually(t, 10*time.Second, series, func() error {
		harness.Freshen()
		p := e.Scrape("5")
		if v, there := p.Value(series); !there || v != want {
			return fmt.Errorf("%v (present: %v), failing %v", v, there, p.Failing("redis"))
		}
		return nil
	})
}

// A node that loses the others says that the cluster is down, and is itself up.
func TestClusterDown(t *testing.T) {
	t.Parallel()
	c := servers.NewRedisCluster(t, servers.Valkey8, 3, 0)
	e := at(t, c.Masters[0].Addr())
	e.wantGood()
	e.Scrape("5").Want(t, "redis_cluster_state", 1)
	for _, node := range c.Masters[1:] {
		if err := node.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Masters[0].WaitCluster(t.Context(), "cluster_state:fail"); err != nil {
		t.Fatal(err)
	}
	harness.Freshen()
	p := e.Scrape("5")
	p.Want(t, "redis_up", 1)
	p.Want(t, "redis_cluster_state", 0)
	for _, node := range c.Masters[1:] {
		node.Resume()
	}
	if err := c.Agree(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.wantGood()
	e.Scrape("5").Want(t, "redis_cluster_state", 1)
}
