package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func wantText(t *testing.T, r *Redis, want string, command ...any) {
	t.Helper()
	got, err := r.Text(t.Context(), command...)
	if err != nil || got != want {
		t.Fatalf("%v: got %q (%v), want %q", command, got, err, want)
	}
}

func TestRedisEveryKind(t *testing.T) {
	for _, kind := range RedisKinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := NewRedis(t, RedisOptions{Kind: kind, Password: "secret", Initial: [][]any{{"SET", "kept", "7"}}})
			info, err := r.Text(t.Context(), "INFO", "server")
			name, major, _ := strings.Cut(kind, "/")
			if err != nil || !strings.Contains(info, fmt.Sprintf("\n%s_version:%s.", name, major)) {
				t.Fatalf("%v: %s", err, info)
			}
			wantText(t, r, "7", "GET", "kept")
			replica := r.NewReplica(t)
			wantText(t, replica, "7", "GET", "kept")
			stopAndStartRedis(t, r)
			if err := r.Pause(); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Do(short(t), "PING"); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("a frozen server: %v", err)
			}
			r.Resume()
			wantText(t, r, "PONG", "PING")
		})
	}
}

// stopAndStartRedis sees a server come back on its port with what it saved, and answer while it loads.
func stopAndStartRedis(t *testing.T, r *Redis) {
	t.Helper()
	wantText(t, r, "OK", "SAVE")
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Do(t.Context(), "PING"); err == nil {
		t.Fatal("a stopped server answers")
	}
	if err := r.StartLoading(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err == nil {
		t.Fatal("a second start is no error")
	}
	if err := r.WaitInfo(t.Context(), "loading:0"); err != nil {
		t.Fatal(err)
	}
	wantText(t, r, "7", "GET", "kept")
}

func TestRedisTLS(t *testing.T) {
	t.Parallel()
	r := NewRedis(t, RedisOptions{TLS: true, Password: "secret", Config: []string{"user reader on >word ~* -@all +ping"}})
	wantText(t, r, "PONG", "PING")
	replica := r.NewReplica(t)
	wantText(t, replica, "PONG", "PING")
	client := r.Client(t)
	if err := client.Do(t.Context(), "AUTH", "reader", "word").Err(); err != nil {
		t.Fatal(err)
	}
	var said redis.Error
	if err := client.Do(t.Context(), "INFO").Err(); !errors.As(err, &said) || !strings.HasPrefix(said.Error(), "NOPERM") {
		t.Fatalf("a user without the right: %v", err)
	}
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	c := NewRedisCluster(t, Valkey8, 3, 1)
	if _, err := c.Masters[1].Do(t.Context(), "SET", "foo", "1"); err == nil || !strings.HasPrefix(err.Error(), "MOVED 12182 ") {
		t.Fatalf("a key of another node: %v", err)
	}
	wantText(t, c.Masters[2], "OK", "SET", "foo", "1")
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	master := NewRedis(t, RedisOptions{Password: "secret"})
	replica := master.NewReplica(t)
	first, second := NewSentinel(t, "main", master, 2), NewSentinel(t, "main", master, 2)
	for field, value := range map[string]string{"num-slaves": "1", "num-other-sentinels": "1"} {
		for _, s := range []*Redis{first, second} {
			if err := s.WaitSentinel(t.Context(), "main", field, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	master.Kill()
	if err := replica.WaitInfo(t.Context(), "role:master"); err != nil {
		t.Fatal(err)
	}
	if err := first.WaitSentinel(t.Context(), "main", "port", fmt.Sprint(replica.Port())); err != nil {
		t.Fatal(err)
	}
}

func TestRedisThatCannotStart(t *testing.T) {
	t.Parallel()
	if _, err := StartRedis(t.Context(), RedisOptions{Config: []string{"maxmemory nonsense"}}); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Fatalf("the error does not tell the cause: %v", err)
	}
	if _, err := RedisBin("redis/1"); err == nil || !strings.HasSuffix(err.Error(), "run: tools/ensure.sh redis") {
		t.Fatal(err)
	}
}

func TestRedisFake(t *testing.T) {
	t.Parallel()
	r := NewRedis(t, RedisOptions{Kind: Redis8})
	f := NewRedisFake(t, r.Addr())
	f.Answer("CLIENT LIST", BulkText("id=1\n"))
	client := redis.NewClient(&redis.Options{Addr: f.Addr(), Protocol: 3})
	defer client.Close()
	pipeline := client.Pipeline()
	list, name, version := pipeline.ClientList(t.Context()), pipeline.ClientGetName(t.Context()), pipeline.HMGet(t.Context(), "nothing", "a")
	_, _ = pipeline.Exec(t.Context()) // the name is nil, which is an error
	if list.Val() != "id=1\n" || !errors.Is(name.Err(), redis.Nil) || len(version.Val()) != 1 {
		t.Fatalf("%v %v %v", list, name, version)
	}
	f.Answer("", "-BUSY wait\r\n")
	if err := client.Get(t.Context(), "a").Err(); err == nil || err.Error() != "BUSY wait" {
		t.Fatal(err)
	}
	f.Forget()
	if err := client.Set(t.Context(), "a", "b", 0).Err(); err != nil {
		t.Fatal(err)
	}
}
