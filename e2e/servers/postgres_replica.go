package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// NewReplica starts a streaming replica for a test and closes it at the test's end.
func (p *Postgres) NewReplica(tb testing.TB) *Postgres {
	tb.Helper()
	replica, err := p.Replica(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	replica.closeAfter(tb)
	return replica
}

// Replica makes a streaming replica of the server, with its settings, passwords and
// certificate, and starts it. The caller closes it.
func (p *Postgres) Replica(ctx context.Context) (*Postgres, error) {
	r, err := newPostgres(ctx, p.bin, filepath.Dir(p.dir))
	if err != nil {
		return nil, err
	}
	r.password, r.caFile = p.password, p.caFile
	if err := p.backup(ctx, r); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.follow(p); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.Start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Major returns the server's major version.
func (p *Postgres) Major() int {
	var major int
	_, _ = fmt.Sscanf(p.version, "%d", &major) // "15.18", and "19beta1" too
	return major
}

// backup copies the running server's data to the replica by the low-level protocol,
// because pg_basebackup does not come with every major.
func (p *Postgres) backup(ctx context.Context, r *Postgres) error {
	connection, err := p.connect(ctx, "postgres") // the backup ends with the session
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	start, stop := "pg_backup_start('replica', true)", "pg_backup_stop(false)"
	if p.Major() < 15 {
		start, stop = "pg_start_backup('replica', true, false)", "pg_stop_backup(false, false)"
	}
	if _, err := firstValue(ctx, connection, "SELECT "+start); err != nil {
		return err
	}
	if err := r.copyFrom(p.data, ".", notInBackup); err != nil {
		return err
	}
	label, err := backupLabel(ctx, connection, stop)
	if err != nil {
		return err
	}
	// What was written during the copy is in the log, which must be copied after it.
	if err := r.copyFrom(p.data, "pg_wal", nothing); err != nil {
		return err
	}
	return r.account.writeFile(filepath.Join(r.data, "backup_label"), label)
}

func backupLabel(ctx context.Context, connection *pgconn.PgConn, stop string) (string, error) {
	row, err := firstRow(ctx, connection, "SELECT labelfile, spcmapfile FROM "+stop)
	if err != nil {
		return "", err
	}
	if tablespaces := string(row[1]); tablespaces != "" {
		return "", fmt.Errorf("a replica of a server with tablespaces would write into them: %s", tablespaces)
	}
	return string(row[0]), nil
}

// follow makes the copied data that of a standby of the primary.
func (p *Postgres) follow(primary *Postgres) error {
	var err error
	if p.port, err = FreePort(); err != nil {
		return err
	}
	settings := p.placeSettings()
	settings["primary_conninfo"] = fmt.Sprintf("host=%s port=%d user=postgres password=%s application_name=replica",
		primary.Host(), primary.port, primary.password)
	if err := appendFile(filepath.Join(p.data, "postgresql.conf"), settingLines(settings)); err != nil {
		return err
	}
	return p.account.writeFile(filepath.Join(p.data, "standby.signal"), "")
}

// copyFrom copies a subfolder of another server's data. Files that vanish meanwhile are no loss.
func (p *Postgres) copyFrom(data, sub string, skip func(path string) bool) error {
	return filepath.WalkDir(filepath.Join(data, sub), func(from string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		path, err := filepath.Rel(data, from)
		if err != nil || skip(path) {
			return err
		}
		return p.copyEntry(filepath.Join(p.data, path), from, entry)
	})
}

func (p *Postgres) copyEntry(to, from string, entry fs.DirEntry) error {
	var err error
	switch {
	case entry.IsDir():
		err = os.MkdirAll(to, 0o700)
	case entry.Type().IsRegular():
		err = copyFile(to, from)
	default:
		return nil // a tablespace's link, which backup refuses
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return p.account.own(to)
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// notInBackup names what the documentation of the low-level backup leaves out: files of
// the running server, and the contents of folders that a server fills anew.
func notInBackup(path string) bool {
	folder, _, inside := strings.Cut(path, "/")
	switch folder {
	case "postmaster.pid", "postmaster.opts":
		return true
	case "pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans":
		return inside
	}
	name := filepath.Base(path)
	return name == "pg_internal.init" || strings.HasPrefix(name, "pgsql_tmp")
}

func nothing(string) bool { return false }
