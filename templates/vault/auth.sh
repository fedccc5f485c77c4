{% set login = zone.login %}
{% set tokens = '"token_policies": ["' ~ zone.role ~ '"], "token_no_default_policy": true, "token_ttl": $(json "$LEASE_TTL"), "token_max_ttl": $(json "$LONGEST_RUN")' %}
    say 'login {{ zone.role }}: {{ login.method }} at auth/{{ login.mount }}'
{% if login.method == "approle" %}
    mounted auth approle {{ login.mount | sh }}
    put {{ ("auth/" ~ login.mount ~ "/role/" ~ zone.role) | sh }} <<JSON
{"bind_secret_id": true, "secret_id_ttl": $(json "$SECRET_ID_TTL"), {{ tokens | verbatim }}}
JSON
    say 'its ids: bao read auth/{{ login.mount }}/role/{{ zone.role }}/role-id; bao write -f auth/{{ login.mount }}/role/{{ zone.role }}/secret-id'
{% elif login.method == "jwt" %}
    mounted auth jwt {{ login.mount | sh }}
    issuer={{ login.issuer.sh | verbatim }}
    known=$("$BAO" read -field=bound_issuer {{ ("auth/" ~ login.mount ~ "/config") | sh }} 2>/dev/null) || known=
    if [ -z "$known" ]; then
        put {{ ("auth/" ~ login.mount ~ "/config") | sh }} <<JSON
{"oidc_discovery_url": $(json "$issuer"), "bound_issuer": $(json "$issuer")}
JSON
    elif [ "$known" != "$issuer" ]; then
        die "auth/{{ login.mount }} takes tokens of $known: give this login a mount of its own in dbt-lease.yml"
    fi
    put {{ ("auth/" ~ login.mount ~ "/role/" ~ zone.role) | sh }} <<JSON
{"role_type": "jwt", "user_claim": "{{ login.user_claim }}", "bound_audiences": [$(json {{ login.audience.sh | verbatim }})],
 "bound_claims": {
{% for claim in login.claims %}
   "{{ claim.name }}": {% if claim.value %}$(json {{ claim.value.sh | verbatim }}){% else %}false{% endif %}{{ "" if loop.last else "," | verbatim }}
{% endfor %}
 },
 {{ tokens | verbatim }}}
JSON
{% elif login.method == "kubernetes" %}
    mounted auth kubernetes {{ login.mount | sh }}
    "$BAO" read {{ ("auth/" ~ login.mount ~ "/config") | sh }} >/dev/null 2>&1 || put {{ ("auth/" ~ login.mount ~ "/config") | sh }} <<JSON
{"kubernetes_host": $(json "$K8S_HOST")}
JSON
    put {{ ("auth/" ~ login.mount ~ "/role/" ~ zone.role) | sh }} <<JSON
{"bound_service_account_names": [$(json "${{ zone.variable }}_K8S_ACCOUNT")], "bound_service_account_namespaces": [$(json "${{ zone.variable }}_K8S_NAMESPACE")],
 {{ tokens | verbatim }}}
JSON
{% elif login.method == "cert" %}
    mounted auth cert {{ login.mount | sh }}
    "$BAO" write {{ ("auth/" ~ login.mount ~ "/certs/" ~ zone.role) | sh }} certificate=@"${{ zone.variable }}_CLIENT_CA" \
        allowed_common_names={{ zone.role | sh }} token_policies={{ zone.role | sh }} token_no_default_policy=true \
        token_ttl="$LEASE_TTL" token_max_ttl="$LONGEST_RUN" >/dev/null
{% elif login.method == "aws" %}
    mounted auth aws {{ login.mount | sh }}
{% if login.server_id %}
    put {{ ("auth/" ~ login.mount ~ "/config/client") | sh }} <<JSON
{"iam_server_id_header_value": $(json {{ login.server_id | sh }})}
JSON
{% else %}
    say 'auth/{{ login.mount }} demands no server id: a signed request for another Vault is good for this one (server_id in dbt-lease.yml)'
{% endif %}
    put {{ ("auth/" ~ login.mount ~ "/role/" ~ zone.role) | sh }} <<JSON
{"auth_type": "iam", "bound_iam_principal_arn": [$(json "${{ zone.variable }}_PRINCIPAL_ARN")],
 {{ tokens | verbatim }}}
JSON
{% elif login.method == "oidc" %}
    mounted auth oidc {{ login.mount | sh }}
    if [ -n "$OIDC_DISCOVERY_URL" ]; then
        put {{ ("auth/" ~ login.mount ~ "/config") | sh }} <<JSON
{"oidc_discovery_url": $(json "$OIDC_DISCOVERY_URL"), "oidc_client_id": $(json "$OIDC_CLIENT_ID"), "oidc_client_secret": $(json "$OIDC_CLIENT_SECRET")}
JSON
    fi
{% if login.redirect %}
    redirect={{ login.redirect | sh }}
{% else %}
    redirect="$VAULT_ADDR"{{ ("/v1/auth/" ~ login.mount ~ "/oidc/callback") | sh }}
{% endif %}
    put {{ ("auth/" ~ login.mount ~ "/role/" ~ zone.role) | sh }} <<JSON
{"role_type": "oidc", "user_claim": "sub", "allowed_redirect_uris": [$(json "$redirect")],{% if login.callback_mode != "client" %} "callback_mode": "{{ login.callback_mode }}",{% endif %}

 "groups_claim": $(json "$OIDC_GROUPS_CLAIM"), "bound_claims": {$(json "$OIDC_GROUPS_CLAIM"): $(json "${{ zone.variable }}_GROUP")},
 {{ tokens | verbatim }}}
JSON
{% elif login.method == "userpass" %}
    mounted auth userpass {{ login.mount | sh }}
    password=
    if ! "$BAO" read {{ ("auth/" ~ login.mount ~ "/users/") | sh }}{{ login.user.sh | verbatim }} >/dev/null 2>&1; then
        need {{ zone.variable }}_USER_PASSWORD "${{ zone.variable }}_USER_PASSWORD" 'the user is not there yet'
        password="\"password\": $(json "${{ zone.variable }}_USER_PASSWORD"), "
    fi
    put {{ ("auth/" ~ login.mount ~ "/users/") | sh }}{{ login.user.sh | verbatim }} <<JSON
{${password}{{ tokens | verbatim }}}
JSON
{% elif login.method == "ldap" or login.method == "okta" %}
    # Whose directory it is, nobody can know from here. `token_no_default_policy` belongs to its configuration, too.
    "$BAO" read {{ ("auth/" ~ login.mount ~ "/config") | sh }} >/dev/null 2>&1 || die 'enable and configure auth/{{ login.mount }} first ({{ login.method }}), with token_no_default_policy=true'
    put {{ ("auth/" ~ login.mount ~ "/groups/") | sh }}{{ login.user.sh | verbatim }} <<JSON
{"policies": [{{ zone.role | json }}]}
JSON
{% else %}
    say 'a login of the method {{ login.method }} is not made here: give its tokens the policy {{ zone.role }}, and not the default one'
{% endif %}
