package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// ownSetup is a database with jobs in a table that names without a schema must find.
var ownSetup = []string{
	`CREATE TABLE jobs (queue text, done int, waiting_ms float8, since timestamptz, urgent boolean, note text)`,
	`INSERT INTO jobs VALUES ('mail', 3, 1500, '2024-05-01 00:00:00.25+00', true, 'a'), ('mail', 4, NULL, '2024-05-01 00:00:00+00', false, 'b'),
		('print', 0, 'NaN', NULL, false, 'c')`,
	`CREATE TABLE hidden (n int)`,
	`CREATE SCHEMA "odd ""name's"; CREATE TABLE "odd ""name's".places (n int); INSERT INTO "odd ""name's".places VALUES (8)`,
	`GRANT SELECT ON jobs TO monitor; GRANT USAGE ON SCHEMA "odd ""name's" TO monitor; GRANT SELECT ON "odd ""name's".places TO monitor`,
	`CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$`,
}

func newOwnWorld(t *testing.T, major int) *servers.Postgres {
	t.Helper()
	server := servers.NewPostgres(t, servers.PostgresOptions{Major: major, Initial: []string{
		`CREATE ROLE monitor LOGIN PASSWORD 'monitor' IN ROLE pg_monitor`,
		`ALTER ROLE monitor SET datestyle = 'German'; ALTER ROLE monitor SET timezone = 'Asia/Kolkata'`,
		`CREATE DATABASE shop`,
	}})
	do(t, server, "shop", ownSetup...)
	return server
}

// ownTarget is a target with the tables of a file and two built-in collectors.
func ownTarget(t *testing.T, dsn, text string) *collect.Target {
	t.Helper()
	return discoveringTarget(t, dsn, text, discovery{})
}

func discoveringTarget(t *testing.T, dsn, text string, d discovery) *collect.Target {
	t.Helper()
	own, err := loadOwn(t, text)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l := loader{enabled: func(name string) bool { return name == "locks" || name == "static" }, timeout: 10 * time.Second, own: own, discovery: d}
	if err := l.share(); err != nil {
		t.Fatal(err)
	}
	spec, err := l.spec(settings, &driver{settings: func() (*pgconn.Config, error) { return pgconn.ParseConfig(dsn) }, statement: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	target := collect.NewTarget(spec, exporterSelf(), slog.New(slog.DiscardHandler))
	t.Cleanup(target.Close)
	return target
}

func exporterSelf() *collect.Self {
	self := collect.NewSelf("pg", exporter().Aliases)
	self.DeclareMembers("pg", exporter().Members.Noun, exporter().Members.Label)
	return self
}

func scrapeTarget(t *testing.T, target *collect.Target) page {
	t.Helper()
	time.Sleep(500 * time.Millisecond) // for which a result is shared
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	result := target.Scrape(ctx)
	var out metric.Page
	result.AddTo(&out)
	return page{result, out.Families()}
}

// reasons gives the failures by collector.
func (p page) reasons() map[string]fault.Kind {
	reasons := map[string]fault.Kind{}
	for _, c := range p.result.Collectors {
		if c.Fault != fault.None {
			reasons[c.Name] = c.Fault
		}
	}
	return reasons
}

const ownTypes = `
tables:
- name: jobs
  query: |
    SELECT queue, urgent, sum(done) AS done, max(since) AS since, max(since)::date AS day, bool_or(urgent) AS any,
      sum(waiting_ms) AS waiting, extract(epoch FROM now()) > 1000 AS real_now, count(*) AS n
    FROM jobs GROUP BY queue, urgent;
  columns:
  - label: queue
  - {label: urgent, name: hot}
  - {const: origin, text: "{server}"}
  - {count: done, name: done_total, help: Done.}
  - {value: since, name: since_timestamp_seconds, help: Since., by: [queue, hot]}
  - {value: day, name: day_timestamp_seconds, help: Day.}
  - {value: any, help: Any.}
  - {value: waiting, name: waiting_seconds, scale: 0.001, help: Waiting.}
  - {value: real_now, help: The real one.}
  - {untyped: n, help: Number.}
  - {value: absent, help: Absent.}
  - {info: info, help: That it is there.}
- name: places
  search_path: ["odd \"name's"]
  query: SELECT n FROM places
  columns: [{value: n, help: Number.}]
- name: session
  query: |
    SELECT current_setting('transaction_read_only') = 'on' AS read_only, current_setting('statement_timeout') = '700ms' AS timeout,
      current_setting('search_path') AS path
  timeout: 700ms
  columns: [{label: path}, {value: read_only, help: R.}, {value: timeout, help: T.}]
- name: waits
  query: |
    SELECT 'a' AS kind, ARRAY[4,1,2]::float8[] AS s, ARRAY[9,1,5]::bigint[] AS s_bucket, 33.5 AS s_sum, 10 AS s_count
    UNION ALL SELECT 'b', ARRAY[0.5,'Infinity']::float8[], '{2,3}', 1, 3
    UNION ALL SELECT 'c', NULL, NULL, NULL, NULL
    UNION ALL SELECT 'd', '{}', '{}', 1, 3
  columns: [{label: kind}, {histogram: s, name: wait_seconds, help: Waits.}]
- name: elsewhere
  databases: [other]
  query: SELECT 1 AS n
  columns: [{value: n, help: Number.}]
- name: unmet
  needs: {extension: nowhere}
  query: SELECT 1 AS n FROM {nowhere}.x
  columns: [{value: n, help: Number.}]
- name: old
  sources: [{until: 120000, query: SELECT 1 AS n}]
  columns: [{value: n, help: Number.}]
- name: new
  sources: [{until: 160000, query: SELECT 1 AS n}, {since: 160000, query: SELECT 2 AS n}]
  columns: [{value: n, help: Number.}]
- name: rare
  every: 1m
  query: SELECT 5 AS n FROM jobs LIMIT 1
  columns: [{value: n, help: Number.}]
- name: shown
  query: SHOW max_connections
  columns: [{value: max_connections, help: Number.}]
`

// TestOwnTables asks what users may ask, of the oldest and the newest server, in one turn-around.
func TestOwnTables(t *testing.T) {
	for _, major := range []int{13, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			server := newOwnWorld(t, major)
			t.Run("types", func(t *testing.T) { checkOwnTypes(t, server, major) })
			t.Run("failures", func(t *testing.T) { checkOwnFailures(t, server) })
			t.Run("limits", func(t *testing.T) { checkOwnLimits(t, server) })
			t.Run("session", func(t *testing.T) { checkOwnSession(t, server) })
			t.Run("changes", func(t *testing.T) { checkOwnChanges(t, server) })
			t.Run("convert", func(t *testing.T) { checkConverted(t, server, major) })
			t.Run("discovered", func(t *testing.T) { checkOwnDiscovered(t, server) })
			t.Run("documented", func(t *testing.T) { checkDocumented(t, server) })
		})
	}
}

func checkOwnTypes(t *testing.T, server *servers.Postgres, major int) {
	target := ownTarget(t, monitorDSN(server, "shop"), ownTypes)
	p := scrapeTarget(t, target)
	again := scrapeTarget(t, target) // with what is prepared now
	if len(p.reasons()) > 0 || len(again.reasons()) > 0 || again.result.Usage.TurnArounds != 1 {
		t.Fatalf("%v, %v, %d turn-arounds", p.reasons(), again.reasons(), again.result.Usage.TurnArounds)
	}
	for _, p := range []page{p, again} {
		p.wantAll(t, map[string]float64{
			"jobs_done_total hot=true queue=mail":                           3,
			"jobs_done_total hot=false queue=mail":                          4,
			"jobs_since_timestamp_seconds hot=true queue=mail":              1714521600.25,
			"jobs_day_timestamp_seconds hot=false queue=mail":               1714521600, // of the day that it is in the session's zone
			"jobs_any hot=true queue=mail":                                  1,
			"jobs_any hot=false queue=mail":                                 0,
			"jobs_waiting_seconds hot=true queue=mail":                      1.5,
			"jobs_real_now hot=false queue=print":                           1, // not that of public
			"jobs_n hot=false queue=print":                                  1,
			"jobs_info hot=false queue=print":                               1,
			"places_n":                                                      8,
			`session_read_only path=pg_catalog, "$user", "public", pg_temp`: 1,
			"session_timeout":                                               1,
			"waits_wait_seconds kind=a":                                     10,
			"waits_wait_seconds kind=b":                                     3,
			"waits_wait_seconds kind=d":                                     3,
			"new_n":                                                         map[bool]float64{true: 2, false: 1}[major >= 16],
			"rare_n":                                                        5,
			"shown_max_connections":                                         100,
			"pg_exporter_collector_unsupported_info collector=unmet missing=nowhere": 1,
			"pg_exporter_collector_unsupported_info collector=old missing=version":   1,
		})
		p.lacks(t, "jobs_absent", "elsewhere_n", "jobs_since_timestamp_seconds queue=print", "jobs_waiting_seconds hot=false queue=mail",
			"jobs_waiting_seconds queue=print", "waits_wait_seconds kind=c", "pg_exporter_collector_success collector=elsewhere")
		if names := labelNames(p.family("jobs_since_timestamp_seconds")) + " " + labelNames(p.family("jobs_n")); names != "hot,queue hot,origin,queue" {
			t.Error(names)
		}
		if kinds := typeName(p.family("jobs_done_total")) + typeName(p.family("jobs_n")) + typeName(p.family("waits_wait_seconds")); kinds != "counteruntypedhistogram" {
			t.Error(kinds)
		}
		first := p.family("waits_wait_seconds").Metric[0].Histogram
		if first.GetSampleSum() != 33.5 || len(first.Bucket) != 3 || first.Bucket[1].GetUpperBound() != 2 || first.Bucket[1].GetCumulativeCount() != 5 {
			t.Error(first)
		}
	}
}

// wantAll looks for samples written as NAME LABEL=VALUE ….
func (p page) wantAll(t *testing.T, samples map[string]float64) {
	t.Helper()
	for sample, want := range samples {
		name, labels := splitSample(sample)
		if got := p.value(t, name, labels...); got != want {
			t.Errorf("%s is %v, want %v", sample, got, want)
		}
	}
}

func (p page) lacks(t *testing.T, samples ...string) {
	t.Helper()
	for _, sample := range samples {
		name, labels := splitSample(sample)
		if got := p.values(name, labels...); len(got) > 0 {
			t.Errorf("%s is there: %v", sample, got)
		}
	}
}

var sampleLabel = regexp.MustCompile(` ([a-z_]+)=`)

func splitSample(sample string) (name string, labels []string) {
	at := sampleLabel.FindAllStringSubmatchIndex(sample, -1)
	if at == nil {
		return sample, nil
	}
	for i, match := range at {
		end := len(sample)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		labels = append(labels, sample[match[2]:match[3]], sample[match[1]:end])
	}
	return sample[:at[0][0]], labels
}

// ownFailing has a table for each way to fail, whose name ends with the reason.
const ownFailing = `
tables:
- {name: syntax_config, query: SELECT 1 AS n FRUM x, columns: [{value: n, help: Number.}]}
- {name: two_statements_config, query: "SELECT 1 AS n; SELECT 2", columns: [{value: n, help: Number.}]}
- {name: table_config, query: SELECT 1 AS n FROM nowhere, columns: [{value: n, help: Number.}]}
- {name: column_config, query: SELECT nothing AS n FROM jobs, columns: [{value: n, help: Number.}]}
- {name: schema_config, query: SELECT n FROM places, columns: [{value: n, help: Number.}]}
- {name: privilege_denied, query: SELECT n FROM hidden, columns: [{value: n, help: Number.}]}
- {name: write_config, query: "WITH x AS (INSERT INTO jobs VALUES ('x') RETURNING 1 AS n) SELECT n FROM x", columns: [{value: n, help: Number.}]}
- {name: text_malformed, query: SELECT note AS n FROM jobs, columns: [{value: n, help: Number.}]}
- {name: sometimes_malformed, query: "SELECT n AS id, 1 / (2 - n) AS n FROM generate_series(1, 3) AS n", columns: [{label: id}, {value: n, help: Number.}]}
- {name: histogram_malformed, query: "SELECT '{1,2}'::int[] AS n, '{3,2}'::int[] AS n_bucket, 1 AS n_sum, 5 AS n_count", columns: [{histogram: n, help: Number.}]}
- {name: bounds_malformed, query: "SELECT '{1,2}'::int[] AS n, '{3}'::int[] AS n_bucket, 1 AS n_sum, 5 AS n_count", columns: [{histogram: n, help: Number.}]}
- {name: slow_timeout, timeout: 50ms, query: SELECT 1 AS n FROM pg_sleep(20), columns: [{value: n, help: Number.}]}
- {name: good, query: SELECT count(*) AS n FROM jobs, columns: [{value: n, help: Number.}]}
`

// A query that fails costs itself, and never passes for a success.
func checkOwnFailures(t *testing.T, server *servers.Postgres) {
	target := ownTarget(t, monitorDSN(server, "shop"), ownFailing)
	for range 2 {
		p := scrapeTarget(t, target)
		reasons := p.reasons()
		for _, c := range p.result.Collectors {
			want := fault.None
			if at := strings.LastIndex(c.Name, "_"); at >= 0 {
				want = fault.Kind(c.Name[at+1:])
			}
			if reasons[c.Name] != want {
				t.Errorf("%s: %q: %v", c.Name, reasons[c.Name], c.Err)
			}
		}
		p.wantAll(t, map[string]float64{
			"good_n": 3, "pg_exporter_collector_success collector=locks": 1,
			"pg_exporter_collector_success collector=table_config": 0, "pg_up": 1,
		})
		p.lacks(t, "text_malformed_n", "sometimes_malformed_n")
	}
}

// An answer without end is cut and counted, duplicates are dropped and counted.
func checkOwnLimits(t *testing.T, server *servers.Postgres) {
	p := scrapeTarget(t, ownTarget(t, monitorDSN(server, "shop"), `
tables:
- name: many
  query: SELECT n AS id, n FROM generate_series(1, 1000000) AS n
  columns: [{label: id}, {value: n, help: Number.}]
- name: few
  limit: 10
  query: SELECT n AS id, n, n AS m FROM generate_series(1, 100) AS n
  columns: [{label: id}, {value: n, help: Number.}, {value: m, help: Number.}]
- name: twice
  query: SELECT n / 2 AS id, n FROM generate_series(2, 5) AS n
  columns: [{label: id}, {value: n, help: Number.}]
`))
	if reasons := p.reasons(); len(reasons) > 0 {
		t.Error(reasons)
	}
	for name, want := range map[string]int{"many_n": collect.DefaultSeriesLimit, "few_n": 5, "few_m": 5, "twice_n": 2} {
		if got := len(p.values(name)); got != want {
			t.Errorf("%s has %d samples, want %d", name, got, want)
		}
	}
	p.wantAll(t, map[string]float64{
		"pg_exporter_collector_series_limited collector=many": 1000000 - collect.DefaultSeriesLimit,
		"pg_exporter_collector_series_limited collector=few":  190,
		"pg_exporter_duplicate_samples_total":                 2,
	})
}

// What a query does to its session does not change what others are asked.
func checkOwnSession(t *testing.T, server *servers.Postgres) {
	target := ownTarget(t, monitorDSN(server, "shop"), `
tables:
- name: a_nasty
  query: SELECT length(set_config('default_transaction_read_only', 'off', false) || set_config('statement_timeout', '1', true)) AS n
  columns: [{value: n, help: Number.}]
- name: b_writes
  query: WITH x AS (INSERT INTO jobs VALUES ('x') RETURNING 1 AS n) SELECT n FROM x
  columns: [{value: n, help: Number.}]
- name: c_opens
  query: SELECT length(set_config('transaction_read_only', 'off', true)) AS n
  columns: [{value: n, help: Number.}]
- name: d_after
  query: SELECT count(*) AS n, (current_setting('transaction_read_only') = 'on')::int AS read_only FROM jobs
  columns: [{value: n, help: Number.}, {value: read_only, help: R.}]
`)
	do(t, server, "shop", `GRANT INSERT ON jobs TO monitor`)
	for range 2 {
		p := scrapeTarget(t, target)
		if reasons := p.reasons(); len(reasons) != 2 || reasons["b_writes"] == "" || reasons["c_opens"] == "" {
			t.Error(reasons)
		}
		p.wantAll(t, map[string]float64{"a_nasty_n": 6, "d_after_n": 3, "d_after_read_only": 1, "pg_exporter_collector_success collector=locks": 1})
	}
	do(t, server, "shop", `REVOKE INSERT ON jobs FROM monitor`)
}

// A table that changes its columns, vanishes and comes back is followed on the same connection.
func checkOwnChanges(t *testing.T, server *servers.Postgres) {
	target := ownTarget(t, monitorDSN(server, "shop"), `
tables:
- {name: changing, query: SELECT * FROM changing, columns: [{value: n, help: Number.}]}
`)
	for _, step := range []struct {
		statement string
		want      []float64
	}{
		{`CREATE TABLE changing AS SELECT 1 AS n; GRANT SELECT ON changing TO monitor`, []float64{1}},
		{`ALTER TABLE changing ADD COLUMN m int`, []float64{1}},
		{`DROP TABLE changing`, nil},
		{`CREATE TABLE changing AS SELECT 2 AS n; GRANT SELECT ON changing TO monitor`, []float64{2}},
	} {
		do(t, server, "shop", step.statement)
		scrapeTarget(t, target) // may find that the answer looks otherwise than it was prepared for
		p := scrapeTarget(t, target)
		if got := p.values("changing_n"); !slices.Equal(got, step.want) {
			t.Errorf("after %s: %v, %v", step.statement, got, p.reasons())
		}
		if failed := p.reasons()["changing"]; (failed == fault.Config) != (step.want == nil) {
			t.Errorf("after %s: %q", step.statement, failed)
		}
		p.wantAll(t, map[string]float64{"pg_exporter_connections_total": 1})
	}
}

// Databases that are found are asked what is for each of them, at each scrape or in the background.
func checkOwnDiscovered(t *testing.T, server *servers.Postgres) {
	on, connections := true, 3
	target := discoveringTarget(t, monitorDSN(server, "shop"), `
tables:
- {name: here, query: SELECT 1 AS n, columns: [{value: n, help: Number.}]}
- {name: each, each_database: true, query: SELECT 1 AS n, columns: [{value: n, help: Number.}]}
- {name: rarely, each_database: true, every: 1m, query: SELECT current_database() AS datname, columns: [{label: datname}, {info: info, help: There.}]}
`, discovery{on: &on, include: &[]string{}, exclude: &[]string{}, connections: &connections})
	scrapeTarget(t, target)
	p := scrapeTarget(t, target)
	if reasons := p.reasons(); len(reasons) > 0 {
		t.Error(reasons)
	}
	p.wantAll(t, map[string]float64{
		"here_n": 1, "each_n datname=shop": 1, "each_n datname=postgres": 1, "rarely_info datname=shop": 1, "rarely_info datname=postgres": 1,
	})
}

// converted gives what convert makes of a file.
func converted(t *testing.T, path string) (string, *conversion) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := convert(content, "")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String(), c
}

// What convert makes of a file gives the names, labels and values that the other exporter gives for it.
func checkConverted(t *testing.T, server *servers.Postgres, major int) {
	dsn := monitorDSN(server, "shop")
	settings, err := pgconn.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	from := " server=" + address(settings)
	text, _ := converted(t, "testdata/custom/postgres_exporter.yml")
	p := scrapeTarget(t, ownTarget(t, dsn, text))
	if reasons := p.reasons(); len(reasons) > 0 {
		t.Error(reasons)
	}
	p.wantAll(t, map[string]float64{
		"app_queue_waiting queue=mail urgent=true" + from:      2,
		"app_queue_done queue=mail urgent=true" + from:         7,
		"app_queue_done_total queue=print urgent=false" + from: 0,
		"app_queue_oldest queue=mail urgent=true" + from:       1714521600.25,
		"app_wait_seconds" + from:                              10,
		"app_sizes_parts" + from:                               1,
	})
	p.lacks(t, "app_queue_note", "app_queue_nothing", "app_queue_oldest queue=print")
	text, _ = converted(t, "testdata/custom/pg_exporter.yml")
	p = scrapeTarget(t, ownTarget(t, dsn, text))
	if reasons := p.reasons(); len(reasons) > 0 {
		t.Error(reasons)
	}
	p.wantAll(t, map[string]float64{
		"app_queue_waiting queue=mail":        2,
		"app_queue_oldest_seconds queue=mail": 1714521600.25,
		"app_done_done_total":                 7,
		"pg_exporter_collector_unsupported_info collector=app_replica missing=replica": 1,
	})
	if got := labelNames(p.family("app_queue_waiting")); got != "queue" {
		t.Errorf("labels %s", got)
	}
	lacking := map[bool]string{true: "app_queue_17", false: "app_queue_13"}[major < 17]
	p.wantAll(t, map[string]float64{"pg_exporter_collector_unsupported_info missing=version collector=" + lacking: 1})
}

// documentedYAML finds the examples of the manual.
var documentedYAML = regexp.MustCompile("(?s)```yaml\n(tables:.*?)```")

// The examples of the manual load and can be asked.
func checkDocumented(t *testing.T, server *servers.Postgres) {
	manual, err := os.ReadFile("../../docs/custom-queries.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := documentedYAML.FindAllStringSubmatch(string(manual), -1)
	if len(examples) == 0 {
		t.Fatal("no examples")
	}
	do(t, server, "shop", `CREATE SCHEMA app; CREATE TABLE app.jobs (queue text, state text, created_at timestamptz, run_ms float8); GRANT USAGE ON SCHEMA app TO monitor;
		GRANT SELECT ON app.jobs TO monitor; INSERT INTO app.jobs VALUES ('mail', 'waiting', now() - interval '1 minute', NULL), ('mail', 'done', now(), 250)`)
	for _, example := range examples {
		p := scrapeTarget(t, ownTarget(t, monitorDSN(server, "shop"), example[1]))
		if reasons := p.reasons(); len(reasons) > 0 {
			t.Errorf("%v: %s", reasons, example[1])
		}
	}
	p := scrapeTarget(t, ownTarget(t, monitorDSN(server, "shop"), examples[0][1]))
	p.wantAll(t, map[string]float64{"app_queue_waiting queue=mail": 1, "app_queue_done_total queue=mail": 1, "app_queue_run_seconds_total queue=mail": 0.25, "app_queue_run_duration_seconds": 1})
}
