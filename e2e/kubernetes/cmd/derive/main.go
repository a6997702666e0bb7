// Command derive writes what the Helm chart and the plain manifests hold of other files.
package main

import (
	"flag"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/alfred-agent-platform/backend-exporters/e2e/kubernetes/derive"
)

func main() {
	log.SetFlags(0)
	root := flag.String("root", "..", "the root of the repository")
	helm := flag.String("helm", "helm", "the program helm")
	flag.Parse()
	// What is within the chart first: the manifests are made from it.
	for _, program := range []string{"", *helm} {
		if err := write(*root, program); err != nil {
			log.Fatal(err)
		}
	}
}

func write(root, helm string) error {
	files, err := derive.Files(root, helm)
	if err != nil {
		return err
	}
	stale, err := derive.Stale(root, files)
	if err != nil {
		return err
	}
	for _, path := range stale {
		if err := os.Remove(filepath.Join(root, path)); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		whole := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(whole), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(whole, []byte(files[path]), 0o644); err != nil {
			return err
		}
	}
	return nil
}
