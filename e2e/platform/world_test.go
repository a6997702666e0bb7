package platform

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// program is a process that can be ended and started again with the same address.
type program struct {
	options servers.ProcessOptions
	address string
	process *servers.Process
}

func (p *program) start(t *testing.T) {
	t.Helper()
	var err error
	p.process, err = servers.StartProcess(p.options)
	must(t, err)
	harness.Eventually(t, 20*time.Second, p.options.Path+" listens", func() error {
		connection, err := net.DialTimeout("tcp", p.address, time.Second)
		if err != nil {
			return errors.Join(err, errors.New(p.process.Output()))
		}
		return connection.Close()
	})
}

func (p *program) stop(t *testing.T) {
	t.Helper()
	must(t, p.process.Stop())
}

// standIn is an HTTP server that can be ended and started again with the same address. What it stands for is said where
// it is made.
type standIn struct {
	handler http.Handler
	address string
	server  *httptest.Server
}

func newStandIn(t *testing.T, handler http.Handler) *standIn {
	t.Helper()
	s := &standIn{handler: handler, address: address(t)}
	s.start(t)
	t.Cleanup(func() { s.server.Close() })
	return s
}

func (s *standIn) start(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", s.address)
	must(t, err)
	s.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: s.handler, ReadHeaderTimeout: 5 * time.Second}}
	s.server.Start()
}

func (s *standIn) stop(*testing.T) { s.server.Close() }

// page is what a stand-in answers on one path, until it is ill.
type page struct {
	path, bearer, body string
	ill                http.HandlerFunc
	isIll              atomic.Bool
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case p.isIll.Load():
		p.ill(w, r)
	case r.URL.Path != p.path:
		http.NotFound(w, r)
	case p.bearer != "" && r.Header.Get("Authorization") != "Bearer "+p.bearer:
		w.WriteHeader(http.StatusForbidden)
	default:
		_, _ = w.Write([]byte(p.body)) // a watcher that has left needs no answer
	}
}

func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusServiceUnavailable)
}

func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// world is the platform.
type world struct {
	files      files
	prometheus *servers.Prometheus
	alerts     *servers.Alertmanager
	faults     []fault
}

// fault takes one service down.
type fault struct {
	service   string
	make      func(t *testing.T)
	heal      func(t *testing.T)
	unseen    []string // services of which nobody tells meanwhile
	alsoKnown string   // an alert that fires beside it
}

const (
	token      = "a-token-of-the-test"
	roundTrips = "a-secret-of-the-test"
	dbPassword = "a-password-of-the-test"
)

// newWorld starts everything with the files of deploy/platform.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{files: files{dir: t.TempDir(), addresses: map[string]string{}}}
	w.addDatabase(t)
	w.addVectorDB(t)
	w.addMail(t)
	w.addRedis(t)
	w.addNode(t)
	w.alerts = servers.NewAlertmanager(t, "../../deploy/alertmanager/alertmanager.yml")
	w.at("alertmanager:9093", w.alerts.Addr())
	w.files.rules(t)
	w.files.targets(t)
	w.prometheus = servers.NewPrometheus(t, servers.PrometheusOptions{ConfigFile: w.files.file(t, "../../deploy/platform/prometheus.yml")})
	return w
}

func (w *world) at(name, address string) { w.files.addresses[name] = address }

// secret writes what the examples read from /run/secrets.
func (w *world) secret(t *testing.T, name, text string) {
	t.Helper()
	w.at("/run/secrets/"+name, harness.File(t, name, text+"\n"))
}

func (w *world) down(f fault) { w.faults = append(w.faults, f) }

// run starts a program that listens at the address that the examples call name, and ends it with the test.
func (w *world) run(t *testing.T, name, path string, env []string, args ...string) *program {
	t.Helper()
	p := &program{address: address(t)}
	p.options = servers.ProcessOptions{Path: path, Env: env, Args: append(args, "--web.listen-address="+p.address), Dir: t.TempDir()}
	w.at(name, p.address)
	p.start(t)
	t.Cleanup(func() { _ = p.process.Stop() })
	return p
}

// addDatabase starts a real PostgreSQL, with the rights that docs/postgres.md names, and stand-ins for PostgREST, Studio
// and Realtime: one can be stopped, one become unavailable, one fall silent.
func (w *world) addDatabase(t *testing.T) {
	t.Helper()
	db := servers.NewPostgres(t, servers.PostgresOptions{Major: 15, Initial: []string{
		"CREATE ROLE monitor LOGIN PASSWORD '" + dbPassword + "'", "GRANT pg_monitor TO monitor",
		"CREATE TABLE public.alfred_health_check (id text PRIMARY KEY, checked_at timestamptz NOT NULL)",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON public.alfred_health_check TO monitor",
	}})
	w.at("db:5432", db.Addr())
	w.at("db-replica:5432", db.Addr())

	postgrest := newStandIn(t, &page{path: "/ready"})
	studioPage := &page{path: "/api/profile", body: `{"id":1}`, ill: unavailable}
	realtimePage := &page{path: "/api/tenants/realtime-dev/health", bearer: token, body: `{"data":{"healthy":true,"db_connected":true}}`, ill: silent}
	w.at("db-api:3001", postgrest.address)
	w.at("db-admin:3000", newStandIn(t, studioPage).address)
	w.at("db-realtime:4000", newStandIn(t, realtimePage).address)

	w.secret(t, "monitor_password", dbPassword)
	w.secret(t, "realtime_token", token)
	exporter := w.run(t, "monitoring-db:9091", harness.Binary(t, "postgres-exporter"), nil,
		"--config.file="+w.files.file(t, "../../deploy/platform/postgres_exporter.yml"))

	w.down(fault{service: "db-api", make: postgrest.stop, heal: postgrest.start})
	w.down(fault{service: "db-admin", make: studioPage.fall, heal: studioPage.recover})
	w.down(fault{service: "db-realtime", make: realtimePage.fall, heal: realtimePage.recover})
	w.down(fault{service: "monitoring-db", make: exporter.stop, heal: exporter.start, unseen: []string{"db", "db-api", "db-admin", "db-realtime"}, alsoKnown: "ExporterDown"})
	w.down(fault{
		service: "db", alsoKnown: "PostgresDown",
		make: func(t *testing.T) { must(t, db.Stop()) },
		heal: func(t *testing.T) { must(t, db.Start(t.Context())) },
	})
}

func (p *page) fall(*testing.T)    { p.isIll.Store(true) }
func (p *page) recover(*testing.T) { p.isIll.Store(false) }

// addVectorDB starts a stand-in for Qdrant 1.7.4.
func (w *world) addVectorDB(t *testing.T) {
	t.Helper()
	fake := newStandIn(t, qdrant.New(qdrant.Options{Version: "1.7.4"}))
	w.at("vector-db:6333", fake.address)
	w.run(t, "vector-db-exporter:9091", harness.Binary(t, "vector-db-exporter"), nil, "--config.file="+w.files.file(t, "../../deploy/platform/vector_db_exporter.yml"))
	w.down(fault{service: "vector-db", make: fake.stop, heal: fake.start})
}

// addMail starts a real MailHog.
func (w *world) addMail(t *testing.T) {
	t.Helper()
	mailhog := servers.NewMailHog(t)
	api, err := url.Parse(mailhog.URL())
	must(t, err)
	w.at("mail-server:1025", mailhog.SMTPAddr())
	w.at("mail-server:8025", api.Host)
	w.at("mail-relay:25", mailhog.SMTPAddr())
	w.secret(t, "round_trip", roundTrips)
	w.run(t, "smtp-exporter:9091", harness.Binary(t, "smtp-exporter"), nil, "--config.file="+w.files.file(t, "../../deploy/platform/smtp_exporter.yml"))
	w.down(fault{
		service: "mail-server",
		make:    func(t *testing.T) { must(t, mailhog.Stop()) },
		heal:    func(t *testing.T) { must(t, mailhog.Start(context.WithoutCancel(t.Context()))) },
	})
}

// addRedis starts a real Redis with our exporter as monitoring-redis and redis_exporter as redis-exporter.
func (w *world) addRedis(t *testing.T) {
	t.Helper()
	w.at("redis:6379", servers.NewRedis(t, servers.RedisOptions{}).Addr())
	env := environment(t, w.files.file(t, "../../deploy/platform/redis_exporter.env"))
	ours := w.run(t, "monitoring-redis:9091", harness.Binary(t, "redis-exporter"), env)
	path, err := servers.RedisPeer()
	must(t, err)
	peer := w.run(t, "redis-exporter:9121", path, env)
	w.down(fault{service: "monitoring-redis", make: ours.stop, heal: ours.start, unseen: []string{"redis"}, alsoKnown: "ExporterDown"})
	w.down(fault{service: "redis-exporter", make: peer.stop, heal: peer.start})
}

// addNode starts a real node_exporter.
func (w *world) addNode(t *testing.T) {
	t.Helper()
	path, err := servers.NodeExporter()
	must(t, err)
	node := w.run(t, "monitoring-node:9100", path, nil)
	w.down(fault{service: "monitoring-node", make: node.stop, heal: node.start})
}

func address(t *testing.T) string {
	t.Helper()
	port, err := servers.FreePort()
	must(t, err)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
