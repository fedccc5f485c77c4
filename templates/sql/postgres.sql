-- {{ connection.name }}: as a superuser, or whoever may make roles and owns the database; by psql, since \gexec runs what a query gives.
\set vault_user {{ connection.admin }}
BEGIN;
SELECT format('CREATE ROLE %I LOGIN CREATEROLE', :'vault_user') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'vault_user') \gexec
\if :{?password}
ALTER ROLE :"vault_user" PASSWORD :'password';
\endif
-- So that Vault can end the sessions of a user that it revokes.
GRANT pg_signal_backend TO :"vault_user";
{% for role in connection.roles %}

-- {{ role.name }}: {{ role.owner }} owns what dbt makes, and each leased user acts as it.
\set owner {{ role.owner }}
{% if role.schema_known is not none %}
\set schema {{ role.schema_known | psql }}
{% else %}
\set schema :schema_{{ loop.index }}
{% endif %}
SELECT format('CREATE ROLE %I NOLOGIN', :'owner') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
GRANT :"owner" TO :"vault_user" WITH ADMIN OPTION;
-- dbt makes schemas. The price: it may make any that is not there yet.
SELECT format('GRANT CONNECT, CREATE ON DATABASE %I TO %I', current_database(), :'owner') \gexec
\if :{?allow_cancel}
GRANT pg_signal_backend TO :"owner";
\endif
SELECT format('CREATE SCHEMA %I AUTHORIZATION %I', :'schema', :'owner') WHERE :'schema' <> '' AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = :'schema') \gexec
SELECT format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', :'schema', :'owner') WHERE EXISTS (SELECT FROM pg_namespace WHERE nspname = :'schema' AND nspowner <> (SELECT oid FROM pg_roles WHERE rolname = :'owner')) \gexec
{% if role.fixed %}
\set login {{ role.user | psql }}
SELECT format('CREATE ROLE %I LOGIN IN ROLE %I', :'login', :'owner') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'login') \gexec
-- Vault rotates its password, for which it must have been given the role.
GRANT :"login" TO :"vault_user" WITH ADMIN OPTION;
ALTER ROLE :"login" SET role = :"owner";
{% endif %}
-- The move, from the old static user: its tables, views, sequences and routines in dbt's schemas, and those schemas. Its jobs go on until they are changed, since
-- it becomes a member of the owner; what they make meanwhile moves when this runs again.
\set old_user :old_user_{{ loop.index }}
SELECT format('GRANT %I TO %I', :'owner', rolname) FROM pg_roles WHERE rolname = :'old_user' AND NOT rolsuper AND rolname <> :'owner' \gexec
SELECT format('ALTER TABLE %I.%I OWNER TO %I', nspname, relname, :'owner')
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace JOIN pg_roles ON pg_roles.oid = relowner
WHERE rolname = :'old_user' AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND (nspname = :'schema' OR starts_with(nspname, :'schema' || '_'))
    -- A sequence of a column goes with its table.
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND classid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND relkind = 'S') \gexec
SELECT format('ALTER ROUTINE %s OWNER TO %I', pg_proc.oid::regprocedure, :'owner')
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace JOIN pg_roles ON pg_roles.oid = proowner
WHERE rolname = :'old_user' AND (nspname = :'schema' OR starts_with(nspname, :'schema' || '_')) \gexec
SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, :'owner') FROM pg_namespace JOIN pg_roles ON pg_roles.oid = nspowner
WHERE rolname = :'old_user' AND (nspname = :'schema' OR starts_with(nspname, :'schema' || '_')) \gexec
{% endfor %}
COMMIT;
