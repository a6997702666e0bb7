// Package servers starts real servers for the tests and the demo: PostgreSQL 13
// to 18, Prometheus, and the exporters of this repository.
//
// What is started listens on the loopback address only, keeps its files in a
// folder of its own, and ends when it is stopped or closed; it also ends when
// the process that started it dies in whatever way. The plain functions return
// errors and serve programs; the functions whose first argument is a testing.TB
// fail the test and clean up after it.
//
// The binaries come from tools/ensure.sh.
package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// FreePort returns a TCP port of the loopback address that nobody listens on.
//
// It lies below the range from which the kernel takes the ports of outgoing
// connections: a server that is stopped for a while must find its port free when
// it starts again, and a client that knocks at a closed port of that range may
// be connected to itself.
func FreePort() (int, error) {
	const lowest, highest, tries = 15000, 32000, 100
	var err error
	for range tries {
		port := lowest + rand.IntN(highest-lowest)
		if err = PortFree(port); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port: %w", err)
}

// PortFree returns an error when the port of the loopback address is taken.
func PortFree(port int) error {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return listener.Close()
}

// Majors returns the PostgreSQL versions that the suite supports, oldest first.
func Majors() []int { return []int{13, 14, 15, 16, 17, 18} }

// PostgresBin returns the folder with the server programs of a major version: the
// installed one, else the one that tools/ensure.sh fetched. Major 0 means the
// newest installed one, else the newest fetched.
func PostgresBin(major int) (string, error) {
	places := []string{"/usr/lib/postgresql"}
	if root, err := RepositoryRoot(); err == nil {
		places = append(places, filepath.Join(root, ".cache", "postgres"))
	}
	for _, place := range places {
		found := major
		if major == 0 {
			found = newestVersion(place)
		}
		bin := filepath.Join(place, strconv.Itoa(found), "bin")
		if isProgram(filepath.Join(bin, "postgres")) {
			return bin, nil
		}
	}
	if major == 0 {
		return "", fmt.Errorf("no PostgreSQL server here; run: tools/ensure.sh postgres")
	}
	return "", fmt.Errorf("no PostgreSQL %d here; run: tools/ensure.sh postgres", major)
}

// newestVersion returns the highest VERSION for which place/VERSION/bin/postgres exists, or 0.
func newestVersion(place string) int {
	newest := 0
	entries, _ := os.ReadDir(place) // a missing folder holds no version
	for _, entry := range entries {
		version, err := strconv.Atoi(entry.Name())
		if err == nil && version > newest && isProgram(filepath.Join(place, entry.Name(), "bin", "postgres")) {
			newest = version
		}
	}
	return newest
}

// Tool returns the path of prometheus, promtool, alertmanager or amtool: the one on
// PATH, else the one that tools/ensure.sh fetched.
func Tool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if root, err := RepositoryRoot(); err == nil {
		for _, place := range []string{"debian/usr/bin", "tools"} {
			if path := filepath.Join(root, ".cache", place, name); isProgram(path) {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("no %s here; run: tools/ensure.sh prometheus", name)
}

// RepositoryRoot returns the nearest folder at or above the working directory that
// holds tools/ensure.sh. Tests run in their package's folder, the demo anywhere
// inside the clone.
func RepositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if isProgram(filepath.Join(dir, "tools", "ensure.sh")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside the repository", start)
		}
	}
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
