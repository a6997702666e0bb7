-- The role for the exporter: it may read statistics and nothing else. Run it once per server, as a superuser:
--
--     psql -f deploy/postgres/role.sql
--
-- and then set the password where no log or history sees it, with \password monitor in psql.

CREATE ROLE monitor LOGIN
    CONNECTION LIMIT 5; -- the exporter holds one connection, two at times, and three where it asks every database

-- pg_monitor reads all settings and statistics, other sessions' included. It reads no table of yours.
GRANT pg_monitor TO monitor;

-- Sequences, and estimates of bloat, show only what the role may read. For all of them, from PostgreSQL 14 on, if you
-- are willing to let it read every table as well:
-- GRANT pg_read_all_data TO monitor;

-- Two belts beside the exporter's own braces: it sets the same for its sessions.
ALTER ROLE monitor SET default_transaction_read_only = on;
ALTER ROLE monitor SET statement_timeout = '30s';

COMMENT ON ROLE monitor IS 'postgres-exporter: reads statistics';

-- Statistics of statements, wanted in the database that the exporter connects to. The library must be loaded at
-- server start (shared_preload_libraries); postgres-exporter doctor says so where it is not.
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
