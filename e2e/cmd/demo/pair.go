package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// backend is a server that can be stopped and started again.
type backend interface {
	Start(ctx context.Context) error
	Stop() error
	Close() error
	Process() *servers.Process
}

// pair is a server and its exporter.
type pair struct {
	kind, title string // redis, Redis
	backend     backend
	endLoad     func() // nil without a load

	up      string   // the metric that is 1 while the server works
	rises   string   // a query whose value rises while the server works
	queries []string // that are worth a look
	talk    string   // the command to talk to the server

	env, args []string // of the exporter
	exporter  *servers.Process
	url       string // of the exporter
}

// startExporter starts the exporter on a port, or on another where that one is taken.
func (p *pair) startExporter(bin, dir string, usual int) error {
	path, err := filepath.Abs(filepath.Join(bin, p.kind+"-exporter"))
	if err != nil {
		return err
	}
	port, err := portOr(usual)
	if err != nil {
		return err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	p.exporter, err = servers.StartProcess(servers.ProcessOptions{
		Path: path, Args: append([]string{"--web.listen-address=" + address}, p.args...), Dir: dir, Env: p.env,
	})
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w; run: make build", err)
	}
	if err != nil {
		return err
	}
	p.url = "http://" + address
	say("the %s exporter runs on %s, process %d", p.title, p.url, p.exporter.PID())
	return nil
}

func (p *pair) close() error {
	var err error
	if p.exporter != nil {
		err = p.exporter.Stop()
	}
	if p.endLoad != nil {
		p.endLoad()
	}
	return errors.Join(err, p.backend.Close())
}
