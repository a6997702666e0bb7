package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/systemd/machine"
)

// before is what the text above a block has the reader do, by a line of the block.
var before = map[string]string{
	"systemctl enable --now postgres-exporter.socket": `echo 'ARGS="--web.systemd-socket"' >>/etc/default/postgres-exporter`,
	"make build": `apt-get purge --yes postgres-exporter; sed -i '/^ARGS/d' /root/default`,
}

// beside is what does otherwise in the machine than the programs of that name. What make builds is there already; a log
// that is followed has no end.
const beside = `
make() { [ "$*" = build ] && [ -x bin/postgres-exporter ]; }
journalctl() { timeout 3 /usr/bin/journalctl "$@" || [ $? = 124 ]; }
`

// runInMachine runs a document of systemd in a Debian with a systemd, in the network of the world, in a folder with the
// package and what is in a clone. Its password is what it is given to read.
func (w *world) runInMachine(t *testing.T, d *document) {
	t.Helper()
	m := machine.Boot(t, machine.Packages(t, "0.1.0"))
	m.Write("/etc/hosts", 0o644, names)
	m.Write("/etc/ssl/certs/ca-certificates.crt", 0o644, w.ca.pem)
	m.Run("sh", "-c", "cp /packages/postgres-exporter_0.1.0_*.deb /root/postgres-exporter_0.1.0_amd64.deb")
	w.furnishClone(t, m)
	w.shell(t, d, preamble) // the role, with its password
	for i, b := range d.blocks {
		script := b.code
		switch {
		case b.language == "ini": // what systemctl edit does with it
			script = "mkdir -p /etc/systemd/system/postgres-exporter.socket.d\ncat >/etc/systemd/system/postgres-exporter.socket.d/override.conf <<'END'\n" +
				b.code + "END\nsystemctl daemon-reload\nsystemctl stop postgres-exporter.service\nsystemctl restart postgres-exporter.socket\n" +
				"curl -sf http://127.0.0.1:9191/healthz\n"
		case b.language != "sh":
			continue
		case regexp.MustCompile(`^([A-Z_]+=.*\n)+$`).MatchString(b.code): // of a file, not of a shell
			script = "cat >/etc/default/postgres-exporter <<'END'\n" + b.code + "END\ncp /etc/default/postgres-exporter /root/default\n"
		}
		for line, todo := range before {
			if strings.Contains("\n"+b.code, "\n"+line+"\n") {
				script = todo + "\n" + script
			}
		}
		printed, err := m.Try(secret+"\n", "bash", "-euo", "pipefail", "-c", "cd /root\n"+beside+script)
		t.Logf("%s:%d\n%s", d.path, b.line, printed)
		if err != nil {
			log, _ := m.Try("", "journalctl", "--no-pager", "-n", "20")
			t.Fatalf("%s:%d: %v\n%s\n%s", d.path, b.line, err, printed, log)
		}
		if i+1 < len(d.blocks) && d.blocks[i+1].language == "text" {
			checkPrinted(t, d, d.blocks[i+1], printed)
		}
	}
	// The last block installs the units without the package: with the same configuration they do as well.
	m.Run("sh", "-c", "cp /root/default /etc/default/postgres-exporter && install -m 600 /dev/null /etc/postgres-exporter/secrets/password && echo "+
		secret+" >/etc/postgres-exporter/secrets/password && systemctl start postgres-exporter")
	if said := m.Run("curl", "-s", "--retry", "5", "--retry-connrefused", "http://localhost:9091/health"); !strings.Contains(said, `"postgres":"ok"`) {
		t.Errorf("installed without the package, it says %s", said)
	}
}

// furnishClone puts into the machine what the last part of the document takes from a clone.
func (w *world) furnishClone(t *testing.T, m *machine.Machine) {
	t.Helper()
	files, err := filepath.Glob(w.root + "/deploy/systemd/*")
	must(t, err)
	for _, path := range append(files, w.root+"/bin/postgres-exporter") {
		text, err := os.ReadFile(path)
		must(t, err)
		m.Write("/root/"+strings.TrimPrefix(path, w.root+"/"), 0o755, string(text))
	}
}
