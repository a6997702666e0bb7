package servers

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Alertmanager is a running Alertmanager.
type Alertmanager struct {
	dir, address string
	process      *Process
}

// NewAlertmanager starts one with a configuration file for a test, and closes it at the test's end.
func NewAlertmanager(tb testing.TB, configFile string) *Alertmanager {
	tb.Helper()
	a, err := StartAlertmanager(tb.Context(), configFile)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := a.Close(); err != nil {
			tb.Error(err)
		}
	})
	return a
}

// StartAlertmanager starts one that knows of no alerts and of no others of its kind. The caller closes it.
func StartAlertmanager(ctx context.Context, configFile string) (*Alertmanager, error) {
	dir, err := os.MkdirTemp("", "alertmanager-")
	if err != nil {
		return nil, err
	}
	a := &Alertmanager{dir: dir}
	if err := a.start(ctx, configFile); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *Alertmanager) start(ctx context.Context, configFile string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	program, err := Tool("alertmanager")
	if err != nil {
		return err
	}
	port, err := FreePort()
	if err != nil {
		return err
	}
	if configFile, err = filepath.Abs(configFile); err != nil {
		return err
	}
	a.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	a.process, err = StartProcess(ProcessOptions{Path: program, Dir: a.dir, Args: []string{
		"--config.file=" + configFile, "--storage.path=" + filepath.Join(a.dir, "data"),
		"--web.listen-address=" + a.address, "--cluster.listen-address=",
	}})
	if err != nil {
		return err
	}
	return a.process.until(ctx, func() bool { return a.ready(ctx) })
}

func (a *Alertmanager) ready(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address+"/-/ready", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

// Alert is one that Alertmanager knows of.
type Alert struct {
	Labels    map[string]string `json:"labels"`
	Receivers []struct {
		Name string `json:"name"`
	} `json:"receivers"`
	Status struct {
		State string `json:"state"` // active, or suppressed because another says it all
	} `json:"status"`
}

// Alerts lists the alerts that fire.
func (a *Alertmanager) Alerts(ctx context.Context) ([]Alert, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address+"/api/v2/alerts", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var alerts []Alert
	return alerts, json.NewDecoder(answer.Body).Decode(&alerts)
}

// Addr is where Prometheus sends its alerts.
func (a *Alertmanager) Addr() string { return a.address }

// Process returns the running server.
func (a *Alertmanager) Process() *Process { return a.process }

// Close ends it and removes its folder.
func (a *Alertmanager) Close() error {
	var err error
	if a.process != nil {
		err = a.process.Stop()
	}
	return errors.Join(err, os.RemoveAll(a.dir))
}
