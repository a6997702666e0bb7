// Package systemd installs the Debian packages in a small Debian that has a systemd of its own, and runs the exporters
// there by their units, against real servers.
package systemd

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
	"github.com/alfred-agent-platform/backend-exporters/e2e/systemd/machine"
)

// exposure is ten times what systemd-analyze security may give at most: 0 is best, 100 worst.
const exposure = 12

// TestReproducible: two makings give the same bytes.
func TestReproducible(t *testing.T) {
	first, second := machine.Packages(t, "0.1.0"), machine.Packages(t, "0.1.0")
	made, err := filepath.Glob(filepath.Join(first, "*.deb"))
	if err != nil || len(made) != len(machine.Exporters()) {
		t.Fatalf("packages: %v, %v", made, err)
	}
	for _, file := range made {
		checkMaintainer(t, file)
		one, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(second, filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Errorf("%s: made twice, it differs", filepath.Base(file))
		}
	}
}

// checkMaintainer: a package names whom to turn to, in the form that Debian asks for.
func checkMaintainer(t *testing.T, file string) {
	t.Helper()
	out, err := exec.Command("dpkg-deb", "--field", file, "Maintainer", "Homepage", "Bugs").Output()
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		fields[name] = value
	}
	home := "https://github.com/alfred-agent-platform/backend-exporters"
	if _, err := mail.ParseAddress(fields["Maintainer"]); err != nil || fields["Homepage"] != home || fields["Bugs"] != home+"/issues" {
		t.Errorf("%s: %v, %v", filepath.Base(file), fields, err)
	}
}

// TestAlike: the units differ in names and the line Description alone.
func TestAlike(t *testing.T) {
	for _, kind := range []string{"service", "socket", "sysusers"} {
		var model string
		for _, name := range machine.Exporters() {
			text, err := os.ReadFile(filepath.Join("../../deploy/systemd", name+"."+kind))
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for line := range strings.Lines(string(text)) {
				line, _, _ = strings.Cut(line, "rometheus exporter for ")
				lines = append(lines, strings.TrimSpace(strings.ReplaceAll(line, name, "NAME")))
			}
			got := strings.Join(lines, "\n")
			if model == "" {
				model = got
			}
			if got != model {
				t.Errorf("%s.%s differs from that of %s:\n%s\n%s", name, kind, machine.Exporters()[0], got, model)
			}
		}
	}
}

// TestPackages goes the way of a host: install, look, run, activate by socket, upgrade, purge.
func TestPackages(t *testing.T) {
	folder := machine.Packages(t, "0.1.0")
	newer := machine.Packages(t, "0.1.1")
	if err := os.Rename(newer, filepath.Join(folder, "newer")); err != nil {
		t.Fatal(err)
	}
	m := machine.Boot(t, folder)
	m.Run("sh", "-c", "dpkg -i /packages/*.deb")
	t.Run("Installed", func(t *testing.T) { m.T = t; installed(t, m) })
	t.Run("Units", func(t *testing.T) { m.T = t; units(m) })
	t.Run("Credentials", func(t *testing.T) { m.T = t; credentials(t, m) })
	t.Run("All", func(t *testing.T) { m.T = t; all(t, m) })
	t.Run("Socket", func(t *testing.T) { m.T = t; socket(t, m) })
	t.Run("Queue", func(t *testing.T) { m.T = t; queue(t, m) })
	t.Run("Upgrade", func(t *testing.T) { m.T = t; upgrade(t, m) })
	t.Run("Purge", func(t *testing.T) { m.T = t; purge(t, m) })
}

// installed: files, modes, a user without rights; nothing runs that nobody has configured.
func installed(t *testing.T, m *machine.Machine) {
	for _, name := range machine.Exporters() {
		files := []string{"755 root:root /usr/bin/" + name, "644 root:root /lib/systemd/system/" + name + ".service",
			"644 root:root /lib/systemd/system/" + name + ".socket", "644 root:root /usr/lib/sysusers.d/" + name + ".conf",
			"644 root:root /etc/default/" + name, "755 root:root /etc/" + name, "700 root:root /etc/" + name + "/secrets"}
		command := []string{"stat", "--format", "%a %U:%G %n"}
		for _, file := range files {
			command = append(command, file[strings.Index(file, "/"):])
		}
		if got, want := m.Run(command...), strings.Join(files, "\n")+"\n"; got != want {
			t.Errorf("files:\n%swant:\n%s", got, want)
		}
		user := strings.Split(m.Run("getent", "passwd", name), ":")
		if len(user) != 7 || user[2] == "0" || strings.TrimSpace(user[6]) != "/usr/sbin/nologin" {
			t.Errorf("user: %q", user)
		}
		if state := m.Property(name+".service", "ActiveState"); state != "inactive" {
			t.Errorf("%s is %s after it was installed, want inactive", name, state)
		}
		if state := m.Property(name+".service", "UnitFileState"); state != "disabled" {
			t.Errorf("%s is %s after it was installed, want disabled", name, state)
		}
		if listed := m.Run("dpkg-query", "--showformat", "${Conffiles}", "--show", name); !strings.Contains(listed, "/etc/default/"+name) {
			t.Errorf("configuration files: %q", listed)
		}
	}
}

// units: systemd has nothing to say against them, and finds them closed enough.
func units(m *machine.Machine) {
	for _, name := range machine.Exporters() {
		out := m.Run("systemd-analyze", "verify", "--man=no", name+".service", name+".socket")
		if out != "" {
			m.T.Errorf("verify %s: %s", name, out)
		}
		m.Run("systemd-analyze", "security", "--offline=true", fmt.Sprintf("--threshold=%d", exposure), name+".service")
	}
}

// configure writes what a user would, with an address to listen on.
func configure(m *machine.Machine, name, environment string) (url string) {
	m.T.Helper()
	port, err := servers.FreePort()
	if err != nil {
		m.T.Fatal(err)
	}
	m.Write("/etc/default/"+name, 0o644, fmt.Sprintf("%s\nARGS=\"--web.listen-address=127.0.0.1:%d\"\n", environment, port))
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

// get asks an exporter, until it listens.
func get(t testing.TB, url string) (body string) {
	t.Helper()
	client := http.Client{Timeout: 15 * time.Second}
	harness.Eventually(t, 15*time.Second, "an answer from "+url, func() error {
		answer, err := client.Get(url)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", answer.Status, text)
		}
		body = string(text)
		return err
	})
	return body
}

func wantLine(t testing.TB, page, line string) {
	t.Helper()
	if !strings.Contains("\n"+page, "\n"+line) {
		t.Errorf("the page has no line that begins with %q", line)
	}
}

// credentials: a password reaches a real PostgreSQL, and is seen nowhere; a reload takes, the end is clean.
func credentials(t *testing.T, m *machine.Machine) {
	const service = "postgres-exporter.service"
	server := servers.NewPostgres(t, servers.PostgresOptions{})
	m.Write("/etc/postgres-exporter/secrets/password", 0o600, server.Password()+"\n")
	url := configure(m, "postgres-exporter", fmt.Sprintf("DATA_SOURCE_URI=\"%s/postgres?sslmode=disable\"\n"+
		"DATA_SOURCE_USER=postgres\nDATA_SOURCE_PASS_FILE=/run/credentials/%s/secret_password", server.Addr(), service))
	m.Run("systemctl", "start", service)
	page := get(t, url+"/metrics")
	wantLine(t, page, "pg_up 1\n")
	wantLine(t, page, "process_start_time_seconds ")
	wantLine(t, page, "process_open_fds ")
	pid := m.Main(service)
	for _, file := range []string{"environ", "cmdline"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) == 0 || bytes.Contains(text, []byte(server.Password())) {
			t.Errorf("%s of the exporter is empty or holds the password", file)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"} {
		wantLine(t, string(status), line)
	}
	if mode := m.Run("stat", "--format", "%a", "/run/credentials/"+service); mode == "755\n" {
		t.Errorf("credentials are in a folder of mode %s", mode)
	}
	before := fmt.Sprint(m.Main(service))
	m.Run("systemctl", "reload", service)
	harness.Eventually(t, 10*time.Second, "the reload is in the log", func() error {
		log := m.Run("journalctl", "--no-pager", "-u", service)
		if !strings.Contains(log, "the configuration was reloaded") || strings.Contains(log, server.Password()) {
			return fmt.Errorf("log: %s", log)
		}
		return nil
	})
	if after := fmt.Sprint(m.Main(service)); after != before {
		t.Errorf("the reload started another process")
	}
	m.Run("systemctl", "stop", service)
	if result := m.Property(service, "Result"); result != "success" {
		t.Errorf("the service ended with %s", result)
	}
}

// all: each exporter serves in its sandbox and knows its server, or that there is none.
func all(t *testing.T, m *machine.Machine) {
	redis := servers.NewRedis(t, servers.RedisOptions{Password: "sesame-7719"})
	m.Write("/etc/redis-exporter/secrets/passwords.json", 0o600, fmt.Sprintf(`{"redis://%s": "sesame-7719"}`, redis.Addr()))
	closed, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	for name, with := range map[string]struct{ environment, line string }{
		"redis-exporter": {"REDIS_ADDR=redis://" + redis.Addr() + "\n" +
			"REDIS_PASSWORD_FILE=/run/credentials/redis-exporter.service/secret_passwords.json", "redis_up 1\n"},
		"vector-db-exporter": {fmt.Sprintf("VECTORDB_URL=http://127.0.0.1:%d", closed), "vectordb_up 0\n"},
		"smtp-exporter":      {fmt.Sprintf("SMTP_EXPORTER_TARGET=127.0.0.1:%d", closed), "smtp_up 0\n"},
	} {
		url := configure(m, name, with.environment)
		m.Run("systemctl", "start", name)
		wantLine(t, get(t, url+"/metrics"), with.line)
		m.Run("systemctl", "stop", name)
	}
}

// socket: the first request starts the exporter, and one that comes while it restarts is answered.
func socket(t *testing.T, m *machine.Machine) {
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	m.Write("/etc/default/redis-exporter", 0o644, "ARGS=\"--web.systemd-socket\"\n")
	m.Write("/etc/systemd/system/redis-exporter.socket.d/port.conf", 0o644,
		fmt.Sprintf("[Socket]\nListenStream=\nListenStream=127.0.0.1:%d\n", port))
	m.Run("systemctl", "daemon-reload")
	m.Run("systemctl", "start", "redis-exporter.socket")
	if state := m.Property("redis-exporter.service", "ActiveState"); state != "inactive" {
		t.Errorf("the service is %s before anybody asks", state)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/metrics", port)
	ask := func() {
		answer, err := (&http.Client{Timeout: 15 * time.Second}).Get(url) // once: no request may be refused
		if err != nil {
			t.Error(err)
			return
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Error(answer.Status)
		}
	}
	ask()
	if state := m.Property("redis-exporter.service", "ActiveState"); state != "active" {
		t.Errorf("the service is %s after a request", state)
	}
	m.Run("systemctl", "stop", "redis-exporter.service")
	ask()
	m.Run("systemctl", "stop", "redis-exporter.socket", "redis-exporter.service")
}

// queue: the drop-in opens a queue to the SMTP exporter that the unit alone keeps closed.
func queue(t *testing.T, m *machine.Machine) {
	dropin, err := os.ReadFile("../../deploy/systemd/smtp-exporter-queue.conf")
	if err != nil {
		t.Fatal(err)
	}
	m.Run("groupadd", "--system", "Debian-exim")
	m.Run("install", "-d", "-m", "750", "-g", "Debian-exim", "/var/spool/exim4", "/var/spool/exim4/input")
	closed, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	url := configure(m, "smtp-exporter", "")
	m.Write("/etc/smtp-exporter/smtp_exporter.yml", 0o644,
		fmt.Sprintf("targets:\n  - {target: \"127.0.0.1:%d\", queue: {exim_spool: /var/spool/exim4}}\n", closed))
	for _, open := range []bool{false, true} {
		if open {
			text := strings.Replace(string(dropin), "SupplementaryGroups=postdrop", "#", 1)
			text = strings.Replace(text, "#SupplementaryGroups=Debian-exim", "SupplementaryGroups=Debian-exim", 1)
			m.Write("/etc/systemd/system/smtp-exporter.service.d/queue.conf", 0o644, text)
			m.Run("systemctl", "daemon-reload")
		}
		m.Run("systemctl", "restart", "smtp-exporter")
		success := fmt.Sprintf("smtp_exporter_collector_success{collector=\"queue\"} %d\n", map[bool]int{true: 1}[open])
		harness.Eventually(t, 20*time.Second, "the queue is read: "+fmt.Sprint(open), func() error {
			if page := get(t, url+"/metrics"); !strings.Contains(page, success) ||
				strings.Contains(page, "\nsmtp_queue_messages") != open {
				return fmt.Errorf("want %s, got %s", success, page[:min(len(page), 4096)])
			}
			return nil
		})
	}
	m.Run("systemctl", "stop", "smtp-exporter")
}

// upgrade: what the user wrote stays, and what runs is restarted.
func upgrade(t *testing.T, m *machine.Machine) {
	url := configure(m, "redis-exporter", "REDIS_ADDR=redis://127.0.0.1:1")
	written := m.Run("cat", "/etc/default/redis-exporter")
	m.Run("systemctl", "enable", "--now", "redis-exporter")
	get(t, url+"/healthz")
	before := m.Main("redis-exporter.service")
	m.Run("sh", "-c", "dpkg -i /packages/newer/*.deb")
	get(t, url+"/healthz")
	if m.Main("redis-exporter.service") == before {
		t.Error("the upgrade left the old program running")
	}
	if state := m.Property("redis-exporter.service", "UnitFileState"); state != "enabled" {
		t.Errorf("after the upgrade it is %s, want enabled", state)
	}
	if state := m.Property("postgres-exporter.service", "ActiveState"); state != "inactive" {
		t.Errorf("the upgrade started what did not run: %s", state)
	}
	if now := m.Run("cat", "/etc/default/redis-exporter"); now != written {
		t.Errorf("the upgrade changed the configuration to:\n%s", now)
	}
}

// purge: removing ends the service and keeps the configuration; purging leaves the user alone.
func purge(t *testing.T, m *machine.Machine) {
	m.Run("dpkg", "--remove", "redis-exporter")
	if m.Missing("/etc/default/redis-exporter") || m.Missing("/etc/redis-exporter/secrets/passwords.json") {
		t.Error("removing the package took the configuration with it")
	}
	if out, err := m.Try("", "systemctl", "is-active", "redis-exporter"); err == nil {
		t.Errorf("the removed service is %s", out)
	}
	m.Run(append([]string{"dpkg", "--purge"}, machine.Exporters()...)...)
	for _, name := range machine.Exporters() {
		for _, file := range []string{"/etc/default/" + name, "/etc/" + name, "/usr/bin/" + name, "/usr/share/doc/" + name,
			"/lib/systemd/system/" + name + ".service", "/etc/systemd/system/" + name + ".service.d",
			"/etc/systemd/system/multi-user.target.wants/" + name + ".service"} {
			if !m.Missing(file) {
				t.Errorf("purging left %s", file)
			}
		}
		m.Run("getent", "passwd", name)
	}
	if failed := m.Run("systemctl", "list-units", "--failed", "--plain", "--no-legend"); failed != "" {
		t.Errorf("failed units: %s", failed)
	}
}
