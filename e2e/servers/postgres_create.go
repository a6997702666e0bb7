package servers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// initdb makes the data directory.
func (p *Postgres) initdb(ctx context.Context, o PostgresOptions) error {
	passwordFile := filepath.Join(p.dir, "password")
	if err := p.account.writeFile(passwordFile, p.password+"\n"); err != nil {
		return err
	}
	defer os.Remove(passwordFile)
	return run(ctx, p.command("initdb",
		"--pgdata="+p.data,
		"--username=postgres",
		"--pwfile="+passwordFile,
		"--auth-local=trust",
		"--auth-host=scram-sha-256",
		"--encoding="+orElse(o.Encoding, "UTF8"),
		"--locale="+orElse(o.Locale, "C"),
		"--no-sync",
	))
}

// configure chooses the port, writes the settings and puts the given lines before the usual pg_hba.conf.
func (p *Postgres) configure(o PostgresOptions) error {
	var err error
	if p.port, err = FreePort(); err != nil {
		return err
	}
	settings := p.settings()
	maps.Copy(settings, o.Settings)
	if err := appendFile(filepath.Join(p.data, "postgresql.conf"), settingLines(settings)); err != nil {
		return err
	}
	if len(o.HBA) == 0 {
		return nil
	}
	rules := filepath.Join(p.data, "pg_hba.conf")
	usual, err := os.ReadFile(rules)
	if err != nil {
		return err
	}
	return p.account.writeFile(rules, strings.Join(o.HBA, "\n")+"\n"+string(usual))
}

// settings are what every server gets: small, fast and not durable.
func (p *Postgres) settings() map[string]string {
	settings := p.placeSettings()
	settings["fsync"] = "off"
	settings["shared_buffers"] = "32MB"
	settings["shared_preload_libraries"] = "pg_stat_statements"
	if p.caFile != "" {
		settings["ssl"] = "on"
		settings["ssl_cert_file"] = certificate(p.dir, "server.crt")
		settings["ssl_key_file"] = certificate(p.dir, "server.key")
	}
	return settings
}

// placeSettings say where the server listens; no two servers share them.
func (p *Postgres) placeSettings() map[string]string {
	return map[string]string{
		"listen_addresses":        p.Host(),
		"port":                    strconv.Itoa(p.port),
		"unix_socket_directories": p.sockets,
	}
}

// settingLines are lines of postgresql.conf, where the last line for a setting wins.
func settingLines(settings map[string]string) string {
	var lines strings.Builder
	lines.WriteString("\n")
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&lines, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	return lines.String()
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
