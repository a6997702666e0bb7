package servers

import (
	"fmt"
	"path/filepath"
)

// NodeExporter returns the path of Prometheus' exporter for machines.
func NodeExporter() (string, error) {
	root, err := RepositoryRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".cache", "debian", "usr", "bin", "prometheus-node-exporter")
	if !isProgram(path) {
		return "", fmt.Errorf("no node_exporter here; run: tools/ensure.sh platform")
	}
	return path, nil
}
