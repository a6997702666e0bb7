package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// With a namespace every family has it where it had redis, on both pages and in the documentation, and every family of the
// peer with the same namespace is there with its type.
func TestNamespace(t *testing.T) {
	for _, name := range []string{"redis7", "cluster", "sentinel"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := worlds[name](t)
			passwords := harness.File(t, "passwords.json", `{"redis://`+w.server.Addr()+`": ""}`)
			args := append([]string{"-redis.password-file", passwords}, w.args...)
			usual, both := start(t, login(w.server), args...), newPair(t, append(login(w.server), "REDIS_EXPORTER_NAMESPACE=redis_cache"), args)
			settle(t, usual)
			settleAs(t, both.ours, "redis_cache")
			before, found, peers := usual.Families(), both.ours.Families(), both.theirs.Families()
			for name := range before {
				if rest, ok := strings.CutPrefix(name, "redis_"); ok && found["redis_cache_"+rest] == nil {
					t.Errorf("%s has no other name", name)
				}
			}
			for name := range found {
				if !slices.ContainsFunc([]string{"redis_cache_", "db_", "go_", "process_", "service_"}, func(word string) bool { return strings.HasPrefix(name, word) }) {
					t.Errorf("%s has no namespace", name)
				}
			}
			intended := differences(t)
			for name, family := range peers {
				rest, ok := strings.CutPrefix(name, "redis_cache_")
				if ours := found[name]; ok && !intended["redis_"+rest] && (ours == nil || ours.GetType() != family.GetType()) {
					t.Errorf("%s of the peer is %v", name, ours)
				}
			}
			if len(found) < 100 || len(peers) < 60 {
				t.Errorf("%d families, %d of the peer", len(found), len(peers))
			}
			probed := both.ours.Get("/scrape?target=" + w.server.Addr())
			probed.Want(t, "redis_cache_up", 1)
			if strings.Contains(strings.ReplaceAll(probed.Body, "redis_cache_", ""), "\nredis_") {
				t.Errorf("/scrape has a family without the namespace:\n%s", probed.Body)
			}
		})
	}
	code, said := ours(t, nil, "--namespace=cache", "docs", "metrics")
	if code != 0 || !strings.Contains(said, "| `cache_up` |") || !strings.Contains(said, "| `cache_memory_used_bytes` |") || strings.Contains(said, "| `redis_") {
		t.Errorf("docs: code %d:\n%s", code, said)
	}
	if code, said := ours(t, []string{"REDIS_EXPORTER_NAMESPACE=my-redis"}, "check-config"); code != 2 || !strings.Contains(said, `--namespace is "my-redis"`) {
		t.Errorf("code %d: %s", code, said)
	}
}

// ours runs a command of the exporter.
func ours(t *testing.T, env []string, args ...string) (code int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, harness.Binary(t, exporterName), args...)
	command.Env, command.Dir = append([]string{"HOME=" + t.TempDir()}, env...), t.TempDir()
	output, err := command.CombinedOutput()
	if command.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("%v: %v: %s", args, err, output)
	}
	return command.ProcessState.ExitCode(), string(output)
}

// visitor asks for pages, with a password, a certificate, or neither.
type visitor struct {
	user, password string
	tls            *tls.Config
}

// visit gives the code of the answer, 0 for none, and its text.
func (v visitor) visit(t *testing.T, url string) (code int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.user != "" {
		request.SetBasicAuth(v.user, v.password)
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: v.tls.Clone(), ForceAttemptHTTP2: true}}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer.StatusCode, string(body)
}

// Each page is for who has the password, given as it is or as a hash, as with the peer, and the password never shows.
func TestBasicAuth(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{Initial: data})
	const word, hash = "an example", "$2a$10$ds.W63Tb.F8ZHJqGQxGmu.79F78hDm3MHhH.q/DzTYOO5jw/QJPDe" // of the word
	for name, env := range map[string][]string{
		"password": {"REDIS_EXPORTER_BASIC_AUTH_PASSWORD=" + canary}, "hash": {"REDIS_EXPORTER_BASIC_AUTH_HASH_PASSWORD=" + hash},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			right := visitor{user: "prometheus", password: canary}
			if name == "hash" {
				right.password = word
			}
			both := newPair(t, append(login(server), append(env, "REDIS_EXPORTER_BASIC_AUTH_USERNAME=prometheus")...), nil)
			for _, path := range []string{"/metrics", "/", "/health", "/scrape", "/discover-cluster-nodes", "/nowhere"} {
				for _, wrong := range []visitor{{}, {user: "prometheus"}, {user: "prometheus", password: hash}, {user: "x", password: right.password}} {
					code, text := wrong.visit(t, both.ours.URL+path)
					if peers, _ := wrong.visit(t, both.theirs.URL+path); code != http.StatusUnauthorized || code != peers || text != "Unauthorized\n" {
						t.Errorf("%s for %+v: %d, the peer's %d: %s", path, wrong, code, peers, text)
					}
				}
				if code, _ := right.visit(t, both.ours.URL+path); code == http.StatusUnauthorized {
					t.Errorf("%s is closed to the right password", path)
				}
			}
			_, page := right.visit(t, both.ours.URL+"/metrics")
			if !strings.Contains(page, "\nredis_up 1\n") {
				t.Errorf("the page: %.200s", page)
			}
			both.ours.wantSilent()
			for _, path := range []string{"/metrics", "/", "/health"} {
				if _, text := right.visit(t, both.ours.URL+path); shows(text) != "" || strings.Contains(text, word) || strings.Contains(text, hash) {
					t.Errorf("%s shows the password", path)
				}
			}
		})
	}
	env := append(login(server), "REDIS_EXPORTER_BASIC_AUTH_USERNAME=u", "REDIS_EXPORTER_BASIC_AUTH_PASSWORD="+canary)
	e := start(t, env)
	if code, said := ours(t, env, "healthcheck", "--url="+e.URL+"/health"); code != 0 || shows(said) != "" {
		t.Errorf("healthcheck: code %d: %s", code, said)
	}
	hashed := start(t, login(server), "-basic-auth-username=u", "-basic-auth-hash-password", hash)
	file := harness.File(t, "password", word+"\n")
	if code, said := ours(t, nil, "healthcheck", "--url="+hashed.URL+"/health", "--user=u", "--password-file="+file); code != 0 {
		t.Errorf("healthcheck with a file: code %d: %s", code, said)
	}
}

// Pages are served by TLS with the files that redis_exporter's flags name, from the version on that is wanted, and where an
// authority is named, to clients with a certificate of it, as with the peer.
func TestServerTLS(t *testing.T) {
	t.Parallel()
	server := servers.NewRedis(t, servers.RedisOptions{TLS: true})
	cert, key := server.Certificate()
	ca, err := os.ReadFile(server.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	visitors := map[string]visitor{
		"TLS": {tls: &tls.Config{RootCAs: roots}}, "TLS 1.2": {tls: &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS12}},
		"certificate": {tls: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}, "no authority": {tls: &tls.Config{}},
	}
	files := []string{"-tls-server-cert-file=" + cert, "-tls-server-key-file", key}
	for name, test := range map[string]struct {
		args []string
		in   []string // who is let in
	}{
		"certificate": {files, []string{"TLS", "TLS 1.2", "certificate"}},
		"newest":      {append(files[:3:3], "-tls-server-min-version=TLS1.3"), []string{"TLS", "certificate"}},
		"clients":     {append(files[:3:3], "--tls-server-ca-cert-file", server.CAFile()), []string{"certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both := newPair(t, login(server), test.args)
			for who, v := range visitors {
				_, page := v.visit(t, strings.Replace(both.ours.URL, "http:", "https:", 1)+"/metrics")
				code, _ := v.visit(t, strings.Replace(both.theirs.URL, "http:", "https:", 1)+"/metrics")
				in := strings.Contains(page, "\nredis_up 1\n")
				if in != slices.Contains(test.in, who) || in != (code == http.StatusOK) {
					t.Errorf("%s is let in: %v, by the peer: %v; %.200s", who, in, code == http.StatusOK, page)
				}
			}
			if code, text := (visitor{}).visit(t, both.ours.URL+"/metrics"); code == http.StatusOK {
				t.Errorf("without TLS: %d %.200s", code, text)
			}
			asking := append(slices.Clone(test.args), "healthcheck", "--url="+strings.Replace(both.ours.URL, "http:", "https:", 1)+"/health")
			if name == "clients" {
				if code, said := ours(t, nil, asking...); code == 0 {
					t.Errorf("healthcheck without a certificate: %s", said)
				}
				asking = append(asking, "--cert-file="+cert, "--key-file="+key)
			}
			if code, said := ours(t, nil, asking...); code != 0 || !strings.Contains(said, `"redis":"ok"`) {
				t.Errorf("healthcheck: code %d: %s", code, said)
			}
		})
	}
}
