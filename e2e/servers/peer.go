package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
)

// Peer returns the path of postgres_exporter, beside which ours is tested and measured.
func Peer() (string, error) { return peerProgram("postgres_exporter", "peer") }

// RedisPeer returns the path of redis_exporter, beside which ours is tested and measured.
func RedisPeer() (string, error) { return peerProgram("redis_exporter", "redis-peer") }

// MailPeer returns the path of blackbox_exporter, beside which the probes of mail servers are measured.
func MailPeer() (string, error) { return peerProgram("blackbox_exporter", "smtp-peer") }

func peerProgram(name, ensure string) (string, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".cache", "peer", name)
	if !isProgram(path) {
		return "", fmt.Errorf("no %s here; run: tools/ensure.sh %s", name, ensure)
	}
	return path, nil
}

// Exporter is a running exporter, ours or the peer's.
type Exporter struct {
	*Process
	URL string // without a slash at the end
}

// StartExporter runs an exporter, to which its environment says where its server is, and waits until it listens. The
// caller stops it.
func StartExporter(ctx context.Context, path string, env []string, args ...string) (*Exporter, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	process, err := StartProcess(ProcessOptions{
		Path: path, Args: append([]string{"--web.listen-address=" + address}, args...), Env: env,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	e := &Exporter{process, "http://" + address}
	if err := process.until(ctx, e.listens); err != nil {
		return nil, errors.Join(err, process.Stop())
	}
	return e, nil
}

// listens asks for the landing page, which costs the database nothing.
func (e *Exporter) listens() bool {
	answer, err := http.Get(e.URL + "/")
	return err == nil && answer.Body.Close() == nil
}

// Collectors lists the collectors that an exporter's help names.
func Collectors(ctx context.Context, path string) ([]string, error) {
	process, err := StartProcess(ProcessOptions{Path: path, Args: []string{"--help"}})
	if err != nil {
		return nil, err
	}
	if err := process.Wait(ctx); err != nil {
		return nil, fmt.Errorf("%s --help: %w\n%s", path, err, process.Output())
	}
	var names []string
	for word := range strings.FieldsSeq(process.Output()) {
		_, name, found := strings.Cut(strings.Replace(word, "[no-]", "", 1), "--collector.")
		if found && !strings.ContainsAny(name, ".=") { // those are options of a collector
			names = append(names, name)
		}
	}
	return names, nil
}
