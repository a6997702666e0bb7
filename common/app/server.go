package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"

	"github.com/alfred-agent-platform/backend-exporters/common/health"
)

const (
	maxInFlight   = 64              // requests, those for probes apart
	healthLimit   = 3 * time.Second // for the checks behind /health
	shutdownLimit = 15 * time.Second
)

// server is a program that serves.
type server struct {
	*program
	targets  *targets
	watch    *health.Watch
	renderer *renderer
	process  *prometheus.Registry
	reloaded prometheus.Gauge
	loadedAt prometheus.Gauge
	refused  prometheus.Counter // requests for a probe
	slots    chan struct{}      // for requests
	probing  chan struct{}      // for those for probes
	stopping atomic.Bool

	mu    sync.Mutex // one reload at a time
	setup atomic.Pointer[Setup]
}

func newServer(p *program, setup *Setup) *server {
	s := &server{
		program: p, renderer: newRenderer(), slots: make(chan struct{}, maxInFlight),
		probing: make(chan struct{}, *p.maxProbed), // so that those which do not answer take no place from those which do
		targets: newTargets(p.self(), p.log, *p.maxProbed),
		watch:   health.NewWatch(p.noteDependent),
		process: prometheus.NewRegistry(),
		reloaded: prometheus.NewGauge(prometheus.GaugeOpts{Name: p.Program + "_config_last_reload_successful",
			Help: "Whether the last reload of the configuration succeeded."}),
		loadedAt: prometheus.NewGauge(prometheus.GaugeOpts{Name: p.Program + "_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in use was loaded."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: p.Prefix + "_target_scrape_request_errors_total",
			Help: "Requests for a probe that named no target, or one that is not allowed."}),
	}
	s.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector(p.Prefix+"_exporter"), s.reloaded, s.loadedAt, s.refused)
	if p.Program != p.Prefix+"_exporter" {
		s.process.MustRegister(versioncollector.NewCollector(p.Program))
	}
	s.use(setup)
	return s
}

func (s *server) use(setup *Setup) {
	s.setup.Store(setup)
	s.targets.apply(setup)
	s.targets.serve()
	s.watch.Apply(setup.Dependents)
	s.reloaded.Set(1)
	s.loadedAt.SetToCurrentTime()
}

// reload reads the configuration again. A faulty one changes nothing.
func (s *server) reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	setup, err := s.load()
	if err != nil {
		s.reloaded.Set(0)
		s.log.Error("the configuration was not reloaded; the one before stays in use", "err", err)
		return err
	}
	s.use(setup)
	s.log.Info("the configuration was reloaded", "targets", len(setup.Targets))
	return nil
}

// serve listens until it is told to stop, and then finishes the scrapes under way.
func (p *program) serve() int {
	collectOften()
	guard, err := p.guard()
	if err != nil {
		return p.fail(1, err)
	}
	setup, err := p.load()
	if err != nil {
		return p.fail(1, err)
	}
	s := newServer(p, setup)
	defer s.targets.close()
	defer s.watch.Close()
	p.log.Info("starting", "version", version.Info(), "targets", len(setup.Targets))
	handler := &http.Server{
		Handler:           secure(guard.protect(s.handler())),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      *p.timeout + 2*writeLimit,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug), // a scanner's bad handshakes are no news
	}
	finished := s.handleSignals(handler)
	if err := p.listen(handler, guard); !errors.Is(err, http.ErrServerClosed) {
		return p.fail(1, listenError(err))
	}
	<-finished
	return 0
}

// collectOften has the garbage collector run at half of what it would wait for, unless the user says otherwise. What lives
// is small beside the garbage of a scrape, so this costs little time and takes a quarter off the heap.
func collectOften() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(50)
	}
}

// listenError says what to do about a port in use.
func listenError(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; choose another address with --web.listen-address", err)
	}
	return err
}

// handleSignals reloads on SIGHUP and shuts down on SIGTERM and SIGINT. The channel it gives closes when the last
// request is answered.
func (s *server) handleSignals(handler *http.Server) <-chan struct{} {
	finished := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		defer close(finished)
		for received := range signals {
			if received == syscall.SIGHUP {
				_ = s.reload() // logged
				continue
			}
			s.log.Info("stopping", "signal", received.String())
			s.stopping.Store(true)
			ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
			defer cancel()
			_ = handler.Shutdown(ctx) // what is not finished by then is cut
			return
		}
	}()
	return finished
}

// route is a page that the exporter serves.
type route struct {
	methods, path string // methods are separated by blanks
	help          string
	handler       http.Handler
}

// routes lists all pages.
func (s *server) routes() []route {
	alive := func() bool { return !s.stopping.Load() }
	all := []route{{"GET", *s.telemetryPath, "The metrics of the configured targets and of the exporter, as OpenMetrics, text or protobuf. Its path is that of `--web.telemetry-path`.", limit(s.slots, s.metrics)}}
	for _, path := range append([]string{"/probe"}, s.Probes...) {
		all = append(all, route{"GET", path, "The metrics of the server that the parameter `target` names, if the configuration allows it.", limit(s.probing, s.probe)})
	}
	if s.Finds != "" {
		all = append(all, route{"GET", s.Finds, "Targets that the exporter finds, for Prometheus' `http_sd_configs`.", limit(s.slots, s.discover)})
	}
	return append(all,
		route{"GET", "/health", "The state of all services as JSON: code 200 for ok and degraded, 503 for error.", limit(s.slots, health.Handler(version.Version, healthLimit, s.check).ServeHTTP)},
		route{"GET", "/healthz", "This process alone: 200, or 503 once it is stopping.", health.AliveHandler(alive)},
		route{"GET", "/-/healthy", "This process alone: 200.", sayHandler("healthy")},
		route{"GET", "/-/ready", "This process alone: 200, or 503 once it is stopping.", readyHandler(alive)},
		route{"POST PUT", "/-/reload", "Reads the configuration again, as SIGHUP does; code 500 where it is faulty, and then nothing changes.", http.HandlerFunc(s.reloadHandler)},
		route{"GET", "/{$}", "A page for people, with the targets and links to the others.", http.HandlerFunc(s.landing)},
	)
}

func readyHandler(alive func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !alive() {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		say(w, "ready")
	})
}

func sayHandler(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { say(w, text) })
}

// handler serves all routes.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		for method := range strings.FieldsSeq(r.methods) {
			mux.Handle(method+" "+r.path, r.handler)
		}
	}
	return mux
}

// secure sets the headers that keep a browser from doing more than showing a page.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// limit refuses requests for which there is no place left.
func limit(places chan struct{}, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests are in flight", http.StatusServiceUnavailable)
		}
	})
}

// check looks at the targets, and tells what is known of the services before them.
func (s *server) check(ctx context.Context) []health.Report {
	return append(s.targets.check(ctx), s.watch.Reports(ctx)...)
}

// noteDependent logs that the state of a dependent has changed.
func (p *program) noteDependent(r health.Report, err error) {
	if err == nil {
		p.log.Info("dependent is up", "service", r.Service)
		return
	}
	p.log.Warn("dependent is down", "service", r.Service, "reason", r.Fault, "err", err)
}

// metrics scrapes the targets of the configuration and adds what the process says of itself.
func (s *server) metrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := budget(r, *s.timeout)
	defer cancel()
	page := s.targets.scrape(ctx)
	s.watch.AddTo(page)
	if families, err := s.process.Gather(); err == nil {
		page.AddFamilies(families)
	} else {
		s.log.Warn("the process' own metrics are missing from a page", "err", err)
	}
	s.renderer.write(w, r, page)
}

func (s *server) reloadHandler(w http.ResponseWriter, _ *http.Request) {
	if err := s.reload(); err != nil {
		http.Error(w, "the configuration was not reloaded: "+err.Error(), http.StatusInternalServerError)
		return
	}
	say(w, "reloaded")
}

func say(w http.ResponseWriter, text string) { _, _ = fmt.Fprintln(w, text) }
