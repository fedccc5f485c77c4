    # -- {{ connection.name }}: as sysadmin, in its database. From SQL Server's documents; no test runs it.
    # CREATE LOGIN {{ connection.admin }} WITH PASSWORD = '…';
    # ALTER SERVER ROLE securityadmin ADD MEMBER {{ connection.admin }};
    # GRANT ALTER ANY CONNECTION TO {{ connection.admin }};
    # CREATE USER {{ connection.admin }} FOR LOGIN {{ connection.admin }};
    # ALTER ROLE db_accessadmin ADD MEMBER {{ connection.admin }};
{% for role in connection.roles %}
    # -- What is in a schema belongs to the schema's owner. dbt makes schemas for the role with `schema_authorization: {{ role.owner }}` in profiles.yml.
    # CREATE ROLE {{ role.owner }} AUTHORIZATION {{ connection.admin }};
    # GRANT CREATE TABLE, CREATE VIEW, CREATE SCHEMA TO {{ role.owner }};
    # -- CREATE SCHEMA …, or ALTER AUTHORIZATION ON SCHEMA::… TO {{ role.owner }};
{% endfor %}
