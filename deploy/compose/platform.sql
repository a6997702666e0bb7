-- What the platform's services want of a new database, after deploy/postgres/role.sql. psql runs it in the database's
-- container and reads the passwords from the secrets; none is in this file or in the server's log.
\set ON_ERROR_STOP on
\set monitor `cat /run/secrets/monitor_password`
\set api `cat /run/secrets/db_api_password`
\set admin `cat /run/secrets/db_admin_password`

SET log_statement = 'none';
SET log_min_error_statement = 'panic';

-- The exporter, and the one row that it writes.
ALTER ROLE monitor PASSWORD :'monitor';
CREATE TABLE public.alfred_health_check (id text PRIMARY KEY, checked_at timestamptz NOT NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON public.alfred_health_check TO monitor;

-- PostgREST logs in as authenticator and becomes whom a token names, or anon.
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD :'api';
GRANT anon, authenticated, service_role TO authenticator;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;

-- Realtime and Studio administer the database.
CREATE ROLE supabase_admin LOGIN SUPERUSER PASSWORD :'admin';
CREATE SCHEMA _realtime AUTHORIZATION supabase_admin;
CREATE SCHEMA realtime AUTHORIZATION supabase_admin;
CREATE PUBLICATION supabase_realtime;
