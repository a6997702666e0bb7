package redissearch

import (
	"context"
	"net/url"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backendtest"
)

func open(t *testing.T, address, key string) backend.Session {
	t.Helper()
	s, err := Open(t.Context(), backend.Endpoint{
		URL: &url.URL{Scheme: "redis", Host: address}, Key: key, Dial: backendtest.Dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestVectorSets(t *testing.T) {
	r := servers.NewRedis(t, servers.RedisOptions{Kind: servers.Redis8, Password: "secret", Initial: [][]any{
		{"VADD", "set", "VALUES", "3", "1", "0", "0", "a"}, {"VADD", "set", "VALUES", "3", "0", "1", "0", "b"},
		{"SET", "text", "1"},
	}})
	s := open(t, r.Addr(), "secret")
	t.Run("keep the promises of a session", func(t *testing.T) { backendtest.Check(t, s) })
	all, err := s.Describe(t.Context(), []string{"set"})
	if err != nil || len(all) != 1 || *all[0].Objects != 2 || all[0].Spaces[0].Quantized != "int8" || *all[0].Spaces[0].Dimensions != 3 {
		t.Errorf("%+v, %v", all, err)
	}
	stored, err := s.Storage(t.Context(), []string{"set", "not there"})
	if err != nil || len(stored) != 1 || *stored[0].Memory <= 0 {
		t.Errorf("%+v, %v", stored, err)
	}
	server, err := s.Identify(t.Context())
	if err != nil || server.Version[0] != '8' || server.Started == nil {
		t.Errorf("%+v, %v", server, err)
	}
	if _, err := s.Create(t.Context(), "text", "mark", 3); err == nil {
		t.Error("a set was made of somebody's text")
	}
	if _, own, err := s.Marked(t.Context(), "text", "mark"); own || err != nil {
		t.Errorf("a text is marked: %v", err)
	}
	if _, err := open(t, r.Addr(), "wrong").List(t.Context()); fault.Of(err) != fault.Auth {
		t.Errorf("with a wrong password: %v", err)
	}
	if _, err := open(t, r.Addr(), "").List(t.Context()); fault.Of(err) != fault.Auth {
		t.Errorf("without a password: %v", err)
	}
}

func TestServersWithoutVectors(t *testing.T) {
	for _, kind := range []string{servers.Redis7, servers.Valkey8} {
		r := servers.NewRedis(t, servers.RedisOptions{Kind: kind})
		if _, err := open(t, r.Addr(), "").List(context.Background()); fault.Of(err) != fault.Config {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
