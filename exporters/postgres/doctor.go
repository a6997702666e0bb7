package main

import (
	"context"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// examination asks for what the collectors depend on and cannot say themselves: without pg_monitor many views do not
// fail, they show less. The remedies quote names as SQL needs them.
const examination = `
SELECT 'the role ' || current_user || ' is no member of pg_monitor: views hide what other users do',
       format('GRANT pg_monitor TO %I;', current_user)
WHERE NOT pg_has_role(current_user, 'pg_monitor', 'USAGE')
UNION ALL
SELECT 'pg_stat_statements is not loaded at server start: no statement statistics',
       format('ALTER SYSTEM SET shared_preload_libraries = %L; then restart the server',
              concat_ws(',', nullif(current_setting('shared_preload_libraries', true), ''), 'pg_stat_statements'))
WHERE coalesce(current_setting('shared_preload_libraries', true), '') !~ 'pg_stat_statements'
UNION ALL
SELECT 'the extension pg_stat_statements is not in this database', 'CREATE EXTENSION pg_stat_statements;'
WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')
UNION ALL
SELECT 'track_io_timing is off: the times of reading and writing blocks stay 0',
       'ALTER SYSTEM SET track_io_timing = on; SELECT pg_reload_conf();'
WHERE current_setting('track_io_timing') = 'off'
UNION ALL
SELECT 'track_counts is off: no statistics of tables, and no autovacuum', 'ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf();'
WHERE current_setting('track_counts') = 'off'`

// Examine finds what the target's role and server lack.
func (b *backend) Examine(ctx context.Context, target collect.Spec) ([]app.Finding, error) {
	conn, err := target.Driver.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var findings []app.Finding
	var failed error
	err = conn.Do(ctx, []collect.Question{{Text: examination}}, func(_ int, answer collect.Answer, err error) {
		if failed = err; err != nil {
			return
		}
		for answer.Next() {
			findings = append(findings, app.Finding{Problem: string(answer.Value(0)), Remedy: string(answer.Value(1))})
		}
		failed = answer.Err()
	})
	if err == nil {
		err = failed
	}
	return findings, err
}
