package container

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// TestComposeRuns runs the exporters of compose.yaml in their images, with the command, environment, user, groups, files
// and secrets of the file, and asks their health checks. Their backends are a real PostgreSQL that role.sql and
// platform.sql have prepared, a real Redis with the password of the secrets, a real MailHog, and a stand-in for Qdrant.
// Addresses are put in, since every service would have one of its own.
func TestComposeRuns(t *testing.T) {
	c := load(t)
	s := newStore(t)
	s.build(t, exporters...)
	w := world{composed: c, store: s, addresses: map[string]string{}}
	w.startDatabase(t)
	secrets := written(t, c.folder)
	redis := servers.NewRedis(t, servers.RedisOptions{Password: secrets["redis_password_text"], Config: strings.Split(secrets["redis_conf"], "\n")})
	w.addresses["redis:6379"] = redis.Addr()
	mailhog := servers.NewMailHog(t)
	api, err := url.Parse(mailhog.URL())
	check(t, err)
	w.addresses["mail-server:1025"], w.addresses["mail-server:8025"] = mailhog.SMTPAddr(), api.Host
	fake := httptest.NewServer(qdrant.New(qdrant.Options{Version: "1.7.4"}))
	t.Cleanup(fake.Close)
	w.addresses["vector-db:6333"] = strings.TrimPrefix(fake.URL, "http://")

	t.Run("each", func(t *testing.T) {
		for service, wants := range map[string][]string{
			"monitoring-db":      {"pg_up 1", `service_health{service="db"} 1`, `service_health{service="db-api"} 0`},
			"monitoring-redis":   {"redis_up 1", `service_health{service="redis"} 1`},
			"redis-exporter":     {"redis_up 1"},
			"vector-db-exporter": {"vectordb_up 1", `service_health{service="vector-db"} 1`},
			"smtp-exporter":      {"smtp_up 1", `service_health{service="mail-server"} 1`},
		} {
			t.Run(service, func(t *testing.T) {
				t.Parallel()
				w.checkExporter(t, c.Services[service], wants)
			})
		}
	})
}

// world is where the exporters of compose.yaml run.
type world struct {
	composed
	store     store
	addresses map[string]string // what compose.yaml and its files say, and what it is here
}

// startDatabase starts a new PostgreSQL and gives it the files that the image runs in a new database, in their order.
func (w world) startDatabase(t *testing.T) {
	t.Helper()
	db := servers.NewPostgres(t, servers.PostgresOptions{Major: 15, Settings: map[string]string{"wal_level": "logical", "log_statement": "ddl"}})
	w.addresses["db:5432"], w.addresses["db-replica:5432"] = db.Addr(), db.Addr()
	for _, name := range []string{"db-api:3001", "db-admin:3000", "db-realtime:4000"} { // nothing is there
		w.addresses[name] = "127.0.0.1:1"
	}
	var scripts []string
	for _, v := range w.Services["db"].Volumes {
		if strings.HasPrefix(v.Target, "/docker-entrypoint-initdb.d/") {
			scripts = append(scripts, v.Target+"="+v.Source)
		}
	}
	slices.Sort(scripts)
	if len(scripts) != 2 {
		t.Fatalf("the database is prepared by %v", scripts)
	}
	for _, script := range scripts {
		_, path, _ := strings.Cut(script, "=")
		text, err := os.ReadFile(path)
		check(t, err)
		here := harness.File(t, filepath.Base(path), strings.ReplaceAll(string(text), "/run/secrets/", w.folder+"/deploy/compose/secrets/"))
		must(t, nil, "psql", "--set=ON_ERROR_STOP=1", "--no-psqlrc", "--no-password", "--file="+here, db.DSN("postgres"))
	}
	secrets := written(t, w.folder)
	for name, secret := range secrets {
		if strings.Contains(db.Log(), secret) {
			t.Errorf("the server's log holds the secret %s", name)
		}
	}
	login := strings.ReplaceAll(secrets["db_api_uri"], "db:5432", db.Addr())
	must(t, nil, "psql", "--no-psqlrc", "--no-password", "--command=SET ROLE anon", "--command=SET ROLE service_role", login)
	login = "postgres://supabase_admin:" + secrets["db_admin_password"] + "@" + db.Addr() + "/postgres"
	must(t, nil, "psql", "--no-psqlrc", "--no-password", "--command=CREATE TABLE _realtime.of_the_test ()", login)
}

// file gives a file with the addresses of this test in it, readable by all, as files of a repository are.
func (w world) file(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	here := filepath.Join(t.TempDir(), filepath.Base(path))
	check(t, os.WriteFile(here, []byte(w.here(string(text))), 0o644))
	return here
}

func (w world) here(text string) string {
	for _, name := range slices.Sorted(maps.Keys(w.addresses)) {
		text = strings.ReplaceAll(text, name, w.addresses[name])
	}
	return text
}

// secret is file for a secret: it keeps its mode and its group.
func (w world) secret(t *testing.T, name string) string {
	t.Helper()
	outside := filepath.Join(w.folder, "deploy/compose/secrets", name)
	here := w.file(t, outside)
	check(t, os.Chmod(here, 0o640))
	check(t, os.Chown(here, 0, w.group(t)))
	return here
}

func (w world) group(t *testing.T) int {
	t.Helper()
	gid, err := strconv.Atoi(w.Environment["SECRETS_GID"])
	check(t, err)
	return gid
}

func (w world) checkExporter(t *testing.T, s types.ServiceConfig, wants []string) {
	port, err := servers.FreePort()
	check(t, err)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	args := append([]string{"/exporter"}, s.Command...)
	if i := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--web.listen-address=") }); i >= 0 {
		args[i] = "--web.listen-address=" + address
	} else {
		args = append(args, "--web.listen-address="+address)
	}
	container := setup{
		root: w.store.unpack(t, ours[s.Name]), user: 65534, groups: []int{w.group(t)}, args: args, network: "host", mounts: map[string]string{},
	}
	for name, value := range s.Environment {
		container.env = append(container.env, name+"="+w.here(*value))
	}
	for _, v := range s.Volumes {
		container.mounts[v.Target] = w.file(t, v.Source)
	}
	for _, use := range s.Secrets {
		container.mounts["/run/secrets/"+use.Source] = w.secret(t, use.Source)
	}
	r := container.start(t)

	health := slices.Clone(s.HealthCheck.Test[1:])
	health[len(health)-1] = "--url=http://" + address + "/healthz"
	if own := s.HealthCheck.Test[len(s.HealthCheck.Test)-1]; !strings.HasPrefix(own, "--url=http://127.0.0.1:") || !strings.HasSuffix(own, "/healthz") {
		t.Errorf("the health check asks %s", own)
	}
	r.listens(health...)
	harness.Eventually(t, 30*time.Second, "the page of "+s.Name, func() error {
		page, err := (&harness.Exporter{T: t, URL: "http://" + address}).Try(t.Context(), "/metrics")
		for _, want := range wants {
			if !strings.Contains(page.Body, "\n"+want+"\n") {
				return errors.Join(err, fmt.Errorf("there is no %s\n%s", want, r.process.Output()))
			}
		}
		return nil
	})
	for _, bad := range []string{"level=ERROR", "chmod o-rwx"} {
		if strings.Contains(r.process.Output(), bad) {
			t.Errorf("the log has %s:\n%s", bad, r.process.Output())
		}
	}
}
