-- {{ connection.name }}: as a superuser of the cluster, once, by psql. From Redshift's documents; no test runs it.
-- Vault's user must be a superuser there, since nobody else may give another's tables away: a price.
CREATE USER {{ connection.admin }} PASSWORD DISABLE CREATEUSER;
\if :{?password}
ALTER USER {{ connection.admin }} PASSWORD :'password';
\endif
CREATE SCHEMA IF NOT EXISTS dbt_lease AUTHORIZATION {{ connection.admin }};
{% for role in connection.roles %}
-- {{ role.name }}: Redshift's tables belong to users, never to groups. The group {{ role.owner }} may replace them; what is left of a revoked user is {{ role.owner }}_owner's.
CREATE GROUP {{ role.owner }};
CREATE USER {{ role.owner }}_owner PASSWORD DISABLE IN GROUP {{ role.owner }};
{% if role.schema_known is not none %}
\set schema {{ role.schema_known | psql }}
{% else %}
\set schema :schema_{{ loop.index }}
{% endif %}
CREATE SCHEMA IF NOT EXISTS :"schema" AUTHORIZATION {{ role.owner }}_owner;
GRANT CREATE, USAGE ON SCHEMA :"schema" TO GROUP {{ role.owner }};
{% endfor %}
-- Ends a leased user's sessions, gives its tables and schemas to the owner of its group, and drops it.
CREATE OR REPLACE PROCEDURE dbt_lease.end_user(who VARCHAR(128)) AS $$
DECLARE
    found RECORD;
    heir VARCHAR(128);
    team VARCHAR(128);
BEGIN
    SELECT groname INTO team FROM pg_group, pg_user WHERE usename = who AND usesysid = ANY (grolist) LIMIT 1;
    heir := team || '_owner';
    EXECUTE 'ALTER USER ' || quote_ident(who) || ' PASSWORD DISABLE';
    FOR found IN SELECT procpid FROM pg_stat_activity WHERE usename = who LOOP
        EXECUTE 'SELECT pg_terminate_backend(' || found.procpid || ')';
    END LOOP;
    FOR found IN SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace JOIN pg_user ON usesysid = relowner
            WHERE usename = who AND relkind IN ('r', 'v') LOOP
        EXECUTE 'ALTER TABLE ' || quote_ident(found.nspname) || '.' || quote_ident(found.relname) || ' OWNER TO ' || quote_ident(heir);
        EXECUTE 'GRANT SELECT, INSERT, UPDATE, DELETE, DROP, REFERENCES, ALTER, TRUNCATE ON ' || quote_ident(found.nspname) || '.' || quote_ident(found.relname)
            || ' TO GROUP ' || quote_ident(team);
    END LOOP;
    FOR found IN SELECT nspname FROM pg_namespace JOIN pg_user ON usesysid = nspowner WHERE usename = who LOOP
        EXECUTE 'ALTER SCHEMA ' || quote_ident(found.nspname) || ' OWNER TO ' || quote_ident(heir);
        EXECUTE 'GRANT CREATE, USAGE ON SCHEMA ' || quote_ident(found.nspname) || ' TO GROUP ' || quote_ident(team);
    END LOOP;
    EXECUTE 'ALTER DEFAULT PRIVILEGES FOR USER ' || quote_ident(who) || ' REVOKE ALL ON TABLES FROM GROUP ' || quote_ident(team);
    EXECUTE 'DROP USER ' || quote_ident(who);
END;
$$ LANGUAGE plpgsql;
