package container

import (
	"crypto/x509"
	"debug/buildinfo"
	"encoding/pem"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestImages builds the image of each exporter, reads what it says of itself, and runs it as nobody and as a user that the
// image has never heard of.
func TestImages(t *testing.T) {
	s := newStore(t)
	s.build(t, exporters...)
	t.Run("each", func(t *testing.T) { // which ends when all have ended
		for _, exporter := range exporters {
			t.Run(exporter, func(t *testing.T) {
				t.Parallel()
				p := s.inspect(t, exporter)
				checkPicture(t, exporter, p)
				dir := s.unpack(t, exporter)
				checkFiles(t, dir)
				for name, user := range map[string]int{"nobody": 65534, "somebody": 4711} {
					t.Run(name, func(t *testing.T) { checkRun(t, p, dir, exporter, user) })
				}
			})
		}
	})
	t.Run("roots", func(t *testing.T) { checkRoots(t, s.unpack(t, "smtp")) })
	t.Run("again", func(t *testing.T) {
		before := s.inspect(t, "smtp").Docker.RootFS.Layers
		s.build(t, "smtp")
		if after := s.inspect(t, "smtp").Docker.RootFS.Layers; len(after) == 0 || !slices.Equal(after, before) {
			t.Errorf("the same program gave the layers %v, and then %v", before, after)
		}
	})
}

func checkPicture(t *testing.T, exporter string, p picture) {
	t.Helper()
	c := p.Docker.Config
	if c.User != "65534:65534" || c.WorkingDir != "" && c.WorkingDir != "/" || len(c.Cmd) != 0 || len(c.Volumes) != 0 {
		t.Errorf("user %q, folder %q, command %q, volumes %v", c.User, c.WorkingDir, c.Cmd, c.Volumes)
	}
	if !slices.Equal(c.Entrypoint, []string{"/exporter"}) {
		t.Errorf("entry point %q", c.Entrypoint)
	}
	if _, ok := c.ExposedPorts["9091/tcp"]; !ok || len(c.ExposedPorts) != 1 {
		t.Errorf("ports %v", c.ExposedPorts)
	}
	h := c.Healthcheck
	if !slices.Equal(h.Test, []string{"CMD", "/exporter", "healthcheck", "--url=http://127.0.0.1:9091/healthz"}) || h.Interval != 15*time.Second || h.Timeout != 6*time.Second {
		t.Errorf("health check %+v", h)
	}
	for label, want := range map[string]string{
		"title": exporter + "-exporter", "version": version(t), "revision": "of-the-test", "licenses": "Apache-2.0",
		"source": "https://github.com/alfred-agent-platform/backend-exporters",
	} {
		if got := c.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
}

// checkFiles wants the program, the certificates, two files of users and the licences in an image; all to be read by anybody,
// none to be written by anybody but root.
func checkFiles(t *testing.T, dir string) {
	t.Helper()
	var names []string
	var size int64
	check(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		if want := fs.FileMode(0o755); entry.IsDir() && info.Mode().Perm() != want && path != dir {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
		if entry.IsDir() {
			return nil
		}
		names, size = append(names, name), size+info.Size()
		want := fs.FileMode(0o644)
		if name == "/exporter" {
			want = 0o755
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", name, info.Mode(), want)
		}
		return nil
	}))
	if want := []string{"/LICENSE", "/THIRD-PARTY-LICENSES.txt", "/etc/group", "/etc/passwd", "/etc/ssl/certs/ca-certificates.crt", "/exporter"}; !slices.Equal(names, want) {
		t.Errorf("the image holds %v, want %v", names, want)
	}
	if size > 32<<20 {
		t.Errorf("the image has %d bytes", size)
	}
	checkLicences(t, dir)
}

// checkLicences wants a licence of each module of others that is in the program of an image, and of Go.
func checkLicences(t *testing.T, dir string) {
	t.Helper()
	info, err := buildinfo.ReadFile(filepath.Join(dir, "exporter"))
	check(t, err)
	texts, err := os.ReadFile(filepath.Join(dir, "THIRD-PARTY-LICENSES.txt"))
	check(t, err)
	wanted := []string{"std " + strings.TrimPrefix(info.GoVersion, "go")}
	for _, m := range info.Deps {
		if !strings.HasPrefix(m.Path, "github.com/alfred-agent-platform/") {
			wanted = append(wanted, m.Path+" "+m.Version)
		}
	}
	if len(wanted) < 10 {
		t.Errorf("the program is linked from no more than %v", wanted)
	}
	for _, m := range wanted {
		if !strings.Contains(string(texts), "\n"+m+": ") {
			t.Errorf("the image has no licence of %s", m)
		}
	}
}

// checkRun runs the image as it is, with its own entry point and port, in a network of its own. Nothing is configured that
// could be reached: what counts is that the page is served.
func checkRun(t *testing.T, p picture, dir, exporter string, user int) {
	env := append(p.Docker.Config.Env, map[string]string{
		"postgres": "DATA_SOURCE_URI=127.0.0.1:1/postgres", "redis": "REDIS_ADDR=redis://127.0.0.1:1",
		"smtp": "SMTP_EXPORTER_TARGET=127.0.0.1:1", "vector-db": "VECTORDB_URL=http://127.0.0.1:1",
	}[exporter])
	r := setup{root: dir, user: user, args: p.Docker.Config.Entrypoint, env: env}.start(t)
	health := p.Docker.Config.Healthcheck.Test[1:]
	if got := r.listens(health...); got != `{"status":"ok"}`+"\n" {
		t.Errorf("the health check says %q", got)
	}
	page := r.exec("/exporter", "healthcheck", "--url=http://127.0.0.1:9091/metrics")
	up := map[string]string{"postgres": "pg_up", "redis": "redis_up", "smtp": "smtp_up", "vector-db": "vectordb_up"}[exporter]
	if page.code != 0 || !strings.Contains(page.output, "\n"+up+" 0\n") && !strings.Contains(page.output, "\n"+up+"{") {
		t.Errorf("exit code %d; the page has no %s:\n%s", page.code, up, page.output)
	}
	if o := r.exec("/exporter", "healthcheck", "--url=http://127.0.0.1:9091/health"); o.code != 1 || !strings.Contains(o.output, `"status":"error"`) {
		t.Errorf("a backend that is down is not seen at /health: %+v", o)
	}
	for _, secret := range []string{"touch", "/bin/sh"} {
		if o := r.exec(secret); o.code == 0 {
			t.Errorf("there is %s in the image", secret)
		}
	}
	if user == 65534 { // the health check waits some seconds for a process that stands still: once is enough
		r.signal("STOP")
		if o := r.exec(health...); o.code != 1 {
			t.Errorf("the health check of an exporter that stands still: %+v", o)
		}
		r.signal("CONT")
		r.listens(health...)
	}
	r.signal("TERM")
	if err := r.ended(); err != nil {
		t.Errorf("it ended with %v\n%s", err, r.process.Output())
	}
}

// checkRoots wants TLS to go by the certificates of the image: those of the public authorities are there, a server of an
// authority that is not among them is refused, and accepted once that authority's file is mounted in their place.
func checkRoots(t *testing.T, dir string) {
	const inside = "/etc/ssl/certs/ca-certificates.crt"
	bundle, err := os.ReadFile(filepath.Join(dir, inside))
	check(t, err)
	known := 0
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err == nil {
			known++
		}
	}
	if known < 100 {
		t.Errorf("the image knows %d authorities", known)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	defer server.Close()
	ours := filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(ours, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o644))
	look := setup{root: dir, user: 65534, network: "host", args: []string{"/exporter", "healthcheck", "--url=" + server.URL}}
	for _, c := range []struct {
		mounts map[string]string
		want   string
		good   bool
	}{
		{nil, "certificate signed by unknown authority", false},
		{map[string]string{inside: ours}, "hello", true},
	} {
		look.mounts = c.mounts
		r := look.start(t)
		err := r.ended()
		if (err == nil) != c.good || !strings.Contains(r.process.Output(), c.want) {
			t.Errorf("with the mounts %v: %v, %q; want %q", c.mounts, err, r.process.Output(), c.want)
		}
	}
}
