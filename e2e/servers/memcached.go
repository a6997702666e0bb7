package servers

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"
)

// Memcached is a running memcached.
type Memcached struct {
	*Process
	Address string
}

// StartMemcached runs a memcached on a free port of 127.0.0.1 until Stop.
func StartMemcached() (*Memcached, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(root, ".cache", "debian", "usr", "bin", "memcached")
	libraries, _ := filepath.Glob(filepath.Join(root, ".cache", "debian", "usr", "lib", "*-linux-gnu"))
	if !isProgram(path) || len(libraries) == 0 {
		return nil, fmt.Errorf("no memcached here; run: tools/ensure.sh memcached")
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	process, err := StartProcess(ProcessOptions{
		Path: path, Env: []string{"LD_LIBRARY_PATH=" + libraries[0]},
		Args: []string{"-l", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "0", "-u", "nobody", "-m", "8"},
	})
	if err != nil {
		return nil, err
	}
	m := &Memcached{process, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = process.until(ctx, func() bool {
		socket, err := net.DialTimeout("tcp", m.Address, time.Second)
		if err != nil {
			return false
		}
		return socket.Close() == nil
	})
	if err != nil {
		_ = process.Stop()
		return nil, fmt.Errorf("memcached: %w\n%s", err, process.Output())
	}
	return m, nil
}
