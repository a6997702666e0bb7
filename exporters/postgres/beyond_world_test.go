package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// The world has a second database, works, in which the rest happens: commands that run for long, indexes and sequences
// gone wrong, subscriptions. It stands apart so that what is counted in shop stays what it is.

// publisherSetup runs in shop before anything else. The subscriptions find their slots made, and copy nothing, because
// to begin to decode a server waits for all transactions that are open, prepared ones included.
var publisherSetup = []string{
	`CREATE TABLE good (id int PRIMARY KEY); INSERT INTO good VALUES (1); CREATE PUBLICATION goods FOR TABLE good`,
	`CREATE TABLE bad (id int PRIMARY KEY); CREATE PUBLICATION bads FOR TABLE bad`,
	`SELECT pg_create_logical_replication_slot('goods', 'pgoutput'), pg_create_logical_replication_slot('bads', 'pgoutput')`,
}

// worksSetup runs in works before there is a replica or a prepared transaction, which would keep dead rows from vacuum.
var worksSetup = []string{
	`CREATE TABLE good (id int PRIMARY KEY)`,
	`CREATE TABLE bad (id int PRIMARY KEY); INSERT INTO bad VALUES (7)`,

	// A function that sleeps on demand makes everything slow that calls it.
	`CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
		$$ BEGIN PERFORM pg_sleep(coalesce(nullif(current_setting('works.sleep', true), ''), '0')::float8); RETURN n; END $$`,
	`CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM slow(1); RETURN new; END $$`,
	`CREATE TABLE indexed (id int); INSERT INTO indexed VALUES (1)`,
	`CREATE TABLE analyzed (id int); CREATE INDEX ON analyzed (slow(id)); INSERT INTO analyzed VALUES (1)`,
	`CREATE TABLE clustered (id int); CREATE INDEX ON clustered (slow(id)); INSERT INTO clustered VALUES (1)`,
	`CREATE TABLE copied (id int); CREATE TRIGGER linger BEFORE INSERT ON copied FOR EACH ROW EXECUTE FUNCTION linger()`,

	`CREATE TABLE doubled (id int, note text); INSERT INTO doubled VALUES (1), (1)`,
	`CREATE INDEX doubled_note ON doubled (note); CREATE INDEX doubled_note_again ON doubled (note)`,

	`CREATE TABLE numbered (id int, small smallserial)`,
	`CREATE SEQUENCE numbered_id AS bigint OWNED BY numbered.id; SELECT setval('numbered_id', 2147483000)`,
	`CREATE SEQUENCE downwards INCREMENT -1 MINVALUE -100 MAXVALUE -1; SELECT nextval('downwards') FROM generate_series(1, 25)`,
	`CREATE SEQUENCE turning MAXVALUE 3 CYCLE; SELECT nextval('turning') FROM generate_series(1, 3)`,
	`CREATE SEQUENCE secret MAXVALUE 3; SELECT nextval('secret')`,
	`CREATE UNLOGGED TABLE unlogged (id serial); INSERT INTO unlogged DEFAULT VALUES`,
	`GRANT SELECT ON numbered_id, downwards, turning, numbered_small_seq, unlogged_id_seq TO monitor`,

	`CREATE TABLE bloated (id int PRIMARY KEY, note text) WITH (autovacuum_enabled = off)`,
	`INSERT INTO bloated SELECT n, repeat('x', n % 50) FROM generate_series(1, 20000) AS n`,
	`DELETE FROM bloated WHERE id % 10 <> 0`, `VACUUM ANALYZE bloated`,
	`GRANT SELECT ON bloated TO monitor`,
	`CREATE TABLE unread (id int PRIMARY KEY, note text) WITH (autovacuum_enabled = off)`,
	`INSERT INTO unread SELECT n FROM generate_series(1, 5000) AS n; ANALYZE unread`,
	`CREATE TABLE long (note text) WITH (autovacuum_enabled = off); ALTER TABLE long ALTER note SET STORAGE EXTERNAL`,
	`INSERT INTO long SELECT repeat('x', 9000) FROM generate_series(1, 50)`,
	`CREATE TABLE due (id int) WITH (autovacuum_enabled = off, autovacuum_vacuum_threshold = 3, autovacuum_vacuum_scale_factor = 0,
		autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 5, autovacuum_analyze_scale_factor = 0)`,
	`INSERT INTO due VALUES (1), (2), (3), (4)`, `UPDATE due SET id = id`,

	`CREATE EXTENSION hstore VERSION '1.4'`,
	`CREATE EXTENSION pgstattuple`,
}

// vectorSetup makes something that looks like pgvector, which is not among the packages of the test servers: access
// methods of its names, which are hash indexes.
var vectorSetup = []string{
	`INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) SELECT 99999, 'vector', 10, 'public'::regnamespace, true, '0.8.0'`,
	`CREATE ACCESS METHOD hnsw TYPE INDEX HANDLER hashhandler`,
	`CREATE OPERATOR CLASS int4_hnsw DEFAULT FOR TYPE int4 USING hnsw AS OPERATOR 1 =, FUNCTION 1 hashint4(int4)`,
	`CREATE TABLE embeddings (id int); INSERT INTO embeddings SELECT generate_series(1, 3000); CREATE INDEX embeddings_hnsw ON embeddings USING hnsw (id)`,
}

// happenInWorks opens what stays for the length of the test.
func happenInWorks(t *testing.T, w *world) {
	t.Helper()
	do(t, w.primary, "postgres", `ALTER SYSTEM SET wal_retrieve_retry_interval = '200ms'`, `SELECT pg_reload_conf()`)
	if err := w.primary.Exec(t.Context(), "works", `CREATE UNIQUE INDEX CONCURRENTLY doubled_id ON doubled (id)`); err == nil {
		t.Error("an index that is unique, of what is not")
	}
	do(t, w.primary, "works", `SET track_functions = 'all'; SELECT slow(1)`)
	eventuallyIn(t, w.primary, "works", `SELECT sum(calls) FROM pg_stat_user_functions`, "1")
	subscribe(t, w.primary)
	sleep := `SET works.sleep = 600`
	work(t, w.primary, sleep, `CREATE INDEX indexed_slowly ON indexed (slow(id))`)
	work(t, w.primary, sleep, `ANALYZE analyzed`)
	work(t, w.primary, sleep, `VACUUM FULL clustered`)
	work(t, w.primary, sleep, `COPY copied FROM PROGRAM 'echo 1'`)
	backUp(t, w.primary)
	for _, command := range []string{"create_index", "analyze", "cluster", "basebackup"} {
		eventually(t, w.primary, fmt.Sprintf(`SELECT count(*) FROM pg_stat_progress_%s`, command), "1")
	}
	if w.primary.Major() >= 14 {
		eventually(t, w.primary, `SELECT count(*) FROM pg_stat_progress_copy`, "1")
	}
}

// subscribe makes a subscription that works and one that fails at the first row.
func subscribe(t *testing.T, server *servers.Postgres) {
	t.Helper()
	source := fmt.Sprintf("host=%s port=%d user=postgres dbname=shop", server.SocketDir(), server.Port())
	for _, name := range []string{"goods", "bads"} {
		do(t, server, "works", fmt.Sprintf(`CREATE SUBSCRIPTION %[1]s CONNECTION '%[2]s' PUBLICATION %[1]s WITH (create_slot = false, copy_data = false)`, name, source))
	}
	eventuallyIn(t, server, "works", `SELECT string_agg(DISTINCT srsubstate::text, '') FROM pg_subscription_rel`, "r")
	do(t, server, "shop", `INSERT INTO bad VALUES (7)`)
	if server.Major() >= 15 {
		eventuallyIn(t, server, "works", `SELECT apply_error_count > 0 FROM pg_stat_subscription_stats WHERE subname = 'bads'`, "t")
	}
	do(t, server, "works", `ALTER SUBSCRIPTION bads DISABLE`)
	eventuallyIn(t, server, "works", `SELECT count(pid) FROM pg_stat_subscription`, "1")
}

// work runs a last statement in works that does not end before the test does.
func work(t *testing.T, server *servers.Postgres, statements ...string) {
	t.Helper()
	stuck(t, connect(t, server.DSN("works")), statements...)
}

// backUp begins to copy the whole server, and does not listen.
func backUp(t *testing.T, server *servers.Postgres) {
	t.Helper()
	conn := connect(t, strings.Replace(server.DSN(""), "/?", "/postgres?", 1)+"&replication=true")
	command := `BASE_BACKUP (PROGRESS, CHECKPOINT 'fast', MAX_RATE 32, WAIT false)`
	if server.Major() < 15 {
		command = `BASE_BACKUP PROGRESS FAST MAX_RATE 32 NOWAIT`
	}
	conn.Frontend().SendQuery(&pgproto3.Query{String: command})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
}
