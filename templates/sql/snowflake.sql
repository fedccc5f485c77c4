    # -- {{ connection.name }}: as USERADMIN and SECURITYADMIN. From Snowflake's documents; no test runs it.
    # CREATE ROLE IF NOT EXISTS {{ connection.admin }};
    # GRANT CREATE USER ON ACCOUNT TO ROLE {{ connection.admin }};
    # CREATE USER IF NOT EXISTS {{ connection.admin }} DEFAULT_ROLE = {{ connection.admin }};
    # GRANT ROLE {{ connection.admin }} TO USER {{ connection.admin }};
{% for role in connection.roles %}
    # -- What dbt makes belongs to the role {{ role.owner }}, as which each leased user acts: `role: {{ role.owner }}` in profiles.yml.
    # CREATE ROLE IF NOT EXISTS {{ role.owner }};
    # GRANT OWNERSHIP ON ROLE {{ role.owner }} TO ROLE {{ connection.admin }} COPY CURRENT GRANTS;
    # -- and USAGE on its warehouse and database, CREATE SCHEMA on the database.
{% endfor %}
