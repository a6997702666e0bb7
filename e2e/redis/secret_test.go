package redis

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// canary is a password with every character that makes a careless program show it, but for those that redis.conf
// cannot hold.
const canary = `c%4n-a r~y@:/?&=x,`

// shows tells in which writing a text holds the canary.
func shows(text string) string {
	const core = `c%4n-a r~y` // what must not stand there even where the rest was cut off
	for _, writing := range []string{core, url.QueryEscape(canary), url.PathEscape(canary), url.UserPassword("", canary).String()[1:],
		base64.StdEncoding.EncodeToString([]byte(canary)), `c%254n`} {
		if strings.Contains(text, writing) {
			return writing
		}
	}
	return ""
}

// wantSilent visits everything that an exporter shows and looks for the canary.
func (e *exporter) wantSilent() {
	e.T.Helper()
	for where, text := range e.Everything("/", "/metrics", "/health", "/probe?target=x", "/scrape?target=x", "/discover-cluster-nodes", "/config", "/nowhere", "/debug/pprof/cmdline") {
		if found := shows(text); found != "" {
			e.T.Errorf("%s shows the password as %q", where, found)
		}
	}
}

// A password works in each of the ways to give it, and never shows, whether it is right, wrong or useless; what the
// server's own settings hold of passwords does not show either.
func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{})
	run(t, server, []any{"ACL", "SETUSER", "watcher", "on", ">" + canary, "~*", "&*", "+@all"}, []any{"CONFIG", "SET", "masterauth", canary})
	uri := "redis://" + server.Addr()
	byURI, err := json.Marshal(map[string]string{"redis://watcher@" + server.Addr(): canary})
	if err != nil {
		t.Fatal(err)
	}
	userinfo := url.UserPassword("watcher", canary).String()
	for name, env := range map[string][]string{
		"URL":           {"REDIS_ADDR=redis://" + userinfo + "@" + server.Addr()},
		"environment":   {"REDIS_ADDR=" + uri, "REDIS_USER=watcher", "REDIS_PASSWORD=" + canary},
		"password file": {"REDIS_ADDR=redis://watcher@" + server.Addr(), "REDIS_PASSWORD_FILE=" + harness.File(t, "passwords.json", string(byURI))},
		"config file": {"REDIS_EXPORTER_CONFIG_FILE=" + harness.File(t, "c.yml",
			fmt.Sprintf("targets:\n- {uri: '%s', user: watcher, password: {file: '%s'}}\n", uri, harness.File(t, "password", canary+"\n")))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, env, "--include-config-metrics", "--export-client-list")
			e.wantGood()
			e.wantSilent()
			wrong := slices.Clone(env)
			for i := range wrong { // to a server that is not there
				wrong[i] = strings.Replace(wrong[i], server.Addr(), "127.0.0.1:1", 1)
			}
			bad := start(t, wrong)
			bad.Scrape("2")
			bad.wantSilent()
		})
	}
	refused := start(t, []string{"REDIS_ADDR=" + uri, "REDIS_USER=nobody", "REDIS_PASSWORD=" + canary})
	refused.wantDown("auth")
	refused.wantSilent()
}

// A stranger's address gets no word of ours, and no password.
func TestStrangerGetsNothing(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{Password: canary})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				close(heard)
				return
			}
			text := make([]byte, 1000)
			n, _ := io.ReadAtLeast(conn, text, 1)
			heard <- string(text[:n])
			_ = conn.Close()
		}
	}()
	e := start(t, login(server))
	for _, path := range []string{"/probe", "/scrape"} {
		for _, target := range []string{listener.Addr().String(), "redis://" + listener.Addr().String(), "redis://watcher:x@" + listener.Addr().String()} {
			if p := e.Get(path + "?target=" + url.QueryEscape(target)); p.Code == 200 {
				t.Errorf("%s of a stranger: code %d", path, p.Code)
			}
		}
	}
	_ = listener.Close()
	for text := range heard {
		t.Errorf("the stranger heard %q", text)
	}
	harness.Freshen()
	e.Scrape("5").Want(t, "redis_up", 1)
}
