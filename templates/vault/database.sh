{% set c = connection %}
{% set v = c.variable %}
    say 'connection {{ c.name }} of {{ c.mount }}/ ({{ c.family }})'
    plain "${{ v }}_HOST"
    plain "${{ v }}_DATABASE"
    mounted secrets database {{ c.mount | sh }}
    password=
{% if c.family == "postgres" or c.family == "redshift" %}
    if [ -n "${{ v }}_ADMIN" ]; then
        there {{ (c.mount ~ "/config/" ~ c.name) | sh }} || password=$(random)
        {
            [ -z "$password" ] || printf "\\\\set password '%s'\n" "$password"
            [ "$ALLOW_CANCEL" != yes ] || printf '%s\n' '\set allow_cancel yes'
            cat <<'SQL'
{{ sql | verbatim }}
SQL
        } | psql -X -q -o /dev/null -v ON_ERROR_STOP=1{% for role in c.roles %}{% if c.family == "postgres" %} -v old_user_{{ loop.index }}="${{ role.old_variable }}"{% endif %}{% if role.schema_known is none %} -v schema_{{ loop.index }}="${{ role.schema_variable }}"{% endif %}{% endfor %} "${{ v }}_ADMIN" ||
            die 'the SQL of {{ c.name }} failed: what it said stands above'
    fi
{% elif c.family == "mysql" %}
    if [ -n "${{ v }}_ADMIN" ]; then
        there {{ (c.mount ~ "/config/" ~ c.name) | sh }} || password=$(random)
        {
            cat <<'SQL'
{{ sql | verbatim }}
SQL
            [ -z "$password" ] || printf "ALTER USER '%s'@'%%' IDENTIFIED BY '%s';\n" {{ c.admin | sh }} "$password"
            # The words of the variable are arguments.
            # shellcheck disable=SC2086
        } | mysql --batch ${{ v }}_ADMIN || die 'the SQL of {{ c.name }} failed: what it said stands above'
    fi
{% else %}
    # The SQL that its owner runs first:
{{ sql | verbatim }}
{% endif %}
    if [ -z "$password" ] && ! there {{ (c.mount ~ "/config/" ~ c.name) | sh }}; then
        password={{ "${" | verbatim }}{{ v }}_VAULT_PASSWORD-}
        need {{ v }}_VAULT_PASSWORD "$password" 'the password of {{ c.admin }} in the database, once; Vault changes it at once'
    fi
    put {{ (c.mount ~ "/config/" ~ c.name) | sh }} <<JSON
{"plugin_name": "{{ c.plugin }}", "connection_url": $(json {{ c.url.sh | verbatim }}), "username": "{{ c.admin }}",
{% if c.family == "postgres" %}
 "password_authentication": "scram-sha-256",
{% endif %}
 $([ -z "$password" ] || printf '"password": %s,' "$(json "$password")")
 "username_template": $(json {{ c.username_template | sh }}),
 "allowed_roles": [{% for role in c.roles %}"{{ role.name }}"{{ ", " | verbatim if not loop.last }}{% endfor %}]}
JSON
    # From here on nobody but Vault knows it.
    [ -z "$password" ] || "$BAO" write -f {{ (c.mount ~ "/rotate-root/" ~ c.name) | sh }} >/dev/null
{% for role in c.roles %}
{% if role.fixed %}
    put {{ (c.mount ~ "/static-roles/" ~ role.name) | sh }} <<JSON
{"db_name": "{{ c.name }}", "username": $(json {{ role.user | sh }}), "rotation_period": "24h"}
JSON
{% else %}
    put {{ (c.mount ~ "/roles/" ~ role.name) | sh }} <<JSON
{"db_name": "{{ c.name }}", "default_ttl": $(json "$LEASE_TTL"), "max_ttl": $(json "$LONGEST_RUN"),
{% if c.family == "snowflake" %}
 "credential_type": "rsa_private_key", "credential_config": {"key_bits": "2048", "format": "pkcs8"},
{% endif %}
 "creation_statements": [{% for text in role.creation %}

   $(json {{ text.sh | verbatim }}){{ "," | verbatim if not loop.last }}{% endfor %}],
 "renew_statements": [{% for text in role.renew %}$(json {{ text.sh | verbatim }}){{ ", " | verbatim if not loop.last }}{% endfor %}],
 "revocation_statements": [{% for text in role.revocation %}

   $(json {{ text.sh | verbatim }}){{ "," | verbatim if not loop.last }}{% endfor %}],
 "rollback_statements": [{% for text in role.rollback %}$(json {{ text.sh | verbatim }}){{ ", " | verbatim if not loop.last }}{% endfor %}]}
JSON
{% endif %}
{% endfor %}
    # The audit log then shows a leased user's name, which joins it with the database's log.
    "$BAO" secrets tune -audit-non-hmac-response-keys=username {{ (c.mount ~ "/") | sh }} >/dev/null
