package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bringPacker gives a clone the nfpm of tools/ensure.sh, and the folder that it lies in.
func bringPacker(t *testing.T, clone string) string {
	t.Helper()
	folder := filepath.Join(clone, ".cache", "tools")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nfpm", "nfpm.version"} {
		from, err := filepath.Abs(filepath.Join(root, ".cache", "tools", name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(from); err != nil {
			t.Fatalf("run tools/ensure.sh nfpm first: %v", err)
		}
		if err := os.Symlink(from, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// checkPackage reads a Debian package, and wants in it the program and the licences of the archive, unless they are nil,
// and all files of one time. It gives the files by their paths.
func checkPackage(t *testing.T, content []byte, kind, versionAndArch string, moment time.Time, program, licences []byte) map[string][]byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "package.deb")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	said := run(t, ".", nil, "dpkg-deb", "--show", "--showformat=${Package} ${Version} ${Architecture}", path)
	if want := kind + "-exporter " + versionAndArch; said != want {
		t.Errorf("the package is %q, want %q", said, want)
	}
	files := make(map[string][]byte)
	for in := tar.NewReader(strings.NewReader(run(t, ".", nil, "dpkg-deb", "--fsys-tarfile", path))); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(moment) {
			t.Errorf("%s is of %v, want %v", header.Name, header.ModTime, moment)
		}
		if files[strings.TrimPrefix(header.Name, "./")], err = io.ReadAll(in); err != nil {
			t.Fatal(err)
		}
	}
	if got := files["usr/bin/"+kind+"-exporter"]; program != nil && !bytes.Equal(got, program) {
		t.Errorf("the program of %d bytes is not the archive's of %d", len(got), len(program))
	}
	if got := unzipped(t, files["usr/share/doc/"+kind+"-exporter/THIRD-PARTY-LICENSES.txt.gz"]); licences != nil && !bytes.Equal(got, licences) {
		t.Errorf("the licences of %d bytes are not the archive's of %d", len(got), len(licences))
	}
	return files
}

func unzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	in, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
