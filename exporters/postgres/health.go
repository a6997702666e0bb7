package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/alecthomas/kingpin/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// writeProbe is the health key of a target: whether the health check writes, and where to.
type writeProbe struct {
	Write  bool   `yaml:"write" help:"Whether the health check writes a row of its own."`
	Table  string `yaml:"table" help:"Table that it writes to; in the schema public unless it names another."`
	Create bool   `yaml:"create" help:"Whether to create the table where it is missing."`
	ID     string `yaml:"id" help:"Key of this exporter's row; the host's name and /postgres-exporter without it."`
}

const defaultHealthTable = "alfred_health_check"

// flags adds the flags of the write probe, which hold for every target that has no health key.
func (w *writeProbe) flags(a *kingpin.Application) {
	a.Flag("health.write", "Let the health check write: one row of its own, in place.").Envar("PG_EXPORTER_HEALTH_WRITE").BoolVar(&w.Write)
	a.Flag("health.table", "Table that the health check writes to; in the schema public unless it names another.").
		Default(defaultHealthTable).Envar("PG_EXPORTER_HEALTH_TABLE").StringVar(&w.Table)
	a.Flag("health.create", "Create the table of the health check where it is missing.").Envar("PG_EXPORTER_HEALTH_CREATE").BoolVar(&w.Create)
	a.Flag("health.id", "Key of this exporter's row in that table (default: the host's name and postgres-exporter).").
		Envar("PG_EXPORTER_HEALTH_ID").StringVar(&w.ID)
}

// Both go into SQL as they are, where nothing of them can end the quotes around them.
var (
	tableName = regexp.MustCompile(`^(?:([A-Za-z_][A-Za-z0-9_]{0,62})\.)?([A-Za-z_][A-Za-z0-9_]{0,62})$`)
	rowID     = regexp.MustCompile(`^[A-Za-z0-9_.:/@-]{1,200}$`)
	notOfID   = regexp.MustCompile(`[^A-Za-z0-9_.:/@-]`)
)

// probes gives the probe that is configured, if one is.
func (w *writeProbe) probes() ([]collect.Probe, error) {
	if w == nil || !w.Write {
		return nil, nil
	}
	name := w.Table
	if name == "" {
		name = defaultHealthTable
	}
	parts := tableName.FindStringSubmatch(name)
	if parts == nil {
		return nil, fmt.Errorf("health: table must be a name such as %s or monitoring.%s", defaultHealthTable, defaultHealthTable)
	}
	schema := parts[1]
	if schema == "" { // the session looks for unqualified names in pg_catalog alone
		schema = "public"
	}
	id, err := w.id()
	if err != nil {
		return nil, err
	}
	return []collect.Probe{{
		Operation: collect.Write,
		Question:  w.question(fmt.Sprintf(`"%s"."%s"`, schema, parts[2]), id),
		Skip:      func(id collect.Identity) bool { return id.Replica },
	}}, nil
}

func (w *writeProbe) id() (string, error) {
	if w.ID == "" {
		host, err := os.Hostname()
		return notOfID.ReplaceAllString(host, "_") + "/postgres-exporter", err
	}
	if !rowID.MatchString(w.ID) {
		return "", errors.New("health: id must be 1 to 200 letters, digits and the signs _.:/@-")
	}
	return w.ID, nil
}

// readWrite makes the one transaction that the question is writable in a session that is not. SET TRANSACTION READ
// WRITE would do the same, but draws a warning into the server's log each time, since no BEGIN came before.
const readWrite = `SET transaction_read_only TO off`

// localCommit has the commit wait for the server's own disk alone: one that waits for a synchronous standby knows no
// timeout, and would hold up the whole scrape.
const localCommit = `SELECT set_config('synchronous_commit', 'local', true)`

// createText asks first: CREATE TABLE IF NOT EXISTS demands the right to create also where the table exists. Of two that
// find it missing at the same moment, one waits for the other.
const createText = `DO $$ BEGIN
IF to_regclass('%[1]s') IS NULL THEN
PERFORM pg_advisory_xact_lock(hashtext('%[1]s'));
CREATE TABLE IF NOT EXISTS %[1]s (id text PRIMARY KEY, checked_at timestamptz NOT NULL);
END IF; END $$`

// upsertText writes the exporter's own row. Rows of exporters that are long gone go too, so that hosts whose names
// change, as those of containers do, leave nothing behind.
const upsertText = `
WITH gone AS (DELETE FROM %[1]s WHERE checked_at < now() - interval '7 days' AND id <> '%[2]s')
INSERT INTO %[1]s (id, checked_at) VALUES ('%[2]s', now())
ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at`

func (w *writeProbe) question(table, id string) collect.Question {
	prelude := []string{readWrite, localCommit}
	if w.Create {
		prelude = append(prelude, fmt.Sprintf(createText, table))
	}
	return collect.Question{Prelude: prelude, Text: fmt.Sprintf(upsertText, table, id)}
}

// unusable are the conditions that a table draws which is missing or of another form than createText makes.
var unusable = regexp.MustCompile(`^(?:42|3F|23|55000)`)

// writeFailure tells such a table from a server that is too old, or from a mistake of ours: the configuration names it.
func writeFailure(question collect.Question, err error) error {
	var pgErr *pgconn.PgError
	if len(question.Prelude) == 0 || question.Prelude[0] != readWrite || !errors.As(err, &pgErr) ||
		!unusable.MatchString(pgErr.Code) || classifySQLState(pgErr.Code) == fault.Denied {
		return err
	}
	return fault.Wrap(fault.Config, "the table of the health check is missing or of another form: make it as documented, or say create: true", err)
}
