package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// file is one in an archive.
type file struct {
	path    string // below the archive's folder
	mode    fs.FileMode
	content []byte
}

// contents reads what a target's archive holds beside the program. Paths are those of the repository, so that what the
// documents say of each other is true of the archive, too.
func (s *source) contents(t target) ([]file, error) {
	paths := []string{
		"LICENSE", "README.md", "CHANGELOG.md",
		"docs/" + t.kind + ".md", "docs/metrics-" + t.kind + ".md", "docs/reference-" + t.kind + ".md",
	}
	switch t.kind {
	case "postgres":
		paths = append(paths, "docs/custom-queries.md", "deploy/postgres/role.sql", "deploy/platform/postgres_exporter.yml")
	case "redis":
		paths = append(paths, "deploy/platform/redis_exporter.env")
	case "smtp":
		paths = append(paths, "docs/smtp-round-trips.md", "deploy/platform/smtp_exporter.yml")
	case "vector-db":
		paths = append(paths, "deploy/platform/vector_db_exporter.yml")
	}
	if t.os == "linux" {
		units, err := fs.Glob(os.DirFS(s.root), "deploy/systemd/"+t.exporter()+"*")
		if err != nil {
			return nil, err
		}
		paths = append(append(paths, "docs/systemd.md"), units...)
	}
	files := make([]file, 0, len(paths)+2)
	for _, path := range paths {
		content, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(path)))
		if err != nil {
			return nil, err
		}
		files = append(files, file{path, 0o644, content})
	}
	return files, nil
}

func suffix(t target) string {
	if t.os == "windows" {
		return ".zip"
	}
	return ".tar.gz"
}

// pack makes the archive of a target: files in the order of their paths, in one folder, all of the same time and of
// nobody in particular.
func pack(t target, folder string, files []file, when time.Time) ([]byte, error) {
	files = slices.SortedFunc(slices.Values(files), func(a, b file) int { return cmp.Compare(a.path, b.path) })
	var out bytes.Buffer
	write := writeTar
	if t.os == "windows" {
		write = writeZip
	}
	if err := write(&out, folder, files, when); err != nil {
		return nil, fmt.Errorf("the archive: %w", err)
	}
	return out.Bytes(), nil
}

func writeTar(out *bytes.Buffer, folder string, files []file, when time.Time) error {
	compressed := gzip.NewWriter(out) // its header stays empty: no name, no time
	archive := tar.NewWriter(compressed)
	for _, f := range files {
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: folder + "/" + f.path, Mode: int64(f.mode), Size: int64(len(f.content)), ModTime: when,
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(f.content); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

func writeZip(out *bytes.Buffer, folder string, files []file, when time.Time) error {
	archive := zip.NewWriter(out)
	for _, f := range files {
		header := &zip.FileHeader{Name: folder + "/" + f.path, Method: zip.Deflate, Modified: when}
		header.SetMode(f.mode)
		member, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := member.Write(f.content); err != nil {
			return err
		}
	}
	return archive.Close()
}
